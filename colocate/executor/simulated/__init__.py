"""A GPU that is simulated: the guard and the tuner run on it as they do on a real one.

How fast things run comes from the models of an instance, bent by what the models do not know; how
long requests take comes from the simulator of a batching queue. `node` is the world behind the
ports, `scenario` what happens to it, `closed_loop` runs one and adds up.
"""

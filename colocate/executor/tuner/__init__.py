"""Follows the load of the services: batch sizes at once, shares by a second process.

`Tuner` looks after one GPU: `tick` looks once. The sources tell how a service does; `retune` asks
the library for the best configuration of one GPU; `drift` holds a plan against reality.
"""

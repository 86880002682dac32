"""Watches GPUs, and holds training back before a service suffers.

`Guard` watches one GPU: `tick` looks once. `run_guards` looks at several until it is told to stop.
"""

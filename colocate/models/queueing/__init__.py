"""The latency of a batching queue: a table made with the simulator, and how it is read."""

"""The keeper: a small process that runs one unit and outlives the command that started it.

It uses the standard library alone and is started by path, so that it starts fast and stays small.
`main` is that script; everything else here it shares with `colocate.executor.workloads.kept`.
"""

"""From a campaign of runs on a real GPU to a profile table.

- `campaign`, `runs`: what is to be measured, in which order, and how long that takes.
- `bench`: what measuring needs of the world; `process_bench` is the real one, with processes under
  MPS that answer over `link` in the words of `protocol`.
- `runner`, `intervals`: when a rate counts as steady, and when it is known well enough.
- `results`, `rows`: the file that grows point by point, and the table that is made of it.
- `worker`, `workloads`: the other side; what runs in the processes.

The modules that a worker imports (`protocol`, `worker`, `workloads`) need the standard library
alone, so that it starts fast, also where nothing else of this package is installed.
"""

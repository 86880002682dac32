"""A thin layer that makes a plan true on the GPUs of one node, through MPS, and keeps it safe.

Data flows one way: plan and launch file -> units -> steps (against what is observed) -> journal ->
daemons and processes. The rooms:

- `unit`, `ports`, `errors`: the nouns, and what the world must offer.
- `mps`: the control daemons, in both dialects. `nvml`: the GPUs themselves.
- `workloads`: how processes start, get ready, change their batch size and stop.
- `apply`: preview, apply, assert, status, rollback, export-state.
- `guard`: watches GPUs and holds training back before a service suffers.
- `tuner`: follows the load, with batch sizes at once and shares by a second process.
- `simulated`: a GPU behind the same ports that is not there, to try guard and tuner on.
- `measure`: turns a campaign of runs into a profile table.
- `gpu_check`: shows on a real GPU what only a real GPU can show.
"""

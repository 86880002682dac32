"""What `make gpu-check` runs: everything that only a real GPU can show, in under nine minutes.

    python -m colocate.executor.gpu_check --out FOLDER

It starts MPS, sees whether caps and limits take effect, measures a small grid of services and
training, fits it, solves, applies the plan with real processes, holds predictions against what
happens, kills a training process, rolls back, and leaves the GPU as it was found. Every stage has
a deadline and a verdict of its own; one that fails does not stop those that can still say
something. What comes out is one JSON report, pictures, and the transcript of what the MPS daemon
said.
"""

"""Published rules for sharing GPUs, as solvers without a bound: what plans are measured against.

What all of them have in common, and where they have to be read:

- **Deployment.** The systems find their services on GPUs already, one on each. Where services are
  free to place they are put there first, one on each GPU, as many as possible, required ones before
  others, then those with the largest `missing_price`. No policy puts two services together.
- **Arrival.** Tasks arrive one by one in an order drawn from the seed, and a task stays where it
  was put. Ties are broken by lot from the same seed. `muxflow` alone sees all tasks at once.
- **Knowledge.** Rules see mean predictions only. Where a system measures (its monitors, the tuner's
  samples), the models of the instance stand in for the hardware.
- **Guard.** The rules promise no SLO at the instance's confidence. What a rule wants is kept where
  it is allowed. Where the service would miss its SLO, the systems that adapt shares at run time
  (`mudi`, `muxflow`, `gslice`) come to the nearest allowed share above the rule's, for the service;
  those that do not (`even`, `uncapped`, `iadeep`) cannot make that pair. A task that one GPU cannot
  take is offered the next best.
- **Batches.** A service whose system has no rule for them runs at the batch of lowest latency bound
  at its share.
- **Multiprocessors are not shared** in the plans of this library, so a cap of 100 % for everyone
  has no literal counterpart; see `uncapped`.

A policy that is registered with the suffix `-fixed` follows the same idea with the defects of the
published rule put right; its module says which.
"""

"""Words for what the code does not say itself. The tests hold that none is missing or left over."""

from __future__ import annotations

__all__ = ["EXIT_CODES", "METHODS", "POLICIES", "REASONS", "TWINS", "VIOLATIONS"]

TWINS = {"ServiceTable": "Service", "TaskTable": "Task"}
"""A field of the first without words of its own means what it means in the second."""

METHODS = {
    "auto": "chooses one of the others by structure and size, never by the clock",
    "brute_force": "goes through all ways to fill the GPUs with columns, with cuts by prices",
    "cp-sat": "CP-SAT of OR-Tools on whole numbers, from greedy's plan",
    "greedy": "makes the change that gains most, on as many GPUs as possible, until none gains",
    "ilp": "a PuLP model: CBC, or any engine that PuLP knows (`ilp:GUROBI_CMD`)",
    "matching": "one task beside one service: min-cost flow on classes, or linear assignment",
    "milp": "HiGHS by SciPy, on sparse arrays",
    "muri": "matches pairs, then pairs of pairs (Muri): groups of three and four tasks",
    "pairing": "tasks in groups of two: maximum-weight matching, or an integer program",
}

POLICIES = {
    "even": ("set by hand", "equal parts for everyone; any GPU that can take the task"),
    "exclusive": ("no sharing", "tasks on idle GPUs only"),
    "gslice": ("GSLICE, SoCC 2020", "the share follows the arrivals, up to the knee; any GPU"),
    "iadeep": ("IADeep, SC 2023", "least rise of the sum of PD, or wait; batch by GP-LCB; no caps"),
    "iadeep-fixed": ("", "the wait test with each task's own loss; GP-LCB that keeps exploring"),
    "mudi": (
        "Mudi, EuroSys 2025",
        "smallest mean slope; the row as printed; 1.10 times the least share; GP-LCB",
    ),
    "mudi-fixed": (
        "",
        "slope in parts of the time there is; the instance's SLO; each batch at its own share",
    ),
    "muxflow": (
        "MuxFlow, arXiv 2303.13803",
        "what SM activity leaves; Kuhn-Munkres on predicted normalised rates",
    ),
    "muxflow-fixed": ("", "the matching on what pairs come to be worth, weights counted"),
    "uncapped": ("MPS as it comes", "in proportion to what each can fill; any GPU"),
}
"""Where a policy is from, and its rule; a corrected one stands after the published one."""

REASONS = {
    "no_profile": "There is no profile of the workload at its batch for any usable type of GPU.",
    "no_bound": "Its rate has no error bound at the instance's confidence, so an SLO cannot be "
    "promised.",
    "memory": "It needs more memory than any GPU offers.",
    "slo": "Even alone on a whole GPU its latency bound misses the SLO, or the load is too high.",
    "clients": "It has more processes than MPS takes clients on a GPU.",
    "rules": "It would fit alone, but a rule or a pin keeps it off every GPU.",
    "no_room": "It fits on a GPU, but beside nothing that the rules allow; or no GPU may be "
    "planned with.",
    "outbid": "It could be placed, but everything that would make room is worth more, or a quota "
    "is full. Only an exact solver's word for this is final.",
}

VIOLATIONS = {
    "instance": "The plan was made for another instance (name or hash).",
    "reference": "The plan names a pool, GPU, service, task or ordinal that does not exist.",
    "gpu_used_twice": "A GPU stands in two places of the plan.",
    "replica_placed_twice": "A replica stands in two places of the plan.",
    "worker_placed_twice": "A worker stands in two places of the plan.",
    "gang": "A gang is placed in part, or two of its workers are on one GPU.",
    "required_service": "A required service does not have all its replicas.",
    "pinned_service": "A pinned replica is on a GPU it is not pinned to, or shares one with "
    "another replica of its service.",
    "accounting": "What is placed and what is listed as left out do not add up.",
    "knobs": "A batch is not one that the workload may run at.",
    "share": "The shares of a GPU do not fit, or a share is one that may not be used.",
    "prediction": "A stated prediction is not what the instance implies.",
    "slo": "A service misses its SLO at the stated confidence, or its load is too high.",
    "rate": "A workload cannot run there: no profile, no known slowdown, or a rate of 0.",
    "memory": "The workloads of a GPU need more memory than it offers.",
    "clients": "More processes on a GPU than MPS takes clients.",
    "services_per_gpu": "More replicas on a GPU than the rules allow.",
    "tasks_per_gpu": "More workers on a GPU than the rules allow.",
    "workloads_per_gpu": "More workloads on a GPU than the rules allow.",
    "tenants_per_gpu": "More owners on a GPU than the rules allow.",
    "user_id": "Workloads of different Unix users on one GPU.",
    "locked": "A locked GPU does not hold what `current` has on it.",
    "blast_radius": "More replicas of a service on one node than may be lost with it.",
    "anti_affinity": "Two workloads on one GPU that a rule keeps apart.",
    "quota": "A tenant has more than its maximum or less than its minimum.",
    "unschedulable": "Something is placed on a GPU that is not to be planned with.",
    "unsupported": "The instance uses a rule that this version cannot judge.",
    "objective": "The stated worth is not the plan's worth.",
    "totals": "A stated sum is not what the plan adds up to.",
    "certificate": "The stated bound is tighter than its prices prove, or they make no sense.",
    "constraint": "A constraint of a plug-in is broken.",
}

EXIT_CODES = {
    0: "everything is in order",
    1: "a check failed: `verify` found something, or `doctor` misses something",
    2: "bad input or usage: one message with the place, the values and advice; nothing is written",
    3: "infeasible: no plan can meet what the instance requires",
    4: "no plan: a limit was reached first, or a heuristic found none",
    5: "a solver or backend failed, or something else that is a bug",
    6: "a change of the node failed, and everything was put back as it was",
    7: "a change of the node failed and could not be put back: somebody must look",
    8: "another apply or rollback holds the lock",
    130: "interrupted; a plan that had been found is still shown or written",
    141: "the reader of the output went away",
}

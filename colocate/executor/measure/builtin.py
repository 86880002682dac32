"""The campaign that needs no file: every built-in workload that is a network."""

from __future__ import annotations

from colocate.executor.measure.campaign import Campaign, CampaignWorkload, Companies

__all__ = ["builtin_campaign"]

SHARES = (10, 25, 40, 60, 100)
SERVED = {
    "resnet50-inference": (1, 8, 32),
    "bert-inference": (1, 8, 32),
    "gpt2-inference": (1, 8),
}
TRAINED = {
    "resnet50-training": (64,),
    "vgg16-training": (64,),
    "bert-training": (16,),
    "lstm-training": (64,),
}
LOADS = (0.4, 0.7)


def builtin_campaign() -> Campaign:
    """Return the built-in campaign: three services and four kinds of training.

    Each alone at five shares, the services also with arrivals, and every service beside every
    kind of training at three splits.
    """
    workloads = [
        CampaignWorkload(
            name=name,
            role="inference",
            builtin=name,
            batches=batches,
            shares_pct=SHARES,
            loads=LOADS,
        )
        for name, batches in SERVED.items()
    ]
    workloads += [
        CampaignWorkload(
            name=name, role="training", builtin=name, batches=batches, shares_pct=SHARES
        )
        for name, batches in TRAINED.items()
    ]
    return Campaign(
        name="builtin",
        workloads=tuple(workloads),
        companies=(Companies(of=tuple(SERVED), beside=tuple(TRAINED)),),
    )

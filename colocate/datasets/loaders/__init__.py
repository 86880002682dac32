"""Public measurements and traces, read by path. Nothing is bundled, nothing is fetched.

Each loader takes the folder of a data set (or its one file) and returns a `ProfileTable` or a trace
of `colocate.datasets.traces`; its module says which files it reads and what becomes of each column.
"""

from colocate.datasets.loaders.clusters import (
    load_muri,
    load_openb_nodes,
    load_openb_pods,
    load_philly,
)
from colocate.datasets.loaders.gavel import load_gavel
from colocate.datasets.loaders.igniter import load_igniter
from colocate.datasets.loaders.muxserve import load_muxserve
from colocate.datasets.loaders.parvagpu import load_parvagpu
from colocate.datasets.loaders.peace import load_peace
from colocate.datasets.loaders.rapp import load_hasgpu, load_rapp
from colocate.datasets.loaders.requests import load_azure_llm, load_servegen
from colocate.datasets.loaders.splitwise import load_splitwise
from colocate.datasets.loaders.spread import load_spread

__all__ = [
    "load_azure_llm",
    "load_gavel",
    "load_hasgpu",
    "load_igniter",
    "load_muri",
    "load_muxserve",
    "load_openb_nodes",
    "load_openb_pods",
    "load_parvagpu",
    "load_peace",
    "load_philly",
    "load_rapp",
    "load_servegen",
    "load_splitwise",
    "load_spread",
]

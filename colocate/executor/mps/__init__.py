"""The MPS control daemons of this node, in both dialects of their control program.

`NodeDaemons` is what the rest of the executor uses. Below it: `binary` finds the program, `control`
runs one command of it, `encode` lets only well-formed values through, `v2` and `v3` speak the
dialects, `probe` finds out which, `directories`, `identity`, `others` and `members` tell what is
ours, `sms` turns shares into whole SMs, and `transcript` writes down what a real daemon said.
"""

from __future__ import annotations

from colocate.executor.mps.node import NodeDaemons
from colocate.executor.mps.spaces import space_of

__all__ = ["NodeDaemons", "space_of"]

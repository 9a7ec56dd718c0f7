"""How a statement about an artifact was obtained."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal


@dataclass(frozen=True, slots=True, kw_only=True)
class Evidence:
    """One statement and what stands behind it.

    Attributes:
        claim: what is stated, one sentence.
        kind: `built` a compiler produced or accepted it; `emulated` it ran, but not on the target's own hardware;
            `measured` it ran on the target's hardware; `absent` nobody did it, and the claim says why.
        tool: what produced it, with its version (`openvino 2026.4.1`).
        machine: where, in words without host or user names.
    """

    claim: str
    kind: Literal["built", "emulated", "measured", "absent"]
    tool: str
    machine: str

"""How a statement about an artifact was obtained."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, Literal

from pydantic import model_validator


@dataclass(frozen=True, slots=True, kw_only=True)
class Evidence:
    """One statement and what stands behind it.

    Attributes:
        about: what the statement is on: the engine, which a device may build anew, or the graph it is built from.
        claim: what is stated, one sentence.
        kind: `built` a compiler produced or accepted it; `emulated` it ran, but not on the target's own hardware;
            `measured` it ran on the target's hardware; `absent` nobody did it, and the claim says why.
        tool: what produced it, with its version (`openvino 2026.4.1`).
        machine: where, in words without host or user names.
    """

    about: Literal["engine", "graph"]
    claim: str
    kind: Literal["built", "emulated", "measured", "absent"]
    tool: str
    machine: str

    @model_validator(mode="before")
    @classmethod
    def _of_schema_1(cls, data: Any) -> Any:
        """Files up to schema 1 tell what a statement is on by its words alone."""
        if not isinstance(data, dict) or "about" in data:
            return data
        claim = str(data.get("claim"))
        on_graph = claim.startswith("The parser of ") or "model.onnx run by" in claim
        return {**data, "about": "graph" if on_graph else "engine"}

"""An engine that `engine/build.py` wrote into a bundle on the device: no manifest names it, its own record vouches."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

from pydantic import TypeAdapter, ValidationError

from ...errors import EdgepressError
from ...profiles.reading.json_file import read_json
from .files import AGAIN

# What `backends.onboard.program` writes; a stand-in's engine has the same names behind `stand-in.`
PLAN, RECORD = "engine/model.plan", "engine/built.json"
_PAIRS = ((PLAN, RECORD), ("engine/stand-in.model.plan", "engine/stand-in.built.json"))
GRAPH = "model.onnx"


@dataclass(frozen=True, slots=True, kw_only=True)
class _Digest:
    sha256: str


@dataclass(frozen=True, slots=True, kw_only=True)
class _Record:
    """Of a record, what says that the engine beside it is of this bundle."""

    plan: _Digest
    graph: _Digest


def vouched(directory: Path, expected: Mapping[str, str], found: Mapping[str, str]) -> dict[str, str]:
    """What was made on the device: by the name of a file what is wrong with it, empty where nothing is.

    Args:
        expected: sha256 of the files of the manifest, which says that the engine is still to be built, by name.
        found: of the files that there are.
    """
    told: dict[str, str] = {}
    for plan, record in _PAIRS:
        if plan in found and record in found and not {plan, record} & expected.keys():
            told |= dict.fromkeys((plan, record), _wrong(directory / record, found[plan], expected.get(GRAPH)))
    return told


def _wrong(record: Path, plan: str, graph: str | None) -> str:
    try:
        read = TypeAdapter(_Record).validate_python(read_json(record, hint=AGAIN))
    except (EdgepressError, ValidationError):
        return "is not vouched for by its record, which was damaged, or written by an older build.py"
    if read.plan.sha256 != plan:
        return "was changed since it was built there"
    if read.graph.sha256 != graph:
        return "was built there of another graph"
    return ""

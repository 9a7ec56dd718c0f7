"""An `.onnx` file, with its external data beside it."""

from __future__ import annotations

import os
from pathlib import Path

from ...errors import InputError
from ..graphs.corners import with_corners_in_order
from ..graphs.files import free_axes, read_graph
from ..graphs.synthesis import synthesize_from_specs
from .base import Source, missing, safe_name


def matches(spec: str) -> bool:
    """By suffix."""
    return Path(spec).suffix.lower() == ".onnx"


def load(spec: str, trust: bool) -> Source:
    """Validate the file; its example inputs are synthetic, its free axes the ones it names.

    Args:
        trust: not needed: an ONNX file holds no code.

    Raises:
        InputError: not a complete ONNX file, one without inputs, or external data that are missing or lie elsewhere.
    """
    path = Path(spec)
    if not os.path.lexists(path):
        raise missing(spec)
    graph = read_graph(path)
    if not graph.inputs:
        raise InputError(
            f"{path} takes no inputs: what it gives is constant, and there is nothing to run on a device.",
            hint="Export the model with its inputs as inputs of the graph.",
        )
    if passed := {spec.name for spec in graph.inputs} & {spec.name for spec in graph.outputs}:
        raise InputError(
            f"{path} gives back its input {', '.join(sorted(passed))} as an output, as it is.",
            hint="Remove it from the outputs of the graph: who runs the model has it already.",
        )
    names = [spec.name for spec in graph.outputs]
    if twice := sorted({name for name in names if names.count(name) > 1}):
        raise InputError(
            f"{path} lists its output {', '.join(twice)} twice; results are told apart by their names.",
            hint="List it once.",
        )
    return Source(
        name=safe_name(path.stem),
        kind="onnx",
        module=None,
        onnx=path,
        inputs=with_corners_in_order(path, synthesize_from_specs(graph.inputs, seed=0)),
        dynamic=free_axes(graph.inputs),
        digest=graph.digest,
    )

"""Write what selects boxes as the target's runtime has a kernel for it."""

from __future__ import annotations

import tempfile
from dataclasses import replace
from pathlib import Path

from ...profiles.device.target import Target
from ..graphs.files import read_graph, read_model, write_model
from ..graphs.selection import suppressions
from ..quantization.rewrites.suppression_in_a_loop import suppression_in_a_loop
from .candidate import Candidate

_NOTE = "Non-maximum suppression is a loop of plain operators: {} has no kernel for the operator."


def with_selection(candidate: Candidate, target: Target, scratch: Path) -> Candidate:
    """The candidate, whose graph is written anew where it suppresses boxes by an operator that does not run.

    Args:
        scratch: where the graph is written, in a directory of its own.

    Raises:
        RefusedError: it gives a number of rows that depends on data.
    """
    if target.toolchain.suppression == "operator":
        return candidate
    model = read_model(candidate.graph.path)
    if not suppressions(model):
        return candidate
    suppression_in_a_loop(model)
    path = Path(tempfile.mkdtemp(prefix=f"{candidate.precision}-selecting-", dir=scratch)) / "model.onnx"
    write_model(model, path)
    note = _NOTE.format(target.toolchain.name)
    return replace(candidate, graph=read_graph(path, candidate.graph.axes), notes=(*candidate.notes, note))

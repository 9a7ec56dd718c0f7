"""Where a candidate is judged, and what runs for it there."""

from __future__ import annotations

from ...backends.base import Graph
from ...backends.places import Place, Reference
from ...profiles.device.precision import load_precision
from ...profiles.device.target import Target
from ..graphs.files import read_graph
from ..quantization.rewrites.rounded_float16 import is_widened, rounded_float16
from .candidate import Candidate


def judging_place(candidate: Candidate, place: Place, target: Target) -> Place:
    """Where its engine runs and rounds as on the device; else the reference.

    Args:
        place: where engines of the target run.
    """
    runs = candidate.engine is not None and not place.why_not(target)
    return place if runs and not is_widened(candidate.precision, place, target) else Reference()


def graph_run(candidate: Candidate, place: Place) -> Graph:
    """What a place runs of a candidate's graph: beside the device, float16 is rounded as the graph says."""
    graph = candidate.graph
    if place.itself or load_precision(candidate.precision).storage != "float16":
        return graph
    path = graph.path.with_name("rounded.onnx")
    return read_graph(path, graph.axes) if path.exists() else rounded_float16(graph, path)

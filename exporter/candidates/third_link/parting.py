"""Where an engine parts from its graph: values inside of both are compared, and the first that differs is named.

An engine shows a value inside it only where it is compiled with that value as one more output, which keeps the compiler
from fusing across it. So one value is shown at a time, in a search by halves; where the whole difference goes away
with it, a fusion across that value was the cause.
"""

from __future__ import annotations

import tempfile
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING, Literal

import numpy as np

from ....backends.base import Array, Feed, Graph, TensorSpec
from ....backends.places import GraphValues, Place
from ....backends.places.reference import with_inner_outputs
from ....errors import EdgepressError, VerificationError
from ....profiles.device.target import Target
from ....profiles.findings.parity import parity, worst
from ...graphs.files import read_model
from ...graphs.values import constant
from ..candidate import Candidate

if TYPE_CHECKING:
    import onnx_ir as ir

# Two runtimes that compute the same integers differ by far less inside.
PARTED_DB = 25.0
_ROUNDING = frozenset({"QuantizeLinear", "DequantizeLinear"})
_Seen = Literal["agrees", "strays", "cured"]


@dataclass(frozen=True, slots=True, kw_only=True)
class Parting:
    """The first node whose result an engine has wrong.

    Attributes:
        node: its name.
        operator: its operator.
        cured: the engine is right where this result is an output of its own.
        regions: quantized layers that may be to blame, the fewest first: it, or those that read its result,
            then those that it is computed from as well.
    """

    node: str
    operator: str
    cured: bool
    regions: tuple[tuple[str, ...], ...]

    def __str__(self) -> str:
        what = f"{self.node!r} ({self.operator})"
        if self.cured:
            return f"The difference goes away where the result of {what} is an output: what is fused across it is wrong"
        return f"They part at {what}: what comes before it agrees"


def parting(candidate: Candidate, place: Place, target: Target, feed: Feed, threads: int) -> Parting | None:
    """Search a candidate that strays; None where no inner value can be shown, or nothing strays on this feed.

    Args:
        place: where engines of the target are compiled and run.
    """
    model = read_model(candidate.graph.path)
    shown = list(_shown(model.graph))
    with tempfile.TemporaryDirectory(dir=candidate.graph.path.parent, prefix="inner-") as scratch:
        probe = _Probe(candidate, place, target, feed, threads, Path(scratch))
        node, cured = _first(shown, probe)
    if node is None:
        return None
    return Parting(node=str(node.name), operator=node.op_type, cured=cured, regions=tuple(_regions(node)))


def _first(shown: list[tuple[ir.Node, str]], seen: Callable[[str], _Seen]) -> tuple[ir.Node | None, bool]:
    """The first node in order that strays, and whether to show its result cures it."""
    low, high = 0, len(shown) - 1
    while low < high:
        middle = (low + high) // 2
        found = seen(shown[middle][1])
        if found == "cured":
            return shown[middle][0], True
        low, high = (middle + 1, high) if found == "agrees" else (low, middle)
    return (shown[low][0], False) if shown else (None, False)


class _Probe:
    """Compiles the graph with one more output, and compares."""

    def __init__(
        self, candidate: Candidate, place: Place, target: Target, feed: Feed, threads: int, scratch: Path
    ) -> None:
        self._candidate, self._place, self._target = candidate, place, target
        self._feed, self._threads, self._scratch = feed, threads, scratch

    def __call__(self, name: str) -> _Seen:
        """What is seen where the value is shown; one that the compiler does not show agrees."""
        graph = self._candidate.graph
        path = graph.path.with_name(f"{self._scratch.name}.onnx")
        path.write_bytes(with_inner_outputs(graph.path, [name]))
        spec = TensorSpec(name=name, dtype="float32", shape=())
        try:
            with GraphValues(path, kernels="float") as values:
                right = values(self._feed)
            found = self._engine(replace(graph, path=path, outputs=(*graph.outputs, spec)))
        except EdgepressError:
            return "agrees"
        finally:
            path.unlink()
        if _parted({name: right.pop(name)}, {name: found.pop(name)}):
            return "strays"
        return "agrees" if _parted(right, found) else "cured"

    def _engine(self, graph: Graph) -> dict[str, Array]:
        directory = Path(tempfile.mkdtemp(dir=self._scratch))
        precision = self._candidate.precision
        engine = self._place.compile(graph, self._target, directory, precision)
        runs = self._place.runs(graph, self._target, precision, engine)
        assert runs is not None
        with self._place.open(runs, self._threads) as session:
            return session(self._feed)


def _parted(right: Mapping[str, Array], found: Mapping[str, Array]) -> bool:
    """Whether both differ by more than rounding, or are not of one shape, or not finite."""
    try:
        return worst(parity([right], [found])).weakest_db < PARTED_DB
    except VerificationError:
        return True


def _shown(graph: ir.Graph) -> Iterator[tuple[ir.Node, str]]:
    """Nodes that compute floats out of the inputs, in order, and the value that shows their result.

    What is rounded next is shown rounded: otherwise no integer kernel computes it.
    """
    fed = set(graph.inputs)
    for node in graph:
        if not any(value in fed for value in node.inputs):
            continue
        fed.update(node.outputs)
        result = node.outputs[0]
        if node.op_type not in _ROUNDING and not result.is_graph_output() and _is_float(result):
            yield node, str(_rounded(result).name)


def _is_float(value: ir.Value) -> bool:
    import onnx_ir as ir

    # A sequence has the dtype of its elements.
    return value.type is None or (isinstance(value.type, ir.TensorType) and value.dtype == ir.DataType.FLOAT)


def _rounded(value: ir.Value) -> ir.Value:
    """The value behind the Q/DQ that reads it, if nothing else does."""
    for operator in ("QuantizeLinear", "DequantizeLinear"):
        readers = [use.node for use in value.uses()]
        if len(readers) != 1 or readers[0].op_type != operator:
            return value
        value = readers[0].outputs[0]
    return value


def _regions(node: ir.Node) -> Iterator[tuple[str, ...]]:
    """Layers to leave in float together, narrow before wide."""
    behind = tuple(_next_layers(node, _consumers))
    if _has_integer_weight(node):
        yield (str(node.name),)
    elif behind:
        yield behind
    if before := tuple(name for name in _next_layers(node, _producers) if name not in behind):
        yield (*before, *behind)


def _next_layers(node: ir.Node, onwards: Callable[[ir.Node], list[ir.Node]]) -> Iterator[str]:
    """The first layers with quantized weights on every way from a node."""
    found, ahead = {node}, onwards(node)
    while ahead:
        one = ahead.pop()
        if one in found:
            continue
        found.add(one)
        if _has_integer_weight(one):
            yield str(one.name)
        else:
            ahead.extend(onwards(one))


def _producers(node: ir.Node) -> list[ir.Node]:
    return [maker for value in node.inputs if value is not None and (maker := value.producer()) is not None]


def _consumers(node: ir.Node) -> list[ir.Node]:
    return [use.node for value in node.outputs for use in value.uses()]


def _has_integer_weight(node: ir.Node) -> bool:
    if node.op_type in _ROUNDING:
        return False
    makers = (maker for maker in _producers(node) if maker.op_type == "DequantizeLinear")
    if any(constant(maker.inputs[0]) is not None for maker in makers):
        return True
    # A kernel that rounds what it reads by itself has its weights as they are.
    arrays = (constant(value) for value in node.inputs)
    return any(array is not None and array.dtype == np.int8 for array in arrays)

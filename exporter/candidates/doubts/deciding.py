"""What int8 loses where it decides otherwise: rarely, and then much.

A Sign, a comparison or an ArgMax in the middle of a model gives something else where its operand lies next to a bound,
by less than what int8 changes there. That is one sample in a hundred, which 32 samples do not show: they had 50 dB of a
network with a Sign behind a convolution, and 2,000 fresh ones 23 dB. How often it happens grows with the noise, as far
as values lie evenly about the bound: so the FP32 graph is run with several times the noise of int8 at those operands,
and nowhere else, and what that does to the outputs is divided by as much.
"""

from __future__ import annotations

import math
import tempfile
from collections.abc import Callable, Collection, Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
import numpy.typing as npt

from ....backends.base import Array, Feed, Graph
from ....backends.places import GraphValues
from ....errors import VerificationError
from ....profiles.findings.parity import Parity
from ...capture.amounts import with_amounts
from ...capture.captured import Captured
from ...graphs.files import read_model, write_model
from ...graphs.names import free_name, value_names
from ...quantization.analysis.decided import decided_behind_layers
from ...quantization.gains import short_of
from ...quantization.judging import JudgingSamples

if TYPE_CHECKING:
    import onnx_ir as ir

_Noise = npt.NDArray[np.float32]
# So many times the noise decides otherwise as many times as often. Of much more, values lie no more evenly.
_TIMES = 16
_NAMED = 3
# What a memo has them under, by the path of the int8 graph.
DECISIONS = "decisions"


@dataclass(frozen=True, slots=True, kw_only=True)
class _Operand:
    """What a node decides by.

    Attributes:
        exact, rounded: the value in the FP32 graph and in that of int8.
        moved: the input of the changed FP32 graph that is added to it.
    """

    exact: str
    rounded: str
    moved: str


@dataclass(frozen=True, slots=True, kw_only=True)
class Decisions:
    """Where a model decides by what int8 rounds, and what that leaves.

    Attributes:
        nodes: a few of those that decide, in words.
        outputs: that are amounts: of classes, each decision is one of many.
        path: the FP32 graph with an input for what is added to each operand.
        expected_db: SQNR in dB that decisions by the int8 graph leave of each output; inf where they change nothing,
            empty where that cannot be told.
    """

    captured: Captured
    nodes: str
    outputs: frozenset[str]
    path: Path
    operands: tuple[_Operand, ...]
    expected_db: Mapping[str, float] = field(default_factory=dict)

    @classmethod
    def of(
        cls,
        captured: Captured,
        model: ir.Model,
        graph: Graph,
        samples: JudgingSamples,
        outputs: Collection[str],
        directory: Path,
    ) -> Decisions | None:
        """Those of a graph of int8, by its own noise; None where it decides nothing.

        Args:
            model: the captured graph, read.
            directory: where the changed one is written, in a directory of its own.
        """
        if not decided_behind_layers(model.graph, outputs):
            return None
        model = model.clone()
        nodes = decided_behind_layers(model.graph, outputs)
        operands = tuple(_moved(model.graph, nodes, read_model(graph.path).graph))
        if not operands:
            return None
        path = Path(tempfile.mkdtemp(prefix="deciding-", dir=directory)) / "model.onnx"
        write_model(model, path)
        named = ", ".join(f"{node.name!r} ({node.op_type})" for node in nodes[:_NAMED])
        kept = frozenset(outputs)
        found = cls(captured=captured, nodes=named, outputs=kept, path=path, operands=operands)
        with GraphValues(graph.path, found.inner(graph)) as values:
            return replace(found, expected_db=found.expected(samples, values, _TIMES))

    @property
    def rounded(self) -> tuple[str, ...]:
        """The values of the int8 graph that it decides by."""
        return tuple(dict.fromkeys(one.rounded for one in self.operands))

    def inner(self, graph: Graph) -> list[str]:
        """Those that are no outputs of the int8 graph."""
        return _inner(self.rounded, graph)

    def expected(
        self, samples: JudgingSamples, values: Callable[[Feed], Mapping[str, Array]], times: int
    ) -> dict[str, float]:
        """What is left of each output by decisions with the noise of these values, in dB, as `expected_db`.

        Args:
            values: gives those of `rounded` for a feed.
            times: the noise is tried with.
        """
        found = self._with_noise(samples, values, times)
        # Noise of so many times the size has so many times the energy that decisions have with its own.
        return {name: one.weakest_db + 10 * math.log10(times) for name, one in found.items() if name in self.outputs}

    def _with_noise(
        self, samples: JudgingSamples, values: Callable[[Feed], Mapping[str, Array]], times: int
    ) -> dict[str, Parity]:
        """Parity of the changed FP32 graph, fed with the noise; empty where the shapes of outputs hang on it."""
        graph, pairs = self.captured.graph, []
        exact = _inner([one.exact for one in self.operands], graph)
        with GraphValues(graph.path, exact) as right, GraphValues(self.path) as changed:
            for feed in samples.feeds:
                noise = _noise(self.operands, right(feed), values(feed), times)
                if noise is None or (both := _either_sign(changed, feed, noise)) is None:
                    return {}
                pairs.append([with_amounts(answer, self.captured.amounts) for answer in both])
        answers = [one for sign in zip(*pairs, strict=True) for one in sign]
        twice = replace(samples, feeds=(*samples.feeds,) * 2, expected=(*samples.expected,) * 2)
        try:
            return twice.compare(answers, graph)
        except VerificationError:
            return {}


def deciding(decisions: Decisions, samples: JudgingSamples, outputs: Mapping[str, Parity]) -> dict[str, str]:
    """The doubt, by what it is about; empty where int8 decides as FP32 does, or the samples show what it costs.

    Args:
        outputs: what int8 has on the samples, by output.
    """
    if (found := short_of(outputs, decisions.expected_db)) is None:
        return {}
    name, has_db, expected_db = found
    return {
        "decided": f"Output {name!r} hangs on what {decisions.nodes} decides by values that int8 rounds. It has "
        f"{has_db:.1f} dB of SQNR on {samples}, and about {expected_db:.1f} dB are "
        f"to be expected of others, by decisions with {_TIMES} times the noise. "
        "Leave the layers before it in float with --exclude, or decide outside of the model."
    }


def _moved(graph: ir.Graph, nodes: Sequence[ir.Node], rounded: ir.Graph) -> Iterator[_Operand]:
    """Add an input to each operand of the nodes, in place, where the graph of int8 has the same node."""
    import onnx_ir as ir

    taken, same = value_names(graph), {node.name: node for node in rounded}
    for node in nodes:
        other = same.get(node.name)
        if other is None or other.op_type != node.op_type:
            continue
        for index, value in enumerate(node.inputs):
            read = other.inputs[index] if index < len(other.inputs) else None
            if value is None or read is None or value.producer() is None or value.dtype != ir.DataType.FLOAT:
                continue
            added = ir.Input(free_name(f"{value.name}_noise", taken), value.shape, ir.TensorType(ir.DataType.FLOAT))
            moved = ir.node("Add", [value, added], name=f"{added.name}_add")
            moved.outputs[0].name = free_name(f"{value.name}_moved", taken)
            taken |= {str(added.name), str(moved.outputs[0].name)}
            graph.inputs.append(added)
            graph.insert_before(node, moved)
            node.replace_input_with(index, moved.outputs[0])
            yield _Operand(exact=str(value.name), rounded=str(read.name), moved=str(added.name))


def _either_sign(changed: GraphValues, feed: Feed, noise: Mapping[str, _Noise]) -> list[dict[str, Array]] | None:
    """What comes of the noise and of its opposite, which is as likely; None where the graph does not run with it."""
    opposite = {name: np.asarray(-array) for name, array in noise.items()}
    try:
        return [changed({**feed, **one}) for one in (noise, opposite)]
    except Exception:  # onnxruntime's exceptions have no base; a place that noise decides may lie beyond an end
        return None


def _inner(names: Sequence[str], graph: Graph) -> list[str]:
    given = {spec.name for spec in graph.outputs}
    return [name for name in dict.fromkeys(names) if name not in given]


def _noise(
    operands: Sequence[_Operand], right: Feed, found: Mapping[str, Array], times: int
) -> dict[str, _Noise] | None:
    """What is added to each operand; None where int8 has another number of values there."""
    pairs = {one.moved: (right[one.exact], found[one.rounded]) for one in operands}
    if any(exact.shape != rounded.shape for exact, rounded in pairs.values()):
        return None
    wide = {name: (exact.astype(np.float32), rounded.astype(np.float32)) for name, (exact, rounded) in pairs.items()}
    return {name: np.asarray(times * (rounded - exact)) for name, (exact, rounded) in wide.items()}

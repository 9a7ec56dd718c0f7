"""Which layers hurt when int8: each place that int8 rounds is switched on alone, on a few calibration samples.

Noise adds. What the places add alone, summed, predicts what any choice of layers gives (on MiniLM within 0.4 dB), so
that a search along the ranking needs few evaluations. All of it is one session of one graph with switches.
"""

from __future__ import annotations

import math
from collections.abc import Collection, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from glob import escape
from pathlib import Path
from types import TracebackType
from typing import TYPE_CHECKING

import numpy as np
import numpy.typing as npt

from ...backends.base import Array, Feed, Graph
from ...backends.places import Reference
from ...calibration.runner import shape_of
from ...calibration.statistics import Statistics
from ...profiles.device.target import Scheme
from ...profiles.findings.rows import aligned
from ..graphs.files import BESIDE, write_model
from ..graphs.selection import selected_rows
from ..graphs.values import expose
from .analysis.placement import place
from .analysis.reasons import Weight, reason
from .analysis.weight_site import CONVOLUTIONS
from .quantizer import Quantizer
from .rewrites.dynamic_lstm import rows_of
from .switches import SWITCHES, WEIGHT, Switch, insert_switches, switches

if TYPE_CHECKING:
    import onnx_ir as ir

Energies = npt.NDArray[np.float64]
# Inferences that all probes together may take: more samples a probe where the model has few layers.
INFERENCES, MOST_SAMPLES, FEWEST_SAMPLES = 256, 16, 4


@dataclass(frozen=True, slots=True, kw_only=True)
class PlaceNoise:
    """What one place that int8 rounds does alone.

    Attributes:
        output: noise over signal of each of the model's outputs, as powers.
        own: noise over signal of the output of the layer it belongs to, None for a place of no layer.
    """

    output: Energies
    own: float | None


@dataclass(frozen=True, slots=True, kw_only=True)
class Noise:
    """What every place does alone, and which places a choice of layers leaves.

    Attributes:
        graph: the float graph, as it is placed.
        exclude: what the user leaves in float.
        layers: operator of each layer, by name, in the order of the graph.
        places: of full int8.
        why: what makes a layer noisy, by name.
    """

    graph: ir.Graph = field(repr=False)
    scheme: Scheme
    exclude: tuple[str, ...]
    layers: Mapping[str, str]
    places: Mapping[Switch, PlaceNoise]
    why: Mapping[str, str]
    samples: int

    def predicted_db(self, left: Collection[str] = ()) -> float:
        """SQNR of the worst output with these layers in float."""
        return decibel(max(self._total(self._rounded(left)), default=0.0))

    def ranking(self) -> list[str]:
        """Layers, the one first whose rounding does most to the model's worst output."""
        return sorted(self.layers, key=lambda name: -float(self.of(name)[self.worst]))

    def of(self, layer: str, tensor: str | None = None) -> Energies:
        """What a layer does to each output: by rounding its activation, its weight, or both."""
        found = [
            place.output
            for (node, index), place in self.places.items()
            if node == layer and tensor in (None, "weight" if index == WEIGHT else "activation")
        ]
        return np.sum(found, axis=0) if found else np.zeros_like(next(iter(self.places.values())).output)

    def tensor(self, layer: str) -> str:
        """Which of a layer's tensors does more to the worst output."""
        return max(("activation", "weight"), key=lambda tensor: float(self.of(layer, tensor)[self.worst]))

    def own(self, layer: str) -> float:
        """Noise over signal of the layer's own output."""
        return sum(p.own for (node, _), p in self.places.items() if node == layer and p.own is not None)

    def share(self, layer: str) -> float:
        """Of the noise of the worst output."""
        return float(self.of(layer)[self.worst] / max(self._total(self.places)[self.worst], 1e-300))

    @property
    def worst(self) -> int:
        """Index of the output that full int8 hurts most."""
        return int(np.argmax(self._total(self.places)))

    def _total(self, chosen: Iterable[Switch]) -> Energies:
        found = [self.places[switch].output for switch in chosen if switch in self.places]
        return np.sum(found, axis=0) if found else np.zeros_like(next(iter(self.places.values())).output)

    def _rounded(self, left: Collection[str]) -> list[Switch]:
        """The places that are still rounded, by the placement's own rules."""
        return switches(place(self.graph, self.scheme, (*self.exclude, *literal(left))))


def literal(names: Iterable[str]) -> tuple[str, ...]:
    """Patterns that match these node names and nothing else."""
    return tuple(escape(name) for name in names)


def decibel(ratio: float) -> float:
    """SQNR in dB of a noise power over the signal's."""
    return -10 * math.log10(ratio) if ratio > 0 else math.inf


def measure_noise(
    quantizer: Quantizer, graph: Graph, statistics: Statistics, feed: Feed, exclude: tuple[str, ...], scratch: Path
) -> Noise:
    """Round one place after the other on a few samples of a calibration batch.

    Args:
        quantizer: of the float graph, fresh, with the lifts that are applied.
        exclude: what the user leaves in float.
    """
    # Placed once more as it is shipped: with its weights folded, and its products over rows.
    placed = Quantizer.of(graph, quantizer.scheme, exclude)
    with Board(quantizer, graph, statistics, scratch) as board:
        wanted = max(FEWEST_SAMPLES, INFERENCES // max(1, len(board.switches)))
        feed = fewer(feed, graph, min(MOST_SAMPLES, wanted))
        values = {**board.run((), feed, [*board.outputs, *board.results.values(), *board.data.values()]), **feed}
        noise = Noise(
            graph=placed.model.graph,
            scheme=quantizer.scheme,
            exclude=placed.exclude,
            layers=board.layers,
            places={switch: board.alone(switch, feed, values) for switch in board.switches},
            why={},
            samples=graph.samples.count(feed),
        )
        return replace(noise, why=dict(_reasons(noise, board, values)))


class Board:
    """An open session of the graph with switches."""

    def __init__(self, quantizer: Quantizer, graph: Graph, statistics: Statistics, scratch: Path) -> None:
        """Write the graph; the session is opened on entering."""
        quantizer.lift(statistics)
        model, placement = quantizer.model, quantizer.placement
        self.outputs, self._rows = [spec.name for spec in graph.outputs], selected_rows(graph)
        self.layers = {name: node.op_type for name, node in placement.layers.items()}
        grid = quantizer.scheme.weight
        self.tensors = {
            **{str(site.node.name): Weight.of(site, grid) for site in placement.weights},
            **{str(node.name): Weight.of_rows(rows_of(node), grid) for node in placement.dynamic},
        }
        sites = [(site.node, site.data) for site in placement.weights] + [(node, 0) for node in placement.dynamic]
        read = {str(node.name): node.inputs[data] for node, data in sites}
        results = {str(site.node.name): site.node.outputs[0] for site in placement.weights}
        chosen = {str(node.name): _first_result(node) for node in placement.dynamic}
        self.shapes = {name: shape_of(value) for name, value in (results | chosen).items()}
        # A result that is chosen between has its name from then on, one that is rounded keeps its own.
        names = {name: str(value.name) for name, value in chosen.items()}
        self.switches = insert_switches(
            model.graph,
            placement,
            quantizer.scheme,
            quantizer.affines,
            quantizer.biases,
            quantizer.tensors,
            quantizer.fitted,
        )
        self.data = {name: str(value.name) for name, value in read.items() if value is not None}
        self.results = {name: str(value.name) for name, value in results.items()} | names
        self._path = scratch / "switches.onnx"
        expose(model.graph, [*self.results.values(), *self.data.values()])
        write_model(model, self._path, BESIDE)

    def __enter__(self) -> Board:
        # What is judged is the rounding and not a kernel: weights are dequantized once, when the session is opened.
        self._values = Reference().values(self._path, kernels="float")
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._values.close()
        for file in self._path.parent.glob(f"{self._path.name}*"):
            file.unlink()

    def run(self, on: Collection[Switch], feed: Feed, fetch: Sequence[str]) -> dict[str, Array]:
        """Round these places only; returns the values asked for."""
        vector = np.array([switch in on for switch in self.switches])
        names = [name for name in dict.fromkeys(fetch) if name not in feed]
        return self._values({**feed, SWITCHES: vector}, names)

    def alone(self, switch: Switch, feed: Feed, values: Mapping[str, Array]) -> PlaceNoise:
        """What rounding one place does; `values` are those of a run that rounds nothing."""
        result = self.results.get(switch[0])
        found = self.run((switch,), feed, [*self.outputs, *([] if result is None else [result])])
        right, other, _ = aligned({name: values[name] for name in self.outputs}, found, self._rows)
        return PlaceNoise(
            output=np.array([noise_ratio(right[name], other[name]) for name in self.outputs]),
            own=None if result is None else noise_ratio(values[result], found[result]),
        )


def _first_result(node: ir.Node) -> ir.Value:
    """The first result that is read; an LSTM may give its last state only."""
    return next(value for value in node.outputs if value.uses() or value.is_graph_output())


def fewer(feed: Feed, graph: Graph, samples: int) -> Feed:
    """The first samples of a batch, where the model takes a batch of any size."""
    return graph.samples.part(feed, slice(samples)) if graph.samples.divide(graph.inputs) else feed


def noise_ratio(reference: Array, found: Array) -> float:
    """Noise over signal, as powers; 1 of another shape, as a threshold makes it that data pass or do not."""
    if reference.shape != found.shape:
        return 1.0
    r = reference.astype(np.float64)
    signal, noise = float(np.square(r).sum()), float(np.square(r - found.astype(np.float64)).sum())
    return noise / signal if signal > 0 else float(noise > 0)


def _reasons(noise: Noise, board: Board, values: Mapping[str, Array]) -> Iterator[tuple[str, str]]:
    for name, operator in noise.layers.items():
        axis = 1 if operator in CONVOLUTIONS else -1
        figures = (decibel(noise.own(name)), decibel(noise.of(name)[noise.worst]))
        yield (
            name,
            reason(
                board.tensors[name],
                values[board.data[name]],
                axis,
                noise.scheme.activation,
                noise.tensor(name),
                *figures,
            ),
        )

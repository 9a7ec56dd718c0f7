"""From a float graph and calibration statistics to a quantized graph in a target's scheme.

All passes have one call shape and stand in one list, in the order in which they run: those before any data is seen say
what will be quantized, those after make it so.
"""

from __future__ import annotations

import glob
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import TYPE_CHECKING, cast

import numpy as np
import numpy.typing as npt

from ...backends.base import Feed, Graph
from ...calibration.affine import Affine, affine
from ...calibration.ranges.distribution import find_range
from ...calibration.statistics import Examples, Statistics, TensorStatistics
from ...errors import InputError
from ...profiles.device.target import Scheme
from ...profiles.machine.held import temporary
from ..graphs.files import EMBEDDED_LIMIT, read_model, write_model
from ..graphs.means import Means, layer_means
from ..graphs.values import constant
from .analysis.placed import Placement
from .analysis.placement import excluded, place
from .analysis.told_apart import told_apart
from .emitter import QdqEmitter
from .fitted import FittedWeight
from .lifts import LIFTS
from .lifts.correct_bias import CORRECTED, undo
from .lifts.lifted import Finish, Lift
from .rewrites.bytes_apart import bytes_apart
from .rewrites.carry_integers import carry_integers
from .rewrites.constants_apart import constants_apart
from .rewrites.dynamic_lstm import to_integer_lstms
from .rewrites.extremes_apart import extremes_apart
from .rewrites.fold_weights import fold_weights
from .rewrites.joined_rows import joined_rows
from .rewrites.keep_reduced import keep_reduced
from .rewrites.norms_in_scales import norms_in_scales
from .rewrites.patches_to_gemm import patches_to_gemm
from .rewrites.row_biases import row_biases
from .rewrites.rows_to_gemm import rows_to_gemm
from .rewrites.scales_in_place import scales_in_place
from .rewrites.share_tables import share_tables

if TYPE_CHECKING:
    import onnx_ir as ir

AUTO = "auto"
# What `auto` takes of feature maps: the first, unless the second is better on samples.
FEATURE_MAPS = ("mse", "min-max")


@dataclass(slots=True, kw_only=True)
class Quantizer:
    """One graph on its way to integers: place first, then calibrate what was placed, then write.

    Attributes:
        exclude: node names, operator types or shell patterns of either that stay float.
        method: a range method, or `auto`: `feature_maps`, but min-max for the inputs of matrix products, whose rare
            large channels carry the signal, and for gates, whose largest values meet the largest factors.
        feature_maps: the range method of what is neither, where `method` is `auto`.
        lifts: which of LIFTS to apply, in this order.
        placement: what is quantized.
        tensors: what was observed of each quantized value, by name, which lifts keep true.
        fixed: the ranges that a lift has decided, by name.
        affines: how each quantized value is rounded, by name.
        factors, biases: as of `Lifted`, of all lifts together.
        tokens: names of the values that a MatMul of the graph as given reads, whatever reads them later.
        fitted: weights that data have decided, by the name of the layer, for these lifts and statistics.
        examples: gives samples for lifts that finish a rounded graph.
        finishing: what those have left to do.
        notes: what each lift did, of those that did anything.
    """

    model: ir.Model
    scheme: Scheme
    exclude: tuple[str, ...] = ()
    method: str = AUTO
    feature_maps: str = FEATURE_MAPS[0]
    lifts: tuple[str, ...] = field(default_factory=LIFTS.names)
    placement: Placement = field(default_factory=Placement)
    tensors: dict[str, TensorStatistics] = field(default_factory=dict)
    fixed: dict[str, tuple[float, float]] = field(default_factory=dict)
    affines: dict[str, Affine] = field(default_factory=dict)
    factors: dict[str, npt.NDArray[np.float64]] = field(default_factory=dict)
    biases: dict[str, npt.NDArray[np.float32] | None] = field(default_factory=dict)
    tokens: frozenset[str] = frozenset()
    fitted: Mapping[str, FittedWeight] = field(default_factory=dict)
    examples: Examples = field(default_factory=Examples)
    finishing: list[Finish] = field(default_factory=list)
    notes: dict[str, str] = field(default_factory=dict)

    @classmethod
    def of(
        cls,
        graph: Graph,
        scheme: Scheme,
        exclude: tuple[str, ...] = (),
        method: str = AUTO,
        lifts: tuple[str, ...] | None = None,
        *,
        model: ir.Model | None = None,
        fitted: Mapping[str, FittedWeight] | None = None,
        feature_maps: str = FEATURE_MAPS[0],
    ) -> Quantizer:
        """Decide what of the graph is quantized.

        Args:
            lifts: those to apply; None is all that are registered.
            model: the graph, for one who has read it and quantizes it several times; it is left as it is.
            fitted: weights that data have decided.

        Raises:
            InputError: the graph's opset cannot say what the scheme wants.
        """
        model = read_model(graph.path) if model is None else model.clone()
        if (opset := model.opset_imports.get("", 0)) < scheme.opset:
            raise InputError(
                f"The scheme {scheme.name} ({scheme.activation}, {scheme.weight}) needs ONNX opset {scheme.opset}; "
                f"the graph has {opset}."
            )
        lifts = LIFTS.names() if lifts is None else lifts
        quantizer = cls(
            model=model, scheme=scheme, exclude=exclude, method=method, feature_maps=feature_maps, lifts=lifts,
            fitted=fitted or {},
        )  # fmt: skip
        quantizer._run(BEFORE_DATA)
        return quantizer

    def write(self, statistics: Statistics, path: Path, limit: int = EMBEDDED_LIMIT) -> dict[str, str]:
        """Rewrite the model in integers to `path`, once; returns what each lift did, of those that did anything.

        Args:
            limit: as of `write_model`.
        """
        self.tensors, self.examples = dict(statistics.tensors), statistics.examples
        self._run((*ON_FLOATS, *TO_INTEGERS))
        write_model(self.model, path, limit)
        return self.notes

    def lift(self, statistics: Statistics) -> None:
        """Apply the lifts to the float model and find the ranges, without rounding anything. Call once."""
        self.tensors = dict(statistics.tensors)
        self._run(ON_FLOATS)

    def emit(self, statistics: Statistics, **forms: str) -> None:
        """Put Q/DQ pairs into the model, without what only runtimes ask for. Call once, after nothing else.

        Args:
            forms: fields of the scheme that say how weights and biases are stored.
        """
        self.lift(statistics)
        scheme = replace(self.scheme, **forms)  # type: ignore[arg-type]
        QdqEmitter(self.model.graph, scheme, self.affines, fitted=self.fitted).run(self.placement)

    def ranges(self, tensors: Mapping[str, TensorStatistics]) -> dict[str, Affine]:
        """Scale and zero point of every quantized value by name; values that share a range get the same.

        Args:
            tensors: what was observed; where a lift has decided a range, that holds.
        """
        affines: dict[str, Affine] = {}
        for values in self.placement.groups().values():
            names = [str(value.name) for value in values]
            if names[0] in self.fixed:
                low, high = self.fixed[names[0]]
            else:
                states = [_state(value, tensors) for value in values]
                low, high = find_range(states, self._method(values), self.scheme.activation, told_apart(values))
            affines.update(dict.fromkeys(names, affine(low, high, self.scheme.activation)))
        return affines

    @property
    def chooses(self) -> bool:
        """Whether a range hangs on the method of feature maps."""
        return self.method == AUTO and any(self._are_maps(values) for values in self.placement.groups().values())

    def _method(self, values: list[ir.Value]) -> str:
        if self.method != AUTO:
            return self.method
        return self.feature_maps if self._are_maps(values) else "min-max"

    def _are_maps(self, values: list[ir.Value]) -> bool:
        gates, tokens = self.placement.gates, self.tokens
        return gates.isdisjoint(values) and tokens.isdisjoint(str(value.name) for value in values)

    def _run(self, passes: tuple[Pass, ...]) -> None:
        for step in passes:
            step(self)


def _weights_folded(quantizer: Quantizer) -> None:
    fold_weights(quantizer.model, (*quantizer.scheme.weighted, *quantizer.scheme.dynamic))


def _tokens_known(quantizer: Quantizer) -> None:
    """Before products become Gemms, which is a form of the runtime's and says nothing of what is read."""
    products = (node for node in quantizer.model.graph if node.op_type == "MatMul" and node.domain == "")
    quantizer.tokens = frozenset(str(value.name) for node in products for value in node.inputs if value)


def _products_over_rows(quantizer: Quantizer) -> None:
    if quantizer.scheme.rows:
        quantizer.exclude = _by_name(quantizer.model.graph, quantizer.exclude)
        rows_to_gemm(quantizer.model)


def _placed(quantizer: Quantizer) -> None:
    quantizer.placement = place(quantizer.model.graph, quantizer.scheme, quantizer.exclude)


def _placed_by_range(quantizer: Quantizer) -> None:
    """Once data are known, what no one scale suits does not share one."""
    quantizer.placement = place(quantizer.model.graph, quantizer.scheme, quantizer.exclude, quantizer.tensors)


def _lifted(quantizer: Quantizer) -> None:
    for name in quantizer.lifts:
        lift, tensors = cast(Lift, LIFTS.load(name)), quantizer.tensors
        lifted = lift(quantizer.model.graph, quantizer.placement, tensors, quantizer.scheme)
        if lifted.finish is not None:
            # What data have decided of weights goes with biases of its own.
            if quantizer.fitted or not quantizer.examples():
                continue
            quantizer.finishing.append(lifted.finish)
        for value, factors in lifted.factors.items():
            quantizer.factors[value] = quantizer.factors.get(value, 1.0) * factors
            if value in tensors:
                tensors[value] = _divided(tensors[value], factors)
        quantizer.fixed.update(lifted.ranges)
        quantizer.biases.update(lifted.biases)
        if lifted.note:
            quantizer.notes[name] = lifted.note


def _ranged(quantizer: Quantizer) -> None:
    quantizer.affines = quantizer.ranges(quantizer.tensors)


def _rounded(quantizer: Quantizer) -> None:
    graph, scheme, affines = quantizer.model.graph, quantizer.scheme, quantizer.affines
    meant = _meant(quantizer) if quantizer.finishing else {}
    QdqEmitter(graph, scheme, affines, fitted=quantizer.fitted).run(quantizer.placement)
    for finish in quantizer.finishing:
        finish(quantizer.model, meant, quantizer.examples())


def _meant(quantizer: Quantizer) -> dict[str, Means]:
    """What layers of the float graph give in the mean, without what lifts add to their biases for its rounding.

    Found once for all graphs with these lifts: their ranges decide no more of it than by what channels are divided.
    """
    nodes = [node for node in quantizer.model.graph if node.op_type in CORRECTED]
    divided = {str(node.name): quantizer.factors.get(str(node.outputs[0].name), 1.0) for node in nodes}

    def found(samples: tuple[Feed, ...]) -> dict[str, Means]:
        model = quantizer.model.clone()
        undo(model.graph, quantizer.biases)
        with temporary() as scratch:
            means = layer_means(model, CORRECTED, samples, scratch / "float.onnx")
        return {name: mean * divided[name] for name, mean in means.items()}

    plain = quantizer.examples.once((quantizer.scheme.name, quantizer.lifts), found)
    return {name: mean / divided[name] for name, mean in plain.items()}


def _integers_carried(quantizer: Quantizer) -> None:
    if quantizer.scheme.carried:
        carry_integers(quantizer.model.graph, quantizer.scheme)


def _extremes_apart(quantizer: Quantizer) -> None:
    extremes_apart(quantizer.model.graph, quantizer.scheme.extremes_apart)


def _reductions_kept(quantizer: Quantizer) -> None:
    keep_reduced(quantizer.model.graph, quantizer.scheme.keep_reduced)


def _biases_as_rows(quantizer: Quantizer) -> None:
    if quantizer.scheme.row_biases:
        row_biases(quantizer.model.graph)


def _norms_in_scales(quantizer: Quantizer) -> None:
    if quantizer.scheme.scales_move:
        norms_in_scales(quantizer.model.graph)


def _scales_in_place(quantizer: Quantizer) -> None:
    if quantizer.scheme.scales_move:
        scales_in_place(quantizer.model.graph)
        joined_rows(quantizer.model.graph)


def _bytes_apart(quantizer: Quantizer) -> None:
    if quantizer.scheme.bytes_apart:
        bytes_apart(quantizer.model.graph)


def _constants_apart(quantizer: Quantizer) -> None:
    constants_apart(quantizer.model.graph, quantizer.scheme.apart)


def _tables_shared(quantizer: Quantizer) -> None:
    share_tables(quantizer.model.graph)


def _patches_as_products(quantizer: Quantizer) -> None:
    patches_to_gemm(quantizer.model.graph, quantizer.placement.patches)


def _dynamic_in_integers(quantizer: Quantizer) -> None:
    placed = quantizer.placement.dynamic
    to_integer_lstms(quantizer.model.graph, placed, quantizer.scheme.weight, quantizer.tensors)


# A pass changes the quantizer it is given. All of them, in order:
Pass = Callable[[Quantizer], None]
BEFORE_DATA: tuple[Pass, ...] = (_weights_folded, _tokens_known, _products_over_rows, _placed)
ON_FLOATS: tuple[Pass, ...] = (_placed_by_range, _lifted, _ranged)
TO_INTEGERS: tuple[Pass, ...] = (
    _rounded,
    _norms_in_scales,
    _integers_carried,
    _extremes_apart,
    _reductions_kept,
    _biases_as_rows,
    _scales_in_place,
    _constants_apart,
    _bytes_apart,
    _patches_as_products,
    _dynamic_in_integers,
    _tables_shared,
)


def _state(value: ir.Value, tensors: Mapping[str, TensorStatistics]) -> TensorStatistics:
    """What was observed of a value; a constant's range is its own."""
    array = constant(value)
    return tensors[str(value.name)] if array is None else TensorStatistics.of(array)


def _divided(state: TensorStatistics, factors: npt.NDArray[np.float64]) -> TensorStatistics:
    """The state with its channels divided; the range comes from the lift, as the histogram cannot follow."""
    return state if state.channels is None else replace(state, channels=state.channels.divided(factors))


def _by_name(graph: ir.Graph, exclude: tuple[str, ...]) -> tuple[str, ...]:
    """The patterns as names of the nodes that they mean, for a graph whose operators are about to become others."""
    if any(not node.name for node in graph):
        return exclude
    return tuple(glob.escape(str(node.name)) for node in graph if excluded(node, exclude))

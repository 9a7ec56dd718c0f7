"""From a float graph and calibration statistics to an int8 graph in a target's scheme."""

from __future__ import annotations

import glob
from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import TYPE_CHECKING, cast

import numpy as np
import numpy.typing as npt

from ...backends.base import Graph
from ...calibration.affine import Affine, affine
from ...calibration.ranges.distribution import find_range
from ...calibration.statistics import Statistics, TensorStatistics
from ...errors import InputError
from ...profiles.device.target import Scheme
from ..graphs.files import write_model
from .emitter import QdqEmitter
from .lifts import LIFTS
from .lifts.lifted import Lift
from .placement import Placement, excluded, place
from .rewrites.patches_to_gemm import patches_to_gemm
from .rewrites.rows_to_gemm import rows_to_gemm

if TYPE_CHECKING:
    import onnx_ir as ir

AUTO = "auto"


@dataclass(frozen=True, slots=True, kw_only=True)
class Applied:
    """What the lifts did together.

    Attributes:
        notes: what each did, of those that did anything.
        ranges: how each quantized value is rounded, by name.
        biases: as `Lifted.biases`.
    """

    notes: dict[str, str]
    ranges: dict[str, Affine]
    biases: Mapping[str, npt.NDArray[np.float32] | None]


@dataclass(slots=True)
class Quantizer:
    """One graph on its way to int8: place first, then calibrate what was placed, then write.

    Attributes:
        method: a range method, or `auto`: least mean squared error, but min-max for the inputs of matrix products,
            whose rare large channels carry the signal.
        lifts: which of LIFTS to apply, in this order.
    """

    model: ir.Model
    scheme: Scheme
    placement: Placement
    method: str = AUTO
    lifts: tuple[str, ...] = field(default_factory=LIFTS.names)

    @classmethod
    def of(
        cls,
        graph: Graph,
        scheme: Scheme,
        exclude: tuple[str, ...] = (),
        method: str = AUTO,
        lifts: tuple[str, ...] | None = None,
    ) -> Quantizer:
        """Load the graph and decide what is quantized.

        Args:
            lifts: those to apply; None is all that are registered.

        Raises:
            InputError: the graph's opset cannot say what the scheme wants.
        """
        import onnx_ir as ir

        model = ir.load(graph.path)
        if (opset := model.opset_imports.get("", 0)) < scheme.opset:
            raise InputError(
                f"The scheme {scheme.name} ({scheme.activation}, {scheme.weight}) needs ONNX opset {scheme.opset}; "
                f"the graph has {opset}."
            )
        if scheme.rows:
            exclude = _by_name(model.graph, exclude)
            rows_to_gemm(model)
        return cls(
            model=model,
            scheme=scheme,
            placement=place(model.graph, scheme, exclude),
            method=method,
            lifts=LIFTS.names() if lifts is None else lifts,
        )

    def write(self, statistics: Statistics, path: Path) -> dict[str, str]:
        """Rewrite the model in int8 to `path`; returns what each lift did, of those that did anything. Call once."""
        lifted = self.lift(statistics)
        QdqEmitter(self.model.graph, self.scheme, lifted.ranges).run(self.placement)
        patches_to_gemm(self.model.graph, self.placement.patches)
        write_model(self.model, path)
        return lifted.notes

    def lift(self, statistics: Statistics) -> Applied:
        """Apply the lifts to the float model."""
        graph, notes, tensors = self.model.graph, {}, dict(statistics.tensors)
        fixed: dict[str, tuple[float, float]] = {}
        biases: dict[str, npt.NDArray[np.float32] | None] = {}
        for name in self.lifts:
            lifted = cast(Lift, LIFTS.load(name))(graph, self.placement, tensors, self.scheme)
            tensors.update({value: _divided(tensors[value], factors) for value, factors in lifted.factors.items()})
            fixed.update(lifted.ranges)
            biases.update(lifted.biases)
            if lifted.note:
                notes[name] = lifted.note
        return Applied(notes=notes, ranges=self.ranges(tensors, fixed), biases=biases)

    def ranges(
        self, tensors: Mapping[str, TensorStatistics], fixed: Mapping[str, tuple[float, float]] | None = None
    ) -> dict[str, Affine]:
        """Scale and zero point of every quantized value by name; values that share a range get the same.

        Args:
            tensors: what was observed.
            fixed: ranges that a lift has already decided.
        """
        found: dict[str, Affine] = {}
        for values in self.placement.groups().values():
            names = [str(value.name) for value in values]
            if fixed and names[0] in fixed:
                low, high = fixed[names[0]]
            else:
                states = [tensors[name] for name in names]
                low, high = find_range(states, self._method(values), self.scheme.activation)
            found.update(dict.fromkeys(names, affine(low, high, self.scheme.activation)))
        return found

    def _method(self, values: list[ir.Value]) -> str:
        if self.method != AUTO:
            return self.method
        readers = (node.op_type for value in values for node, _ in self.placement.edges[value])
        return "min-max" if "MatMul" in readers else "mse"


def _divided(state: TensorStatistics, factors: npt.NDArray[np.float64]) -> TensorStatistics:
    """The state with its channels divided; the range comes from the lift, as the histogram cannot follow."""
    return state if state.channels is None else replace(state, channels=state.channels.divided(factors))


def _by_name(graph: ir.Graph, exclude: tuple[str, ...]) -> tuple[str, ...]:
    """The patterns as names of the nodes that they mean, for a graph whose operators are about to become others."""
    if any(not node.name for node in graph):
        return exclude
    return tuple(glob.escape(str(node.name)) for node in graph if excluded(node, exclude))

"""From a float graph and calibration statistics to an int8 graph in a target's scheme."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from ..backends.base import Graph
from ..calibration.affine import Affine, affine
from ..calibration.ranges import find_range
from ..calibration.statistics import Statistics
from ..profiles.target import Scheme
from .graphs import write_model
from .passes.correct_bias import correct_bias
from .passes.insert_qdq import InsertQdqPass
from .passes.placement import Placement, place
from .passes.smooth import Smoothed, smooth

if TYPE_CHECKING:
    import onnx_ir as ir

LIFTS = ("smooth", "correct-bias")
AUTO = "auto"


@dataclass(slots=True)
class Quantizer:
    """One graph on its way to int8: place first, then calibrate what was placed, then write.

    Attributes:
        method: a range method, or `auto`: least mean squared error, but min-max for the inputs of matrix products,
            whose rare large channels carry the signal.
        lifts: which of LIFTS to apply.
    """

    model: ir.Model
    scheme: Scheme
    placement: Placement
    method: str = AUTO
    lifts: tuple[str, ...] = LIFTS

    @classmethod
    def of(
        cls,
        graph: Graph,
        scheme: Scheme,
        exclude: tuple[str, ...] = (),
        method: str = AUTO,
        lifts: tuple[str, ...] = LIFTS,
    ) -> Quantizer:
        """Load the graph and decide what is quantized."""
        import onnx_ir as ir

        model = ir.load(graph.path)
        return cls(
            model=model, scheme=scheme, placement=place(model.graph, scheme, exclude), method=method, lifts=lifts
        )

    def write(self, statistics: Statistics, path: Path) -> tuple[str, ...]:
        """Rewrite the model in int8 to `path`; returns what was done, a sentence each. Call once."""
        graph, tensors, notes = self.model.graph, statistics.tensors, []
        smoothed = Smoothed(ranges={}, folded=0, multiplied=0)
        if "smooth" in self.lifts:
            smoothed = smooth(graph, self.placement, tensors, self.scheme)
            if smoothed.ranges:
                notes.append(
                    f"SmoothQuant: {smoothed.folded} tensors folded into a norm, {smoothed.multiplied} through a Mul."
                )
        if "correct-bias" in self.lifts and (corrected := correct_bias(graph, self.placement, tensors)):
            notes.append(f"Bias correction: {corrected} layers.")
        ranges = self.ranges(statistics, smoothed.ranges)
        InsertQdqPass(graph, self.scheme, ranges).run(self.placement)
        write_model(self.model, path)
        return tuple(notes)

    def ranges(self, statistics: Statistics, fixed: Mapping[str, tuple[float, float]]) -> dict[str, Affine]:
        """Scale and zero point of every quantized value by name; values that share a range get the same.

        Args:
            fixed: ranges that a pass has already decided.
        """
        found: dict[str, Affine] = {}
        for values in self.placement.groups().values():
            names = [str(value.name) for value in values]
            if names[0] in fixed:
                low, high = fixed[names[0]]
            else:
                states = [statistics.tensors[name] for name in names]
                low, high = find_range(states, self._method(values), symmetric=self.scheme.symmetric)
            found.update(dict.fromkeys(names, affine(low, high, self.scheme)))
        return found

    def _method(self, values: list[ir.Value]) -> str:
        if self.method != AUTO:
            return self.method
        readers = (node.op_type for value in values for node, _ in self.placement.edges[value])
        return "min-max" if "MatMul" in readers else "mse"

"""The graph that rules look at, and the words for what they find in it."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from ...backends.base import AxisRange
from ...profiles.device.target import Target
from ..graphs.files import read_model
from ..graphs.inferred import infer_shapes
from .finding import Finding, Severity
from .qdq import Qdq, qdq_nodes

if TYPE_CHECKING:
    import onnx_ir as ir


@dataclass(frozen=True, slots=True, kw_only=True)
class Examined:
    """A graph and the target it is held against.

    Attributes:
        model: with its constants as initializers and shapes inferred as far as they follow.
        axes: ranges of its free axes, of those that have one.
        qdq: its QuantizeLinear and DequantizeLinear nodes, in order.
        own_parser: the target's own compiler judges the graph on this machine, so that what it reads is not guessed.
    """

    model: ir.Model
    path: Path
    target: Target
    axes: Mapping[str, AxisRange]
    qdq: tuple[Qdq, ...]
    own_parser: bool

    @property
    def opset(self) -> int:
        """Of ONNX's own operators; 0 where the file names none."""
        return self.model.opset_imports.get("", 0)


def examine(path: Path, target: Target, axes: Mapping[str, AxisRange], *, own_parser: bool) -> Examined:
    """Read the file; its weights are read when a rule asks for them.

    Raises:
        InputError: it is damaged.
    """
    model = _with_shapes(read_model(path))
    found = tuple(qdq_nodes(model.graph))
    return Examined(model=model, path=path, target=target, axes=axes, qdq=found, own_parser=own_parser)


def found_at(node: ir.Node | None, severity: Severity, said: str, *, remedy: str, source: str) -> Finding:
    """A finding at a node, or of the whole file."""
    name, operator = ("", "") if node is None else (label(node), node.op_type)
    flat = " ".join(source.split())
    return Finding(severity=severity, node=name, operator=operator, said=said, remedy=remedy, source=flat)


def label(node: ir.Node) -> str:
    """The name, or what tells a nameless node apart, as backends call it."""
    return node.name or f"{node.op_type} -> {', '.join(str(value.name) for value in node.outputs)}"


def _with_shapes(model: ir.Model) -> ir.Model:
    """Constants lifted, and shapes inferred as far as that goes; without, the rules on memory and types see less."""
    import onnx_ir.passes.common as passes

    passes.LiftConstantsToInitializersPass(lift_all_constants=True, size_limit=0)(model)
    infer_shapes(model, strict=False)
    return model

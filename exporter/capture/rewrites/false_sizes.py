"""Sizes of outputs that a file fixes although its inputs leave them free, as of a batch of 1 that an exporter saw."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, TypeAlias

from ...graphs.inferred import infer_shapes

if TYPE_CHECKING:
    import onnx_ir as ir

_Sizes: TypeAlias = Sequence[int | str | None]


def free_false_sizes(model: ir.Model) -> None:
    """Give outputs the sizes that follow from the inputs', where the file has others; runtimes would plan by those.

    What does not follow stays as declared, but for a 1, which is the batch that nobody thought of.
    """
    import onnx_ir as ir

    declared = {str(v.name): _sizes(v.shape) for v in model.graph.outputs if v.shape is not None and v.producer()}
    fixed = {name: sizes for name, sizes in declared.items() if any(isinstance(size, int) for size in sizes)}
    for value in model.graph.outputs:
        if value.name in fixed:
            value.shape = None
    infer_shapes(model)
    for value in model.graph.outputs:
        if value.name in fixed:
            value.shape = ir.Shape(_true(str(value.name), fixed, value.shape))


def _true(name: str, declared: Mapping[str, _Sizes], found: ir.Shape | None) -> _Sizes:
    sizes = declared[name]
    follows = [None] * len(sizes) if found is None or found.rank() != len(sizes) else _sizes(found)
    free = [f"{name}_axis{axis}" if size == 1 else size for axis, size in enumerate(sizes)]
    return [given if seen is None else seen for given, seen in zip(free, follows, strict=True)]


def _sizes(shape: ir.Shape) -> _Sizes:
    return [size if isinstance(size, int) else size.value for size in shape]

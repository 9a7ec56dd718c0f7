"""From a source to an ONNX graph at the target's opset."""

from __future__ import annotations

import contextlib
import re
from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING

from ...backends.base import AxisRange, Graph
from ...errors import InputError, UnservedError
from ..graphs.damage import damage_explained
from ..graphs.files import read_graph, write_model
from ..graphs.selection import suppressions
from ..graphs.synthesis import synthesize
from ..sources import Source, torch_predict
from .from_torch.fixed_size import fixed_size
from .from_torch.torch_to_onnx import exported
from .onnx_to_opset import LOWEST_OPSET, converted
from .preprocessing import prepend
from .rewrites.affine_to_conv import affine_to_conv
from .rewrites.axes_apart import axes_apart
from .rewrites.cast_bytes_first import cast_bytes_first
from .rewrites.clean_metadata import clean_metadata
from .rewrites.computed_splits import splits_by_slices
from .rewrites.count_pads import count_pads
from .rewrites.dft_on_axis_one import dft_on_axis_one
from .rewrites.dilated_pool import dilated_pool
from .rewrites.drop_expand import drop_expand
from .rewrites.drop_reshapes import drop_reshapes
from .rewrites.explicit_pads import explicit_pads
from .rewrites.eye_by_places import eye_by_places
from .rewrites.false_sizes import free_false_sizes
from .rewrites.fit_pools import fit_pools
from .rewrites.hard_swish import hard_swish
from .rewrites.log_sigmoid import log_sigmoid
from .rewrites.mean_to_pool import mean_to_pool
from .rewrites.norm_to_linear import norm_to_linear
from .rewrites.outputs_apart import outputs_apart
from .rewrites.pad_apart import pad_apart
from .rewrites.plain_elu import plain_elu
from .rewrites.plain_gemm import plain_gemm, products_to_gemm
from .rewrites.resize_to_sizes import resize_to_sizes
from .rewrites.round_down_pools import round_down_pools
from .rewrites.scale_to_norm import scale_to_norm
from .rewrites.whole_dft import whole_dft
from .rewrites.wrap_by_slices import wrap_by_slices

if TYPE_CHECKING:
    import onnx_ir as ir

# With other values, to see which sizes depend on them.
_MORE_RUNS = 4
# What is written otherwise in every graph, since a runtime reads it wrongly or has no integer kernel for it, in order.
REWRITES = (
    splits_by_slices,
    mean_to_pool,
    dilated_pool,
    count_pads,
    wrap_by_slices,
    pad_apart,
    explicit_pads,
    fit_pools,
    round_down_pools,
    resize_to_sizes,
    whole_dft,
    dft_on_axis_one,
    eye_by_places,
    plain_elu,
    plain_gemm,
    norm_to_linear,
    drop_reshapes,
    drop_expand,
    axes_apart,
    outputs_apart,
)
# The same, of the network alone: which nodes are around it is known once they have their names.
OF_NETWORK = (products_to_gemm, hard_swish, affine_to_conv)


def capture(
    source: Source,
    opset: int,
    path: Path,
    axes: Mapping[str, AxisRange],
    *,
    tracing: bool = False,
    moves_bytes: bool = True,
) -> Graph:
    """Write the source as ONNX to `path`, cleaned: the same source gives the same bytes.

    A torch model is exported at exactly `opset`; an ONNX file keeps its own between 13 and `opset`. Batch normalization
    is folded, constants are initializers, and inputs, outputs and free axes carry the source's names.

    Args:
        path: the `.onnx` file to write; large weights go beside it.
        axes: ranges of the free axes by name, carried in the graph.
        tracing: use torch's tracing exporter whatever the opset.
        moves_bytes: as a toolchain has it.

    Raises:
        InputError: the model cannot be exported; the user's line and a remedy are given.
        UnservedError: the exporter produced another opset than asked.
    """
    with contextlib.nullcontext() if source.onnx is None else damage_explained(source.onnx):
        _write(source, opset, path, tracing=tracing, moves_bytes=moves_bytes)
    try:
        return read_graph(path, axes)
    except InputError as error:
        raise _own_fault(source, error) from error


def _write(source: Source, opset: int, path: Path, *, tracing: bool, moves_bytes: bool) -> None:
    if source.onnx is None:
        model = exported(source, opset, path.parent, tracing=tracing)
    else:
        model = converted(source.onnx, opset)
        if source.before is not None:
            prepend(model, source, model.opset_imports[""], path.parent)
    _check_opset(model, source, opset)
    _name_axes(model, source)
    if source.module is not None:
        _name_output_axes(model.graph, source)
    elif source.dynamic:
        free_false_sizes(model)
    if source.onnx is None:  # of a file onnxruntime's own answer is what is right
        log_sigmoid(model)
    for rewrite in REWRITES:
        rewrite(model)
    clean_metadata(model, rename=source.onnx is None)
    for rewrite in OF_NETWORK:
        rewrite(model)
    scale_to_norm(model)
    if not moves_bytes:
        cast_bytes_first(model)
    write_model(model, path)


def _own_fault(source: Source, error: InputError) -> InputError:
    """What we made of the model is no valid graph; the user never saw the file that this is about."""
    said = error.message.partition("is not a valid ONNX model: ")[2] or error.message
    return InputError(
        f"{source.onnx or source.name} became a graph that is not valid, by the tools that capture it: {said}",
        hint="Export the model at another opset (17 to 20 are used most), and report this as a fault of edgepress.",
    )


def _check_opset(model: ir.Model, source: Source, opset: int) -> None:
    got = model.opset_imports.get("")
    exact = source.onnx is None
    if got is None or got > opset or (got < opset if exact else got < LOWEST_OPSET):
        raise UnservedError(
            f"{source.name} was asked for at ONNX opset {opset} and came out at {got}.",
            hint="Choose a target or a toolchain (TARGET@TOOLCHAIN) with another opset.",
        )


def _name_axes(model: ir.Model, source: Source) -> None:
    """Call the free axes as the source does, in every value's shape, and check that they did stay free.

    Raises:
        InputError: an axis was fixed, or two names turned out to be one size.
    """
    names: dict[str, str] = {}
    for value in model.graph.inputs:
        for axis, wanted in source.dynamic.get(str(value.name), {}).items():
            size = _named_size(value, axis, wanted)
            if isinstance(size, int):
                raise fixed_size(wanted, str(value.name), axis, size)
            if names.setdefault(size, wanted) != wanted:
                raise InputError(
                    f"The axes {names[size]!r} and {wanted!r} of {source.name} always have the same size.",
                    hint="Give them one name.",
                )
    changed = {old: new for old, new in names.items() if old != new}
    if changed:
        _rename_sizes(model, changed)


def _named_size(value: ir.Value, axis: int, name: str) -> int | str:
    """The size of an input's axis; a free one without a name is given it."""
    import onnx_ir as ir

    assert value.shape is not None
    sizes = [size if isinstance(size, int) else size.value for size in value.shape]
    if sizes[axis] is None:
        sizes[axis] = name
        value.shape = ir.Shape(sizes)
    found = sizes[axis]
    assert found is not None
    return found


def _name_output_axes(graph: ir.Graph, source: Source) -> None:
    """Where the exporter lost track of an output's sizes, read them off the module, run at other sizes of the axes."""
    import onnx_ir as ir

    usual = {n: source.inputs[name].shape[axis] for name, free in source.dynamic.items() for axis, n in free.items()}
    if all(_is_known(value.shape, usual) for value in graph.outputs):
        return
    # A factor of its own tells each axis from the others, and keeps what a size must be divisible by.
    other = {name: size * (2 + index) for index, (name, size) in enumerate(usual.items())}
    predict = torch_predict(source)
    one = predict(source.inputs)
    try:
        two = predict(synthesize(source.inputs, source.dynamic, other, seed=0))
    except Exception:
        return  # too large for this model; only names are lost, and the proof runs at the sizes that count
    # Where boxes are selected, two runs may by chance give as many.
    seeds = range(1, _MORE_RUNS + 1) if suppressions(graph) else ()
    alike = [predict(synthesize(source.inputs, source.dynamic, usual, seed)) for seed in seeds]
    for value in graph.outputs:
        name = str(value.name)
        sizes = list(zip(one[name].shape, two[name].shape, strict=True))
        labels = [_label(a, b, usual, other, f"{name}_axis{i}") for i, (a, b) in enumerate(sizes)]
        varying = {i for more in alike for i, size in enumerate(more[name].shape) if size != one[name].shape[i]}
        value.shape = ir.Shape([f"{name}_axis{i}" if i in varying else label for i, label in enumerate(labels)])


def _is_known(shape: ir.Shape | None, axes: Mapping[str, int]) -> bool:
    return shape is not None and all(isinstance(size, int) or size.value in axes for size in shape)


def _label(first: int, second: int, usual: Mapping[str, int], other: Mapping[str, int], fallback: str) -> int | str:
    """The size that did not change, else the axis that changed as it did."""
    if first == second:
        return first
    return next((name for name in usual if (usual[name], other[name]) == (first, second)), fallback)


def _rename_sizes(model: ir.Model, names: Mapping[str, str]) -> None:
    """Replace symbols in all shapes, inside expressions like `2*s0` too."""
    import onnx_ir as ir

    pattern = re.compile("|".join(rf"(?<![\w.]){re.escape(old)}(?![\w.])" for old in names))
    for graph in model.graphs():
        for value in (*graph.inputs, *(output for node in graph for output in node.outputs)):
            if value.shape is not None and not value.shape.is_static():
                sizes = (size if isinstance(size, int) else size.value for size in value.shape)
                renamed = (pattern.sub(lambda m: names[m[0]], s) if isinstance(s, str) else s for s in sizes)
                value.shape = ir.Shape(renamed)

"""An ONNX file as a model in memory, at an opset that the target reads, optimized."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

from ...errors import InputError
from ..graphs.files import read_model, says_nothing
from ..graphs.group_norm import BY_CHANNEL as GROUPS_BY_CHANNEL
from ..graphs.group_norm import spell_group_norms
from ..graphs.inferred import infer_shapes
from ..graphs.names import first_ir_version, free_name
from ..graphs.opsets import attributes_of, is_onnx, means_the_same, parted, rounds_up
from ..graphs.values import everywhere
from ..sources.quiet import quiet
from .original import in_float32
from .rewrites.computed_splits import computed_splits_stay
from .rewrites.exact_constants import exact_constants
from .rewrites.hard_swish import SINCE, spelled_out

if TYPE_CHECKING:
    import onnx_ir as ir

# Per-channel DequantizeLinear and the inputs of ReduceSum, Squeeze and Clip as the passes know them begin here.
LOWEST_OPSET = 13
# Before it, initializers had to be listed among the inputs.
_LOWEST_IR = 7
# Resize has its modes since 11; before, it was what 11 calls asymmetric and floor.
_MODES_OPSET = 11
# Attributes that the optimizer or the converter leaves in opsets that do not have them, where they say nothing: of
# tensors without elements, of parts that are of one size, and of a pad that is no constant.
_LEFT = {"Reshape": "allowzero", "Split": "num_outputs", "Pad": "value"}
# From here on the axes of these are an input; OpenVINO 2026.4 overlooks the attribute, and reduces all axes.
_AXES_OPSET = 18
_OVERLOOKED = frozenset({"ReduceL1", "ReduceLogSum", "ReduceLogSumExp"})


def converted(path: Path, opset: int) -> ir.Model:
    """The model of the file in float32, at its own opset where that lies between 13 and `opset`, else brought there.

    A HardSwish that is spelled out makes it 14, which has that operator, where it can be brought there.

    Raises:
        InputError: the converter cannot bring it there.
    """
    from onnx import helper
    from onnx_ir.passes import common

    model = read_model(path)
    common.RemoveInitializersFromInputsPass()(model)
    in_float32(model)
    given = model.opset_imports.get("", 0)
    wanted = min(max(given, LOWEST_OPSET if _reads_axes(model) else _AXES_OPSET), opset)
    _free_what_is_unknown(model)
    _free_false_outputs(model)
    if given < GROUPS_BY_CHANNEL or wanted < GROUPS_BY_CHANNEL:
        spell_group_norms(model)
    if wanted != given:
        _convert(model, path, given, wanted)
    model = optimized(model)
    _free_what_is_unknown(model)
    if wanted < SINCE <= opset and spelled_out(model):
        model, wanted = _at_hard_swish(model, path, wanted)
    newest = first_ir_version([helper.make_opsetid("", wanted)])
    model.ir_version = max(min(model.ir_version, newest), _LOWEST_IR)
    return model


def _at_hard_swish(model: ir.Model, path: Path, given: int) -> tuple[ir.Model, int]:
    """The model at the opset that has HardSwish, with that opset; as it was where no converter brings it there."""
    newer = model.clone()
    try:
        _convert(newer, path, given, SINCE)
    except InputError:
        return model, given
    return newer, SINCE


def optimized(model: ir.Model) -> ir.Model:
    """The same function: constants are initializers, batch normalization is folded, and what is unused is gone."""
    from onnx_ir.passes import common
    from onnxscript import optimizer, rewriter
    from onnxscript.rewriter.rules.common import (
        fuse_batchnorm_into_conv_rule,
        fuse_batchnorm_into_conv_transpose_rule,
        fuse_batchnorm_into_gemm_rule,
    )

    lift = common.LiftConstantsToInitializersPass(lift_all_constants=True, size_limit=0)
    fuse = [fuse_batchnorm_into_conv_rule, fuse_batchnorm_into_conv_transpose_rule, fuse_batchnorm_into_gemm_rule]
    with quiet(), exact_constants(), computed_splits_stay():
        lift(model)
        model = rewriter.rewrite(model, pattern_rewrite_rules=fuse)
        model = optimizer.optimize(model)
        _register_lost(model)
        lift(model)
    _without_unknown_attributes(model)
    return model


def _register_lost(model: ir.Model) -> None:
    """Constants that nodes read and no graph holds are its initializers again.

    onnxscript's rules name the sizes of a Reshape after its input; where one pass makes two of one input, the sizes of
    the second take the place of the first's in the graph.
    """
    for graph in model.graphs():
        for value in dict.fromkeys(value for node in graph for value in node.inputs if value is not None):
            if value.const_value is not None and value.producer() is None and value.graph is None:
                value.name = free_name(str(value.name), graph.initializers)
                graph.initializers[value.name] = value


def _reads_axes(model: ir.Model) -> bool:
    """Whether every runtime reads the axes of all reductions at the opset that the model has."""
    return not any(node.op_type in _OVERLOOKED and "axes" in node.attributes for node in model.graph.all_nodes())


def _convert(model: ir.Model, path: Path, given: int, wanted: int) -> None:
    from onnxscript import version_converter

    if wanted < given and _means_the_same(model, given, wanted):
        model.opset_imports[""] = wanted
        return
    with quiet():
        version_converter.convert_version(model, target_version=wanted, fallback=True)
    # The converter may put the nodes that it adds behind their readers.
    for graph in model.graphs():
        graph.sort()
    if given < _MODES_OPSET:
        _keep_old_resize(model)
    if given < LOWEST_OPSET:
        _keep_old_hardmax(model)
    # A converter that fails leaves the model as it was, and only logs.
    if model.opset_imports.get("") != wanted:
        raise InputError(
            f"{path} is at ONNX opset {given}, the target needs {wanted}, {parted(model, given, wanted)}.",
            hint=f"Export the file at opset {wanted}, or choose a target with other software (TARGET@TOOLCHAIN).",
        )


def _means_the_same(model: ir.Model, given: int, wanted: int) -> bool:
    operators = {(node.op_type, rounds_up(node)) for node in model.graph.all_nodes() if is_onnx(node.domain)}
    alike = all(means_the_same(operator, given, wanted, rounds_up=up) for operator, up in operators)
    return alike and not model.functions


def _free_what_is_unknown(model: ir.Model) -> None:
    """Give up sizes and names that say nothing: what is below 1, and `?` for every axis there is."""
    import onnx_ir as ir

    made = (value for node in model.graph for value in node.outputs)
    for value in (*model.graph.inputs, *model.graph.outputs, *made):
        if value.shape is not None:
            sizes = [size if isinstance(size, int) else size.value for size in value.shape]
            if any(size is not None and says_nothing(size) for size in sizes):
                value.shape = ir.Shape([None if says_nothing(size) else size for size in sizes])


def _free_false_outputs(model: ir.Model) -> None:
    """Give up what is said of an output that a Reshape makes with another number of axes.

    The optimizer would believe it, and write sizes of that number.
    """
    import onnx_ir as ir

    made = [value for value in model.graph.outputs if value.shape is not None and _operator(value) == "Reshape"]
    if made or any(value.shape is None for value in model.graph.outputs):
        infer_shapes(model)
    for value in made:
        maker = value.producer()
        assert maker is not None and maker.inputs[1] is not None and value.shape is not None
        sizes = maker.inputs[1].shape
        if sizes is not None and isinstance(sizes[0], int) and sizes[0] != value.shape.rank():
            value.shape = ir.Shape([None] * sizes[0])


def _operator(value: ir.Value) -> str:
    maker = value.producer()
    return "" if maker is None or not is_onnx(maker.domain) else maker.op_type


def _keep_old_resize(model: ir.Model) -> None:
    """The converter writes the newer operator's defaults, which mean another sampling."""
    import onnx_ir as ir

    for node in model.graph.all_nodes():
        if node.op_type == "Resize" and node.domain in ("", "ai.onnx"):
            node.attributes.add(ir.AttrString("coordinate_transformation_mode", "asymmetric"))
            node.attributes.add(ir.AttrString("nearest_mode", "floor"))


def _keep_old_hardmax(model: ir.Model) -> None:
    """It saw a matrix, all axes from `axis` on in one; the converter does this for Softmax and not for Hardmax."""
    import onnx_ir as ir

    for node in [node for node in model.graph.all_nodes() if node.op_type == "Hardmax"]:
        value, graph = node.inputs[0], node.graph
        assert graph is not None
        flat = ir.node("Flatten", [value], {"axis": node.attributes.get_int("axis", 1)})
        largest = ir.node("Hardmax", [flat.outputs[0]], {"axis": -1})
        sizes = ir.node("Shape", [value])
        back = ir.node("Reshape", [largest.outputs[0], sizes.outputs[0]], name=node.name)
        back.outputs[0].name = node.outputs[0].name
        ir.convenience.replace_nodes_and_values(
            graph, node, [node], [flat, largest, sizes, back], node.outputs, back.outputs
        )


def _without_unknown_attributes(model: ir.Model) -> None:
    """Take out what is left of another opset."""
    opset = model.opset_imports.get("", 0)
    for node in everywhere(model, *_LEFT):
        if _LEFT[node.op_type] not in attributes_of(node.op_type, opset):
            node.attributes.pop(_LEFT[node.op_type], None)

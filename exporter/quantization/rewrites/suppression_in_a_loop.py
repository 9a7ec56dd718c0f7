"""Write non-maximum suppression as a loop that takes the best box left, for runtimes without a kernel for it.

TensorRT-RTX 1.7.1 parses NonMaxSuppression and then has nothing that runs it; TensorRT before 8.5 fills its rows up to
a fixed number with boxes that were not selected (onnx-tensorrt, docs/operators.md of 8.0 to 8.4). The loop is the same
algorithm in plain ONNX: it ends when no class has a box left, after as many turns as a class may keep boxes at most.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from ....errors import RefusedError
from ...graphs.selection import suppressions

if TYPE_CHECKING:
    import onnx_ir as ir

_DOMAIN, _NAME = "edgepress.rewrites", "Suppress"
_HINT = "Use `edgepress.boxes.select` in the model, or return boxes and scores and choose outside of the model."
# Operators and their forms of opset 13 to 23: TopK rather than ReduceMax, whose axes moved.
# Any two opposite corners make a box, as of the operator.
# x1 and the like are (B, 1, N), of all boxes; `left` and `kept` are (B, C, N); what is of the best is (B, C, 1).
_FUNCTION = """
<domain: "edgepress.rewrites", opset_import: [ "" : OPSET ]>
Suppress (boxes, scores, most, iou, score) => (kept)
{
    one = Constant <value_ints: ints = [1]> ()
    last = Constant <value_ints: ints = [2]> ()
    true = Constant <value: tensor = bool {1}> ()
    zero = Constant <value: tensor = float {0}> ()
    shape = Shape (scores)
    nothing = ConstantOfShape (shape)
    columns = Transpose <perm: ints = [0, 2, 1]> (boxes)
    indices0 = Constant <value_ints: ints = [0]> ()
    indices1 = Constant <value_ints: ints = [1]> ()
    indices2 = Constant <value_ints: ints = [2]> ()
    indices3 = Constant <value_ints: ints = [3]> ()
    xa = Gather <axis: int = 1> (columns, indices0)
    ya = Gather <axis: int = 1> (columns, indices1)
    xb = Gather <axis: int = 1> (columns, indices2)
    yb = Gather <axis: int = 1> (columns, indices3)
    x1 = Min (xa, xb)
    y1 = Min (ya, yb)
    x2 = Max (xa, xb)
    y2 = Max (ya, yb)
    width = Sub (x2, x1)
    height = Sub (y2, y1)
    area = Mul (width, height)
    wide_x1 = Expand (x1, shape)
    wide_y1 = Expand (y1, shape)
    wide_x2 = Expand (x2, shape)
    wide_y2 = Expand (y2, shape)
    wide_area = Expand (area, shape)
    count = Gather <axis: int = 0> (shape, last)
    start = Constant <value: tensor = int64 {0}> ()
    step = Constant <value: tensor = int64 {1}> ()
    scalar = Squeeze (count)
    numbers = Range (start, scalar, step)
    turns = Squeeze (most)
    above = Greater (scores, score)
    first = Where (above, scores, nothing)
    rest, kept = Loop (turns, true, first, nothing) <body = turn (
        int64 index, bool again, float[b, c, n] left, float[b, c, n] held
    ) => (bool more, float[b, c, n] left_over, float[b, c, n] held_now) {
        best, place = TopK <axis: int = 2> (left, one)
        bx1 = GatherElements <axis: int = 2> (wide_x1, place)
        by1 = GatherElements <axis: int = 2> (wide_y1, place)
        bx2 = GatherElements <axis: int = 2> (wide_x2, place)
        by2 = GatherElements <axis: int = 2> (wide_y2, place)
        barea = GatherElements <axis: int = 2> (wide_area, place)
        right = Min (bx2, x2)
        leftmost = Max (bx1, x1)
        bottom = Min (by2, y2)
        top = Max (by1, y1)
        across = Sub (right, leftmost)
        down = Sub (bottom, top)
        shared_width = Max (across, zero)
        shared_height = Max (down, zero)
        shared = Mul (shared_width, shared_height)
        areas = Add (barea, area)
        whole = Sub (areas, shared)
        overlap = Div (shared, whole)
        covered = Greater (overlap, iou)
        itself = Equal (numbers, place)
        gone = Or (covered, itself)
        is_box = Greater (best, zero)
        taken = And (itself, is_box)
        left_over = Where (gone, nothing, left)
        held_now = Where (taken, scores, held)
        any = ReduceMax <keepdims: int = 0> (left_over)
        more = Greater (any, zero)
    }>
}
"""


def suppression_in_a_loop(model: ir.Model) -> int:
    """Rewrite in place what `edgepress.boxes` wrote; returns how many suppressions there were.

    Raises:
        RefusedError: one gives a number of rows that depends on data, as that of torchvision does.
    """
    import onnx_ir as ir
    from onnx_ir.passes import common

    found = suppressions(model)
    for node in found:
        kept = _put_back(node)
        if kept is None:
            raise RefusedError(
                f"{node.name or node.op_type} selects a number of boxes that depends on data, and the target's runtime "
                "has no kernel for that.",
                hint=_HINT,
            )
        call = ir.Node(_DOMAIN, _NAME, node.inputs, num_outputs=1, name=f"{node.name}_loop")
        result, old = call.outputs[0], kept.outputs[0]
        result.name, result.type, result.shape = f"{old.name}_looped", old.type, old.shape
        model.graph.insert_before(kept, call)
        output, name = old.is_graph_output(), old.name
        ir.convenience.replace_all_uses_with(old, result, replace_graph_outputs=True)
        if output:
            old.name, result.name = result.name, name
    if found:
        function = _function(model.opset_imports[""])
        model.functions[function.identifier()] = function
        model.opset_imports[_DOMAIN] = 1
        common.InlinePass()(model)
        model.opset_imports.pop(_DOMAIN, None)
        common.RemoveUnusedNodesPass()(model)
        common.LiftConstantsToInitializersPass(lift_all_constants=True, size_limit=0)(model)
    return len(found)


def _put_back(node: ir.Node) -> ir.Node | None:
    """The ScatterND that puts the selected scores among zeros; None where something else reads the selection."""
    readers = {use.node.op_type: use.node for use in node.outputs[0].uses()}
    if set(readers) != {"GatherND", "ScatterND"} or node.outputs[0].is_graph_output():
        return None
    gathered, scattered = readers["GatherND"], readers["ScatterND"]
    whole = len(node.inputs) == 5 and all(node.inputs)
    same = gathered.inputs[0] is node.inputs[1] and scattered.inputs[2] is gathered.outputs[0]
    return scattered if whole and same else None


def _function(opset: int) -> ir.Function:
    import onnx.parser
    import onnx_ir as ir

    function: ir.Function = ir.from_proto(onnx.parser.parse_function(_FUNCTION.replace("OPSET", str(opset))))
    return function

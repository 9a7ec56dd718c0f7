"""Reductions of values of three axes, over four.

OpenVINO 2026.4.1 fuses what follows a reduction into its kernel, and looks up the constants of another channel, or
beyond their end, where there are three axes and the last one is reduced: a mean over time and then a batch norm is
wrong in float32 for every sample but the first. In an engine of integers the scale and the zero point of what a
ReduceMean or a ReduceSum reads are moved behind it, and are such constants, whichever axis is reduced: values of 1e35
on 40 samples of [40, 16, 6]. A product with a constant is taken for such a scale there, and a BatchNormalization for
both, where nothing is in 8 bits. Behind a ReduceMax or a ReduceMin over the last axis they are moved as well, and a
LogSoftmax is written with such a maximum when it is compiled: its engine gave other values each time it was opened, as
what lies beyond those constants is not the same. With an axis of one behind them all are right at every size
(docs/decisions/0118-scales-behind-a-maximum.md).
"""

from __future__ import annotations

from typing import Any

# Names in the namespace of operators. What ONNX writes with two of them, as ReduceLogSumExp, has one of these inside.
_REDUCTIONS = {
    "ReduceMean": "reduce_mean",
    "ReduceSum": "reduce_sum",
    "ReduceMax": "reduce_max",
    "ReduceMin": "reduce_min",
    "ReduceProd": "reduce_prod",
    "ReduceL1": "reduce_l1",
    "ReduceL2": "reduce_l2",
}
# Behind these scales are moved, whichever axis is reduced.
_LINEAR = frozenset({"ReduceMean", "ReduceSum"})
# And behind these, positive ones, where they are not of the axis.
_MOVED = _LINEAR | {"ReduceMax", "ReduceMin"}
_AXES = 3
# What is moved behind, with a constant: the scale and the zero point of integers are such.
_SCALES = frozenset({"Multiply", "Divide", "Add", "Subtract", "BatchNormInference"})
_BETWEEN = frozenset({"Convert", "Identity", "Reshape", "Transpose", "Squeeze", "Unsqueeze", "MaxPool"})


def over_four_axes(model: Any, *, in_integers: bool) -> None:
    """Rewrite in place each reduction over fixed axes of three that would be wrong, in an engine of integers or not."""
    from openvino import opset8

    for node in model.get_ordered_ops():
        if in_integers and node.get_type_name() == "LogSoftmax" and _is_of_three(node):
            _widen_log_softmax(node)
        name = _REDUCTIONS.get(node.get_type_name())
        if name is None or not _is_of_three(node) or not (axes := _axes(node)):
            continue
        if not (axes == [_AXES - 1] and _meets_constants(node)) and not (in_integers and _is_scaled(node, axes)):
            continue
        wide = opset8.unsqueeze(node.input_value(0), [_AXES])
        reduced = getattr(opset8, name)(wide, axes, keep_dims=True)
        new = opset8.squeeze(reduced, [_AXES] if node.get_attributes()["keep_dims"] else [*axes, _AXES])
        names = node.output(0).get_names()
        # Layers are found again by their names; the mean is what is measured.
        reduced.set_friendly_name(node.get_friendly_name())
        new.set_friendly_name(f"{node.get_friendly_name()}_narrow")
        node.output(0).replace(new.output(0))
        new.output(0).set_names(names)


def _widen_log_softmax(node: Any) -> None:
    from openvino import opset8

    wide = opset8.unsqueeze(node.input_value(0), [_AXES])
    made = opset8.log_softmax(wide, int(node.get_attributes()["axis"]) % _AXES)
    new, names = opset8.squeeze(made, [_AXES]), node.output(0).get_names()
    made.set_friendly_name(node.get_friendly_name())
    new.set_friendly_name(f"{node.get_friendly_name()}_narrow")
    node.output(0).replace(new.output(0))
    new.output(0).set_names(names)


def _is_of_three(node: Any) -> bool:
    rank = node.get_input_partial_shape(0).rank
    return bool(rank.is_static) and rank.get_length() == _AXES


def _meets_constants(node: Any) -> bool:
    """Whether constants, not one for all, meet its result as it is or behind operators that keep its shape."""
    shape, stack, seen = node.get_output_partial_shape(0), [node], set()
    while stack:
        for reader in (use.get_node() for use in stack.pop().output(0).get_target_inputs()):
            other = reader.get_type_name() == "MatMul" or reader.get_output_partial_shape(0) != shape
            if other or reader.get_name() in seen:
                continue
            if any(_is_constant(value) for value in reader.input_values()):
                return True
            seen.add(reader.get_name())
            stack.append(reader)
    return False


def _is_constant(value: Any) -> bool:
    """A constant of several values."""
    node = value.get_node()
    return bool(node.get_type_name() == "Constant" and node.get_data().size > 1)


def _is_scaled(node: Any, axes: list[int]) -> bool:
    """Whether scales may be moved behind it."""
    kind = node.get_type_name()
    if axes == [_AXES - 1] and kind in _MOVED:
        # Those of a layer are found far before it: behind activations, pools, sums and what else moves them on.
        return not _is_of_norm(node) and not _is_of_squares(node)
    return kind in _LINEAR and _reads_scaled(node) and not _is_of_norm(node)


def _reads_scaled(node: Any) -> bool:
    before = node.input_value(0).get_node()
    while before.get_type_name() in _BETWEEN:
        before = before.input_value(0).get_node()
    constants = (one.get_node().get_type_name() == "Constant" for one in before.input_values())
    return before.get_type_name() in _SCALES and any(constants)


def _is_of_norm(node: Any) -> bool:
    """Whether it is a mean, taken off what it is of, and that is squared.

    All of that becomes one operator, before scales are moved.
    """
    given, readers = node.input_value(0), node.output(0).get_target_inputs()
    differences = [one.get_node() for one in readers if one.get_node().get_type_name() == "Subtract"]
    centered = [one for one in differences if one.input_value(0) == given]
    return node.get_type_name() == "ReduceMean" and any(
        _is_square(one.get_node()) for node in centered for one in node.output(0).get_target_inputs()
    )


def _is_of_squares(node: Any) -> bool:
    """Whether squares are reduced: they have no scales, and a norm by their root is one operator."""
    return _is_square(node.input_value(0).get_node())


def _is_square(node: Any) -> bool:
    kind = node.get_type_name()
    return bool(kind == "Power" or (kind == "Multiply" and node.input_value(0) == node.input_value(1)))


def _axes(node: Any) -> list[int]:
    """Those that are reduced; where they are computed, as a GlobalAveragePool's, those of which one is left."""
    given = node.input_value(1).get_node()
    if given.get_type_name() == "Constant":
        return sorted(int(axis) % _AXES for axis in given.get_data().reshape(-1))
    left = node.get_output_partial_shape(0)
    if not node.get_attributes()["keep_dims"] or left.rank.is_dynamic:
        return []
    return [axis for axis, size in enumerate(left) if size.is_static and size.get_length() == 1]

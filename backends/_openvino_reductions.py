"""Means and sums of values of three axes in an engine of integers, over four.

OpenVINO 2026.4.1 moves the scale and the zero point of what a ReduceMean or ReduceSum reads in 8 bits behind it, and
looks them up beyond their end where there are three axes and more samples than the second axis is long: on 40 samples
of [40, 16, 6] the mean over time has values of 1e35. With an axis of one behind them it is right at every size.
A product with a constant is taken for such a scale, and a BatchNormalization for both, where nothing is in 8 bits.
"""

from __future__ import annotations

from typing import Any

_WRONG = {"ReduceMean": "reduce_mean", "ReduceSum": "reduce_sum"}
_AXES = 3
# What is moved behind, with a constant: the scale and the zero point of integers are such.
_SCALES = frozenset({"Multiply", "Divide", "Add", "Subtract", "BatchNormInference"})
_BETWEEN = frozenset({"Convert", "Identity", "Reshape", "Transpose", "Squeeze", "Unsqueeze", "MaxPool"})


def over_four_axes(model: Any) -> None:
    """Rewrite each mean and sum over fixed axes of three in place."""
    from openvino import opset8

    for node in model.get_ordered_ops():
        name = _WRONG.get(node.get_type_name())
        if (
            name is None
            or not _is_of_three(node)
            or not _reads_scaled(node)
            or _is_of_norm(node)
            or not (axes := _axes(node))
        ):
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


def _is_of_three(node: Any) -> bool:
    rank = node.get_input_partial_shape(0).rank
    return bool(rank.is_static) and rank.get_length() == _AXES


def _reads_scaled(node: Any) -> bool:
    before = node.input_value(0).get_node()
    while before.get_type_name() in _BETWEEN:
        before = before.input_value(0).get_node()
    constants = (one.get_node().get_type_name() == "Constant" for one in before.input_values())
    return before.get_type_name() in _SCALES and any(constants)


def _is_of_norm(node: Any) -> bool:
    """Whether it is taken off what it is the mean of: all of that becomes one operator, before scales are moved."""
    given, readers = node.input_value(0), node.output(0).get_target_inputs()
    differences = [one.get_node() for one in readers if one.get_node().get_type_name() == "Subtract"]
    return any(one.input_value(0) == given for one in differences)


def _axes(node: Any) -> list[int]:
    """Those that are reduced; where they are computed, as a GlobalAveragePool's, those of which one is left."""
    given = node.input_value(1).get_node()
    if given.get_type_name() == "Constant":
        return sorted(int(axis) % _AXES for axis in given.get_data().reshape(-1))
    left = node.get_output_partial_shape(0)
    if not node.get_attributes()["keep_dims"] or left.rank.is_dynamic:
        return []
    return [axis for axis, size in enumerate(left) if size.is_static and size.get_length() == 1]

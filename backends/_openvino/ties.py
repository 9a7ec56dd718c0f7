"""Which of equal values a TopK takes: in ONNX the first, in OpenVINO any, unless it is asked to be stable.

A stable one takes as long as it has values times places: 10 ms for 0.06 of the 300 largest of 8,400 (one thread of an
AMD EPYC, OpenVINO 2026.4.1). So it is asked for where there are few of either, as where a router takes two experts.
"""

from __future__ import annotations

from typing import Any

# Values along the axis times places: up to twice the time of an operator that takes a thousandth of a second at most.
_FEW = 1 << 12
_VALUES, _PLACES = 0, 1


def take_the_first(model: Any) -> None:
    """Ask each TopK whose places are read, and that has few values, to be stable; in place."""
    from openvino import opset13

    for node in model.get_ordered_ops():
        if node.get_type_name() != "TopK" or not _is_asked_for_places(node) or not _has_few(node):
            continue
        how = node.get_attributes()
        new = opset13.topk(
            *node.input_values(), axis=how["axis"], mode=how["mode"], sort=how["sort"],
            index_element_type=how["index_element_type"], stable=True,
        )  # fmt: skip
        new.set_friendly_name(node.get_friendly_name())
        for index in (_VALUES, _PLACES):
            names = node.output(index).get_names()
            node.output(index).replace(new.output(index))
            new.output(index).set_names(names)


def _is_asked_for_places(node: Any) -> bool:
    """And sorts by value, of which alone there is a stable form."""
    how = node.get_attributes()
    return how["sort"] == "value" and not how.get("stable") and bool(node.output(_PLACES).get_target_inputs())


def _has_few(node: Any) -> bool:
    shape, places = node.get_input_partial_shape(0), node.input_value(1).get_node()
    if shape.rank.is_dynamic or places.get_type_name() != "Constant":
        return False
    size = shape[node.get_attributes()["axis"] % shape.rank.get_length()]
    return bool(size.is_static and size.get_length() * int(places.get_data()) <= _FEW)

"""Recurrent layers over sequences of several lengths, where sizes are free.

OpenVINO 2026.4.1 takes the lengths of an LSTM, GRU or RNN (ONNX's `sequence_lens`) only where all sizes are fixed; with
a free batch or time it runs each sequence to the end of its axis and says nothing: results of 1 are off by 1. So each
direction becomes a layer without lengths. What lies behind the end of a sequence is zero; the last result is the one at
its end; a sequence that is read backwards is turned around first, up to its length. To keep the last cell of an LSTM,
one more input is 1 behind the end, and shuts the input gate and opens the forget gate there.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import numpy as np

# Where an operator has its lengths.
_LENGTHS = {"LSTMSequence": 3, "GRUSequence": 2, "RNNSequence": 2}
_MADE_BY = {"LSTMSequence": "lstm_sequence", "GRUSequence": "gru_sequence", "RNNSequence": "rnn_sequence"}
_KEPT = ("activations", "activations_alpha", "activations_beta", "clip", "linear_before_reset")
# A sigmoid of this is 1, and of its negative 0, in float32 and in bf16.
_SHUT = 1e4


def by_lengths(model: Any) -> None:
    """Rewrite each recurrent layer with lengths and free sizes in place."""
    for node in model.get_ordered_ops():
        lengths = _LENGTHS.get(node.get_type_name())
        if lengths is None or node.get_input_partial_shape(0).is_static or not _is_given(node.input_value(lengths)):
            continue
        for old, new in zip(node.outputs(), _rewritten(node, lengths), strict=True):
            for reader in old.get_target_inputs():
                reader.replace_source_output(new)


def _is_given(lengths: Any) -> bool:
    """Whether they hang on an input's values, and not only on the sizes that a layer without lengths runs over."""
    seen, ahead = set(), [lengths.get_node()]
    while ahead:
        node = ahead.pop()
        if node.get_type_name() == "Parameter":
            return True
        if node.get_type_name() != "ShapeOf" and node.get_name() not in seen:
            seen.add(node.get_name())
            ahead.extend(port.get_node() for port in node.input_values())
    return False


def _rewritten(node: Any, position: int) -> list[Any]:
    """The outputs in the operator's order: all results, the last ones, and of an LSTM the last cells."""
    from openvino import opset13 as ops

    direction = node.get_attributes()["direction"]
    ways = ("forward", "reverse") if direction == "bidirectional" else (direction,)
    lengths = ops.convert(node.input_value(position), "i64")
    found = [list(_one_way(node, at if len(ways) > 1 else None, way, lengths)) for at, way in enumerate(ways)]
    return found[0] if len(found) == 1 else [ops.concat(list(both), 1).output(0) for both in zip(*found, strict=True)]


def _one_way(node: Any, at: int | None, way: str, lengths: Any) -> Iterator[Any]:
    """The outputs of one direction; sequences are [batch, time, values], results [batch, 1, time, values]."""
    from openvino import opset13 as ops

    settings, states = node.get_attributes(), _LENGTHS[node.get_type_name()] - 1
    sequence, *given = (port for index, port in enumerate(node.input_values()) if index != states + 1)
    given = [_of_direction(port, at, axis) for port, axis in zip(given, [1] * states + [0] * 3, strict=True)]
    if way == "reverse":
        sequence = ops.reverse_sequence(sequence, lengths, 0, 1)
    batch, time = (ops.gather(ops.shape_of(sequence), np.array([axis]), np.int64(0)) for axis in (0, 1))
    steps = ops.unsqueeze(ops.range(np.int64(0), ops.squeeze(time, np.array([0])), np.int64(1), "i64"), np.int64(0))
    inside = ops.convert(ops.less(steps, ops.unsqueeze(lengths, np.int64(1))), "f32")
    if states == 2 and node.output(2).get_target_inputs():
        sequence, given[2] = _held_behind_the_end(sequence, inside, given[2], settings["hidden_size"])
    kept = {name: settings[name] for name in _KEPT if name in settings}
    make = getattr(ops, _MADE_BY[node.get_type_name()])
    full = ops.broadcast(time, batch)
    layer = make(sequence, *given[:states], full, *given[states:], settings["hidden_size"], "forward", **kept)
    layer.set_friendly_name(f"{node.get_friendly_name()}{'' if at is None else f'_{way}'}")
    results = ops.multiply(layer.output(0), ops.unsqueeze(inside, np.array([1, 3])))
    ends = ops.gather(layer.output(0), ops.maximum(ops.subtract(lengths, np.int64(1)), np.int64(0)), np.int64(2), 1)
    yield (ops.reverse_sequence(results, lengths, 0, 2) if way == "reverse" else results).output(0)
    yield ends.output(0)
    if states == 2:
        yield layer.output(2)


def _of_direction(port: Any, at: int | None, axis: int) -> Any:
    """One direction's part of states or weights; None where there is one direction alone."""
    from openvino import opset13 as ops

    return port if at is None else ops.gather(port, np.array([at]), np.int64(axis)).output(0)


def _held_behind_the_end(sequence: Any, inside: Any, weights: Any, hidden: int) -> tuple[Any, Any]:
    """The sequence and the weights [1, 4 * hidden, values] of an LSTM with one more input; the gates are f, i, c, o."""
    from openvino import opset13 as ops

    behind = ops.unsqueeze(ops.subtract(np.float32(1), inside), np.int64(2))
    gates = np.repeat(np.array([_SHUT, -_SHUT, 0, 0], np.float32), hidden).reshape(1, -1, 1)
    return ops.concat([sequence, behind], 2).output(0), ops.concat([weights, ops.constant(gates)], 2).output(0)

"""Recurrent layers of ONNX that OpenVINO 2026.4 does not compute as the file says.

It reads over peepholes and `input_forget` (against onnxruntime, values up to 0.4 off), takes the first direction's
activations for both, and has three activations.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator

from .._onnxfile import Node
from ..base import Rejection

# Activations of one direction.
_COUNT = {"LSTM": 3, "GRU": 2, "RNN": 1}
_HAS = ("Relu", "Sigmoid", "Tanh")
# Where an LSTM's peepholes stand among its inputs.
_PEEPHOLES = 7
_INSTEAD = "; write its steps as products and sums in a Loop or Scan, or take a target of onnxruntime"


def misread_recurrences(nodes: Iterable[Node]) -> tuple[Rejection, ...]:
    """Each recurrent layer that it does not compute, with what it reads otherwise."""
    layers = [node for node in nodes if node.domain in ("", "ai.onnx") and node.operator in _COUNT]
    return tuple(
        Rejection(node=node.label, reason=f"OpenVINO {why}{_INSTEAD}", operator=node.operator)
        for node in layers
        for why in _misread(node)
    )


def _misread(node: Node) -> Iterator[str]:
    if node.operator == "LSTM" and any(node.inputs[_PEEPHOLES:]):
        yield "reads over the peepholes of an LSTM (its input P)"
    if node.numbers.get("input_forget"):
        yield "reads over input_forget of an LSTM"
    given, count = [each.casefold() for each in node.texts.get("activations", ())], _COUNT[node.operator]
    if others := sorted({each for each in given if each not in map(str.casefold, _HAS)}):
        yield f"has {', '.join(_HAS)} in an {node.operator}, and not {', '.join(others)}"
    elif given[count:] and given[count:] != given[:count]:
        yield f"takes the activations of an {node.operator}'s first direction for both"

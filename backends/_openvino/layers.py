"""What OpenVINO tells of the layers of a compiled model."""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from ...errors import InputError
from ...profiles.findings.layers import Layer
from ..base import Feed

# Layer types of OpenVINO's runtime model (`NameFromType` in the CPU plugin's cpu_types.cpp) that multiply matrices.
COMPUTE = frozenset(
    {
        "AUGRUCell",
        "AUGRUSeq",
        "Convolution",
        "Deconvolution",
        "DeformableConvolution",
        "FullyConnected",
        "GroupConvolution",
        "LLMMLP",
        "MHA",
        "MatMul",
        "QKVProjection",
        "RNNCell",
        "RNNSeq",
        "ScaledDotProductAttention",
    }
)
_NOT_LAYERS = frozenset({"Const", "Input", "Output"})
_INTEGER = frozenset({"i8", "u8"})
# Operators of the model, before it is compiled, that do so.
PRODUCTS = frozenset(
    {"Convolution", "ConvolutionBackpropData", "GroupConvolution", "GroupConvolutionBackpropData", "MatMul"}
)
# What the ONNX front end and the low-precision passes append to a node's name.
_SUFFIX = re.compile(r"/(WithoutBiases|DequantizationMultiply|DequantizationSubtract)$")
_RUNS = 10


def input_ports(compiled: Any, names: Sequence[str]) -> dict[str, Any]:
    """The port of each input by name; one whose value is handed on as it is may have lost its name, not its place.

    Args:
        names: of all inputs, in the graph's order, which OpenVINO keeps.

    Raises:
        InputError: a name is gone, and so is its port.
    """
    named = {name: port for port in compiled.inputs for name in port.get_names() if name in names}
    if len(named) == len(names):
        return named
    placed = dict(zip(names, compiled.inputs, strict=False))
    if len(compiled.inputs) != len(names) or any(placed[name] != port for name, port in named.items()):
        lost = ", ".join(repr(name) for name in names if name not in named)
        raise InputError(f"OpenVINO lost the input {lost} of the model.", hint="Choose a target of another runtime.")
    return placed


def observed(compiled: Any, model: Any, feed: Feed) -> tuple[Layer, ...]:
    """The layers that ran.

    Args:
        compiled: the model compiled with `PERF_COUNT`.
        model: the model it was compiled from.
        feed: `{input: array}`, run eleven times.
    """
    products = frozenset(op.get_friendly_name() for op in model.get_ordered_ops() if op.get_type_name() in PRODUCTS)
    request, ports = compiled.create_infer_request(), input_ports(compiled, list(feed))
    inputs = {ports[name]: array for name, array in feed.items()}
    # OpenVINO gives the mean over all runs so far; the first one still prepares weights and is taken out again.
    request.infer(inputs)
    first = {entry.name: entry.time for entry in _entries(compiled)}
    for _ in range(_RUNS):
        request.infer(inputs)
    return tuple(
        _layer(entry, products, (entry.time * (_RUNS + 1) - first.get(entry.name, 0)) / _RUNS)
        for entry in _entries(compiled)
        if entry.facts["layerType"] not in _NOT_LAYERS and entry.ran
    )


@dataclass(frozen=True, slots=True, kw_only=True)
class _Entry:
    """A node of the runtime model; `sources` are the precision and the producer of each input."""

    name: str
    facts: dict[str, str]
    sources: tuple[tuple[str, str], ...]

    @property
    def originals(self) -> list[str]:
        """Names, in the model, of what this node computes."""
        return self.facts.get("originalLayersNames", "").split(",")

    @property
    def ran(self) -> bool:
        return self.facts.get("execTimeMcs") != "not_executed"

    @property
    def time(self) -> int:
        """Mean over all runs so far, in whole microseconds; 0 where it did not run."""
        told = self.facts.get("execTimeMcs", "")
        return int(told) if told.isdigit() else 0


def _entries(compiled: Any) -> list[_Entry]:
    """What the runtime model says of each of its nodes, in execution order."""
    return [
        _Entry(name=op.get_friendly_name(), facts=_facts(op), sources=tuple(_source(i) for i in op.inputs()))
        for op in compiled.get_runtime_model().get_ordered_ops()
    ]


def _facts(op: Any) -> dict[str, str]:
    return {key: str(getattr(value, "value", value)) for key, value in op.get_rt_info().items()}


def _source(port: Any) -> tuple[str, str]:
    producer = port.get_source_output().get_node()
    return _facts(producer).get("outputPrecisions", ""), producer.get_friendly_name()


def _layer(entry: _Entry, products: frozenset[str], microseconds: float) -> Layer:
    kernel, operator = entry.facts.get("primitiveType", ""), entry.facts["layerType"]
    # A Subgraph is code made for a group of operators; the one made for attention hides its matrix products.
    compute = operator in COMPUTE or (operator == "Subgraph" and not products.isdisjoint(entry.originals))
    # The suffix is the precision of the kernel's first input; `runtimePrecision` says u8 for float kernels as well.
    integer = compute and kernel.rpartition("_")[2].lower() in _INTEGER
    return Layer(
        name=_node_name(entry.name) if compute else entry.name,
        operator=operator,
        kernel=kernel,
        compute=compute,
        integer=integer,
        reason=_reason(entry.sources) if compute and kernel and not integer else "",
        microseconds=max(0.0, microseconds),
    )


def _reason(sources: tuple[tuple[str, str], ...]) -> str:
    """How its activations and its weights, or second activations, reach a float kernel."""
    named = zip(("first", "second"), sources, strict=False)
    words = [f"{which} as {precision} from {name}" for which, (precision, name) in named]
    return f"its inputs arrive: {', '.join(words)}" if words else ""


def _node_name(name: str) -> str:
    while (shorter := _SUFFIX.sub("", name)) != name:
        name = shorter
    return name

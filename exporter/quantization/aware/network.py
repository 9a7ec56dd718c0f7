"""A graph of ONNX as a torch module whose chosen constants learn.

What the captured graph has folded stays folded, what placement rounds is rounded where the graph rounds it, with the
graph's own scales: it is the graph that learns, and nothing has to be found again in the modules it came from.
"""

from __future__ import annotations

import hashlib
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import torch
from torch import Tensor, nn

from . import shaping  # noqa: F401  (it registers operators)
from .fake import dequantize, quantize
from .operators import OPERATORS

if TYPE_CHECKING:
    import onnx_ir as ir

_DOMAINS = ("", "ai.onnx")
INT32 = (1 - (1 << 31), (1 << 31) - 1)
_ROUNDING = ("QuantizeLinear", "DequantizeLinear")


class OperatorError(RuntimeError):
    """Torch does not take what the graph gives to an operator; the message names it."""


@dataclass(frozen=True, slots=True, kw_only=True)
class GraphStep:
    """One node: values by name, an empty one where an input is left out.

    Attributes:
        done: values that nothing reads behind it.
        limits: of a QuantizeLinear, the smallest and the largest integer.
    """

    operator: str
    inputs: tuple[str, ...]
    outputs: tuple[str, ...]
    attributes: Mapping[str, Any]
    done: tuple[str, ...] = ()
    limits: tuple[int, int] = (0, 0)


def why_not_torch(graph: ir.Graph) -> str:
    """What of a graph torch does not compute here, one clause; empty where it computes all."""
    for node in graph:
        if node.domain not in _DOMAINS or node.op_type not in (*OPERATORS, *_ROUNDING):
            return f"{node.domain}{'.' * bool(node.domain)}{node.op_type} has no form in torch here"
    return ""


class GraphModule(nn.Module):
    """Takes the inputs in the order of `inputs`, and gives the graph's outputs by name, or as `form` says."""

    def __init__(
        self,
        graph: ir.Graph,
        inputs: Sequence[str],
        learns: Sequence[str] = (),
        scales: Sequence[str] = (),
        limits: tuple[int, int] | None = None,
        biases: Mapping[str, tuple[str, str]] | None = None,
    ) -> None:
        """Read the graph.

        Args:
            inputs: names of the values that are fed, in the order in which they are.
            learns: constants that learn as they are.
            scales: positive constants that learn by their logarithm.
            limits: the smallest and the largest integer of constants that learn, where their type has more.
            biases: those that are rounded to whole multiples of the product of two scales, by name.
        """
        super().__init__()
        self.names, self.outputs = tuple(inputs), tuple(str(value.name) for value in graph.outputs)
        narrow = {} if limits is None else dict.fromkeys(learns, limits)
        self.steps = tuple(_steps(graph, narrow))
        self.form: Any = None
        self.biases = dict(biases or {})
        self._parts: dict[str, str] = {}
        self._rates: dict[str, str] = {}
        for index, (name, value) in enumerate(graph.initializers.items()):
            assert value.const_value is not None
            tensor, part = _tensor(value.const_value), f"value_{index}"
            self._parts[name] = part
            if name in learns:
                self.register_parameter(part, nn.Parameter(tensor))
                continue
            self.register_buffer(part, tensor, persistent=False)
            if name in scales:
                self._rates[name] = f"log_{index}"
                self.register_parameter(self._rates[name], nn.Parameter(torch.zeros_like(tensor)))

    def extra_repr(self) -> str:
        """What decides it beside its tensors."""
        return hashlib.sha256(repr((self.names, self.outputs, self.steps, self.biases)).encode()).hexdigest()

    def value(self, name: str) -> Tensor:
        """A constant as it is now."""
        tensor: Tensor = getattr(self, self._parts[name])
        if name in self._rates:
            tensor = tensor * torch.exp(getattr(self, self._rates[name]))
        return tensor

    def forward(self, *given: Tensor) -> Any:
        """What the graph gives."""
        device = next((tensor.device for tensor in given), torch.device("cpu"))
        values: dict[str, Any] = {"": None, **dict(zip(self.names, given, strict=True))}
        with torch.device(device):
            values.update((name, self.value(name)) for name in self._parts)
            values.update((name, self._rounded(name, values)) for name in self.biases)
            for step in self.steps:
                results = _computed(step, [values[name] for name in step.inputs])
                values.update(zip(step.outputs, results, strict=False))
                for name in step.done:
                    del values[name]
        found = {name: values[name] for name in self.outputs}
        return found if self.form is None else self.form(found)

    def _rounded(self, name: str, values: Mapping[str, Any]) -> Tensor:
        """A bias as int32 holds it."""
        one, other = (values[scale] for scale in self.biases[name])
        step = one * other
        return dequantize(quantize(values[name], step, None, 0, 0, INT32), step, None, 0, 0)


class Whole(nn.Module):
    """A module that is asked as it is, whatever it is made of."""

    def __init__(self, module: nn.Module) -> None:
        super().__init__()
        self.module = module

    def forward(self, *given: Tensor) -> Any:
        """What the module gives."""
        return self.module(*given)


def _computed(step: GraphStep, inputs: list[Any]) -> tuple[Any, ...]:
    """What the step gives.

    Raises:
        OperatorError: torch refuses the inputs, which it says by any of these errors. Others are ours.
    """
    try:
        return _run(step, inputs)
    except (IndexError, RuntimeError, TypeError, ValueError) as error:
        raise OperatorError(f"{step.operator}: {error}") from error


def _run(step: GraphStep, inputs: list[Any]) -> tuple[Any, ...]:
    if step.operator in _ROUNDING:
        axis, block = step.attributes.get("axis", 1), step.attributes.get("block_size", 0)
        zero = inputs[2] if len(inputs) > 2 else None
        if step.operator == "QuantizeLinear":
            return (quantize(inputs[0], inputs[1], zero, axis, block, step.limits),)
        return (dequantize(inputs[0], inputs[1], zero, axis, block),)
    result = OPERATORS[step.operator](inputs, step.attributes)
    return result if isinstance(result, tuple) else (result,)


def _steps(graph: ir.Graph, narrow: Mapping[str, tuple[int, int]]) -> list[GraphStep]:
    kept = {str(value.name) for value in (*graph.outputs, *graph.initializers.values(), *graph.inputs)}
    found: list[GraphStep] = []
    read: set[str] = set()
    for node in reversed(list(graph)):
        inputs = tuple("" if value is None else str(value.name) for value in node.inputs)
        outputs = tuple(str(value.name or f"{node.name}/{index}") for index, value in enumerate(node.outputs))
        done = tuple(n for n in dict.fromkeys((*inputs, *outputs)) if n and n not in read and n not in kept)
        read.update(inputs)
        attributes = {name: _plain(attribute) for name, attribute in node.attributes.items()}
        attributes |= {"op_type": node.op_type, "results": len(node.outputs)}
        limits = narrow.get(inputs[0]) or _limits(node) if node.op_type == "QuantizeLinear" else (0, 0)
        found.append(
            GraphStep(
                operator=node.op_type, inputs=inputs, outputs=outputs, attributes=attributes, done=done, limits=limits
            )
        )
    return found[::-1]


def _plain(attribute: Any) -> Any:
    """An attribute as Python has it; a tensor as torch's."""
    import onnx_ir as ir

    if attribute.type == ir.AttributeType.TENSOR:
        return _tensor(attribute.value)
    return tuple(attribute.value) if isinstance(attribute.value, list | tuple) else attribute.value


def _limits(node: ir.Node) -> tuple[int, int]:
    """Of the type of its zero point, which says what it gives."""
    zero = node.inputs[2]
    assert zero is not None and zero.const_value is not None
    kind = zero.const_value.dtype
    signed = kind.name.startswith("INT")
    return (-(1 << (kind.bitwidth - 1)), (1 << (kind.bitwidth - 1)) - 1) if signed else (0, (1 << kind.bitwidth) - 1)


def _tensor(value: Any) -> Tensor:
    array = value.numpy()
    if array.dtype.kind not in "fiub" or array.dtype.itemsize * 8 != value.dtype.bitwidth:
        array = array.astype("int32" if value.dtype.name.lstrip("U").startswith("INT") else "float32")
    return torch.tensor(array)

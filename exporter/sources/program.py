"""An exported program as edgepress takes it: called by tensors alone, free axes independent, in single precision."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any

from ...backends.base import Array, AxisRange
from ...errors import InputError
from ..graphs.synthesis import synthesize
from .base import Dynamic
from .plain import in_float32
from .quiet import quiet
from .torch_module import arrays, call

if TYPE_CHECKING:
    import torch
    from torch import nn
    from torch.export import ExportedProgram

_AGAIN = "Save it again with torch.export.save."
# The place of `train` among the arguments of those that drop values.
_DROPPING = {"dropout": 2, "feature_dropout": 2, "alpha_dropout": 2, "feature_alpha_dropout": 2, "native_dropout": 2}


@dataclass(frozen=True, slots=True, kw_only=True)
class Called:
    """A program, and how it is called.

    Attributes:
        inputs: its example tensors by name, in order.
        dynamic: names of its free axes.
        keywords: names of what it takes by keyword, the last of all it takes.
        fixed: what it takes beside tensors, by place among all it takes.
        wide: whether its weights, and so the inputs, are widened to single precision.
    """

    program: ExportedProgram
    inputs: dict[str, Array]
    dynamic: Dynamic
    keywords: tuple[str, ...]
    fixed: Mapping[int, object]
    wide: bool

    @classmethod
    def of(cls, program: ExportedProgram, spec: str) -> Called:
        """Read from what was saved with it.

        Raises:
            InputError: it does not say how it is called, or takes nested inputs.
        """
        from torch.export.graph_signature import ConstantArgument, InputKind

        _need_flat(program, spec)
        if program.example_inputs is None:
            raise InputError(f"{spec} was saved without example inputs.", hint=_AGAIN)
        arguments, keywords = program.example_inputs
        taken = [each.arg for each in program.graph_signature.input_specs if each.kind is InputKind.USER_INPUT]
        given = list(zip(taken, (*arguments, *keywords.values()), strict=True))
        fixed = {place: value for place, (arg, value) in enumerate(given) if isinstance(arg, ConstantArgument)}
        tensors = {arg.name: value for place, (arg, value) in enumerate(given) if place not in fixed}
        if not tensors:
            raise InputError(f"{spec} takes no tensors: what it gives is constant.")
        inputs, wide = arrays(tensors, f"The program {spec}"), _is_narrow(program)
        return cls(
            program=program,
            inputs=in_float32(inputs) if wide else inputs,
            dynamic=_dynamic(program, list(inputs), spec),
            keywords=tuple(keywords),
            fixed=fixed,
            wide=wide,
        )

    def module(self) -> nn.Module:
        """The program called by position; the module that torch gives refuses `eval` and fixes what is a keyword."""
        from torch import nn

        called = self
        inner: Any = self.program.module()
        inner = _widened(inner) if self.wide else inner

        class Program(nn.Module):
            def __init__(self) -> None:
                super().__init__()
                self.program = inner

            def forward(self, *tensors: Any) -> Any:
                arguments, keywords = called._placed(tensors)
                return self.program(*arguments, **keywords)

            def train(self, mode: bool = True) -> Program:
                return self

        return Program()

    def _placed(self, tensors: tuple[Any, ...]) -> tuple[list[Any], dict[str, Any]]:
        """What the program is called with, by position and by keyword."""
        left = iter(tensors)
        values = [
            self.fixed[place] if place in self.fixed else next(left) for place in range(len(tensors) + len(self.fixed))
        ]
        split = len(values) - len(self.keywords)
        return values[:split], dict(zip(self.keywords, values[split:], strict=True))

    def ranges(self, module: nn.Module) -> dict[str, AxisRange]:
        """The bounds that the program gives its free axes, at most 8 times the example's size.

        Its guards may ask for more than its bounds say, and torch notes a least size of 2 where it has not tried 1: the
        least size is the first of its multiples that runs, of each axis and then of all together.
        """
        bounds = {name: self._bounds(tensor, axis) for tensor, axis, name in self._axes()}
        usual = {name: reach.usual for name, reach in bounds.items()}
        least = {name: self._least(module, name, usual, reach) for name, reach in bounds.items()}
        least = least if self._runs(module, least) else usual
        return {name: replace(reach, smallest=least[name]) for name, reach in bounds.items()}

    def _least(self, module: nn.Module, name: str, usual: Mapping[str, int], reach: AxisRange) -> int:
        sizes = [1] if reach.smallest == 2 else []
        size = reach.smallest
        while size < reach.usual:
            sizes.append(size)
            size *= 2
        return next((size for size in sizes if self._runs(module, {**usual, name: size})), reach.usual)

    def _runs(self, module: nn.Module, sizes: Mapping[str, int]) -> bool:
        try:
            call(module, synthesize(self.inputs, self.dynamic, sizes, seed=0))
        except Exception:  # whatever a guard raises
            return False
        return True

    def _axes(self) -> list[tuple[str, int, str]]:
        return [(tensor, axis, name) for tensor, axes in self.dynamic.items() for axis, name in axes.items()]

    def _bounds(self, tensor: str, axis: int) -> AxisRange:
        usual = int(self.inputs[tensor].shape[axis])
        reach = self.program.range_constraints.get(_sizes(self.program)[tensor][axis].node.expr)
        lower, upper = (1, 8 * usual) if reach is None else (_whole(reach.lower, 1), _whole(reach.upper, 8 * usual))
        return AxisRange(smallest=min(max(lower, 1), usual), usual=usual, largest=max(min(upper, 8 * usual), usual))


def plain(called: Called, module: nn.Module, spec: str) -> ExportedProgram:
    """A program of tensors in single precision whose free sizes are symbols; the one that was given where it is that.

    torch's ONNX exporter has no other: it fails at a size that is a multiple, and takes a number for an input.

    Args:
        module: of `called`.

    Raises:
        InputError: it cannot be exported again.
    """
    if not called.wide and not called.fixed and not _derived(called.program):
        return called.program
    import torch
    from torch.export import Dim

    tensors = tuple(torch.tensor(array) for array in called.inputs.values())
    shapes = tuple(dict.fromkeys(called.dynamic.get(name, {}), Dim.DYNAMIC) for name in called.inputs)
    try:
        with quiet():
            return torch.export.export(module, tensors, dynamic_shapes=(shapes,))
    except Exception as error:
        line = next(iter(str(error).splitlines()), type(error).__name__)
        raise InputError(
            f"{spec} cannot be exported again in single precision, with tensors as its only inputs and axes that are "
            f"free one by one: {line}",
            hint="Export the module itself so, from module.float(), or give a Python file with model() and inputs().",
        ) from error


def refuse_training(program: ExportedProgram, spec: str) -> None:
    """Refuse a program that was exported in training mode, as torch.export does without `eval()`.

    Raises:
        InputError: it drops values, or norms by the batch.
    """
    for node in program.graph.nodes:
        name = str(node.target).removeprefix("aten.").partition(".")[0]
        drops = name in _DROPPING and _argument(node, _DROPPING[name]) is True
        norms = name == "batch_norm" and _argument(node, 3) is not None and _argument(node, 5) is True
        if drops or norms:
            what = "drops values at random" if drops else "norms each batch by itself"
            raise InputError(
                f"{spec} was exported in training mode: its {node.name} {what}.",
                hint="Call module.eval() before torch.export.export, and save it again.",
            )


def _argument(node: torch.fx.Node, place: int) -> object:
    return node.args[place] if place < len(node.args) else None


def _need_flat(program: ExportedProgram, spec: str) -> None:
    """Raises InputError where what it takes is not known, or nested."""
    tree = program.call_spec.in_spec
    if tree is None:
        raise InputError(f"{spec} does not say how it is called.", hint=_AGAIN)
    arguments, keywords = tree.children()
    if not all(child.is_leaf() for child in (*arguments.children(), *keywords.children())):
        raise InputError(
            f"{spec} takes lists or dicts of tensors; an engine takes tensors by name.",
            hint="Export a module whose forward takes them one by one, around the one that takes them so.",
        )


def _sizes(program: ExportedProgram) -> dict[str, Any]:
    """Shapes of the inputs, in which a free size is a `SymInt`."""
    given = (node for node in program.graph.nodes if node.op == "placeholder")
    return {node.name: node.meta["val"].shape for node in given if hasattr(node.meta.get("val"), "shape")}


def _dynamic(program: ExportedProgram, inputs: list[str], spec: str) -> Dynamic:
    """Names for the free axes, which the program knows as symbols: `batch` for the first one of an axis 0.

    Raises:
        InputError: one of them follows from another, and axes are free one by one.
    """
    shapes = _sizes(program)
    free = [(n, a, size) for n in inputs for a, size in enumerate(shapes[n]) if not isinstance(size, int)]
    names: dict[str, str] = {}
    for name, axis, size in free:
        fresh = "batch" if axis == 0 and "batch" not in names.values() else f"{name}_axis{axis}"
        names.setdefault(str(size), fresh)
    _need_independent({str(size): size.node.expr for _, _, size in free}, spec)
    return {
        n: {a: names[str(size)] for of, a, size in free if of == n} for n in inputs if n in {of for of, _, _ in free}
    }


def _need_independent(sizes: Mapping[str, Any], spec: str) -> None:
    """Raises InputError where two sizes that differ have a symbol in common."""
    for text, expression in sizes.items():
        for other, another in sizes.items():
            if text < other and expression.free_symbols & another.free_symbols:
                raise InputError(
                    f"{spec} has axes of the sizes {text} and {other}: one follows from the other, and edgepress "
                    "takes each free axis by itself.",
                    hint="Export it with these axes fixed, or with a forward that cuts or pads one to the other.",
                )


def _derived(program: ExportedProgram) -> bool:
    """Whether a free size is no symbol of its own, as a multiple is not."""
    free = (size for shape in _sizes(program).values() for size in shape if not isinstance(size, int))
    return any(not size.node.expr.is_Symbol for size in free)


def _whole(bound: Any, otherwise: int) -> int:
    """A bound as a number; `otherwise` where it is none, or beyond any size."""
    return int(bound) if bound.is_Integer else otherwise


def _is_narrow(program: ExportedProgram) -> bool:
    import torch

    return any(p.dtype in (torch.float16, torch.bfloat16, torch.float64) for p in program.parameters())


def _widened(module: Any) -> Any:
    """A graph module in single precision: its tensors, and every float type that its graph names."""
    import torch
    from torch.fx import GraphModule
    from torch.fx.node import map_aggregate

    others = (torch.float16, torch.bfloat16, torch.float64)

    def wide(value: Any) -> Any:
        return torch.float32 if value in others else value

    module.float()
    for child in module.modules():
        for name, value in vars(child).items():
            if isinstance(value, torch.Tensor) and value.dtype in others:
                setattr(child, name, value.float())
        if isinstance(child, GraphModule):
            for node in child.graph.nodes:
                node.args = map_aggregate(node.args, wide)
                node.kwargs = map_aggregate(node.kwargs, wide)
            child.recompile()
    return module

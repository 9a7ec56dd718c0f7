"""A `.pt2` program of torch.export. Loading one can run code that lies in it, so it takes the user's trust."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any

from ...backends.base import Array
from ...errors import InputError
from .base import Dynamic, Source, checked_dynamic, missing, safe_name
from .quiet import quiet
from .torch_module import arrays, check_forward, module_digest

if TYPE_CHECKING:
    from torch import nn
    from torch.export import ExportedProgram


def matches(spec: str) -> bool:
    """By suffix."""
    return Path(spec).suffix.lower() == ".pt2"


def load(spec: str, trust: bool) -> Source:
    """Load the program; its inputs are the ones saved with it.

    Raises:
        InputError: no trust, no exported program, or inputs that are not plain tensors.
    """
    if not Path(spec).is_file():
        raise missing(spec)
    if not trust:
        raise InputError(
            f"{spec} is a torch.export program; loading it can run code that lies in it.",
            hint="Pass --trust-source if you trust where it comes from, or give the Python file it was made from.",
        )
    program = _read(spec)
    positional = _positional(program, spec)
    inputs = _inputs(program, spec)
    dynamic = checked_dynamic(_dynamic(program), inputs, f"The free axes of {spec}")
    module = _adapter(program, positional, tuple(inputs))
    check_forward(module, inputs, spec)
    return Source(
        name=safe_name(Path(spec).stem),
        kind="pt2",
        module=module,
        onnx=None,
        inputs=inputs,
        dynamic=dynamic,
        program=program,
        digest=module_digest(module, inputs, dynamic),
    )


def _read(spec: str) -> ExportedProgram:
    import torch

    try:
        with quiet():
            return torch.export.load(spec)
    except Exception as error:
        first = next(iter(str(error).splitlines()), type(error).__name__)
        raise InputError(
            f"{spec} is not a program that torch {torch.__version__} can load: {first}",
            hint="Save it again with torch.export.save, with this version of torch.",
        ) from error


def _positional(program: ExportedProgram, spec: str) -> int:
    """How many inputs come by position; the others come by keyword."""
    tree = program.call_spec.in_spec
    if tree is None:
        raise InputError(f"{spec} does not say how it is called.", hint="Save it again with torch.export.save.")
    arguments, keywords = tree.children()
    if not all(child.is_leaf() for child in (*arguments.children(), *keywords.children())):
        raise InputError(f"{spec} takes nested inputs.", hint="Export a module whose inputs are plain tensors.")
    return len(arguments.children())


def _inputs(program: ExportedProgram, spec: str) -> dict[str, Array]:
    if program.example_inputs is None:
        raise InputError(f"{spec} was saved without example inputs.", hint="Save it again with torch.export.save.")
    arguments, keywords = program.example_inputs
    names = [str(name) for name in program.graph_signature.user_inputs]
    feed: Mapping[str, Any] = dict(zip(names, (*arguments, *keywords.values()), strict=True))
    return arrays(feed, f"The example inputs of {spec}")


def _dynamic(program: ExportedProgram) -> Dynamic:
    """Names for the free axes, which the program knows as symbols: `batch` for the first one of an axis 0."""
    names: dict[str, str] = {}
    dynamic: Dynamic = {}
    for node in program.graph.nodes:
        if node.op != "placeholder" or node.name not in program.graph_signature.user_inputs:
            continue
        for axis, size in enumerate(node.meta["val"].shape):
            if isinstance(size, int):
                continue
            fresh = "batch" if axis == 0 and "batch" not in names.values() else f"{node.name}_axis{axis}"
            dynamic.setdefault(node.name, {})[axis] = names.setdefault(str(size), fresh)
    return dynamic


def _adapter(program: ExportedProgram, positional: int, names: tuple[str, ...]) -> nn.Module:
    """The program as a module called by position; the one torch gives refuses `eval` and fixes what is a keyword."""
    from torch import nn

    class Program(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.program = program.module()

        def forward(self, *tensors: Any) -> Any:
            keywords = dict(zip(names[positional:], tensors[positional:], strict=True))
            return self.program(*tensors[:positional], **keywords)

        def train(self, mode: bool = True) -> Program:
            return self

    return Program()

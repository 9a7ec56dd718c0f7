"""What a model to export is, wherever it came from."""

from __future__ import annotations

import hashlib
import inspect
import re
import unicodedata
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any, Protocol, TypeAlias

from ...backends.base import Array, AxisRange, Feed
from ...errors import InputError

if TYPE_CHECKING:
    from torch import Tensor, nn
    from torch.export import ExportedProgram

    from .images import Preprocess

Predict: TypeAlias = Callable[[Feed], dict[str, Array]]
Dynamic: TypeAlias = dict[str, dict[int, str]]


class Training(Protocol):
    """Gives one pass over the training data: pairs of `{input: tensor}` and targets, as the user's loss wants them."""

    def __call__(self, epoch: int = 0, /) -> Iterable[tuple[Mapping[str, Tensor], Any]]:
        """The pass of this number, from 0; it may decide the order. `training.data.passes` checks what it gives."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Source:
    """A model and one example batch of its inputs.

    With pre- or postprocessing the module is a `Pipeline`: `inputs`, `calibration` and `evaluate` are those of the
    whole, `training` gives inputs of the whole, and `loss` takes what the network inside gives.

    Attributes:
        name: stem for files, safe in any file system.
        kind: `python`, `pt2`, `onnx`, `huggingface` or `object`.
        module: the torch module in evaluation mode, None exactly where `onnx` is given.
        onnx: the ONNX file, None exactly where `module` is given.
        inputs: one example batch, names in the order of `forward`.
        dynamic: name of each free axis, by input and axis; an input without any is left out.
        calibration: gives fresh feeds at each call; nothing is read before that.
        evaluate: quality of a predictor, higher is better.
        training: one pass over the training data at each call; nothing is read before it is iterated.
        loss: of the network's own result and a batch's targets, a scalar to minimise.
        student: makes another network for the same inputs and outputs, to be trained against this one.
        program: the exported program of a `.pt2` file.
        ranges: of free axes by name, where they were found by trying.
        held: inputs that are parameters of the model, as a shape is: they stay as in `inputs` wherever others are made.
        licence: of the model, in the words of its source; empty where it states none.
        before: what `[preprocess]` of a recipe puts in front of an ONNX file; of a module it is part of the `Pipeline`.
        whole: the source with pre- and postprocessing, where this is the network inside alone (`network_of`).
        digest: sha256 of what decides the model: weights, structure and source text, or the bytes of the file.
    """

    name: str
    kind: str
    module: nn.Module | None
    onnx: Path | None
    inputs: dict[str, Array]
    dynamic: Dynamic
    calibration: Callable[[], Iterable[Feed]] | None = None
    evaluate: Callable[[Predict], float] | None = None
    training: Training | None = None
    loss: Callable[[Any, Any], Tensor] | None = None
    student: Callable[[], nn.Module] | None = None
    program: ExportedProgram | None = None
    ranges: Mapping[str, AxisRange] = field(default_factory=dict)
    held: frozenset[str] = frozenset()
    licence: str = ""
    before: Preprocess | None = None
    whole: Source | None = None
    digest: str


def numbered(function: Callable[..., Iterable[Any]]) -> Training:
    """The user's `training`: the number of the pass goes to a parameter called `epoch`, where it has one."""
    takes = "epoch" in inspect.signature(function).parameters

    def training(epoch: int = 0, /) -> Iterable[Any]:
        return function(epoch=epoch) if takes else function()

    return training


def safe_name(stem: str) -> str:
    """The stem with all but letters, digits, dot, dash and underscore replaced; of letters with marks the marks go."""
    plain = "".join(letter for letter in unicodedata.normalize("NFKD", stem) if not unicodedata.combining(letter))
    return re.sub(r"[^A-Za-z0-9._-]+", "-", plain).strip("-.") or "model"


def checked_dynamic(dynamic: object, inputs: Mapping[str, Array], origin: str) -> Dynamic:
    """Free axes as declared, negative axes counted from the end.

    Args:
        dynamic: what the user declared, `{input: {axis: name}}`.
        origin: what declares it, for messages.

    Raises:
        InputError: not of that form, an unknown input or axis, a name that is no identifier, one name for axes of
            different sizes, or a free axis of size 1, which tracing would fix.
    """
    if not isinstance(dynamic, Mapping) or not all(isinstance(axes, Mapping) for axes in dynamic.values()):
        raise InputError(f"{origin} gives {dynamic!r}; expected {{input: {{axis: name}}}}, like {_example(inputs)}.")
    if unknown := sorted(str(name) for name in dynamic if name not in inputs):
        raise InputError(f"{origin} names {', '.join(unknown)}; the inputs are {', '.join(inputs)}.")
    checked = {name: _axes(name, axes, inputs[name], origin) for name, axes in dynamic.items()}
    _one_size_each(checked, inputs, origin)
    return {name: axes for name in inputs if (axes := checked.get(name))}


def _axes(name: str, axes: Mapping[object, object], array: Array, origin: str) -> dict[int, str]:
    checked: dict[int, str] = {}
    for axis, label in axes.items():
        if not isinstance(axis, int) or isinstance(axis, bool) or not -array.ndim <= axis < array.ndim:
            raise InputError(f"{origin}: input {name!r} has no axis {axis!r}; its example has shape {array.shape}.")
        if not isinstance(label, str) or not label.isidentifier():
            raise InputError(f"{origin}: axis {axis} of {name!r} is called {label!r}; expected a name like 'batch'.")
        if array.shape[axis] < 2:
            raise InputError(
                f"{origin}: axis {axis} of {name!r} is free ({label!r}), but its example has size {array.shape[axis]} "
                "there. Tracing treats a size of 1 as a constant, so the axis could not stay free.",
                hint=f"Give an example with at least 2 along {label!r}.",
            )
        checked[axis % array.ndim] = label
    return dict(sorted(checked.items()))


def _one_size_each(dynamic: Dynamic, inputs: Mapping[str, Array], origin: str) -> None:
    sizes: dict[str, tuple[str, int]] = {}
    for name, axes in dynamic.items():
        for axis, label in axes.items():
            size = inputs[name].shape[axis]
            other, known = sizes.setdefault(label, (name, size))
            if known != size:
                raise InputError(
                    f"{origin}: axis {label!r} has size {known} in input {other!r} and {size} in {name!r}.",
                    hint="Give axes that differ names of their own.",
                )


def _example(inputs: Mapping[str, Array]) -> str:
    return f"{{{next(iter(inputs), 'image')!r}: {{0: 'batch'}}}}"


def described(inputs: Mapping[str, Array]) -> str:
    """Inputs in words: `image float32 (2, 3, 32, 32)`."""
    return ", ".join(f"{name} {array.dtype.name} {array.shape}" for name, array in inputs.items())


def specs_digest(inputs: Mapping[str, Array], dynamic: Dynamic) -> bytes:
    """Digest of names, dtypes, shapes and free axes, not of the data."""
    return hashlib.sha256(f"{described(inputs)}|{dynamic}".encode()).digest()


def missing(spec: str) -> InputError:
    """The error for a file that is not there, with near names of the same directory."""
    path = Path(spec)
    siblings = sorted(p.name for p in path.parent.iterdir()) if path.parent.is_dir() else []
    near = [name for name in siblings if name.startswith(path.stem) or name.endswith(path.suffix or "\0")][:5]
    return InputError(
        f"{spec} does not exist" + (f"; {path.parent} has {', '.join(near)}." if near else "."),
        hint="Give a Python file or module, a .pt2 program, an .onnx file or a Hugging Face model directory.",
    )

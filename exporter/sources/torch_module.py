"""What all torch sources share: how a module is called, what its outputs are called, and what decides it."""

from __future__ import annotations

import contextlib
import hashlib
import inspect
import re
import sys
from collections.abc import Iterable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from ...backends.base import Array, Feed
from ...errors import InputError
from ..graphs.names import free_name
from .base import Dynamic, Predict, Source, described, specs_digest
from .parts import without_parts
from .traceback import is_user_file, user_traceback
from .undisturbed import undisturbed

if TYPE_CHECKING:
    from torch import Tensor, nn


def arrays(feed: Mapping[str, Any], origin: str) -> dict[str, Array]:
    """Tensors or arrays by name as arrays; those on the CPU share their memory.

    Raises:
        InputError: no mapping of names to tensors.
    """
    import torch

    if not isinstance(feed, Mapping) or not feed:
        raise InputError(f"{origin} gives {type(feed).__name__}; expected a dict of input name to tensor, not empty.")
    result: dict[str, Array] = {}
    for name, value in feed.items():
        if not isinstance(name, str) or not isinstance(value, torch.Tensor | np.ndarray):
            raise InputError(
                f"{origin} gives {name!r}: {type(value).__name__}; expected a dict of input name to tensor.",
                hint="Give a number as a tensor (torch.tensor(2.0)) where it stays an input; a setting of forward that "
                "an engine has once and for all, fix in model(): forward then takes it no more.",
            )
        if isinstance(value, torch.Tensor) and value.dtype == torch.bfloat16:
            value = value.float()  # which numpy lacks, and every value of which float32 has
        array = value.detach().cpu().numpy() if isinstance(value, torch.Tensor) else value
        result[name] = np.asarray(array, order="C")  # np.ascontiguousarray gives a number an axis
    return result


def by_keyword(module: nn.Module, names: Sequence[str], origin: str) -> bool:
    """Whether `forward` takes the inputs by keyword; else it takes them by position, where their number fits.

    Raises:
        InputError: neither; the message names what was given and what `forward` takes.
    """
    parameters = inspect.signature(module.forward).parameters.values()
    named = [p for p in parameters if p.kind in (p.POSITIONAL_OR_KEYWORD, p.KEYWORD_ONLY)]
    accepted, required = {p.name for p in named}, {p.name for p in named if p.default is p.empty}
    anything = any(p.kind is p.VAR_KEYWORD for p in parameters)
    if required <= set(names) and (anything or accepted >= set(names)):
        return True
    positional = [p for p in parameters if p.kind in (p.POSITIONAL_ONLY, p.POSITIONAL_OR_KEYWORD)]
    fewest = sum(p.default is p.empty for p in positional)
    most = sys.maxsize if any(p.kind is p.VAR_POSITIONAL for p in parameters) else len(positional)
    # A partial match is a typing error, and calling by position would pair the wrong ones.
    if fewest <= len(names) <= most and not accepted & set(names):
        return False
    raise InputError(
        f"{origin} names {', '.join(names)}; forward of {type(module).__name__} takes {_parameters(module)}.",
        hint="Name the inputs as the parameters of forward.",
    )


def in_forward_order(module: nn.Module, feed: Mapping[str, Array], origin: str) -> dict[str, Array]:
    """The feed in the order of `forward`'s parameters; as given where it is called by position."""
    if not by_keyword(module, list(feed), origin):
        return dict(feed)
    order = [name for name in inspect.signature(module.forward).parameters if name in feed]
    return {name: feed[name] for name in (*order, *(n for n in feed if n not in order))}


def call(module: nn.Module, feed: Feed) -> object:
    """Run the module on the feed, without gradients; what it raises is passed on, and what it notes down forgotten."""
    with undisturbed(module):
        return _called(module, _tensors(module, feed))


def call_for_good(module: nn.Module, feed: Feed) -> None:
    """Run the module on the feed, without gradients; what it notes down, such as statistics, stays."""
    _called(module, _tensors(module, feed))


def _tensors(module: nn.Module, feed: Feed) -> dict[str, Tensor]:
    """The feed where the module is, as a copy: a forward may write into its inputs."""
    import torch

    device = next((tensor.device for tensor in (*module.parameters(), *module.buffers())), None)
    return {name: torch.tensor(array, device=device) for name, array in feed.items()}


def _called(module: nn.Module, tensors: Mapping[str, Tensor]) -> object:
    import torch

    with torch.no_grad():
        if by_keyword(module, list(tensors), "The feed"):
            return module(**tensors)
        return module(*tensors.values())


def named_outputs(result: object) -> dict[str, Tensor]:
    """The tensors of a module's result by name.

    One tensor is `output`; those of a dict or of a Hugging Face output are called by key, those of a tuple `output_0`,
    `output_1`, ...; what is nested adds to the name with an underscore, a name that meets another so gets a number, and
    None is left out.

    Raises:
        InputError: it holds something else than tensors.
    """
    named: dict[str, Tensor] = {}
    for name, tensor in _leaves("", result):
        named[free_name(name, named)] = tensor
    if not named:
        raise InputError("forward returns no tensor.", hint="Return a tensor, a tuple or a dict of tensors.")
    return named


def _leaves(name: str, value: object) -> Iterator[tuple[str, Tensor]]:
    import torch

    if value is None:
        return
    if isinstance(value, torch.Tensor):
        yield name or "output", value
    elif isinstance(value, Mapping):
        for key, item in value.items():
            yield from _leaves(f"{name}_{key}" if name else str(key), item)
    elif isinstance(value, tuple | list):
        keys = getattr(value, "_fields", range(len(value)))
        for key, item in zip(keys, value, strict=True):
            yield from _leaves(f"{name or 'output'}_{key}" if isinstance(key, int) or name else str(key), item)
    else:
        raise InputError(
            f"forward returns {type(value).__name__}{f' in {name!r}' if name else ''}; expected tensors.",
            hint="Return a tensor, a tuple or a dict of tensors.",
        )


def torch_predict(source: Source, threads: int | None = None) -> Predict:
    """A predictor that runs the source's torch module; its outputs are called as the captured graph's.

    Args:
        threads: intra-op threads of torch, for the whole process; None leaves them.

    Raises:
        ValueError: the source is an ONNX file and has no module.
    """
    import torch

    module = source.module
    if module is None:
        raise ValueError(f"{source.name} has no torch module")

    def predict(feed: Feed) -> dict[str, Array]:
        if threads is not None and torch.get_num_threads() != threads:
            torch.set_num_threads(threads)
        if missing := [name for name in source.inputs if name not in feed]:
            raise InputError(f"predict() was given {', '.join(feed) or 'nothing'}; it also needs {', '.join(missing)}.")
        ordered = {name: feed[name] for name in source.inputs}
        return {name: tensor.detach().cpu().numpy() for name, tensor in output_tensors(module, ordered).items()}

    return predict


def output_tensors(module: nn.Module, feed: Feed) -> dict[str, Tensor]:
    """Run the module on the feed and name its outputs; an output never carries an input's name."""
    outputs = named_outputs(call(module, feed))
    taken = {*outputs, *feed}
    return {free_name(f"{n}_output", taken) if n in feed else n: tensor for n, tensor in outputs.items()}


def check_forward(module: nn.Module, inputs: Mapping[str, Array], origin: str, root: Path | None = None) -> None:
    """Run the module once, so that a fault in it shows here and in the user's terms.

    Raises:
        InputError: the module raised, is not on the CPU, has no weights, or returned something else than tensors.
    """
    if lazy := [name for name, child in module.named_modules() if _is_lazy(child)]:
        raise InputError(
            f"{origin}: {', '.join(lazy[:3]) or 'the model'} has no weights yet; a lazy layer makes them when it runs.",
            hint="Run the model once and load its trained weights, before it is given.",
        )
    device = next((p.device.type for p in (*module.parameters(), *module.buffers()) if p.device.type != "cpu"), None)
    if device == "meta":
        raise InputError(
            f"{origin}: the model has weights on meta: they have shapes and no values.",
            hint="Build it without torch.device('meta'), or give it weights with load_state_dict(..., assign=True).",
        )
    if device:
        raise InputError(f"{origin}: the model has weights on {device}.", hint="Move it with `.cpu()`.")
    try:
        with undisturbed(module, buffers=True):
            _check_repeats(module, inputs, origin)
    except InputError:
        raise
    except Exception as error:
        raise InputError(
            f"{origin}: the model's forward fails on its example inputs ({described(inputs)})."
            f"{_where(module, inputs)}\n"
            f"{user_traceback(error, root)}",
            hint="Correct the layer or the example inputs; the model must run on them.",
        ) from error


def _where(module: nn.Module, inputs: Mapping[str, Array]) -> str:
    """In which submodule a forward fails, as a sentence.

    It runs once more for that: hooks in one that does not fail would be in the way, as inside of torch.cond.
    """
    entered = _Entered(module)
    with contextlib.suppress(Exception), entered, undisturbed(module, buffers=True):
        _called(module, _tensors(module, inputs))
    return entered.where()


def _is_lazy(module: nn.Module) -> bool:
    from torch.nn.parameter import is_lazy

    return any(is_lazy(tensor) for tensor in (*module.parameters(recurse=False), *module.buffers(recurse=False)))


def _check_repeats(module: nn.Module, inputs: Mapping[str, Array], origin: str) -> None:
    """Run the module twice on the same inputs, from the same random numbers: only what it remembers can differ.

    Between the two it is given others: a mean over what it has seen is the same where it saw the same.

    Raises:
        InputError: it gives two answers, or writes into its inputs or its weights.
    """
    import torch

    given, results, weights = _tensors(module, inputs), [], _norms(module)
    with torch.random.fork_rng(devices=[]):
        for number in range(2):
            if number:
                with contextlib.suppress(Exception):  # what was given is all that it must take
                    _called(module, {name: _turned(tensor) for name, tensor in given.items()})
            torch.manual_seed(0)
            before = {name: tensor.clone() for name, tensor in given.items()}
            result = named_outputs(_called(module, before))
            results.append({name: tensor.clone() for name, tensor in result.items()})
            if written := [name for name, tensor in given.items() if not _equal(tensor, before[name])]:
                raise InputError(
                    f"{origin}: forward changes its input {', '.join(written)} in place, which an engine does not do.",
                    hint="Work on a copy (x = x.clone()); where the changed input is wanted, return it as an output.",
                )
    if changed := [name for name, norm in _norms(module).items() if not _equal(norm, weights[name])]:
        raise InputError(
            f"{origin}: forward changes its weights {', '.join(changed[:3])}, which an engine does not do.",
            hint="What the first batch sets, as a data-dependent initialization does, set before: call the model on "
            "real data, save its weights, and let forward skip that from then on.",
        )
    if differing := [name for name, tensor in results[0].items() if not _equal(tensor, results[1].get(name))]:
        raise InputError(
            f"{origin}: forward answers the same inputs differently the second time (output {', '.join(differing)}): "
            "it keeps state between calls, which an engine does not.",
            hint="Make the state an input and an output of forward, and pass it on from call to call.",
        )


def _norms(module: nn.Module) -> dict[str, Tensor]:
    """One number of each weight, by which a change shows; a copy of all would double them."""
    import torch

    floats = (torch.float16, torch.bfloat16, torch.float32, torch.float64)
    weights = ((name, weight.detach()) for name, weight in module.named_parameters() if weight.dtype in floats)
    return {name: torch.linalg.vector_norm(weight) for name, weight in weights if weight.layout == torch.strided}


def _turned(tensor: Tensor) -> Tensor:
    """The same values in the reverse order along the first axis that has one."""
    axis = next((axis for axis, size in enumerate(tensor.shape) if size > 1), None)
    return tensor.clone() if axis is None else tensor.flip(axis)


def _equal(first: Tensor, second: Tensor | None) -> bool:
    """Equal but for rounding; NaN equals NaN."""
    import torch

    if second is None or first.shape != second.shape:
        return False
    if not first.dtype.is_floating_point:
        return torch.equal(first, second)
    return torch.allclose(first, second, rtol=1e-5, atol=1e-6 * _largest(first), equal_nan=True)


def _largest(tensor: Tensor) -> float:
    finite = tensor[tensor.isfinite()]
    return float(finite.abs().max().detach()) if finite.numel() else 0.0


class _Entered:
    """Watches which submodule runs, so that the one that failed can be named."""

    def __init__(self, module: nn.Module) -> None:
        self._modules = {name: child for name, child in module.named_modules() if name}
        self._running: list[tuple[str, nn.Module, str]] = []
        self._handles: list[Any] = []

    def __enter__(self) -> None:
        for name, child in self._modules.items():
            self._handles.append(child.register_forward_pre_hook(self._enter(name)))
            self._handles.append(child.register_forward_hook(lambda *_: self._leave()))

    def __exit__(self, *_: object) -> None:
        for handle in self._handles:
            handle.remove()

    def where(self) -> str:
        """The innermost module that was entered and not left, as a sentence; empty where there is none."""
        if not self._running:
            return ""
        name, child, given = self._running[-1]
        what = str(child) if not any(True for _ in child.children()) else type(child).__name__
        return f" It fails in `{without_parts(name) or 'model()'}`, {what}, which was given {given or 'no tensor'}."

    def _enter(self, name: str) -> Any:
        import torch

        def hook(child: nn.Module, arguments: tuple[object, ...]) -> None:
            self._running.append((name, child, ", ".join(map(_shape, filter(torch.is_tensor, arguments)))))

        return hook

    def _leave(self) -> None:
        if self._running:
            self._running.pop()


def _shape(tensor: Tensor) -> str:
    return "rows of several lengths" if tensor.is_nested else f"{tuple(tensor.shape)}"  # a nested tensor has no shape


def module_digest(module: nn.Module, inputs: Mapping[str, Array], dynamic: Dynamic, files: Iterable[Path] = ()) -> str:
    """Sha256 of weights, structure, the user's source files, and the form of the inputs; paths are left out."""
    total = hashlib.sha256(specs_digest(inputs, dynamic))
    # A structure may print objects with their addresses, which differ in each process.
    total.update(re.sub(r" at 0x[0-9a-f]+", "", repr(module)).encode())
    texts = {hashlib.sha256(path.read_bytes()).digest() for path in {*files, *_class_files(module)}}
    for text in sorted(texts):
        total.update(text)
    for name, tensor in (*module.named_parameters(), *module.named_buffers()):
        total.update(f"{name} {tensor.dtype} {tuple(tensor.shape)}".encode())
        total.update(_bytes(tensor))
    return total.hexdigest()


def _class_files(module: nn.Module) -> set[Path]:
    names = {getattr(child, "defined_in", type(child).__module__) for child in module.modules()}
    files = {getattr(sys.modules.get(name), "__file__", None) for name in names}
    return {Path(file) for file in files if file and is_user_file(file) and Path(file).is_file()}


def _bytes(tensor: Tensor) -> Any:
    import torch

    flat = tensor.detach().cpu().contiguous().reshape(-1)
    return flat.view(torch.uint8).numpy().data


def _parameters(module: nn.Module) -> str:
    return ", ".join(str(p) for p in inspect.signature(module.forward).parameters.values()) or "nothing"

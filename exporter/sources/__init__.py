"""Where a model comes from: one file a kind, asked in the order below."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any

from ...backends.base import Feed
from ...errors import InputError
from ...profiles.reading.names import need_text
from . import gguf_file, huggingface, onnx_file, pt2, python, weights_file
from .base import Predict, Source, checked_dynamic, missing, numbered, safe_name
from .decoder import DecoderSource
from .foreign import no_source, refuse_foreign
from .kind import SourceKind
from .plain import evaluate_taken, evaluating, feeds_taken, float_inputs, not_a_module, unwrapped
from .torch_module import arrays, check_forward, in_forward_order, module_digest, torch_predict
from .traceback import user_errors, user_traceback

if TYPE_CHECKING:
    from torch import Tensor, nn

__all__ = [
    "DecoderSource",
    "Predict",
    "Source",
    "load_model",
    "load_source",
    "source_from_object",
    "torch_predict",
    "user_errors",
    "user_traceback",
]

KINDS: tuple[SourceKind, ...] = (onnx_file, pt2, gguf_file, weights_file, huggingface, python)


def load_source(spec: str, *, trust: bool = False) -> Source:
    """The model that the spec names, of one forward.

    Args:
        spec: a Python file or importable module, a `.pt2` or `.onnx` file, or a Hugging Face model directory.
        trust: run code and pickles that the file carries.

    Raises:
        InputError: what is there cannot be exported, or is a decoder; the message says why and what to do.
    """
    source = load_model(spec, trust=trust)
    if isinstance(source, DecoderSource):
        raise InputError(
            f"{spec} is a {source.decoder.kind}, a model that writes text with a cache; expected one of one forward.",
            hint="Give it to `edgepress export`, or write a Python file with model() and inputs() for it.",
        )
    return source


def load_model(spec: str, *, trust: bool = False) -> Source | DecoderSource:
    """The model that the spec names, of either kind.

    Args:
        spec: as of `load_source`, or a GGUF file.
        trust: likewise.

    Raises:
        InputError: what is there cannot be exported; the message says why and what to do.
    """
    need_text(spec)
    refuse_foreign(spec)
    for kind in KINDS:
        if kind.matches(spec):
            return kind.load(spec, trust)
    raise no_source(spec) if Path(spec).exists() else missing(spec)


def source_from_object(
    model: nn.Module,
    inputs: Mapping[str, Any] | tuple[Any, ...] | Any,
    *,
    name: str | None = None,
    dynamic: Mapping[str, Mapping[int, str]] | None = None,
    calibration: Callable[[], Iterable[Feed]] | None = None,
    evaluate: Callable[[Predict], float] | None = None,
    training: Callable[..., Iterable[Any]] | None = None,
    loss: Callable[[Any, Any], Tensor] | None = None,
    student: Callable[[], nn.Module] | None = None,
    preprocess: Callable[..., Any] | None = None,
    postprocess: Callable[..., Any] | None = None,
) -> Source:
    """The source of a module in memory, which is put in evaluation mode.

    Args:
        inputs: one example batch: a dict by name, or a tuple or one tensor in the order of `forward`'s parameters.
        name: what the files are called after; default: the module's class.
        preprocess, postprocess: functions or modules of torch that become part of the model; `inputs` are then what
            the first takes by name.
        dynamic: free axes, `{input: {axis: name}}`.

    Raises:
        InputError: no module, inputs that `forward` does not take, or a forward that fails on them.
    """
    from torch import nn

    from .pipeline import piped

    if not isinstance(model, nn.Module):
        raise not_a_module("The model is", model)
    name = name or type(model).__name__
    origin = f"Model {name}"
    model = evaluating(unwrapped(model, origin), origin)
    given = arrays(_named(preprocess or model, inputs, origin), f"{origin}: inputs")
    model = piped(model, list(given), preprocess, postprocess, origin)
    model, feed = float_inputs(model, in_forward_order(model, given, f"{origin}: inputs"))
    axes = checked_dynamic(dynamic or {}, feed, f"{origin}: dynamic")
    check_forward(model, feed, origin)
    return Source(
        name=safe_name(name),
        kind="object",
        module=model,
        onnx=None,
        inputs=feed,
        dynamic=axes,
        calibration=feeds_taken(calibration, given, feed),
        evaluate=evaluate_taken(evaluate, given, feed),
        training=None if training is None else numbered(training),
        loss=loss,
        student=student,
        digest=module_digest(model, feed, axes),
    )


def _named(taker: Callable[..., Any], inputs: Any, origin: str) -> Mapping[str, Any]:
    """Inputs by the names of the parameters of what takes them, where they come without."""
    import inspect

    if isinstance(inputs, Mapping):
        return inputs
    values = inputs if isinstance(inputs, tuple | list) else (inputs,)
    names = list(inspect.signature(getattr(taker, "forward", taker)).parameters)
    if len(values) > len(names):
        raise InputError(f"{origin}: {len(values)} inputs were given, forward takes {', '.join(names) or 'none'}.")
    return dict(zip(names, values, strict=False))

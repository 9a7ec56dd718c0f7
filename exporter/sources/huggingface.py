"""A Hugging Face model directory on disk: `config.json` and safetensors, classes of the installed transformers."""

from __future__ import annotations

import contextlib
import copy
import re
from collections.abc import Callable, Iterator, Mapping
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from ...backends.base import Array
from ...errors import InputError, UnservedError
from ...profiles.reading.json_file import read_json
from ..language.architecture import empty
from ..language.checkpoint import Safetensors, digest_of
from .asleep import load_torch_asleep
from .base import Dynamic, Source, safe_name
from .beside import beside
from .decoder import DecoderSource, deciding_files, decoder_source, ends_of, is_decoder, tokenizer_of
from .quiet import quiet
from .torch_module import check_forward, module_digest

if TYPE_CHECKING:
    from torch import nn

_BATCH, _SEQUENCE = 2, 16
CARD = 1 << 16  # characters of a model card in which its front matter ends
# Settings that may name a repository of kernels, and the values that are transformers' and torch's own.
_IMPLEMENTATIONS = ("attn_implementation", "experts_implementation")
# How classes that write text are named: their weights are hashed while transformers is loaded, which takes longer.
_WRITES = ("ForCausalLM", "LMHeadModel")
_OWN_KERNELS = (None, "eager", "sdpa", "grouped_mm", "batched_mm")
_OWN = "Write a Python file with model() and inputs() that builds it; `edgepress init` writes one to start from."


def matches(spec: str) -> bool:
    """A directory, unless it is a Python package without a configuration."""
    path = Path(spec)
    return path.is_dir() and ((path / "config.json").is_file() or not (path / "__init__.py").is_file())


def load(spec: str, trust: bool) -> Source | DecoderSource:
    """Load configuration and weights from the directory, never from the network; synthetic example inputs.

    A model that writes text, of a family that is described, is a `DecoderSource`, whose weights stay where they are.

    Args:
        trust: allow weights in pickle files where there are no safetensors. Python code in the directory is never run.

    Raises:
        InputError: no such model, weights in pickles only, or a kind of model whose inputs are not known; or a decoder
            with a setting that cannot be expressed.
        UnservedError: transformers is not installed.
    """
    directory = Path(spec)
    config = _config(directory)
    architecture = _architecture(config, directory)
    _check_attention(config, directory)
    _check_weights(directory, trust)
    digest = beside(partial(digest_of, directory)) if architecture.endswith(_WRITES) else None
    kind = _class(directory, architecture)
    if (settings := _settings(kind, directory)) is not None and is_decoder(kind, settings):
        return _decoder(directory, kind, settings, digest)
    module = _pretrained(kind, directory, use_safetensors=None if trust else True)
    inputs, dynamic = _inputs(module, spec)
    check_forward(module, inputs, spec)
    return Source(
        name=safe_name(directory.resolve().name),
        kind="huggingface",
        module=module,
        onnx=None,
        inputs=inputs,
        dynamic=dynamic,
        licence=_licence(directory),
        digest=module_digest(module, inputs, dynamic),
    )


def _licence(directory: Path) -> str:
    """What the model card says in its front matter; empty where there is none, or a list."""
    card = directory / "README.md"
    if not card.is_file():
        return ""
    with card.open(encoding="utf-8", errors="replace") as file:
        text = file.read(CARD)
    front = re.match(r"---\n(.*?)\n---", text, re.DOTALL)
    found = None if front is None else re.search(r"^license: *['\"]?([\w.+-]+)['\"]? *$", front[1], re.MULTILINE)
    return "" if found is None else found[1]


def _config(directory: Path) -> Any:
    path = directory / "config.json"
    if not path.is_file():
        raise InputError(f"{directory} has no config.json.", hint="Give a directory that `save_pretrained` wrote.")
    return read_json(path, exact=False, hint="Give a directory that `save_pretrained` wrote.")


def _architecture(config: Any, directory: Path) -> str:
    names = config.get("architectures") if isinstance(config, Mapping) else None
    if not isinstance(names, list) or not names or not isinstance(names[0], str):
        raise InputError(
            f"{directory / 'config.json'} names no `architectures`.",
            hint='Add the model class: "architectures": ["BertModel"].',
        )
    return str(names[0])


def _check_attention(config: Any, directory: Path) -> None:
    """Refuse an implementation that transformers would fetch from elsewhere and run, here or in a part's settings.

    Raises:
        InputError: naming it.
    """
    parts = config.items() if isinstance(config, Mapping) else enumerate(config) if isinstance(config, list) else ()
    for key, value in parts:
        if str(key).removeprefix("_").removesuffix("_internal") in _IMPLEMENTATIONS:
            named = [value] if not isinstance(value, Mapping) else list(value.values())
            if foreign := [name for name in named if name not in _OWN_KERNELS]:
                raise InputError(
                    f"{directory / 'config.json'} asks for `{key}` {foreign[0]!r}, which is code from elsewhere.",
                    hint="Remove it from config.json, or write one of eager and sdpa there.",
                )
        _check_attention(value, directory)


def _check_weights(directory: Path, trust: bool) -> None:
    if any(directory.glob("*.safetensors")):
        return
    pickles = sorted(p.name for p in directory.glob("*.bin"))
    if not pickles:
        raise InputError(f"{directory} has no weights: neither *.safetensors nor *.bin.")
    if not trust:
        raise InputError(
            f"{directory} has its weights in a pickle ({pickles[0]}), which can run code when it is loaded.",
            hint="Save it again with save_pretrained(safe_serialization=True), or pass --trust-source.",
        )


def _decoder(directory: Path, kind: Any, config: Any, digest: Callable[[], str] | None) -> DecoderSource:
    """The directory as a decoder: its tensors are looked at, and none is loaded.

    Args:
        digest: as of `decoder_source`.

    Raises:
        InputError: it was quantized already, or `decoder_source` refuses it.
    """
    if quantized := getattr(config, "quantization_config", None):
        method = quantized.get("quant_method") if isinstance(quantized, Mapping) else None
        raise InputError(
            f"{directory} was quantized already{f', by {method}' if method else ''}.",
            hint="Give the model as it was before: what it lost cannot be told from what is made of it.",
        )
    if not any(directory.glob("*.safetensors")):
        pickle = min(path.name for path in directory.glob("*.bin"))
        raise InputError(
            f"{directory} has its weights in a pickle ({pickle}), which cannot be read one tensor at a time.",
            hint="Save it again with save_pretrained(DIR), which writes safetensors.",
        )
    return decoder_source(
        name=directory.resolve().name,
        kind="huggingface",
        module=partial(_empty, kind, config),
        store=lambda _: Safetensors(directory),
        origin=directory,
        tokenizer=tokenizer_of(directory),
        licence=_licence(directory),
        deciding=deciding_files(directory),
        ends=ends_of(directory, int(config.vocab_size)),
        digest=digest,
    )


def _empty(kind: Any, config: Any) -> Any:
    with _without_foreign_code():
        return empty(kind, copy.deepcopy(config))


def _settings(kind: Any, directory: Path) -> Any:
    """The configuration as transformers' object; None where it does not make one of the model's class."""
    wanted = getattr(kind, "config_class", None)
    if wanted is None:
        return None
    try:
        with quiet(), _without_foreign_code():
            return wanted.from_pretrained(directory, local_files_only=True, trust_remote_code=False)
    except Exception:  # what is wrong is said where the model is loaded
        return None


def _class(directory: Path, architecture: str) -> Any:
    load_torch_asleep()
    try:
        import transformers
    except ImportError as error:
        raise UnservedError(
            f"{directory} is a Hugging Face model, and transformers is not installed.",
            hint="pip install 'edgepress[huggingface]'.",
        ) from error
    kind = getattr(transformers, architecture, None)
    if not (isinstance(kind, type) and issubclass(kind, transformers.PreTrainedModel)):
        raise InputError(
            f"{directory} is a {architecture}, which transformers {transformers.__version__} does not have as a model.",
            hint=f"Code in a model directory is never run. {_OWN}",
        )
    return kind


def _pretrained(kind: Any, directory: Path, **options: Any) -> nn.Module:
    import torch
    from torch import nn

    try:
        with quiet(), _without_foreign_code():
            module = kind.from_pretrained(
                directory, local_files_only=True, trust_remote_code=False, dtype=torch.float32, **options
            )
    except Exception as error:
        first = next((line for line in str(error).splitlines() if line.strip()), type(error).__name__)
        raise InputError(f"{directory} cannot be loaded as {kind.__name__}: {first}") from error
    assert isinstance(module, nn.Module)
    # A cache of keys and values would become outputs that no single inference needs.
    if hasattr(module.config, "use_cache"):
        module.config.use_cache = False
    return module.eval()


@contextlib.contextmanager
def _without_foreign_code() -> Iterator[None]:
    """Parts of a model are loaded by Auto classes, which are told nothing and ask the user: no time is given to answer.

    With 0 seconds transformers raises where it would have asked, whatever stands for standard input.
    """
    from transformers import dynamic_module_utils

    before = dynamic_module_utils.TIME_OUT_REMOTE_CODE
    dynamic_module_utils.TIME_OUT_REMOTE_CODE = 0
    try:
        yield
    finally:
        dynamic_module_utils.TIME_OUT_REMOTE_CODE = before


def _inputs(module: Any, spec: str) -> tuple[dict[str, Array], Dynamic]:
    """A seeded example batch for the model's kind, and its free axes.

    Raises:
        InputError: not a text or an image model, or one with an encoder and a decoder.
    """
    config, main = module.config, getattr(module, "main_input_name", "")
    if getattr(config, "is_encoder_decoder", False):
        raise InputError(
            f"{spec} is a {type(module).__name__}, an encoder and a decoder: what it writes takes both, in turn and "
            "with two caches, and neither one forward nor a decoder of its own does that.",
            hint="Write a Python file whose model() is its encoder alone, or one whose forward gives the logits of all "
            "tokens at once; `edgepress init` writes one to start from.",
        )
    if main not in ("input_ids", "pixel_values"):
        raise InputError(f"{spec}: the inputs of a {type(module).__name__} ({main}) are not known.", hint=_OWN)
    return _text(config) if main == "input_ids" else _image(config, spec)


def _text(config: Any) -> tuple[dict[str, Array], Dynamic]:
    longest = int(getattr(config, "max_position_embeddings", _SEQUENCE) or _SEQUENCE)
    shape = (_BATCH, min(_SEQUENCE, longest))
    ids = np.random.default_rng(0).integers(0, int(config.vocab_size), shape, dtype=np.int64)
    free = {0: "batch", 1: "sequence"}
    inputs: dict[str, Array] = {"input_ids": ids, "attention_mask": np.ones(shape, np.int64)}
    return inputs, {name: dict(free) for name in inputs}


def _image(config: Any, spec: str) -> tuple[dict[str, Array], Dynamic]:
    size = getattr(config, "image_size", None)
    if not isinstance(size, int | list | tuple):
        raise InputError(f"{spec}: config.json names no `image_size`.", hint=f"Add it, in pixels. {_OWN}")
    height, width = (size, size) if isinstance(size, int) else (int(size[0]), int(size[1]))
    shape = (_BATCH, int(getattr(config, "num_channels", 3)), height, width)
    pixels = np.random.default_rng(0).standard_normal(shape).astype(np.float32)
    return {"pixel_values": pixels}, {"pixel_values": {0: "batch"}}

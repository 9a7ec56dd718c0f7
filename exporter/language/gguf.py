"""The tensors of a GGUF file, made float32 one at a time, by the names and in the layout that transformers has.

Which tensor is which, and what llama.cpp's converter turned, is in transformers' own tables.
"""

from __future__ import annotations

import hashlib
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np

from ...errors import InputError, UnservedError
from ...profiles.reading.opened import opened
from .checkpoint import CHUNK
from .weights import Floats

HINT = "Copy the file again, or convert it again with a newer llama.cpp."
# Factors of the frequencies of Llama 3's rotary embedding; transformers leaves the tensor out.
ROTARY = "rope_freqs.weight"
# Settings that transformers does not take from the file, by what its configurations call them.
_MORE = {
    "attention.sliding_window": "sliding_window",
    "attention.key_length": "head_dim",
    "attn_logit_softcapping": "attn_logit_softcapping",
    "final_logit_softcapping": "final_logit_softcapping",
    "logit_scale": "logit_scale",
}
# What tensors' shapes say as well.
_SAID = frozenset({"vocab_size", "rope.dimension_count", "attention.value_length", "expert_count", "expert_used_count"})


class GgufFile:
    """What a file says of itself: settings, and where its tensors lie."""

    def __init__(self, path: Path) -> None:
        """Read the file's head.

        Raises:
            InputError: it is cut short, is no GGUF, or has tensors of a type that is not known.
            UnservedError: the package that reads it is not installed.
        """
        self.path = path
        gguf = _gguf()
        with opened(path, what="is not a whole GGUF file", hint=HINT):
            reader = gguf.GGUFReader(path)
            self.settings: Mapping[str, Any] = {
                name: field.contents() for name, field in reader.fields.items() if not name.startswith("tokenizer.")
            }
            self.tensors = {tensor.name: _Place(tensor) for tensor in reader.tensors}
        self._check_types(gguf)

    @property
    def architecture(self) -> str:
        """What llama.cpp calls the family."""
        return str(self.settings.get("general.architecture", ""))

    @property
    def licence(self) -> str:
        """Of the model, as the file states it."""
        return str(self.settings.get("general.license") or "")

    def completed(self, config: Any) -> Any:
        """The configuration that transformers made of the file, with settings that it left out.

        Raises:
            InputError: the file has a setting that cannot be told to transformers.
        """
        from transformers.modeling_gguf_pytorch_utils import GGUF_TO_TRANSFORMERS_MAPPING as MAPPING

        kind = self.architecture
        taken = {**MAPPING["config"].get(kind, {}), **MAPPING["config"].get(config.model_type, {})}
        for name, value in self.settings.items():
            own = name.removeprefix(f"{kind}.")
            if own == name or own in taken or own in _SAID or value == "none":
                continue
            if own not in _MORE:
                raise InputError(
                    f"{self.path} has the setting {name} ({str(value)[:40]}), which would be left out.",
                    hint="Give the model as a Hugging Face directory.",
                )
            setattr(config, _MORE[own], value)
        return config

    def read(self, name: str) -> Floats:
        """A tensor in float32, of the shape that it has in the file."""
        place = self.tensors[name]
        with opened(self.path, what="is not a whole GGUF file", hint=HINT) as file:
            file.seek(place.begin)
            raw = np.frombuffer(bytearray(file.read(place.bytes)), place.dtype)
            if raw.nbytes != place.bytes:
                raise ValueError("it ends before the tensor does")
            values = _gguf().dequantize(raw.reshape(place.stored), place.type)
        return np.asarray(values, dtype=np.float32).reshape(place.shape)

    def _check_types(self, gguf: Any) -> None:
        for type in {place.type for place in self.tensors.values()}:
            of_type = next(name for name, place in self.tensors.items() if place.type == type)
            _, size = gguf.GGML_QUANT_SIZES[type]
            try:
                kind = self.tensors[of_type].dtype
                gguf.dequantize(np.zeros((1, size), np.uint8).view(kind), type)
            except NotImplementedError as error:
                raise InputError(
                    f"{self.path} has {of_type} as {type.name}, which the installed gguf cannot make floats of.",
                    hint="Install a newer one, or convert the model to one of F16, BF16, Q8_0 and Q4_0 to Q6_K.",
                ) from error


class _Place:
    """Where a tensor lies, and how."""

    def __init__(self, tensor: Any) -> None:
        self.begin, self.bytes = int(tensor.data_offset), int(tensor.n_bytes)
        self.type, self.dtype, self.stored = tensor.tensor_type, tensor.data.dtype, tuple(tensor.data.shape)
        # GGUF has the shortest stride first.
        self.shape = tuple(int(size) for size in reversed(tensor.shape))


class Gguf:
    """The `Store` of a file for one architecture: tensors by transformers' names, as transformers lays them out."""

    def __init__(self, file: GgufFile, module: Any) -> None:
        """Name the tensors.

        Args:
            module: `architecture.empty` of it.

        Raises:
            InputError: the tables do not have the architecture.
        """
        self._file = file
        self._processor, names = _tables(file, module)
        if left := [name for name in file.tensors if name not in names and name.startswith("blk.")]:
            raise InputError(
                f"{file.path} has {left[0]}, which a {type(module).__name__} does not compute with.",
                hint="Give the model as a Hugging Face directory.",
            )
        self._names = {names.get(stored, stored): stored for stored in file.tensors if stored != ROTARY}
        self.shapes: Mapping[str, tuple[int, ...]] = {name: self._shape(stored) for name, stored in self._names.items()}

    def read(self, name: str, rows: tuple[int, int] | None = None) -> Floats:
        """As `Store`; the whole tensor is made float32, also where some rows are asked for."""
        values = self._laid_out(self._names[name], self._file.read(self._names[name]))
        return np.ascontiguousarray(values if rows is None else values[slice(*rows)], dtype=np.float32)

    def digest(self) -> str:
        """As `Store`: sha256 of the file."""
        total = hashlib.sha256()
        with opened(self._file.path, hint=HINT) as file:
            while part := file.read(CHUNK):
                total.update(part)
        return total.hexdigest()

    def _laid_out(self, stored: str, values: Floats) -> Floats:
        if stored == "output.weight":
            return values
        return np.asarray(self._processor.process(weights=values, name=stored).weights)

    def _shape(self, stored: str) -> tuple[int, ...]:
        """The shape in transformers' layout. Only a matrix is turned round, and what else is done keeps the shape."""
        empty = np.broadcast_to(np.float32(0), self._file.tensors[stored].shape)
        if stored == "output.weight" or empty.ndim < 2:
            return empty.shape
        return self._laid_out(stored, empty).shape


def turn_as_told(file: GgufFile, module: Any) -> None:
    """Divide the module's rotary frequencies by the factors in the file, where it has any.

    Raises:
        InputError: they are of another number.
    """
    if ROTARY not in file.tensors:
        return
    import torch

    factors = torch.from_numpy(file.read(ROTARY))
    rotary: Any = getattr(module.base_model, "rotary_emb", None)
    if getattr(rotary, "inv_freq", torch.zeros(0)).shape != factors.shape:
        raise InputError(f"{file.path} has {len(factors)} factors of rotary frequencies, and the model has others.")
    for each in (rotary.inv_freq, rotary.original_inv_freq):
        each.div_(factors)


def _gguf() -> Any:
    try:
        import gguf
    except ImportError as error:
        raise UnservedError(
            "A GGUF file is read by the package gguf, which is not installed.",
            hint="pip install 'edgepress[language]'.",
        ) from error
    return gguf


def _tables(file: GgufFile, module: Any) -> tuple[Any, Mapping[str, str]]:
    """What lays tensors out as transformers has them, and its names of them by the file's.

    The names are llama.cpp's own table; a model's parts are in it with and without what they are parts of.
    """
    from transformers.modeling_gguf_pytorch_utils import TENSOR_PROCESSORS, TensorProcessor

    gguf = _gguf()
    kind = next((each for each, name in gguf.MODEL_ARCH_NAMES.items() if name == file.architecture), None)
    if kind is None:
        raise InputError(f"{file.path} is a {file.architecture}, which the installed gguf does not know.", hint=HINT)
    table = gguf.get_tensor_name_map(kind, int(module.config.num_hidden_layers))
    names: dict[str, str] = {}
    for name in module.state_dict():
        path, _, suffix = name.rpartition(".")
        parts = path.split(".")
        ways = (table.get_name(".".join(parts[first:])) for first in range(len(parts)))
        if found := next((way for way in ways if way is not None), None):
            names[f"{found}.{suffix}"] = name
    return TENSOR_PROCESSORS.get(file.architecture, TensorProcessor)(config=module.config.to_dict()), names

"""Parts of a decoder read off transformers' module of it, by path; what is not known to be expressible is refused."""

from __future__ import annotations

import inspect
from typing import Any

from ....errors import InputError
from ..decoder import Activation, Linear, Norm, Rotary, Tensor

# By the class of the module that computes it.
_ACTIVATIONS: dict[str, Activation] = {
    "SiLU": "silu",
    "SiLUActivation": "silu",
    "GELUActivation": "gelu",
    "NewGELUActivation": "gelu_tanh",
    "GELUTanh": "gelu_tanh",
    "FastGELUActivation": "gelu_tanh",
    "AccurateGELUActivation": "gelu_tanh",
    "ReLU": "relu",
    "ReLUSquaredActivation": "relu2",
}
# Rotary embeddings whose frequencies are the same at every length of text.
_FIXED = frozenset({"default", "linear", "llama3", "yarn", "proportional"})


def refused(module: Any, what: str) -> InputError:
    """The error for a setting that a `Decoder` does not express.

    Args:
        what: the setting and its value.
    """
    return InputError(
        f"A {type(module).__name__} with {what} cannot be expressed as a decoder that generates.",
        hint="Choose a model without it; the families in `edgepress.exporter.language.families` say what is known.",
    )


def setting(module: Any, name: str) -> Any:
    """A setting of the configuration; None where its class does not know it, and nothing computes with it.

    A configuration keeps whatever stands in config.json as an attribute.
    """
    config = module.config
    return getattr(config, name) if name in inspect.signature(type(config)).parameters else None


def factor(module: Any, name: str) -> float:
    """A setting that something is multiplied with; 1 where the class does not know it."""
    value = setting(module, name)
    return 1.0 if value is None else float(value)


def path_of(module: Any, part: Any) -> str:
    """Where a part is in the module."""
    return str(next(path for path, each in module.named_modules() if each is part))


def linear(
    module: Any, path: str, *, name: str, reads: str, rows: tuple[int, int] | None = None, every: int = 0
) -> Linear:
    """The linear layer at a path, or those of its outputs that `rows` are, as `Tensor` has them."""
    layer = module.get_submodule(path)
    kind = type(layer).__name__
    if kind not in ("Linear", "Conv1D"):
        raise refused(module, f"`{path}` of class {kind}")
    transposed = kind == "Conv1D"
    outputs, inputs = tuple(layer.weight.shape)[:: -1 if transposed else 1]
    if rows is not None:
        outputs = (rows[1] - rows[0]) * (outputs // every if every else 1)
    bias = getattr(layer, "bias", None)
    return Linear(
        name=name,
        weight=Tensor(name=f"{path}.weight", rows=rows, every=every, transposed=transposed),
        inputs=inputs,
        outputs=outputs,
        reads=reads,
        bias=None if bias is None else Tensor(name=f"{path}.bias", rows=rows, every=every),
    )


def norm(module: Any, path: str, *, name: str, plus: float = 0.0) -> Norm:
    """The norm at a path.

    Args:
        plus: what its class adds to its weight.
    """
    layer = module.get_submodule(path)
    kind = type(layer).__name__
    weight, bias = (getattr(layer, each, None) for each in ("weight", "bias"))
    if not kind.endswith(("LayerNorm", "RMSNorm")) or (weight is not None and weight.ndim > 1):
        raise refused(module, f"`{path}` of class {kind}")
    epsilon = next(getattr(layer, each) for each in ("variance_epsilon", "eps") if hasattr(layer, each))
    return Norm(
        name=name,
        kind="rms" if kind.endswith("RMSNorm") else "layer",
        epsilon=float(epsilon),
        weight=None if weight is None else Tensor(name=f"{path}.weight", plus=plus),
        bias=None if bias is None else Tensor(name=f"{path}.bias"),
    )


def optional_norm(module: Any, path: str, *, name: str, plus: float = 0.0) -> Norm | None:
    """The norm at a path; None where there is nothing, or nothing that computes."""
    parent, _, last = path.rpartition(".")
    layer = getattr(module.get_submodule(parent), last, None)
    return None if layer is None else norm(module, path, name=name, plus=plus)


def activation(module: Any, path: str) -> Activation:
    """The activation at a path, by what computes it.

    Raises:
        InputError: it is another one than `Activation` has.
    """
    kind = type(module.get_submodule(path)).__name__
    if kind not in _ACTIVATIONS:
        raise refused(module, f"the activation {kind}")
    return _ACTIVATIONS[kind]


def rotary(module: Any, path: str, *, kind: str = "", interleaved: bool = False) -> Rotary:
    """The rotary embedding at a path, with the frequencies that transformers computed.

    Args:
        kind: of layers, where each has an embedding of its own: `sliding_attention`.

    Raises:
        InputError: its frequencies depend on how long a text is.
    """
    layer = module.get_submodule(path)
    named = layer.rope_type[kind] if kind else layer.rope_type
    if named not in _FIXED:
        raise refused(module, f"rotary embeddings of type {named!r}, which change with the length of a text,")
    before = f"{kind}_" if kind else ""
    return Rotary(
        frequencies=tuple(getattr(layer, f"{before}inv_freq").double().tolist()),
        factor=float(getattr(layer, f"{before}attention_scaling")),
        interleaved=interleaved,
    )


def window(module: Any, index: int) -> int | None:
    """How many positions layer `index` sees; None where it sees as many as the model was trained for.

    Raises:
        InputError: the layer is of another kind than full and sliding attention.
    """
    size, kinds = setting(module, "sliding_window"), setting(module, "layer_types")
    kind = kinds[index] if kinds else "sliding_attention"
    if kind not in ("full_attention", "sliding_attention"):
        raise refused(module, f"a layer of type {kind!r}")
    if kind == "full_attention" or not size or size >= module.config.max_position_embeddings:
        return None
    return int(size)

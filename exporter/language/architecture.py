"""transformers' own module of a decoder, without its weights, and the description of it."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from ...errors import InputError
from ...profiles.registry import Registry
from .decoder import Decoder, Tensor, linears_of
from .fit import Expected

if TYPE_CHECKING:
    from collections.abc import Iterator

    from torch import nn

# By the name of the configuration's class: a function from the module to its `Decoder`.
FAMILIES = Registry("edgepress.decoder_families", "family of decoders")
# More than any model has; what says otherwise would be built for hours before its tensors are missed.
MOST_LAYERS = 2048
# Positions of the shortest text by which a decoder can be judged.
LEAST_CONTEXT = 4


def has_family(config: Any) -> bool:
    """Whether models of this configuration class are described."""
    return type(config).__name__ in FAMILIES.names()


def empty(kind: Any, config: Any) -> nn.Module:
    """The module, in evaluation mode: its parameters are on the meta device, its buffers are real.

    Args:
        kind: transformers' class of the model, `LlamaForCausalLM`.
        config: an object of transformers' configuration class.

    Raises:
        InputError: the class does not take the configuration.
    """
    import torch
    from accelerate import init_empty_weights

    if (layers := getattr(config, "num_hidden_layers", 1)) > MOST_LAYERS:
        raise InputError(f"The configuration asks for {layers:,} layers; at most {MOST_LAYERS:,} are taken.")
    # Other implementations of attention leave a cap on its products out.
    attention = "eager" if getattr(config, "attn_logit_softcapping", None) else "sdpa"
    try:
        with init_empty_weights(include_buffers=False):
            module: nn.Module = kind._from_config(config, dtype=torch.float32, attn_implementation=attention)
    except Exception as error:
        first = next((line for line in str(error).splitlines() if line.strip()), type(error).__name__)
        raise InputError(f"The configuration does not make a {kind.__name__}: {first}") from error
    module.tie_weights()  # type: ignore[operator]
    return module.requires_grad_(False).eval()


def describe(module: Any) -> Decoder:
    """The decoder that the module is; that no weight of it is left out is checked.

    Raises:
        InputError: no family describes its configuration class, or a setting cannot be expressed; it is named.
    """
    family = FAMILIES.load(type(module.config).__name__)
    decoder: Decoder = family(module)  # type: ignore[operator]
    if not decoder.layers or decoder.context < LEAST_CONTEXT:
        raise InputError(
            f"The configuration says {len(decoder.layers)} layers and a context of {decoder.context}; a decoder has at "
            f"least one layer and reads at least {LEAST_CONTEXT} tokens."
        )
    described = {tensor.name for tensor in tensors_of(decoder)}
    if left := [name for name in expected(module, decoder).shapes if name not in described]:
        raise InputError(
            f"A {type(module).__name__} of this configuration has weights that cannot be expressed: "
            f"{', '.join(left[:3])}{' and others' if len(left) > 3 else ''}."
        )
    return decoder


def expected(module: Any, decoder: Decoder) -> Expected:
    """The tensors of the module."""
    own = {name: tuple(parameter.shape) for name, parameter in module.named_parameters()}
    every = module.named_parameters(remove_duplicate=False)
    by_id = {id(parameter): name for name, parameter in module.named_parameters()}
    same = {name: by_id[id(parameter)] for name, parameter in every if name not in own}
    layers = decoder.layers[0].attention.output.weight.name.partition(".0.")[0]
    return Expected(shapes=own, same=same, prefix=f"{module.base_model_prefix}.", layers=f"{layers}.")


def tensors_of(decoder: Decoder) -> Iterator[Tensor]:
    """Every tensor that a decoder takes, some of them several times."""
    found: list[Tensor | None] = [decoder.embedding, decoder.positions]
    norms = [decoder.norm, decoder.embedding_norm]
    linears = [decoder.head]
    for layer in decoder.layers:
        attention = layer.attention
        norms += [layer.before_attention, layer.before_feed_forward, layer.after_attention, layer.after_feed_forward]
        norms += [attention.query_norm, attention.key_norm]
        linears += linears_of(layer)
    found += [tensor for each in linears for tensor in (each.weight, each.bias)]
    found += [tensor for each in norms if each is not None for tensor in (each.weight, each.bias)]
    yield from (tensor for tensor in found if tensor is not None)

"""Decoders made by hand, and the same ones as transformers has them."""

from __future__ import annotations

from collections.abc import Mapping

import numpy as np
import numpy.typing as npt
import torch

from edgepress.exporter.language.decoder import Attention, Decoder, FeedForward, Layer, Linear, Norm, Rotary, Tensor
from edgepress.exporter.language.weights import Integers, Matrix
from edgepress.profiles.device.grid import Grid

Floats = npt.NDArray[np.float32]


class Made:
    """Weights of a state dict; matrices are rounded to nearest where a grid is given."""

    def __init__(self, state: Mapping[str, torch.Tensor], decoder: Decoder, grid: Grid | None = None) -> None:
        self._state = {name: value.detach().float().numpy() for name, value in state.items()}
        self._decoder, self._grid = decoder, grid

    def array(self, tensor: Tensor) -> Floats:
        """The tensor, as `Checkpoint` says."""
        array = self._state[tensor.name]
        array = array.T if tensor.transposed else array
        array = array if tensor.rows is None else array[slice(*tensor.rows)]
        return np.array(array + np.float32(tensor.plus), dtype=np.float32, order="C")

    def matrix(self, linear: Linear) -> Matrix:
        """Of a layer."""
        return self._rounded(linear.weight)

    def table(self) -> Matrix:
        """Of the embedding."""
        return self._rounded(self._decoder.embedding)

    def _rounded(self, tensor: Tensor) -> Matrix:
        array = self.array(tensor)
        return array if self._grid is None else nearest(array, self._grid)


def nearest(weight: Floats, grid: Grid) -> Integers:
    """Rounded to nearest in blocks, from the smallest to the largest value of each."""
    block = grid.block or weight.shape[1]
    blocks = -(-weight.shape[1] // block)
    padded = np.pad(weight, ((0, 0), (0, blocks * block - weight.shape[1]))).reshape(len(weight), blocks, block)
    middle, most = 1 << (grid.bits - 1), (1 << grid.bits) - 1
    if grid.symmetric:
        scales = np.maximum(np.abs(padded).max(axis=2) / (middle - 1), 1e-9)
        zeros = np.full(scales.shape, middle)
    else:
        low, high = np.minimum(padded.min(axis=2), 0), np.maximum(padded.max(axis=2), 0)
        scales = np.maximum((high - low) / most, 1e-9)
        zeros = np.clip(np.rint(-low / scales), 0, most)
    codes = np.clip(np.rint(padded / scales[..., None]) + zeros[..., None], 0, most).astype(np.uint8)
    return Integers(
        grid=grid,
        codes=codes.reshape(len(weight), -1)[:, : weight.shape[1]].copy(),
        scales=scales.astype(np.float32),
        zeros=None if grid.symmetric else zeros.astype(np.uint8),
    )


def llama(config: object) -> Decoder:
    """The decoder of a LlamaConfig of transformers, without scaled positions."""
    c = vars(config) if not hasattr(config, "to_dict") else config.to_dict()
    width, heads, kv, vocabulary = (
        c[k] for k in ("hidden_size", "num_attention_heads", "num_key_value_heads", "vocab_size")
    )
    size = c.get("head_dim") or width // heads
    theta = (c.get("rope_parameters") or {}).get("rope_theta") or c.get("rope_theta", 10000.0)
    frequencies = 1.0 / (theta ** (torch.arange(0, size, 2, dtype=torch.int64).float() / size))
    rotary = Rotary(frequencies=tuple(frequencies.tolist()))
    epsilon = c["rms_norm_eps"]

    def norm(name: str, tensor: str) -> Norm:
        return Norm(name=name, kind="rms", epsilon=epsilon, weight=Tensor(name=tensor))

    def layer(i: int) -> Layer:
        def linear(path: str, tensor: str, inputs: int, outputs: int, reads: str) -> Linear:
            weight = Tensor(name=f"model.layers.{i}.{tensor}.weight")
            return Linear(
                name=f"layers.{i}.{path}", weight=weight, inputs=inputs, outputs=outputs, reads=f"layers.{i}.{reads}"
            )

        return Layer(
            index=i,
            attention=Attention(
                query=linear("attention.query", "self_attn.q_proj", width, heads * size, "a"),
                key=linear("attention.key", "self_attn.k_proj", width, kv * size, "a"),
                value=linear("attention.value", "self_attn.v_proj", width, kv * size, "a"),
                output=linear("attention.output", "self_attn.o_proj", heads * size, width, "b"),
                heads=heads,
                kv_heads=kv,
                head_size=size,
                scale=size**-0.5,
                rotary=rotary,
            ),
            feed_forward=FeedForward(
                gate=linear("feed_forward.gate", "mlp.gate_proj", width, c["intermediate_size"], "c"),
                up=linear("feed_forward.up", "mlp.up_proj", width, c["intermediate_size"], "c"),
                down=linear("feed_forward.down", "mlp.down_proj", c["intermediate_size"], width, "d"),
                activation="silu",
            ),
            before_attention=norm(f"layers.{i}.before_attention", f"model.layers.{i}.input_layernorm.weight"),
            before_feed_forward=norm(
                f"layers.{i}.before_feed_forward", f"model.layers.{i}.post_attention_layernorm.weight"
            ),
        )

    embedding = Tensor(name="model.embed_tokens.weight")
    head = embedding if c["tie_word_embeddings"] else Tensor(name="lm_head.weight")
    eos = c["eos_token_id"]
    return Decoder(
        kind=c["model_type"],
        vocabulary=vocabulary,
        width=width,
        context=c["max_position_embeddings"],
        embedding=embedding,
        layers=tuple(layer(i) for i in range(c["num_hidden_layers"])),
        norm=norm("norm", "model.norm.weight"),
        head=Linear(name="head", weight=head, inputs=width, outputs=vocabulary, reads="norm"),
        bos=c["bos_token_id"],
        eos=tuple(eos) if isinstance(eos, list) else () if eos is None else (eos,),
        pad=c["pad_token_id"],
    )

"""What rounding of each matrix is expected to cost, from one pass forward and one back over a few texts.

An error e of a matrix changes its outputs by e x, and the loss by half of the square of the gradient times that, in the
mean over tokens that the decoder itself would write (the Fisher information; diagonal here, as in Hessian-aware
quantization): 1/2 sum_o E[g_o^2] sum_i E[x_i^2] e_oi^2, in nats a token.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from typing import Any

import numpy as np
import numpy.typing as npt
import torch

from ...backends.decoding import Tokens
from .decoder import Decoder, Linear
from .eager import Eager
from .network import write
from .weights import DecoderWeights, Floats

Squares = npt.NDArray[np.float64]
TABLE_INPUT = "embedding"  # what `inputs` and `outputs` call the table as a table, also where it is the head's matrix


@dataclass(slots=True, kw_only=True)
class Moments:
    """Mean squares over tokens, sums of which add up.

    Attributes:
        inputs: of what each linear layer takes, by its name, of shape (inputs,).
        outputs: of the gradient by what it gives, of shape (outputs,).
        rows: how often each row of the embedding was read.
        tokens: how many there were.
    """

    inputs: dict[str, Squares] = field(default_factory=dict)
    outputs: dict[str, Squares] = field(default_factory=dict)
    rows: Squares | None = None
    tokens: int = 0

    def add(self, kind: dict[str, Squares], name: str, values: torch.Tensor) -> None:
        """Add the squares of values of shape (tokens, channels)."""
        squares = values.float().square().sum(0).double().numpy()
        kind[name] = kind[name] + squares if name in kind else squares


def moments(decoder: Decoder, weights: DecoderWeights, texts: Iterable[Tokens], seed: int = 0) -> Moments:
    """Squares of inputs and gradients over texts, of shape (positions,) each, one at a time.

    What is kept between the two passes are the values of one text; weights are read again on the way back.
    """
    found = Moments()
    generator = torch.Generator().manual_seed(seed)
    for text in texts:
        with torch.enable_grad():
            logits = write(decoder, _Observing(weights, text[None], found, decoder))
        with torch.no_grad():
            slope = _of_own_words(logits[0], generator)
        logits.backward(slope[None])  # type: ignore[no-untyped-call]
        found.tokens += len(text)
        rows = np.bincount(text, minlength=decoder.vocabulary).astype(np.float64)
        found.rows = rows if found.rows is None else found.rows + rows
    return found


def expected_loss(linear: Linear, weight: Floats, rounded: Floats, found: Moments) -> float:
    """What a matrix of a linear layer costs when it is rounded, in nats a token.

    Args:
        weight, rounded: of shape (outputs, inputs).
    """
    inputs, outputs = found.inputs[linear.name] / found.tokens, found.outputs[linear.name] / found.tokens
    return 0.5 * float(outputs @ (_error(weight, rounded) @ inputs.astype(np.float32)))


def expected_loss_of_table(weight: Floats, rounded: Floats, found: Moments) -> float:
    """What the embedding costs when it is rounded, in nats a token, by the rows that were read."""
    assert found.rows is not None
    columns = found.outputs[TABLE_INPUT] / found.tokens
    read = np.flatnonzero(found.rows)
    each = _error(weight[read], rounded[read]) @ columns.astype(np.float32)
    return 0.5 * float(found.rows[read] @ each) / found.tokens


def _error(weight: Floats, rounded: Floats) -> Floats:
    return np.asarray(np.square(rounded - weight))


def _of_own_words(logits: torch.Tensor, generator: torch.Generator) -> torch.Tensor:
    """The gradient by logits of the loss of tokens drawn by them, whose squares are the Fisher information."""
    shares = logits.float().softmax(-1)
    drawn = torch.multinomial(shares, 1, generator=generator)
    return shares.scatter_add(-1, drawn, torch.full_like(drawn, -1, dtype=shares.dtype))


class _Observing(Eager):
    """Computes, and notes what linear layers take and what comes back to them."""

    def __init__(self, weights: DecoderWeights, tokens: Tokens, found: Moments, decoder: Decoder) -> None:
        super().__init__(weights, tokens)
        self.found = found

    def embed(self, decoder: Decoder) -> torch.Tensor:
        x = super().embed(decoder).requires_grad_()
        scale = decoder.embedding_scale
        kept = self.found.outputs
        x.register_hook(  # type: ignore[no-untyped-call]
            lambda slope: self.found.add(kept, TABLE_INPUT, slope.flatten(0, -2) * scale)
        )
        return x

    def linear(self, x: torch.Tensor, linear: Linear) -> torch.Tensor:
        self.found.add(self.found.inputs, linear.name, x.detach().flatten(0, -2))
        product: torch.Tensor = _Product.apply(x, self, linear)  # type: ignore[no-untyped-call]
        return product if linear.bias is None else product + self.vector(linear.bias)


class _Product(torch.autograd.Function):
    """x W^T that keeps no weight for the way back: a graph of them would hold the whole model in float32."""

    @staticmethod
    def forward(context: Any, x: torch.Tensor, owner: _Observing, linear: Linear) -> torch.Tensor:
        context.owner, context.linear = owner, linear
        return torch.nn.functional.linear(x, owner.matrix(linear))

    @staticmethod
    def backward(context: Any, *slopes: torch.Tensor) -> tuple[torch.Tensor, None, None]:
        owner, linear, slope = context.owner, context.linear, slopes[0]
        owner.found.add(owner.found.outputs, linear.name, slope.flatten(0, -2))
        return slope @ owner.matrix(linear), None, None


def names_of(found: Moments) -> Mapping[str, Squares]:
    """Mean squares of inputs by name of the linear layer, what `round_matrix` calls importance."""
    return {name: squares / found.tokens for name, squares in found.inputs.items()}

"""What rounding of each matrix is expected to cost, from one pass forward and one back over a few texts.

An error e of a matrix changes its outputs by e x, and the loss by half of the square of the gradient times that, in the
mean over tokens that the decoder itself would write (the Fisher information; diagonal here, as in Hessian-aware
quantization): 1/2 sum_o E[g_o^2] sum_i E[x_i^2] e_oi^2, in nats a token. Rounded to steps of s, E[e^2] = s^2 / 12.

Where columns make each other's errors good, an error costs what the columns behind cannot tell of its input: in place
of E[x_i^2] stands what is left of x_i's square when those are known, which is what GPTQ's own loss is made of.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass, field
from typing import Any

import numpy as np
import numpy.typing as npt
import torch

from ...backends.decoding import Tokens
from ...profiles.device.grid import Grid
from .compensation import damp
from .decoder import Decoder, Linear
from .eager import Eager
from .network import write
from .rounding import steps
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
        apart: by what linear layers read, the mean square of each input that those behind it do not tell, of shape
            (inputs,); empty where nothing is to be compensated.
    """

    inputs: dict[str, Squares] = field(default_factory=dict)
    outputs: dict[str, Squares] = field(default_factory=dict)
    rows: Squares | None = None
    tokens: int = 0
    apart: dict[str, Squares] = field(default_factory=dict)

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
            logits = write(decoder, _Observing(weights, text[None], found))
        with torch.no_grad():
            slope = _of_own_words(logits[0], generator)
        logits.backward(slope[None])  # type: ignore[no-untyped-call]
        found.tokens += len(text)
        rows = np.bincount(text, minlength=decoder.vocabulary).astype(np.float64)
        found.rows = rows if found.rows is None else found.rows + rows
    return found


def apart(decoder: Decoder, weights: DecoderWeights, texts: Tokens) -> dict[str, Squares]:
    """`Moments.apart` over texts of shape (count, positions), by one pass forward of all of them, layer by layer."""
    observing = _Apart(weights, texts, decoder)
    with torch.no_grad():
        write(decoder, observing)
    return observing.found


def left_apart(values: torch.Tensor) -> Squares:
    """The mean square of each column that those behind it do not tell, of values of shape (tokens, columns).

    Of H = X^T X turned round, the square of each pivot of the Cholesky factor. Texts tell too much of themselves: with
    n tokens and k columns behind, what is left is larger by n / (n - k) on others; at most 4 times here.
    """
    tokens, width = values.shape
    hessian = values.T @ values / tokens
    pivots = torch.linalg.cholesky(damp(hessian).flip(0, 1)).diagonal().square().flip(0)
    behind = torch.arange(width - 1, -1, -1)
    more = tokens / (tokens - behind).clamp_min(max(1, tokens // 4))
    mean = hessian.diagonal().mean()
    return np.asarray(torch.minimum(pivots * mean * more, hessian.diagonal()).double().numpy())


def expected_loss(weight: Floats, grid: Grid, outputs: Squares, inputs: Squares) -> float:
    """What a matrix costs when it is rounded to steps of a grid, in nats a token.

    Args:
        weight: of shape (outputs, inputs).
        outputs: mean square of the gradient by each output; of an embedding, how often a token reads each row.
        inputs: mean square of what each weight of a row meets; of an embedding, of the gradient by each column.
    """
    block = min(grid.block or weight.shape[1], weight.shape[1])
    met = np.add.reduceat(inputs, np.arange(0, len(inputs), block))
    return float(outputs @ (np.square(steps(weight, grid), dtype=np.float64) @ met)) / 24


def _of_own_words(logits: torch.Tensor, generator: torch.Generator) -> torch.Tensor:
    """The gradient by logits of the loss of tokens drawn by them, whose squares are the Fisher information."""
    shares = logits.float().softmax(-1)
    drawn = torch.multinomial(shares, 1, generator=generator)
    return shares.scatter_add(-1, drawn, torch.full_like(drawn, -1, dtype=shares.dtype))


class _Observing(Eager):
    """Computes, and notes what linear layers take and what comes back to them."""

    def __init__(self, weights: DecoderWeights, tokens: Tokens, found: Moments) -> None:
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


class _Apart(Eager):
    """Computes, and notes of what linear layers take the part that is each input's own."""

    def __init__(self, weights: DecoderWeights, texts: Tokens, decoder: Decoder) -> None:
        super().__init__(weights, texts)
        self.head, self.found = decoder.head, dict[str, Squares]()

    def linear(self, x: torch.Tensor, linear: Linear) -> torch.Tensor:
        """As `Writer`; the head gives nothing, as no one asks for its logits."""
        if linear.reads not in self.found:
            self.found[linear.reads] = left_apart(x.flatten(0, -2))
        return x[..., :1] if linear == self.head else super().linear(x, linear)

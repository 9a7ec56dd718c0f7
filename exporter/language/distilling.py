"""Scales tuned so that the whole decoder says what it said in floats.

Rounding looks at one matrix at a time. Here the codes stay, and every scale is moved a little, by the gradient of the
divergence of what is said of calibration texts from what was meant (as the second phase of EfficientQAT; Chen et al.,
2024). A step is one text; it costs about six operations a weight and token, so that it is done where the processor
multiplies bfloat16, in which it is computed.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator
from dataclasses import replace
from typing import Any

import numpy as np
import numpy.typing as npt
import torch
from torch.nn import functional

from ...backends.decoding import Tokens
from .decoder import Decoder, Linear, Norm, Rotary
from .eager import Eager
from .network import write
from .quantize import TABLE, RoundedWeights
from .scales import short
from .weights import Integers

HALF = torch.bfloat16
RATE = 1e-3  # of a scale, by which a step changes it at most, about
WARM = 3  # steps until the rate is whole; it ends at 0, along a cosine
FIRST, SECOND = 0.9, 0.95  # of the moments of Adam (Kingma and Ba, 2015), the second faster than usual: steps are few
LOGITS = 1 << 24  # that are compared at a time


def distil(
    decoder: Decoder,
    weights: RoundedWeights,
    texts: Tokens,
    meant: torch.Tensor,
    *,
    steps: int | None = None,
    rate: float = RATE,
    seed: int = 0,
    advance: Callable[[float], None] = lambda _: None,
) -> RoundedWeights:
    """The same codes with scales by which the decoder comes nearer to what it says in floats.

    Args:
        texts: of shape (count, positions).
        meant: what the head takes in floats, of shape (count, positions, width).
        steps: texts that are read; None is each once.
        advance: told the share that is done.
    """
    tuned, head = _tuned(weights), _head(decoder, weights)
    count = len(texts) if steps is None else steps
    for step, index in enumerate(_order(len(texts), count, seed), start=1):
        _read(decoder, weights, texts[index : index + 1], meant[index : index + 1], head, tuned)
        now = rate * min(1.0, step / WARM) * 0.5 * (1 + math.cos(math.pi * (step - 1) / count))
        for each in tuned.values():
            each.step(now, step)
        advance(step / count)
    found = RoundedWeights(decoder=decoder, checkpoint=weights.checkpoint, grids=weights.grids)
    for name, each in tuned.items():
        found.hold(name, each.integers())
    return found


def slopes_of(
    decoder: Decoder, weights: RoundedWeights, texts: Tokens, meant: torch.Tensor
) -> dict[str, npt.NDArray[np.float32]]:
    """Slopes of the divergence in the mean over tokens, by the share by which each scale is moved."""
    tuned = _tuned(weights)
    _read(decoder, weights, texts, meant, _head(decoder, weights), tuned)
    return {name: each.slope.numpy() for name, each in tuned.items()}


def _tuned(weights: RoundedWeights) -> dict[str, _Tuned]:
    return {name: _Tuned(held.integers()) for name, held in weights.held.items()}


def _head(decoder: Decoder, weights: RoundedWeights) -> torch.Tensor:
    """Its weight in floats."""
    return torch.from_numpy(weights.checkpoint.array(decoder.head.weight)).to(HALF)


def _read(
    decoder: Decoder,
    weights: RoundedWeights,
    texts: Tokens,
    meant: torch.Tensor,
    head: torch.Tensor,
    tuned: dict[str, _Tuned],
) -> None:
    """Forward and back over texts; what it says of scales is noted in `tuned`."""
    plain = replace(decoder, logit_scale=1.0, softcap=0.0)  # what is behind the head is part of the loss
    with torch.enable_grad():
        writer = _Distilling(weights, texts, decoder, tuned)
        taken = write(plain, writer)
        taken.backward(_slope(writer, taken.detach(), meant, head))  # type: ignore[no-untyped-call]


class _Tuned:
    """A matrix whose codes stay.

    Attributes:
        steps: codes less their zeros, int8, of shape (rows, columns).
        scale: of shape (rows, blocks); `change` is the share by which it was moved.
        slope: of the loss by `change`; `first` and `second` are its moments.
    """

    def __init__(self, integers: Integers) -> None:
        self.before, self.block = integers, integers.block
        self.rows, self.columns = integers.codes.shape
        middle = 1 << (integers.grid.bits - 1)
        zeros = middle if integers.zeros is None else _spread(integers.zeros, self.block, self.columns)
        self.steps = torch.from_numpy((integers.codes.astype(np.int16) - zeros).astype(_kind(integers)))
        self.scale = torch.from_numpy(integers.scales)
        self.change, self.slope, self.first, self.second = (torch.zeros_like(self.scale) for _ in range(4))

    def floats(self, rows: torch.Tensor | None = None, kind: torch.dtype = HALF) -> torch.Tensor:
        """What it stands for now, or some rows of that."""
        steps, scale, change = (part if rows is None else part[rows] for part in (self.steps, self.scale, self.change))
        scale = (scale * (1 + change)).to(kind)
        if self.columns % self.block:
            return steps.to(kind) * scale.repeat_interleave(self.block, 1)[:, : self.columns]
        return (steps.to(kind).view(len(steps), -1, self.block) * scale.unsqueeze(-1)).flatten(1)

    def met(self, slope: torch.Tensor, rows: torch.Tensor | None = None) -> None:
        """Add what a slope of the loss by values, or by those of some rows, says of the changes."""
        steps, scale = (self.steps, self.scale) if rows is None else (self.steps[rows], self.scale[rows])
        product = slope * steps
        if missing := -self.columns % self.block:
            product = functional.pad(product, (0, missing))
        found = product.view(len(product), -1, self.block).sum(-1, dtype=torch.float32) * scale
        if rows is None:
            self.slope += found
        else:
            self.slope.index_add_(0, rows, found)

    def step(self, rate: float, count: int) -> None:
        """One of Adam's."""
        self.first.lerp_(self.slope, 1 - FIRST)
        self.second.lerp_(self.slope.square_(), 1 - SECOND)
        size = (self.second / (1 - SECOND**count)).sqrt_().clamp_min_(torch.finfo(torch.float32).tiny)
        self.change.addcdiv_(self.first, size, value=-rate / (1 - FIRST**count))
        self.slope.zero_()

    def integers(self) -> Integers:
        """With the scales that it came to, as they are stored."""
        used = torch.from_numpy(np.ones(self.scale.shape, bool))
        scales = short(self.scale * (1 + self.change), used, up=False)
        return replace(self.before, scales=scales.numpy())


class _Distilling(Eager):
    """Computes in bfloat16 beside a stream of float32, and keeps what the way back needs."""

    def __init__(self, weights: RoundedWeights, tokens: Tokens, decoder: Decoder, tuned: dict[str, _Tuned]) -> None:
        super().__init__(weights, tokens)
        self.decoder, self.tuned = decoder, tuned

    def embed(self, decoder: Decoder) -> torch.Tensor:
        """As `Writer`."""
        table = self.tuned.get(decoder.head.name if decoder.tied else TABLE)
        if table is None:
            return super().embed(decoder).requires_grad_()
        rows = self.tokens.reshape(-1)
        read = table.floats(rows, torch.float32).requires_grad_()
        read.register_hook(lambda slope: table.met(slope, rows))  # type: ignore[no-untyped-call]
        x = read.view(*self.tokens.shape, -1) * decoder.embedding_scale
        if decoder.positions is None:
            return x
        first = decoder.position_offset
        return x + self.vector(decoder.positions)[first : first + self.tokens.shape[1]]

    def linear(self, x: torch.Tensor, linear: Linear) -> torch.Tensor:
        """As `Writer`; the head gives what it takes."""
        return x if linear == self.decoder.head else self.product(x, linear)

    def product(self, x: torch.Tensor, linear: Linear) -> torch.Tensor:
        """With a layer's weight, and its bias."""
        tuned = self.tuned.get(linear.name)
        product: torch.Tensor
        if tuned is None:
            product = functional.linear(x.to(HALF), self.matrix(linear).to(HALF))
        else:
            product = _Product.apply(x.to(HALF), tuned)  # type: ignore[no-untyped-call]
        if linear.bias is not None:
            product = product + self.vector(linear.bias).to(HALF)
        return product

    @staticmethod
    def _turned(x: torch.Tensor, rotary: Rotary | None) -> torch.Tensor:
        return Eager._turned(x, rotary).to(HALF)

    def add(self, x: torch.Tensor, y: torch.Tensor) -> torch.Tensor:
        """As `Writer`; what layers add to stays in float32."""
        return x.float() + y.float()

    def norm(self, x: torch.Tensor, norm: Norm) -> torch.Tensor:
        """As `Writer`."""
        return super().norm(x.float(), norm)


class _Product(torch.autograd.Function):
    """x W^T that keeps x alone, and makes W again on the way back."""

    @staticmethod
    def forward(context: Any, x: torch.Tensor, tuned: _Tuned) -> torch.Tensor:
        context.tuned = tuned
        context.save_for_backward(x)
        return functional.linear(x, tuned.floats())

    @staticmethod
    def backward(context: Any, *slopes: torch.Tensor) -> tuple[torch.Tensor, None]:
        tuned, slope, (x,) = context.tuned, slopes[0], context.saved_tensors
        tuned.met(slope.flatten(0, -2).T @ x.flatten(0, -2))
        return slope @ tuned.floats(), None


def _slope(writer: _Distilling, taken: torch.Tensor, meant: torch.Tensor, head: torch.Tensor) -> torch.Tensor:
    """Of the divergence in the mean over tokens, by what the head takes; what it says of the head is noted there."""
    decoder = writer.decoder
    positions, count = taken.shape[1], taken.shape[0] * taken.shape[1]
    slope, length = torch.empty_like(taken), max(1, LOGITS // decoder.vocabulary)
    bias = None if decoder.head.bias is None else writer.vector(decoder.head.bias).to(HALF)
    for start in range(0, positions, length):
        part = slice(start, start + length)
        leaf = taken[:, part].clone().requires_grad_()
        with torch.no_grad():
            wanted = functional.linear(meant[:, part].to(HALF), head)
            wanted = _behind(wanted if bias is None else wanted + bias, decoder).softmax(-1)
        found = _behind(writer.product(leaf, decoder.head), decoder)
        found.backward(found.detach().softmax(-1).sub_(wanted).div_(count))  # type: ignore[no-untyped-call]
        assert leaf.grad is not None
        slope[:, part] = leaf.grad
    return slope


def _behind(logits: torch.Tensor, decoder: Decoder) -> torch.Tensor:
    """What a decoder does behind its head, in float32."""
    logits = logits.float() * decoder.logit_scale
    return decoder.softcap * torch.tanh(logits / decoder.softcap) if decoder.softcap else logits


def _order(texts: int, steps: int, seed: int) -> Iterator[int]:
    """So many texts, each as often as others, give or take one; in another order each time."""
    generator = np.random.default_rng(seed)
    for start in range(0, steps, texts):
        yield from (int(index) for index in generator.permutation(texts)[: steps - start])


def _spread(zeros: Any, block: int, columns: int) -> Any:
    return np.repeat(zeros.astype(np.int16), block, axis=1)[:, :columns]


def _kind(integers: Integers) -> type[np.signedinteger[Any]]:
    """Of 8 bits with a zero of their own steps reach from -255 to 255."""
    return np.int16 if integers.grid.bits == 8 and integers.zeros is not None else np.int8

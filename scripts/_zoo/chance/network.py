"""A network of a seed: its input, its blocks, its outputs. The same seed gives the same network.

A block is drawn by a generator of its own, so that the others stay when one is left out: `random-7:0,2,5` is the
network of seed 7 with three of its blocks.
"""

from __future__ import annotations

import random
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, NamedTuple

import numpy as np
import torch
from torch import Tensor, nn

from ..model import Feed, ZooModel
from . import activations, changes, convolutions, joins, parts, tokens, vectors  # noqa: F401  they register their blocks
from .data import Input, drawn_input
from .heads import HEADS
from .state import BLOCKS, Do, Draw, State, UnfitError, names

_INPUT, _COUNT, _BLOCK, _HEAD, _EXTRA, _FORM = range(6)
_LEAST, _MOST, _TRIES = 3, 12, 80
_EXTRAS = ("none",) * 6 + ("scale", "condition", "keep", "kind")
_KINDS = 5
# How several answers are returned.
_FORMS = ("tuple", "tuple", "list", "named", "nested")


class Answer(NamedTuple):
    """The first answer, and the others."""

    first: Tensor
    others: tuple[Tensor, ...]


PREFIX = "random-"


class Network(nn.Module):
    """Blocks in turn, and heads: one at the end, others where they were tapped."""

    def __init__(self, stem: nn.Module, blocks: Sequence[nn.Module], heads: dict[int, nn.Module], form: str) -> None:
        super().__init__()
        self.form = form
        self.stem, self.blocks = stem, nn.ModuleList(blocks)
        self.heads = nn.ModuleDict({str(at): head for at, head in heads.items()})

    def forward(self, x: Tensor) -> Any:
        return self._answer(self.stem(x))

    def _answer(self, x: Tensor) -> Any:
        answers: list[Tensor] = []
        named: dict[str, Tensor] = {}
        for at, block in enumerate(self.blocks):
            x = block(x)
            if str(at) in self.heads:
                answer = self.heads[str(at)](x)
                if isinstance(answer, dict):
                    named |= {f"{key}{at}": value for key, value in answer.items()}
                else:
                    answers += answer if isinstance(answer, tuple) else [answer]
        if named:
            return named | {f"output_{i}": answer for i, answer in enumerate(answers)}
        if len(answers) == 1:
            return answers[0]
        if self.form == "named":
            return Answer(answers[0], tuple(answers[1:]))
        if self.form == "nested":
            return {"first": answers[0], "others": {f"at{i}": answer for i, answer in enumerate(answers[1:])}}
        return answers if self.form == "list" else tuple(answers)


class WithExtra(Network):
    """One that takes a second value: a number for all; a vector, a mask or the number of a kind of each sample."""

    def __init__(
        self, stem: nn.Module, blocks: Sequence[nn.Module], heads: dict[int, nn.Module], form: str, use: nn.Module
    ) -> None:
        super().__init__(stem, blocks, heads, form)
        self.use = use

    def forward(self, x: Tensor, extra: Tensor) -> Any:  # type: ignore[override]
        return self._answer(self.use((self.stem(x), extra)))


@dataclass(frozen=True, slots=True, kw_only=True)
class Drawn:
    """A network that was drawn.

    Attributes:
        blocks: numbers and names of its blocks.
        module: with random weights.
        extra: what the second input is; `none` without one.
    """

    blocks: tuple[tuple[int, str], ...]
    module: nn.Module
    input: Input
    extra: str

    def feed(self, rng: np.random.Generator, samples: int, more: int = 0) -> Feed:
        """Data of one size."""
        feed = self.input.feed(rng, samples, more)
        if self.extra == "scale":
            feed["extra"] = np.asarray(rng.uniform(0.5, 1.5), np.float32)
        elif self.extra == "condition":
            feed["extra"] = rng.standard_normal((samples, 4)).astype("float32")
        elif self.extra == "kind":
            feed["extra"] = rng.integers(0, _KINDS, samples)
        elif self.extra == "keep":
            feed["extra"] = rng.random(samples) < 0.7
        return feed


def drawn(seed: int, kept: Sequence[int] | None = None) -> Drawn:
    """The network of a seed, or of some of its blocks.

    Raises:
        UnfitError: one of the blocks that are asked for does not fit without the others.
    """
    random.seed(seed)
    torch.manual_seed(seed)
    given = drawn_input(Draw(seed, _INPUT))
    state, stem = _stem(seed, given)
    extra, use = _extra(Draw(seed, _EXTRA), state)
    chosen, modules, states = _blocks(seed, state, kept)
    heads = _heads(seed, chosen, states)
    form = Draw(seed, _FORM).pick(_FORMS)
    made = Network(stem, modules, heads, form) if use is None else WithExtra(stem, modules, heads, form, use)
    return Drawn(blocks=tuple(chosen), module=made.eval(), input=given, extra=extra)


def _stem(seed: int, given: Input) -> tuple[State, nn.Module]:
    """Values of about unit size, as whoever trains a network makes them; tokens are looked up."""
    draw, rng = Draw(seed, _INPUT, 1), np.random.default_rng(seed)
    seen = tuple(torch.from_numpy(given.feed(rng, 2, more)["x"]) for more in (0, 1))
    if given.kind == "nt":
        stem: nn.Module = nn.Embedding(64, draw.pick((8, 12, 16)))
        kind = "ntc"
    else:
        stem, kind = nn.Identity(), given.kind
        if given.values == "bytes":
            stem = Do(lambda x: x / 255) if draw.maybe() else Do(lambda x: (x - 127.5) / 60.0)
    with torch.no_grad():
        first, second = (stem(x) for x in seen)
    return State(kind=kind, seen=(first, second)), stem


def _extra(draw: Draw, state: State) -> tuple[str, nn.Module | None]:
    how = draw.pick(_EXTRAS)
    if how == "scale":
        return how, Do(lambda both: both[0] * both[1])
    if how == "keep":
        return how, Do(lambda both: torch.where(both[1].view(-1, *[1] * (both[0].dim() - 1)), both[0], -0.5 * both[0]))
    if how == "kind":
        table = nn.Embedding(_KINDS, state.channels)
        where = (slice(None), None) if state.kind == "ntc" else (..., *[None] * state.rank)
        return how, Do(lambda both, table: both[0] + table(both[1])[where], table=table)
    if how == "condition":
        film = nn.Linear(4, 2 * state.channels)
        at = (slice(None), None) if state.kind == "ntc" else (..., *[None] * state.rank)

        def does(both: tuple[Tensor, Tensor], film: nn.Module) -> Any:
            scale, offset = (part[at] for part in film(both[1]).chunk(2, 1))
            return both[0] * (1 + scale) + offset

        return how, Do(does, film=film)
    return "none", None


def _blocks(
    seed: int, state: State, kept: Sequence[int] | None
) -> tuple[list[tuple[int, str]], list[nn.Module], list[State]]:
    chosen: list[tuple[int, str]] = []
    modules: list[nn.Module] = []
    states: list[State] = []
    for number in range(Draw(seed, _COUNT).whole(_LEAST, _MOST)) if kept is None else kept:
        name, module, state = _block(seed, number, state)
        chosen.append((number, name))
        modules.append(module)
        states.append(state)
    return chosen, modules, states


def _block(seed: int, number: int, state: State) -> tuple[str, nn.Module, State]:
    """The first of its generator's names that fits."""
    draw = Draw(seed, _BLOCK, number)
    for attempt in range(_TRIES):
        each = BLOCKS[draw.pick(names())]
        if state.kind in each.kinds:
            try:
                module, after = each(Draw(seed, _BLOCK, number, attempt), state)
            except UnfitError:
                continue
            return each.name, module, after
    raise UnfitError(f"no block for {state.kind} {tuple(state.seen[0].shape)}")


def _heads(seed: int, chosen: list[tuple[int, str]], states: list[State]) -> dict[int, nn.Module]:
    last = len(chosen) - 1
    heads = {}
    for at, ((number, _), state) in enumerate(zip(chosen, states, strict=True)):
        draw = Draw(seed, _HEAD, 99 if at == last else number)
        if at == last or draw.maybe(0.08):
            torch.manual_seed(draw.whole(0, 2**31))
            heads[at] = draw.pick(HEADS)(draw, state)
    return heads


def named(name: str) -> ZooModel:
    """A network as a model of the zoo, by its name: `random-7`, or `random-7:0,2,5` for some of its blocks."""
    seed, _, kept = name.removeprefix(PREFIX).partition(":")
    numbers = [int(number) for number in kept.split(",")] if kept else None
    found = drawn(int(seed), numbers)
    free = {"x": {0: "batch", **{axis: f"size{axis}" for axis in found.input.free}}}
    if found.extra == "scale":
        free["extra"] = {}
    usual = {f"size{axis}": found.input.shape[axis - 1] for axis in found.input.free}
    several = 2 if found.input.free else 0

    def calibration(rng: np.random.Generator, samples: int) -> Feed:
        return found.feed(rng, samples, several * int(rng.integers(2)))

    return ZooModel(
        name=name, library="chance", build=lambda: drawn(int(seed), numbers).module, inputs=found.feed, free=free,
        sizes={axis: f"{size}:{size}:{size + 32}" for axis, size in usual.items()},
        seen=calibration, unseen=lambda rng, samples: found.feed(rng, samples, several // 2),
    )  # fmt: skip

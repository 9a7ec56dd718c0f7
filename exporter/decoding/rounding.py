"""Which roundings of a decoder's weights are tried, one after the other, until one holds what is asked."""

from __future__ import annotations

import math
from collections.abc import Generator, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any

from ...backends.decoding import Logits, Tokens
from ...errors import InputError
from ...profiles.device.grid import Grid
from ...profiles.device.precision import PrecisionName, load_precision
from ...profiles.findings.language import Bits, LayerBits, TextParity, TriedMethod
from ..language.agreement import Likening, spread
from ..language.compensating import round_with_texts
from ..language.eager import by_weights
from ..language.options import COMPENSATED, options_of
from ..language.plan import GridOption, within_loss
from ..language.quantize import RoundedWeights, matrices, uniform
from ..language.sensitivity import moments
from ..language.tokens import digest_of
from ..language.weights import DecoderWeights
from .candidate import Rounded
from .task import TextTask

# Texts that are calibrated on and their tokens, and those by which it is judged what each matrix costs.
TEXTS, TEXT = 14, 512
SENSED, SENSED_LENGTH = 8, 128
# Texts that say whether rounding by data paid, and how many tokens of them.
APART, APART_LENGTH = 3, 256
# Plans that are tried: what a plan loses is expected, and measured afterwards.
ATTEMPTS = 3
# Of what a plan may be expected to lose the next one may, where it lost too much: losses of matrices add up roughly.
CAUTION = 0.8
# Blocks that are chosen among where none was asked for.
USUAL_BLOCKS = (32, 64, 128)
Grids = Mapping[str, Grid | None]


@dataclass(frozen=True, slots=True, kw_only=True)
class Rounding:
    """Weights as they are to be written."""

    title: str
    precision: PrecisionName
    weights: DecoderWeights
    rounded: Rounded


def roundings(task: TextTask) -> Generator[Rounding, TextParity, None]:
    """What is tried, the smallest first; each time what the one before lost is sent.

    Raises:
        InputError: the runtime has no kernel for the grid that was asked for.
    """
    if task.limit is None:
        (precision,) = task.precisions
        grids = _without_floats(task, uniform(task.source.decoder, usual_grid(precision, task)))
        yield _rounding(task, precision, grids, "One grid was asked for.")
        return
    yield from _planned(task)
    plain = uniform(task.source.decoder, None)
    yield _rounding(task, task.precisions[-1], plain, "Nothing smaller holds what was asked.")


def _planned(task: TextTask) -> Generator[Rounding, TextParity, None]:
    """Plans of least size that are expected to hold the limit, each chosen by what the one before it lost."""
    choice = [(name, grid) for name in task.precisions for grid in grids_of(name, task)]
    if not choice:
        return
    options = _options(task, [grid for _, grid in choice])
    judge, _ = task.judges
    budget: float | None = None
    for _ in range(ATTEMPTS):
        budget = _nats(task, judge.before) if budget is None else budget
        plan = within_loss(options, budget)
        if plan is None:
            return
        precision = next((name for name, grid in choice if grid in plan.grids.values()), None)
        if precision is None:  # no grid that was asked for suits any matrix
            return
        how = f"The smallest that was expected to lose at most {budget:.3f} nats a token, of what each matrix costs."
        parity = yield _rounding(task, precision, plan.grids, how)
        lost = math.log(parity.after / parity.before)
        budget = CAUTION * min(1.0, _nats(task, parity.before) / max(lost, 1e-9)) * min(budget, plan.loss)


def _nats(task: TextTask, before: float) -> float:
    """The rise of the perplexity that is asked for, in nats a token."""
    assert task.limit is not None
    return math.log1p(task.limit.bound(before) / before)


def _options(task: TextTask, grids: Sequence[Grid]) -> Mapping[str, Sequence[GridOption]]:
    """What each matrix takes and costs in each of the grids."""
    decoder, checkpoint = task.source.decoder, task.source.checkpoint
    texts = spread(task.texts.calibration, min(SENSED_LENGTH, decoder.context), SENSED)
    plain = RoundedWeights(decoder=decoder, checkpoint=checkpoint, grids={})
    with task.step("sensitivity"):
        found = task.memo.once("moments", task.source.digest, lambda: moments(decoder, plain, texts))
        left = COMPENSATED if task.by_data else 1.0
        options = options_of(decoder, checkpoint, grids, found, task.form.matrix_bytes, left=left)
        return _storable(task, options)


def _storable(task: TextTask, options: Mapping[str, Sequence[GridOption]]) -> dict[str, list[GridOption]]:
    """The options that the form has for each matrix; where it has none, to stay in floats."""
    floats, shapes, found = task.form.floats(task.source.decoder), _shapes(task), {}
    for name, (rows, columns) in shapes.items():
        kept = [one for one in options[name] if name not in floats and _divides(task, one.grid, columns)]
        stays = GridOption(grid=None, bytes=task.form.matrix_bytes(rows, columns, None), loss=0.0)
        found[name] = kept or [stays]
    return found


def _divides(task: TextTask, grid: Grid | None, columns: int) -> bool:
    return not task.form.whole_blocks or grid is None or grid.block is None or columns % grid.block == 0


def _without_floats(task: TextTask, grids: Grids) -> Grids:
    floats = task.form.floats(task.source.decoder)
    return {name: None if name in floats else grid for name, grid in grids.items()}


def _rounding(task: TextTask, precision: PrecisionName, grids: Grids, how: str) -> Rounding:
    weights = _weights(task, grids)
    rounded = Rounded(digest="", bits=Bits(layers=tuple(_bits(task, grids)), how=how))
    if task.by_data and any(grids.values()):
        # Of the targets of a run that want the same, the first has it made; one result is kept, as it is large.
        kept = task.memo.once("rounded with texts", task.source.digest, dict[frozenset[Any], _WithTexts])
        if (key := frozenset(grids.items())) not in kept:
            made = _with_texts(task, weights)
            kept.clear()
            kept[key] = made
        found = kept[key]
        weights = found.weights
        rounded = replace(rounded, tried=(found.method,), calibration=found.said, text_digest=found.digest)
    used = {grid for grid in grids.values() if grid is not None}
    title = str(next(iter(used))) if len(used) == 1 else precision
    return Rounding(title=title, precision=precision, weights=weights, rounded=rounded)


def _weights(task: TextTask, grids: Grids) -> RoundedWeights:
    return RoundedWeights(decoder=task.source.decoder, checkpoint=task.source.checkpoint, grids=grids)


@dataclass(frozen=True, slots=True, kw_only=True)
class _WithTexts:
    """Weights rounded by texts, or to the nearest where that is nearer to FP32 on others.

    Attributes:
        said: which texts, a sentence.
        digest: of their tokens.
    """

    weights: RoundedWeights
    method: TriedMethod
    said: str
    digest: str


def _with_texts(task: TextTask, weights: RoundedWeights) -> _WithTexts:
    """Round by what texts make of the weights, where that pays on texts that were kept apart."""
    tokens = task.texts.calibration
    texts = spread(tokens, min(TEXT, task.source.decoder.context, len(tokens) // (2 * APART)), TEXTS + APART)
    fitted, apart = texts[:-APART], texts[-APART:, :APART_LENGTH]
    with task.step("rounding") as advance:
        round_with_texts(weights.decoder, weights, fitted, advance=lambda share: advance(share, ""))
        nearest, plain = _weights(task, weights.grids), _weights(task, {})
        meant = task.memo.once("meant", task.source.digest, lambda: by_weights(plain.decoder, plain, apart))
        before, after = (
            _divergence(meant, by_weights(weights.decoder, each, apart), apart) for each in (nearest, weights)
        )
    method = TriedMethod(
        name="error compensation",
        kept=after < before,
        why="judged on texts that it was not fitted to",
        measure="KL divergence from FP32, nats a token",
        before=before,
        after=after,
    )
    said = f"{fitted.size:,} tokens of {task.texts.said}."
    return _WithTexts(weights=weights if method.kept else nearest, method=method, said=said, digest=digest_of(texts))


def _divergence(meant: Logits, found: Logits, texts: Tokens) -> float:
    """Mean divergence, nats a token."""
    likening = Likening()
    for expected, logits, text in zip(meant, found, texts, strict=True):
        likening.add(expected, logits, text)
    return likening.result().divergence


def usual_grid(precision: PrecisionName, task: TextTask) -> Grid | None:
    """The grid of a precision, as far as it was asked for; None of a float.

    Raises:
        InputError: the runtime has no kernel for it.
    """
    asked, usual = task.recipe.weights, load_precision(precision).decoder
    if usual is None:
        return None
    grid = _as(usual, asked.block or usual.block or USUAL_BLOCKS[0], symmetric=asked.symmetric is not False)
    grid = task.form.usual(grid) if asked.block is None else task.form.storable(grid)
    if why := task.form.why_no_grid(grid, task.target):
        raise InputError(
            f"Target {task.target.name} has no weights in {grid}: {why}.",
            hint="Choose another --precision or --block, or leave the choice to --precision auto.",
        )
    return grid


def grids_of(precision: PrecisionName, task: TextTask) -> list[Grid]:
    """The grids of a precision that are chosen among: those that were asked for, of those that the runtime has."""
    usual = load_precision(precision).decoder
    if usual is None:
        return []
    return [grid for grid in _asked(usual, task) if not task.form.why_no_grid(grid, task.target)]


def why_none(task: TextTask) -> str:
    """Why precisions of integers that would have been tried are not, a sentence; empty where all are."""
    clauses = {}
    for precision in task.precisions if task.limit is not None else ():
        usual = load_precision(precision).decoder
        if usual is not None and not grids_of(precision, task):
            grid = _asked(usual, task)[0]
            clauses[precision] = task.form.why_no_grid(grid, task.target)
    return "; ".join(f"{precision} was not tried, as {why}" for precision, why in clauses.items())


def _asked(usual: Grid, task: TextTask) -> list[Grid]:
    asked, form = task.recipe.weights, task.form
    symmetries = (True, False) if asked.symmetric is None else (asked.symmetric,)
    if asked.block is not None:
        return [form.storable(_as(usual, asked.block, symmetric=each)) for each in symmetries]
    grids = (form.usual(_as(usual, block, symmetric=each)) for block in USUAL_BLOCKS for each in symmetries)
    return list(dict.fromkeys(grids))


def _as(usual: Grid, block: int, *, symmetric: bool) -> Grid:
    return replace(usual, block=block, signed=symmetric, symmetric=symmetric, whole=symmetric)


def _bits(task: TextTask, grids: Grids) -> Generator[LayerBits, None, None]:
    """How each matrix will be stored."""
    for name, (rows, columns) in _shapes(task).items():
        grid = grids.get(name)
        stored = task.form.matrix_bytes(rows, columns, grid)
        yield LayerBits(layer=name, grid=str(grid or "float32"), weights=rows * columns, bytes=stored)


def _shapes(task: TextTask) -> dict[str, tuple[int, int]]:
    """Rows and columns of each matrix by name."""
    decoder = task.source.decoder
    shapes = {each.name: (each.outputs, each.inputs) for each in decoder.linears()}
    return {name: shapes.get(name, (decoder.vocabulary, decoder.width)) for name in matrices(decoder)}

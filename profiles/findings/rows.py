"""Outputs that are sets of rows, as the boxes of a detector: which row of one belongs to which of the other.

Rounding changes the order of rows whose scores are close, and which of them lie beyond a threshold. Two sets are
compared row by row after each row has found its like; one that finds none is held against a row of zeros, and is all
noise. Where one output says how sure a row is, the others count by that, and a row without a like by how far it lies
beyond the threshold that lets it in: what is hardly beyond it comes and goes, and nobody relies on it.
"""

from __future__ import annotations

import math
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field

import numpy as np
import numpy.typing as npt

# Two rows are not the same thing where the mean difference of an output's values, beside the largest one, added up over
# the outputs, is as much as this. A class that differs is 1.
ALIKE = 0.25

Array = npt.NDArray[np.generic]
Values = npt.NDArray[np.float64]


@dataclass(frozen=True, slots=True, kw_only=True)
class Rows:
    """Outputs that hold one set of rows together, in the same order.

    Attributes:
        outputs: their names.
        axis: that of rows; the axes before it are those of samples.
        scores: the output, of one value a row, that says how sure the row is; empty where none does.
        threshold: the score from which a row is let in.
        axes: of outputs that have their rows on another axis, as descriptors behind their channels: which.
    """

    outputs: tuple[str, ...]
    axis: int
    scores: str = ""
    threshold: float = 0.0
    axes: Mapping[str, int] = field(default_factory=dict)

    def upright(self, outputs: Mapping[str, Array]) -> dict[str, Array]:
        """Those of the set, each with its rows on the same axis; one that has no such axis as it is."""
        return {name: _moved(outputs[name], self.axes.get(name, self.axis), self.axis) for name in self.outputs}


@dataclass(frozen=True, slots=True, kw_only=True)
class Likes:
    """Rows of a set as they were compared.

    Attributes:
        missing, more: which of them have no like: the reference's, and the output's.
        weights: what each counts for: its score, 1 where there is none.
    """

    missing: npt.NDArray[np.bool_]
    more: npt.NDArray[np.bool_]
    weights: Values

    @classmethod
    def joined(cls, each: Sequence[Likes]) -> Likes:
        """Of several sets, one behind the other."""
        names = ("missing", "more", "weights")
        return cls(**{name: np.concatenate([getattr(one, name) for one in each]) for name in names})

    @property
    def pairs(self) -> npt.NDArray[np.bool_]:
        """Which of them have one."""
        return np.asarray(~(self.missing | self.more))


def aligned(
    reference: Mapping[str, Array], output: Mapping[str, Array], sets: Iterable[Rows]
) -> tuple[dict[str, Array], dict[str, Array], dict[str, Likes]]:
    """The outputs of one feed, with rows of zeros where a set lacks some, and rows in the order of the reference.

    Args:
        reference: what is right, by output.
        output: what is in question; an output may be missing, or have more or less rows.

    Returns:
        Both, the outputs of a set as arrays of rows and values, amounts times the score of the row; rows that are all 0
        on both sides are left out, and classes of rows without a like, which amounts already tell of. And which rows of
        amounts those are, by output.
    """
    right, found, likes = dict(reference), dict(output), dict[str, Likes]()
    for one in sets:
        if not all(name in output for name in one.outputs):
            continue
        ours, theirs = one.upright(reference), one.upright(output)
        comparable = all(_comparable(ours[name], theirs[name], one.axis) for name in one.outputs)
        if comparable and _as_long(ours, one) and _as_long(theirs, one):
            pairs = [_matched(a, b, one) for a, b in zip(_samples(ours, one), _samples(theirs, one), strict=True)]
            for index, name in enumerate(one.outputs):
                right[name] = np.concatenate([r[index] for r, _, _ in pairs]).astype(reference[name].dtype)
                found[name] = np.concatenate([x[index] for _, x, _ in pairs]).astype(output[name].dtype)
            amounts = (name for name in one.outputs if _is_amount(reference[name]))
            likes.update(dict.fromkeys(amounts, Likes.joined([like for _, _, like in pairs])))
    return right, found, likes


def _weighed(arrays: Sequence[Array], one: Rows, alone: Sequence[int]) -> list[Array]:
    """Amounts times the score of their row; one below 0 says that the row is none, and counts as 0.

    Args:
        alone: rows without a like, of whose score only what lies beyond the threshold counts.
    """
    if one.scores not in one.outputs:
        return list(arrays)
    column = one.outputs.index(one.scores)
    scores = arrays[column].astype(np.float64)
    if (scores > 0).any():  # where all are below 0 they are of another kind, as logarithms
        scores = scores.clip(0)
    scores[alone] = (scores[alone] - one.threshold).clip(0)
    weighed = [a.astype(np.float64) * scores if _is_amount(a) else a for a in arrays]
    return [scores if index == column else array for index, array in enumerate(weighed)]


def _moved(array: Array, axis: int, to: int) -> Array:
    return array if axis == to or array.ndim <= max(axis, to) else np.moveaxis(array, axis, to)


def _comparable(reference: Array, output: Array, axis: int) -> bool:
    """Whether all but the number of rows is the same."""
    sizes = [(*array.shape[:axis], *array.shape[axis + 1 :]) for array in (reference, output)]
    same = reference.ndim == output.ndim > axis and sizes[0] == sizes[1]
    return same and _is_number(reference) and _is_number(output)


def _as_long(outputs: Mapping[str, Array], one: Rows) -> bool:
    """Whether the outputs of the set have the same samples and as many rows as each other."""
    return len({outputs[name].shape[: one.axis + 1] for name in one.outputs}) == 1


def _is_number(array: Array) -> bool:
    return array.dtype.kind in "fiub"


def _samples(outputs: Mapping[str, Array], one: Rows) -> list[list[Array]]:
    """Of each sample, each output of the set as (rows, values)."""
    arrays = [outputs[name] for name in one.outputs]
    before, after = slice(None, one.axis), slice(one.axis + 1, None)
    rows = [a.reshape(math.prod(a.shape[before]), a.shape[one.axis], math.prod(a.shape[after])) for a in arrays]
    return [[a[sample] for a in rows] for sample in range(len(rows[0]))]


def _matched(right: Sequence[Array], found: Sequence[Array], one: Rows) -> tuple[list[Array], list[Array], Likes]:
    """Both with their rows side by side: pairs, then those of the first without a like, then those of the second.

    Of classes beside amounts only the pairs.
    """
    right, found = _without_empty(right), _without_empty(found)
    pairs = _pairs(_distances(right, found))
    ours, theirs = [p[0] for p in pairs], [p[1] for p in pairs]
    missing = [i for i in range(len(right[0])) if i not in set(ours)]
    more = [i for i in range(len(found[0])) if i not in set(theirs)]
    right, found = _weighed(right, one, missing), _weighed(found, one, more)
    told = any(_is_amount(a) for a in right)
    columns = [
        (a[ours], b[theirs])
        if told and not _is_amount(a)
        else (
            np.concatenate((a[ours], a[missing], _unlike(b[more]))),
            np.concatenate((b[theirs], _unlike(a[missing]), b[more])),
        )
        for a, b in zip(right, found, strict=True)
    ]
    kinds = np.repeat([0, 1, 2], [len(ours), len(missing), len(more)])
    like = Likes(missing=kinds == 1, more=kinds == 2, weights=_weights(columns, one, len(kinds)))
    return [a for a, _ in columns], [b for _, b in columns], like


def _weights(columns: Sequence[tuple[Array, Array]], one: Rows, count: int) -> Values:
    """The larger score of each row and its like, as `_weighed` has them."""
    if one.scores not in one.outputs:
        return np.ones(count)
    return np.maximum(*(scores.astype(np.float64).reshape(-1) for scores in columns[one.outputs.index(one.scores)]))


def _is_amount(array: Array) -> bool:
    return array.dtype.kind == "f"


def _without_empty(arrays: Sequence[Array]) -> list[Array]:
    """Rows that hold something: of what fills a fixed number of them, all amounts are 0."""
    amounts = [a for a in arrays if _is_amount(a)]
    held = np.any([(a != 0).any(axis=1) for a in amounts], axis=0) if amounts else np.ones(len(arrays[0]), bool)
    return [a[held] for a in arrays]


def _unlike(rows: Array) -> Array:
    """What stands for a row that is not there: no amount, and another class."""
    return np.zeros_like(rows) if _is_amount(rows) else rows.astype(np.int64) - 1


def _distances(right: Sequence[Array], found: Sequence[Array]) -> Values:
    """Of each row of the one from each of the other, added up over the outputs."""
    total = np.zeros((len(right[0]), len(found[0])))
    for a, b in zip(right, found, strict=True):
        apart = np.abs(a.astype(np.float64)[:, None] - b.astype(np.float64)[None])
        if _is_amount(a):
            finite = np.nan_to_num(apart, nan=np.inf)
            largest = max(np.abs(a[np.isfinite(a)]).max(initial=0.0), np.finfo(np.float32).tiny)
            total += finite.mean(axis=2) / largest if a.shape[1] else 0.0
        else:
            total += (apart != 0).any(axis=2)
    return total


def _pairs(distances: Values) -> list[tuple[int, int]]:
    """Rows that belong together, the nearest first; in the order of the first set."""
    near = np.argwhere(distances < ALIKE)
    nearest = near[np.argsort(distances[tuple(near.T)], kind="stable")]
    pairs: dict[int, int] = {}
    taken: set[int] = set()
    for ours, theirs in nearest.tolist():
        if ours not in pairs and theirs not in taken:
            pairs[ours] = theirs
            taken.add(theirs)
    return sorted(pairs.items())

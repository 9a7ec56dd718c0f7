"""What int8 loses at sizes that the free axes allow and the data do not have: its ranges are those of the data."""

from __future__ import annotations

from collections.abc import Collection, Mapping, Sequence

import numpy as np

from ....backends.base import Array, Feed, Graph
from ....backends.places import Reference
from ....profiles.findings.parity import Parity, parity, worst
from ...graphs.synthesis import synthesize
from ...sources import Source

# Feeds of each size.
_FEEDS = 2
# So much below the usual size is said, noise of three times the amplitude; and less where it is below what is asked.
_MUCH_DB, _SOME_DB = 10.0, 3.0
# What int8 keeps of most models at the sizes of their data; above it nothing is lost that matters.
_ENOUGH_DB = 30.0
_SAID = (
    "At {}, which the free axes allow, int8 has {:.1f} dB of SQNR on made-up inputs at output {!r}, and {:.1f} dB at "
    "{}: its ranges are those of the calibration data. Give data of all sizes, or narrow the axes with --axis."
)


_NOTE = (
    "On made-up inputs int8 has {}; at {}, the usual, {:.1f} dB. What real data of other sizes hold beyond the ranges "
    "of the calibration data, as a sum that grows with its length, is not seen there."
)


def of_other_sizes(
    source: Source, reference: Graph, graph: Graph, seed: int, outputs: Collection[str], asked_db: float
) -> tuple[dict[str, str], tuple[str, ...]]:
    """The doubt, by what it is about, none where int8 keeps about the same at all sizes; and a note with the figures.

    The smallest size of all free axes but the batch, and the largest up to twice the usual one, as the capture is
    proven at.

    Args:
        reference: the captured graph.
        graph: that of int8.
        outputs: those that are amounts; what holds classes or places is not compared.
        asked_db: the SQNR that is asked of int8.
    """
    free = _spatial(source) & reference.axes.keys()
    usual = {name: reference.axes[name].usual for name in free}
    others = [
        {name: reference.axes[name].smallest for name in free},
        {name: min(reference.axes[name].largest, 2 * reference.axes[name].usual) for name in free},
    ]
    others = [sizes for sizes in others if sizes != usual]
    if not others:
        return {}, ()
    at_usual = _agreement(source, reference, graph, seed, usual)
    found = [
        (
            sizes,
            {name: one for name, one in _agreement(source, reference, graph, seed, sizes).items() if name in outputs},
        )
        for sizes in others
    ]
    lost = [
        (one.weakest_db, name, sizes)
        for sizes, agreement in found
        for name, one in agreement.items()
        if name in at_usual and _is_lost(at_usual[name].weakest_db, one.weakest_db, asked_db)
    ]
    note = _in_words(found, usual, {name: one for name, one in at_usual.items() if name in outputs})
    if not lost:
        return {}, note
    least_db, output, sizes = min(lost, key=lambda each: each[0])
    words = (_named(sizes), least_db, output, at_usual[output].weakest_db, _named(usual))
    return {"sizes": _SAID.format(*words)}, note


def _in_words(
    found: Sequence[tuple[Mapping[str, int], Mapping[str, Parity]]],
    usual: Mapping[str, int],
    at_usual: Mapping[str, Parity],
) -> tuple[str, ...]:
    """The figures at all sizes, of the output that has least there; nothing where none can be compared."""
    told = [
        f"at {_named(sizes)} {worst(each).weakest_db:.1f} dB of SQNR at its worst output"
        for sizes, each in found
        if each
    ]
    if not told or not at_usual:
        return ()
    return (_NOTE.format(", ".join(told), _named(usual), worst(at_usual).weakest_db),)


def _is_lost(usual_db: float, other_db: float, asked_db: float) -> bool:
    much = _SOME_DB if other_db < asked_db else _MUCH_DB
    return other_db < _ENOUGH_DB and usual_db - other_db >= much


def _spatial(source: Source) -> set[str]:
    """Free axes that are no input's first: heights, widths and lengths."""
    named = [(axis, name) for free in source.dynamic.values() for axis, name in free.items()]
    return {name for axis, name in named if axis} - {name for axis, name in named if not axis}


def _agreement(
    source: Source, reference: Graph, graph: Graph, seed: int, sizes: Mapping[str, int]
) -> Mapping[str, Parity]:
    how = source.inputs, source.dynamic, sizes
    feeds = [synthesize(*how, seed + index, source.held) for index in range(_FEEDS)]
    wanted, found = _answers(reference, feeds), _answers(graph, feeds)
    # Rounding decides how many rows a selection has; such outputs are not of one shape. Where FP32 itself makes no
    # numbers of what is made up, as of a mean over no step, int8 loses nothing.
    pairs = list(zip(wanted, found, strict=True))
    alike = {
        name
        for name in wanted[0]
        if all(a[name].shape == b[name].shape and np.isfinite(a[name]).all() for a, b in pairs)
    }
    return parity(*([{name: answer[name] for name in alike} for answer in each] for each in (wanted, found)))


def _answers(graph: Graph, feeds: Sequence[Feed]) -> list[Mapping[str, Array]]:
    with Reference().values(graph.path) as values:
        return [values(feed) for feed in feeds]


def _named(sizes: Mapping[str, int]) -> str:
    return ", ".join(f"{name} {size}" for name, size in sorted(sizes.items()))

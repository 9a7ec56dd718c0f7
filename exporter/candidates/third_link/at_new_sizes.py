"""An engine against its own graph once more, at sizes that nobody has asked it for: as on samples, with more margin."""

from __future__ import annotations

from collections.abc import Callable, Collection, Iterable, Mapping

import numpy as np

from ....backends.base import Array, Feed
from ....backends.places import Place
from ....errors import EdgepressError, VerificationError
from ....profiles.device.precision import load_precision
from ....profiles.device.target import Target
from ....profiles.findings.parity import Parity, is_codes, parity
from ..candidate import Candidate
from .link import ENOUGH_DB, HINT, HINT_FLOAT, StrayingError, beside_graph, claimed_of_engine, rounds_by_itself
from .new_sizes import NewSize

# A few samples, some made up, say less than those that are judged on: noise of three times the amplitude is let pass.
_MARGIN_DB = 10.0
# Classes and places of few samples: less than half are right.
_CODES_DB = 3.0
_CAUSE = (
    "At the sizes of golden inputs and samples it does: the runtime reads memory that nobody wrote, or beyond an end."
)
_NARROW = "Narrow the axis with --axis to sizes that were run."
_Run = Callable[[Feed], Mapping[str, Array]]


def held_at_new_sizes(
    candidate: Candidate,
    sizes: Iterable[NewSize],
    engine: _Run,
    graph: _Run,
    reference: _Run,
    place: Place,
    target: Target,
    passed: Collection[str] = (),
) -> Candidate:
    """The candidate, whose engine answered at each of these sizes as its own graph does, at once.

    A size that FP32 does not take says nothing, and so does one beyond its range that the engine does not take.

    Args:
        engine: open, and not asked for these sizes before.
        graph, reference: the candidate's graph and FP32, on the reference place.
        passed: outputs that are not compared.

    Raises:
        StrayingError: it did not.
    """
    held = [found for size in sizes if (found := _held(candidate, size, engine, graph, reference, passed))]
    if not held:
        return candidate
    claim = f"The engine agrees with model.onnx at once at sizes that it had not run: {'; '.join(held)}"
    return claimed_of_engine(candidate, claim, place, target)


def _held(
    candidate: Candidate, size: NewSize, engine: _Run, graph: _Run, reference: _Run, passed: Collection[str]
) -> str:
    """What was seen, in words; empty where nothing can be."""
    right, own = _answers(size.feed, reference, graph)
    names = [name for name, array in right.items() if name not in passed and _comparable(array, own.get(name))]
    if not names:
        return ""
    right = {name: right[name] for name in names}
    graphs = parity([right], [own])
    engines = _engine(candidate, size, engine, right)
    for name, seen in engines.items():
        least = _least_db(candidate, graphs[name], right[name])
        if seen.weakest_db < least:
            graph_db = graphs[name].weakest_db
            told = beside_graph(f"output {name!r}", seen.weakest_db, graph_db, least, right[name])
            raise _strays(candidate, size, told)
    if not engines:
        return ""
    least_engine, least_graph = (min(one.weakest_db for one in found.values()) for found in (engines, graphs))
    return f"{size.told}: {least_engine:.1f} dB of SQNR against FP32, the graph itself {least_graph:.1f} dB"


def _answers(feed: Feed, reference: _Run, graph: _Run) -> tuple[Mapping[str, Array], Mapping[str, Array]]:
    """What FP32 and the graph answer; nothing where they do not take the size."""
    try:
        right = reference(feed)
        return right, right if graph is reference else graph(feed)
    except EdgepressError:
        return {}, {}


def _comparable(right: Array, own: Array | None) -> bool:
    """Whether the graph has an output as FP32 has it: finite, and of as many rows where data select those."""
    return own is not None and right.size > 0 and right.shape == own.shape and _is_finite(right) and _is_finite(own)


def _is_finite(array: Array) -> bool:
    return array.dtype.kind != "f" or bool(np.isfinite(array).all())


def _engine(candidate: Candidate, size: NewSize, engine: _Run, right: Mapping[str, Array]) -> Mapping[str, Parity]:
    try:
        found = engine(size.feed)
        exact = load_precision(candidate.precision).exact
        # How many rows are selected is decided by rounding.
        alike = [name for name, array in right.items() if exact or found[name].shape == array.shape]
        return parity([{name: right[name] for name in alike}], [found]) if alike else {}
    except VerificationError as error:
        raise _strays(candidate, size, error.message) from error
    except EdgepressError as error:
        if not size.allowed:
            return {}
        raise _strays(candidate, size, f"it fails where its graph does not: {error.message}") from error


def _least_db(candidate: Candidate, graph: Parity, right: Array) -> float:
    """What the engine must reach where its graph reaches that."""
    least = candidate.least_db if rounds_by_itself(candidate) else min(graph.weakest_db, ENOUGH_DB)
    exact = load_precision(candidate.precision).exact
    return min(least - _MARGIN_DB, _CODES_DB) if is_codes(right) and not exact else least - _MARGIN_DB


def _strays(candidate: Candidate, size: NewSize, told: str) -> StrayingError:
    hint = HINT if load_precision(candidate.precision).integer else HINT_FLOAT
    return StrayingError(
        candidate,
        f"The {candidate.precision} engine does not compute what its own graph does, in the first inference of a size "
        f"that it had not run ({size.told}): {told.rstrip('.')}. {_CAUSE}",
        hint=f"{_NARROW} {hint}",
        feed=size.feed,
    )

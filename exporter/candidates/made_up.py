"""What golden inputs say of a candidate that the calibration samples speak for.

Golden inputs are made up: they have the mean, the deviation and the smoothness of the data, and not what the model
looks for. Where a detector finds nothing, its map is next to nothing, and a ratio to that is one to noise; and a
network that was trained on pictures may amplify on noise what it does not on pictures.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace

import numpy as np

from ...backends.base import Array
from ...errors import VerificationError
from ...profiles.device.precision import load_precision
from ...profiles.findings.parity import Parity
from ..capture.golden import Answers, Golden
from ..quantization.judging import JudgingSamples
from .candidate import Candidate, OwnGolden
from .judge import GOLDEN, SEEN_OFF_DB, least_graph_db, whole
from .third_link.link import EXPLAINED_DB, HINT, STRAYS, StrayingError, beside_graph

# Inputs are of one kind with the samples where their means are no further apart than this share of the samples'
# deviation, and one deviation is at most so many times the other: what was not normalized is further off.
_MEAN_OFF, _WIDER = 0.5, 1.5
# Half a step of 255 that hold the largest value and 0 is at least this part of it.
_HALF_STEPS = 510
_ONE_SCALE = (
    "Give both the same preprocessing: calibration data as the model will meet them, and an example like them. "
    "Otherwise ship a float: --precision fp32."
)
# Samples that say little themselves.
_DOUBTED = frozenset({"alike", "repeated"})


def unless_made_up(
    candidate: Candidate, golden: Golden, answers: Answers, samples: Callable[[], JudgingSamples], asked_db: float
) -> Candidate:
    """The candidate; one that misses what golden inputs ask where they say nothing of it is held to its graph there.

    Args:
        answers: of what runs for it, to the golden inputs.
        samples: that it was judged on, and reaches `asked_db` on.
        asked_db: what is asked of the precision on samples, in dB of SQNR.

    Raises:
        StrayingError: the engine misses what is asked, and there are reasons to pass over that; but it is further from
            FP32 than its own graph by more than rounding explains, which made-up inputs are no reason for.
        VerificationError: it misses what is asked, and the integers that fit the samples hold nothing of these inputs.
    """
    seen = golden.compare(answers)
    short = {name: found for name, found in seen.items() if not found.reaches(candidate.least_db)}
    if not short or (judged := samples()).feeds is golden.feeds:
        return candidate
    if load_precision(candidate.precision).integer:
        _refuse_too_small(golden.feeds, judged.feeds)
    one_kind = _speaks(candidate) and _alike(golden.feeds, judged.feeds)
    why = [
        _quiet(name, found, golden, judged, asked_db) or (_other(name, found, candidate) if one_kind else "")
        for name, found in short.items()
    ]
    if not all(why):
        return candidate
    _refuse_straying(candidate, golden, short)
    return _held_to_its_graph(candidate, answers, why, short)


def _refuse_too_small(golden: Sequence[Mapping[str, Array]], samples: Sequence[Mapping[str, Array]]) -> None:
    """Refuse an input of which every value is less than half a step of the integers that fit the samples."""
    for name, array in golden[0].items():
        here, usual = _largest(golden, name), _largest(samples, name)
        if array.dtype.kind == "f" and 0 < here * _HALF_STEPS < usual:
            raise VerificationError(
                f"Nothing is left of the example in int8: input {name!r} is at most {here:.2g} in the golden inputs, "
                f"which are made up to look like the example, and {usual:.2g} in the calibration samples, whose "
                "integers do not tell that from 0.",
                hint=_ONE_SCALE,
            )


def _largest(feeds: Sequence[Mapping[str, Array]], name: str) -> float:
    return max(float(np.abs(feed[name].astype(np.float64)).max(initial=0.0)) for feed in feeds)


def _refuse_straying(candidate: Candidate, golden: Golden, short: Mapping[str, Parity]) -> None:
    """Hold an engine against its own graph, by how far both are from FP32; a bundle is refused by that as well."""
    if candidate.own_golden is None:
        return
    own = golden.compare(candidate.own_golden.outputs)
    strays = [
        beside_graph(f"output {name!r}", found.weakest_db, own[name].weakest_db, least, golden.outputs[0][name])
        for name, found in short.items()
        if found.weakest_db < (least := own[name].weakest_db - EXPLAINED_DB)
    ]
    if strays:
        where = "on the golden inputs, which are made up"
        raise StrayingError(
            candidate, f"{STRAYS.format(candidate.precision)}, {where}: {'; '.join(strays)}.", hint=HINT
        )


def _held_to_its_graph(
    candidate: Candidate, answers: Answers, why: Sequence[str], short: Mapping[str, Parity]
) -> Candidate:
    """The candidate, whose devices are held to what its own graph gives for the golden inputs.

    Args:
        answers: those of its graph, where no engine of it ran here.
    """
    own = candidate.own_golden or OwnGolden(outputs=answers, engine_db=candidate.least_db + SEEN_OFF_DB)
    told = (
        f"On the golden inputs, which are made up, output {'; output '.join(why)}. A device is held to the engine's "
        f"own graph there, within {least_graph_db(own):g} dB."
    )
    least = min(whole(found.weakest_db - SEEN_OFF_DB) for found in short.values())
    return replace(candidate, least_db=least, own_golden=own).without("other", told, GOLDEN)


def _quiet(name: str, found: Parity, golden: Golden, samples: JudgingSamples, asked_db: float) -> str:
    """Of an output that is smaller than on the samples, and differs by little beside those; empty of others.

    Also empty where channels are of several scales, which are judged by group.
    """
    here, usual = _amplitude(golden.outputs, name), _amplitude(samples.expected, name)
    if found.groups or not 0 < here < usual or not math.isfinite(found.sqnr_db):
        return ""
    beside_db = found.sqnr_db + 20 * math.log10(usual / here)
    if beside_db < asked_db:
        return ""
    return (
        f"{name!r} is {here:.2g} (root mean square), and {usual:.2g} on calibration samples: of its "
        f"{found.sqnr_db:.1f} dB of SQNR nothing follows, since the difference is {beside_db:.0f} dB below the latter"
    )


def _speaks(candidate: Candidate) -> bool:
    """Whether the samples say what integers cost: they were judged on them, and these are not all the same."""
    doubted = any(gap.subject in _DOUBTED for gap in candidate.missing)
    return load_precision(candidate.precision).integer and bool(candidate.on_samples) and not doubted


def _other(name: str, found: Parity, candidate: Candidate) -> str:
    if not math.isfinite(found.weakest_db) or name not in candidate.on_samples:
        return ""
    return (
        f"{name!r} has {found.weakest_db:.1f} dB of SQNR, and {candidate.on_samples[name].weakest_db:.1f} dB on the "
        "calibration samples, whose mean and deviation these inputs have, and not what the model looks for: inputs "
        "unlike the samples may be answered otherwise than by FP32"
    )


def _alike(golden: Sequence[Mapping[str, Array]], samples: Sequence[Mapping[str, Array]]) -> bool:
    """Whether all float inputs have the mean and the deviation that they have on the samples."""
    names = [name for name, array in golden[0].items() if array.dtype.kind == "f"]
    return all(_one_kind(_moments(golden, name), _moments(samples, name)) for name in names)


def _one_kind(made: tuple[float, float], real: tuple[float, float]) -> bool:
    (mean, deviation), (right, spread) = made, real
    return abs(mean - right) <= _MEAN_OFF * spread and spread <= _WIDER * deviation and deviation <= _WIDER * spread


def _moments(feeds: Sequence[Mapping[str, Array]], name: str) -> tuple[float, float]:
    """Mean and deviation of an input over all feeds."""
    values = np.concatenate([np.asarray(feed[name], np.float64).reshape(-1) for feed in feeds])
    return float(values.mean()), float(values.std())


def _amplitude(answers: Sequence[Mapping[str, Array]], name: str) -> float:
    """Root mean square over all of them; 0 of what is no finite float."""
    arrays = [one[name] for one in answers]
    if any(array.dtype.kind != "f" or not np.isfinite(array).all() for array in arrays):
        return 0.0
    squares = sum(float(np.square(array, dtype=np.float64).sum()) for array in arrays)
    return math.sqrt(squares / max(1, sum(array.size for array in arrays)))

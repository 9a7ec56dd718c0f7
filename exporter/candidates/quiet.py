"""Outputs that are next to nothing on the golden inputs, as the map of a detector is where nothing is to be found.

Golden inputs are made up. A ratio to what a model says of them is one to noise where it says nothing: int8 that finds
text as well as FP32 does had 0.2 dB there, at values below 0.0005. What counts then is how the difference compares with
what the output is on calibration samples.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace

import numpy as np

from ...backends.base import Array
from ...profiles.findings.parity import Parity
from ..capture.golden import Answers, Golden
from ..quantization.judging import JudgingSamples
from .candidate import Candidate, OwnGolden
from .judge import GOLDEN, SEEN_OFF_DB, least_graph_db, whole


@dataclass(frozen=True, slots=True, kw_only=True)
class QuietOutput:
    """One that falls short of what golden inputs ask for, and differs by little beside what samples give.

    Attributes:
        sqnr_db: on the golden inputs.
        amplitude, usual: root mean square of FP32 there, and on the samples.
    """

    name: str
    sqnr_db: float
    amplitude: float
    usual: float

    @property
    def beside_db(self) -> float:
        """What the samples give over the difference on the golden inputs, in dB."""
        return self.sqnr_db + 20 * math.log10(self.usual / self.amplitude)

    def __str__(self) -> str:
        return (
            f"{self.name!r} is {self.amplitude:.2g} (root mean square), {self.usual:.2g} on calibration samples: of "
            f"its {self.sqnr_db:.1f} dB nothing follows, since the difference is {self.beside_db:.0f} dB below that"
        )


def unless_quiet(
    candidate: Candidate, golden: Golden, answers: Answers, samples: Callable[[], JudgingSamples], asked_db: float
) -> Candidate:
    """The candidate; one that misses what golden inputs ask of it at quiet outputs alone is held to its graph there.

    Args:
        answers: of what runs for it, to the golden inputs.
        samples: that it was judged on.
        asked_db: how far below the amplitude of the samples the difference must be, in dB.
    """
    seen = golden.compare(answers)
    short = {name: found for name, found in seen.items() if not found.reaches(candidate.least_db)}
    quiet = [one for one in _of(golden, samples(), short) if one.beside_db >= asked_db] if short else []
    return _held_to_its_graph(candidate, answers, quiet) if quiet and len(quiet) == len(short) else candidate


def _held_to_its_graph(candidate: Candidate, answers: Answers, quiet: Sequence[QuietOutput]) -> Candidate:
    """The candidate, whose devices are held to what its own graph gives: FP32 says next to nothing there.

    Args:
        answers: those of its graph, where no engine of it ran here.
    """
    own = candidate.own_golden or OwnGolden(outputs=answers, engine_db=candidate.least_db + SEEN_OFF_DB)
    least = min(whole(one.sqnr_db - SEEN_OFF_DB) for one in quiet)
    why = (
        f"On the golden inputs, which are made up, output {'; output '.join(map(str, quiet))}. A device is held to the "
        f"engine's own graph there, within {least_graph_db(own):g} dB."
    )
    return replace(candidate, least_db=least, own_golden=own).without("other", why, GOLDEN)


def _of(golden: Golden, samples: JudgingSamples, short: Mapping[str, Parity]) -> Iterator[QuietOutput]:
    """Those of them that are smaller than on the samples.

    None where the samples are the golden inputs themselves, and none whose channels are of several scales, which are
    judged by group.
    """
    names = () if samples.feeds is golden.feeds else (name for name, found in short.items() if not found.groups)
    for name in names:
        amplitude, usual = _amplitude(golden.outputs, name), _amplitude(samples.expected, name)
        if 0 < amplitude < usual and math.isfinite(short[name].sqnr_db):
            yield QuietOutput(name=name, sqnr_db=short[name].sqnr_db, amplitude=amplitude, usual=usual)


def _amplitude(answers: Sequence[Mapping[str, Array]], name: str) -> float:
    """Root mean square over all of them; 0 of what is no finite float."""
    arrays = [one[name] for one in answers]
    if any(array.dtype.kind != "f" or not np.isfinite(array).all() for array in arrays):
        return 0.0
    squares = sum(float(np.square(array, dtype=np.float64).sum()) for array in arrays)
    return math.sqrt(squares / max(1, sum(array.size for array in arrays)))

"""Why integers collapse, where the model itself is why: it amplifies whatever is rounded, as random weights do."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace

import numpy as np

from ....backends.base import Array, Feed
from ....backends.places import Reference
from ....errors import VerificationError
from ....profiles.device.target import Target
from ....profiles.findings.parity import is_codes
from ...capture.amounts import with_amounts
from ...capture.captured import Captured
from ...quantization.judging import JudgingSamples
from ...quantization.noise import decibel

# Steps between the least and the largest value of an input in 8 bits.
_STEPS = 255
# A model that keeps its inputs' SQNR but for less does not amplify. Four trained ones lost -1 to 4 dB, six with random
# weights that int8 collapses or all but 23 to 32 (docs/zoo.md).
_AMPLIFIES_DB = 10.0


def amplified(captured: Captured, target: Target, samples: JudgingSamples, output: str, threads: int) -> str:
    """What the FP32 graph keeps of an output where its inputs alone are rounded to 8 bits, one sentence.

    Empty where it keeps about what the inputs have, where nothing of them is in floats, and of classes and places.
    """
    rounded, inputs_db = _rounded(samples.feeds)
    if inputs_db == np.inf or is_codes(samples.expected[0][output]):
        return ""
    place = Reference()
    with place.open(place.runs(captured.graph, target, "fp32", None), threads) as session:
        answers = [with_amounts(session(feed), captured.amounts) for feed in rounded]
    try:
        output_db = replace(samples, feeds=rounded).compare(answers, captured.graph)[output].weakest_db
    except VerificationError as error:
        return f" The model bears no rounding: of nothing but its inputs in 8 bits FP32 itself fails. {error.message}"
    if inputs_db - output_db < _AMPLIFIES_DB:
        return ""
    return (
        f" The model amplifies what is rounded: of nothing but its inputs in 8 bits, which have {inputs_db:.1f} dB "
        f"then, FP32 itself makes this output with {output_db:.1f} dB."
    )


def _rounded(feeds: Sequence[Feed]) -> tuple[list[dict[str, Array]], float]:
    """The feeds with what is in floats rounded to 8 bits over its range, and the SQNR of the worst of them in dB."""
    floats = [name for name, array in feeds[0].items() if array.dtype.kind == "f"]
    made, ratios = [dict(feed) for feed in feeds], [0.0]
    for name in floats:
        arrays = [np.asarray(feed[name], np.float64) for feed in feeds]
        low, high = min(array.min(initial=0) for array in arrays), max(array.max(initial=0) for array in arrays)
        step = (high - low) / _STEPS or 1.0
        found = [np.rint(array / step) * step for array in arrays]
        signal, noise = (
            sum(float(np.square(each).sum()) for each in values)
            for values in (arrays, [a - b for a, b in zip(arrays, found, strict=True)])
        )
        ratios.append(noise / signal if signal > 0 else 0.0)
        for feed, array in zip(made, found, strict=True):
            feed[name] = array.astype(feed[name].dtype)
    return made, decibel(max(ratios))

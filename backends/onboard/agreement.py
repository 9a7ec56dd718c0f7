"""Golden inputs through an engine, and how close its outputs are to those of the FP32 model.

The figures are those of edgepress, of an output as a whole; `edgepress verify` looks at groups of its channels as well.
"""

import ctypes
import math
from typing import Any, Dict, List, NamedTuple, Tuple

from .arrays import RawArray, packed
from .orders import BuildError
from .sessions import GivenArray, OpenPlan

# float32 computes an output to no more than this of what is around it: nothing less says anything.
ROUNDING = 5e-7


class Agreement(NamedTuple):
    """One output beside its reference, over all golden inputs.

    Attributes:
        sqnr_db: 10*log10(sum r^2 / sum (r-x)^2); of booleans and of integers of 32 and 64 bits, which are classes and
            places, 10*log10(elements / elements that differ). Infinite where all are equal.
        max_abs: the largest difference.
    """

    sqnr_db: float
    max_abs: float

    def reaches(self, least_db: float) -> bool:
        """Whether it is as close as that, or differs by rounding alone."""
        return self.sqnr_db >= least_db or self.max_abs <= ROUNDING


def by_feed(arrays: Dict[str, RawArray]) -> List[Dict[str, RawArray]]:
    """Arrays named `INDEX.NAME`, as golden files have them, by index."""
    found: Dict[int, Dict[str, RawArray]] = {}
    for key, one in arrays.items():
        index, _, name = key.partition(".")
        if not index.isdigit() or not name:
            raise BuildError(
                "verification", "A golden file has an array {!r}.".format(key), "Copy the bundle again, whole."
            )
        found.setdefault(int(index), {})[name] = one
    return [found[index] for index in sorted(found)]


def infer(plan: OpenPlan, feed: Dict[str, RawArray]) -> Dict[str, RawArray]:
    """Run one feed.

    Raises:
        BuildError: it does not fit the engine, or running it fails.
    """
    given, kept = laid_out(plan, feed)
    outputs = plan.run(given)
    del kept
    return {name: RawArray(plan.slots[name].dtype, shape, bytes(data)) for name, (shape, data) in outputs.items()}


def laid_out(plan: OpenPlan, feed: Dict[str, RawArray]) -> Tuple[Dict[str, GivenArray], List[Any]]:
    """A feed in memory as the engine takes it, and what must live as long as it is used.

    Raises:
        BuildError: it does not fit the engine.
    """
    wanted = sorted(slot.name for slot in plan.slots.values() if slot.is_input)
    if sorted(feed) != wanted:
        raise BuildError(
            "verification",
            "{} has the inputs {}, and is given {}.".format(plan.name, ", ".join(wanted), ", ".join(sorted(feed))),
        )
    kept: List[Any] = []
    given: Dict[str, GivenArray] = {}
    for name, array in feed.items():
        content = _as_taken(array, plan.slots[name].dtype, name).content
        kept.append(ctypes.create_string_buffer(content, max(len(content), 1)))
        given[name] = GivenArray(array.shape, ctypes.addressof(kept[-1]), len(content))
    return given, kept


def _as_taken(array: RawArray, dtype: str, name: str) -> RawArray:
    """In the engine's own type: TensorRT before 10 has no int64 and declares such inputs int32."""
    if array.dtype == dtype:
        return array
    try:
        return packed(array.numbers(), dtype, array.shape)
    except BuildError as fault:
        raise BuildError("input", "Input {!r}: {}".format(name, fault.message))


def agreements(references: List[Dict[str, RawArray]], answers: List[Dict[str, RawArray]]) -> Dict[str, Agreement]:
    """Compare, output by output.

    Raises:
        BuildError: an output is missing, has another shape, or holds NaN or Inf where the reference is finite.
    """
    if len(references) != len(answers) or not references:
        raise BuildError(
            "verification", "The golden files do not hold as many outputs as inputs.", "Copy the bundle again."
        )
    return {name: _agreement(name, [one[name] for one in references], answers) for name in references[0]}


def _agreement(name: str, references: List[RawArray], answers: List[Dict[str, RawArray]]) -> Agreement:
    signal = noise = largest = 0.0
    for reference, given in zip(references, answers):
        if name not in given:
            raise BuildError(
                "verification", "Output {!r} is missing; the engine gave {}.".format(name, ", ".join(sorted(given)))
            )
        if reference.shape != given[name].shape:
            raise BuildError(
                "verification",
                "Output {!r} has shape {}, the reference {}.".format(name, given[name].shape, reference.shape),
            )
        codes = reference.dtype in ("bool", "int32", "int64", "uint32", "uint64")
        for right, found in zip(reference.numbers(), given[name].numbers()):
            if right == found:
                # An infinity on both sides is agreement and no signal.
                signal += 1.0 if codes else 0.0 if math.isinf(right) else float(right) * right
                continue
            if math.isfinite(right) and not math.isfinite(found):
                raise BuildError(
                    "verification", "Output {!r} holds NaN or Inf where the reference is finite.".format(name)
                )
            apart = float(right) - found
            largest = math.inf if math.isnan(apart) else max(largest, abs(apart))
            signal, noise = (signal + 1, noise + 1) if codes else (signal + right * right, noise + apart * apart)
    return Agreement(_decibels(signal, noise), largest)


def _decibels(signal: float, noise: float) -> float:
    if noise == 0:
        return math.inf
    if math.isnan(noise) or math.isinf(noise) or signal <= 0:
        return -math.inf
    return 10 * math.log10(signal / noise)

"""Prove a candidate where it runs: golden outputs, and which kernels ran. Nothing here needs torch or onnx."""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace
from pathlib import Path

from ...backends.base import Array, Engine
from ...backends.places import Place
from ...backends.registry import load_backend
from ...errors import VerificationError
from ...profiles.device.precision import load_precision
from ...profiles.device.target import Target
from ...profiles.findings.evidence import Evidence
from ...profiles.findings.layers import Coverage, Layer, coverage, untimed
from ...profiles.findings.parity import Parity, figure, is_codes, needed, parity, worst
from ..capture.golden import Answers, Golden
from .candidate import Candidate, OwnGolden
from .third_link.link import PLACES

# How far below what was seen here a device may be.
SEEN_OFF_DB = 6.0
# What a gap about them is called.
GOLDEN = "golden"
# What speaks against the calibration data, where int8 misses golden inputs.
_OF_DATA = frozenset({"alike", "repeated", "samples"})
# Less than this on golden inputs, and as much less than on samples, is said: of float noise of a third of the signal.
_LOW_DB = 10.0
_COARSE = "Leave the layers that hurt in float with --exclude, give more calibration data, or lower --min-sqnr."
# Of a float precision: no layer is to be left in float, and no ranges are taken from data.
_FLOAT = "Ship another precision with --precision, choose another target, or lower --min-sqnr."


def unknown() -> Mapping[str, Parity]:
    """What is known of an example that is not at hand."""
    return {}


def judged(
    candidate: Candidate,
    golden: Golden,
    answers: Answers,
    place: Place,
    target: Target,
    on_example: Callable[[], Mapping[str, Parity]] = unknown,
) -> Candidate:
    """The candidate with its agreement with FP32 on the golden inputs.

    Args:
        answers: of what runs for it at the place.
        on_example: agreement on the example that golden inputs are made up like; asked where they have far less than
            the samples.

    Raises:
        VerificationError: it does not reach the least agreement.
    """
    try:
        hint = _COARSE if load_precision(candidate.precision).integer else _FLOAT
        found = check_golden(golden, answers, candidate.least_db, hint)
    except VerificationError as error:
        if why := [gap.why for gap in candidate.missing if gap.subject in _OF_DATA]:
            raise VerificationError(error.message, hint=" ".join(why)) from error
        raise
    told = any(gap.subject == GOLDEN for gap in candidate.missing)
    if not told and (apart := _apart(candidate.on_samples, found)):
        candidate = _unlike(candidate, found, apart, on_example())
    evidence = (*candidate.evidence, golden_evidence(found, place, target))
    return replace(candidate, parity=found, how=place.how(target), evidence=evidence)


def _apart(on_samples: Mapping[str, Parity], others: Mapping[str, Parity]) -> list[str]:
    """Outputs that have far less on others than on the calibration samples, and little."""
    seen = {name: found.weakest_db for name, found in others.items() if name in on_samples}
    return [name for name, db in seen.items() if db < _LOW_DB and on_samples[name].weakest_db - db >= _LOW_DB]


def _unlike(
    candidate: Candidate, golden: Mapping[str, Parity], apart: Sequence[str], example: Mapping[str, Parity]
) -> Candidate:
    """The candidate with what follows for outputs that have far less on golden inputs.

    Where the example itself is as good as the samples, these are of one kind, and what is made up like it is of none:
    a state, whose values do not go together.
    """
    short = [name for name in apart if name not in example or name in _apart(candidate.on_samples, example)]
    name = min(short or apart, key=lambda name: golden[name].weakest_db)
    told = (
        f"Output {name!r} has {candidate.on_samples[name].weakest_db:.1f} dB of SQNR on the calibration samples and "
        f"{golden[name].weakest_db:.1f} dB on golden inputs, which are made up to look like the example"
    )
    if not short:
        of = f"and that has {example[name].weakest_db:.1f} dB: what is made up is of no kind that the model meets."
        return replace(candidate, notes=(*candidate.notes, f"{told}, {of}"))
    kinds = "samples and example may be of two kinds. Give samples as varied as what the model will meet, or an"
    return candidate.without("other", f"{told}: {kinds} evaluate() that tells.", GOLDEN)


def looked_into(candidate: Candidate, golden: Golden, place: Place, target: Target) -> Candidate:
    """The candidate with its layers as the runtime compiled them, and how many of them run integer kernels."""
    integer = load_precision(candidate.precision).integer
    if candidate.runs is None or not place.itself:
        why = "the engine is not built here" if candidate.not_built else load_backend(target.backend).available().reason
        return candidate.without("coverage", f"int8 coverage was not read: {why}.") if integer else candidate
    layers = place.inspect(candidate.runs, golden.feeds[0])
    if not layers and integer:  # all of none would be 100 %
        return candidate.without("coverage", "int8 coverage was not read: this runtime does not tell what it runs.")
    shown = layers if place.evidence(target) == "measured" else untimed(layers)
    covered = _explained(coverage(layers), candidate.left) if integer else None
    return replace(candidate, layers=shown, coverage=covered)


def check_golden(golden: Golden, answers: Answers, least_db: float, hint: str = _COARSE) -> dict[str, Parity]:
    """Compare what was answered to the golden inputs with the FP32 outputs.

    Raises:
        VerificationError: an output does not reach `least_db` of SQNR; its figures are given.
    """
    seen = golden.compare(answers)
    bad = {name: golden.outputs[0][name] for name, found in seen.items() if not found.reaches(least_db)}
    if bad:
        told = "; ".join(f"output {name!r}: {_told(seen[name], least_db, array)}" for name, array in bad.items())
        raise VerificationError(
            f"The engine does not reach the {least_db:g} dB of agreement with the FP32 model that the golden inputs "
            f"ask for: {told}.",
            hint=f"{PLACES} {hint}" if any(map(is_codes, bad.values())) else hint,
        )
    return seen


def _told(found: Parity, least_db: float, array: Array) -> str:
    """What an output like the array has; of classes and places how many agree, and how many have to."""
    if not is_codes(array):
        return str(found)
    return f"{figure(found.sqnr_db, array)} of its classes or places ({needed(least_db, array)} needed)"


def lenient(least_db: float, seen: Mapping[str, Parity]) -> float:
    """What a device must reach, in dB: `SEEN_OFF_DB` below what was seen here, at most 40, at least the minimum.

    `SEEN_OFF_DB` is noise of twice the amplitude: another CPU's kernels round otherwise, a wrong graph is much further
    off.
    In whole dB: an engine that is opened twice may add up in another order, and the bound is among the bundle's bytes.
    """
    return max(least_db, min(whole(worst(seen).weakest_db - SEEN_OFF_DB), 40.0))


def least_graph_db(own: OwnGolden) -> float:
    """What a device must reach against the engine's own graph: as `lenient`, at most 30 dB.

    Integers that another CPU rounds otherwise in a few places go on through all layers behind.
    """
    return max(0.0, min(whole(own.engine_db - SEEN_OFF_DB), 30.0))


def whole(db: float) -> float:
    """Rounded down, where it is a number at all: agreement to the bit is infinite."""
    return float(math.floor(db)) if math.isfinite(db) else db


def check_graph_golden(golden: Golden, answers: Answers, least_db: float) -> None:
    """Compare what an engine gives for the golden inputs with what its own graph does.

    Raises:
        VerificationError: an output does not reach `least_db` of SQNR, or there is nothing to compare with.
    """
    if not golden.graph:
        raise VerificationError(
            "golden/graph.npz is missing.", hint="Copy the bundle again, whole, or export it again."
        )
    seen = parity(golden.graph, answers, rows=golden.rows)
    bad = [f"output {name!r}: {found}" for name, found in seen.items() if not found.reaches(least_db)]
    if bad:
        raise VerificationError(
            f"The engine does not compute what model.onnx does for the golden inputs ({least_db:g} dB needed): "
            f"{'; '.join(bad)}.",
            hint="Export again with the runtime that is on this machine, or on a processor like this one.",
        )


def golden_evidence(found: Mapping[str, Parity], place: Place, target: Target) -> Evidence:
    """The statement that the golden outputs were reproduced."""
    return Evidence(
        about="engine" if place.itself else "graph",
        claim=f"Golden outputs reproduced by {place.how(target)}, worst output {worst(found)}",
        kind=place.evidence(target),
        tool=place.tool(target),
        machine=str(place.machine),
    )


def built_evidence(engine: Engine, place: Place) -> Evidence:
    """The statement that an engine was compiled."""
    return Evidence(
        about="engine",
        claim=f"{engine.path.name} was compiled for {engine.target.name}",
        kind="built",
        tool=place.compiler(engine.target),
        machine=str(place.builder),
    )


def directory_bytes(directory: Path) -> int:
    """Total size of the files in a directory."""
    return sum(file.stat().st_size for file in directory.rglob("*") if file.is_file())


def _explained(read: Coverage, left: Mapping[str, str]) -> Coverage:
    """Where the runtime gives no reason, the quantizer's own: it knows which nodes it left float."""
    return replace(read, left=tuple(replace(layer, reason=_reason(layer, left)) for layer in read.left))


def _reason(layer: Layer, left: Mapping[str, str]) -> str:
    own = [reason for node, reason in left.items() if node == layer.name or node in layer.name.split(",")]
    return own[0] if own else layer.reason

"""A decoder in one precision, made and proven."""

from __future__ import annotations

from dataclasses import dataclass

from ...backends.base import Engine, Graph
from ...profiles.device.precision import PrecisionName
from ...profiles.device.target import Target
from ...profiles.findings.evidence import Evidence
from ...profiles.findings.gap import Gap
from ...profiles.findings.language import Bits, Language, TextParity, TriedMethod
from ...profiles.findings.report import TaskMetric
from ..bundle.text_golden import TextGolden


@dataclass(frozen=True, slots=True, kw_only=True)
class Rounded:
    """What is known of weights before they are written.

    Attributes:
        digest: sha256 of every integer, scale and float that is written.
        bits: how each matrix is stored.
        tried: what was tried to lose less.
        calibration: the text that they were rounded for, a sentence; empty where none was read.
        text_digest: sha256 of its tokens; empty likewise.
    """

    digest: str
    bits: Bits
    tried: tuple[TriedMethod, ...] = ()
    calibration: str = ""
    text_digest: str = ""


@dataclass(frozen=True, slots=True, kw_only=True)
class TextCandidate:
    """One precision of a decoder.

    Attributes:
        engine: in a directory of its own; None where a device is to build it, and `not_built` says why.
        graph: what it is compiled from, `model.onnx` in a directory of its own; None where the engine was written.
        target: what it is for, as it is or will be compiled.
        size: bytes of the engine's directory.
        parity: with FP32 on held-out text.
        golden: what a device is held to.
        language: all that is known of it, with what was measured.
        task: the user's own metric; None where there is none.
    """

    precision: PrecisionName
    rounded: Rounded
    target: Target
    engine: Engine | None
    size: int | None
    parity: TextParity
    golden: TextGolden
    language: Language
    graph: Graph | None = None
    not_built: str = ""
    task: TaskMetric | None = None
    evidence: tuple[Evidence, ...] = ()
    missing: tuple[Gap, ...] = ()
    notes: tuple[str, ...] = ()

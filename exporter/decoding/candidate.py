"""A decoder in one precision, made and proven."""

from __future__ import annotations

from dataclasses import dataclass

from ...backends.base import Engine
from ...profiles.device.precision import PrecisionName
from ...profiles.findings.evidence import Evidence
from ...profiles.findings.gap import Gap
from ...profiles.findings.language import Bits, Language, TextParity, TriedMethod
from ..bundle.text_golden import TextGolden


@dataclass(frozen=True, slots=True, kw_only=True)
class Rounded:
    """What is known of weights before they are written.

    Attributes:
        digest: sha256 of every integer, scale and float that is written, in the order of the layers.
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
        engine: in a directory of its own; None where it is only written, for a device to compile.
        size: bytes of that directory.
        parity: with FP32 on held-out text.
        golden: what a device is held to.
        language: all that is known of it, with what was measured.
    """

    precision: PrecisionName
    rounded: Rounded
    engine: Engine
    size: int
    parity: TextParity
    golden: TextGolden
    language: Language
    evidence: tuple[Evidence, ...] = ()
    missing: tuple[Gap, ...] = ()
    notes: tuple[str, ...] = ()

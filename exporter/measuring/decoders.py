"""`edgepress profile` of a decoder."""

from __future__ import annotations

from collections.abc import Callable
from contextlib import AbstractContextManager

from ...backends.places.text_speed import TextTiming, time_text
from ...errors import InputError
from ...profiles.findings.language import Language
from ...profiles.findings.profile import Profile, Setup
from ...profiles.machine.environment import now
from ...profiles.timing.measure import MODES
from .scenarios import Tick
from .subject import Subject

_MISSING = {
    "single-stream": "a decoder's latency depends on its prompt; its speed is in tokens a second",
    "offline": "several texts at once were not measured",
    "energy": "it is not measured of a decoder",
}
_ELSEWHERE = "a profile measures speed; the bundle's report has what its text lost"
Step = Callable[[str], AbstractContextManager[Tick]]


def profile_decoder(subject: Subject, setup: Setup, mode: str, timeout: float, command: str, step: Step) -> Profile:
    """Measure; a crash on the way ends it, and what was measured before is kept and marked.

    Raises:
        EdgepressError: the engine does not open, or fails before there is a median.
    """
    with step("read and write") as tick:
        found = time_text(
            subject.engine,
            subject.prompts,
            setup.threads,
            name=subject.name,
            mode=mode,
            affinity=setup.affinity,
            timeout=timeout,
            tick=tick,
            host=subject.place.host,
            watch=subject.place.watch,
        )
    return Profile(
        measured=subject.measured,
        setup=setup,
        mode=mode,
        settings=MODES[mode],
        date=now(),
        command=command,
        size=subject.size(),
        cold_start=found.cold,
        memory=found.memory,
        before=found.before,
        after=found.after,
        disturbed=found.disturbed,
        unfinished=found.unfinished,
        language=_language(subject, found),
        missing=_MISSING,
    )


def _language(subject: Subject, found: TextTiming) -> Language:
    """What was measured, beside what the bundle reckoned of its files."""
    entry, report = subject.decoder, subject.report
    assert entry is not None
    known = None if report is None else report.language
    base = Language(
        context=entry.context,
        vocabulary=entry.vocabulary,
        memory=None if known is None else known.memory,
        device=None if known is None else known.device,
        missing={"parity": _ELSEWHERE},
    )
    return found.told_of(base)


def need_decoder_plan(*, scenarios: bool, batches: bool, streams: bool) -> None:
    """Refuse what has no meaning for a decoder, before anything runs.

    Raises:
        InputError: something of it was given.
    """
    given = [f"--{name}" for name, one in (("scenario", scenarios), ("batches", batches), ("streams", streams)) if one]
    if given:
        raise InputError(
            f"A decoder is measured in one way, one text at a time; {', '.join(given)} would change nothing.",
            hint=f"Leave out {' and '.join(given)}.",
        )

"""What the gate says of one target: verdicts on correctness, accuracy, size and latency, apart from each other."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from pathlib import Path

from ...errors import EdgepressError
from ...profiles.budget.figure import Figures
from ...profiles.budget.limits import Limit
from ...profiles.budget.verdict import Verdict, unlimited, verdicts
from ...profiles.findings.figures import of_profile, of_report
from ...profiles.findings.parity import worst
from ...profiles.findings.profile import Profile
from ...profiles.findings.report import Report
from ...profiles.machine.given import as_typed
from ..bundle.manifest import Bundle, LanguageEntry
from ..bundle.seal import load_report

# The figure that is told where nothing was asked of its kind.
USUAL = {"accuracy": "accuracy", "size": "size", "latency": "latency_p50"}
USUAL_OF_DECODER = {"perplexity": "perplexity_rise", "size": "size", "decode": "decode"}
# The stage of an export that a kind of verdict comes from.
STAGES = {"correctness": "verify", "accuracy": "evaluate", "size": "compile", "latency": "measure"}


@dataclass(frozen=True, slots=True, kw_only=True)
class Outcome:
    """One target, or one file that was checked.

    Attributes:
        name: of the target, or of the bundle.
        path: the bundle or the file; None where none was made.
        seconds: that each verdict took, by its name; what is not known is left out.
        failure: what ended the export of this target.
        skipped: why it was not reached.
    """

    name: str
    path: Path | None = None
    title: str = ""
    verdicts: tuple[Verdict, ...] = ()
    seconds: Mapping[str, float] = field(default_factory=dict)
    report: Report | None = None
    failure: EdgepressError | None = None
    skipped: str = ""

    @property
    def told(self) -> Path | None:
        """Its path as the user gave it."""
        return None if self.path is None else as_typed(self.path)


def of_bundle(name: str, bundle: Bundle, limits: Mapping[str, Limit]) -> Outcome:
    """The outcome of a bundle.

    Raises:
        InputError: its report cannot be read.
    """
    report = load_report(bundle.path)
    found = of_report(report)
    usual = USUAL if bundle.manifest.language is None else USUAL_OF_DECODER
    made = [_correctness(bundle, report), *_all(limits, found, usual)]
    stages = {one.what: report.stage_seconds.get(STAGES.get(kind(one.what), ""), 0.0) for one in made}
    first = {kind(one.what): one.what for one in reversed(made)}  # several limits of a kind share one measurement
    return Outcome(
        name=name,
        path=bundle.path,
        title=f"{report.model} for {report.target} ({report.precision}, {report.backend})",
        verdicts=tuple(made),
        seconds={what: taken for what, taken in stages.items() if first[kind(what)] == what},
        report=report,
    )


def of_measurement(name: str, path: Path, profile: Profile, limits: Mapping[str, Limit]) -> Outcome:
    """The outcome of a file that `edgepress profile --output` wrote."""
    return Outcome(
        name=name,
        path=path,
        title=f"{profile.measured.name} for {profile.measured.target}, measured {profile.date}",
        verdicts=tuple(_all(limits, of_profile(profile), USUAL if profile.language is None else USUAL_OF_DECODER)),
    )


def kind(what: str) -> str:
    """`latency` of `latency_p90`."""
    return what.partition("_")[0]


def _all(limits: Mapping[str, Limit], figures: Figures, usually: Mapping[str, str]) -> Iterator[Verdict]:
    """A verdict for each limit, and the usual figure of each kind that has none; kind by kind."""
    judged = {one.what: one for one in verdicts(limits, figures)}
    for topic, usual in usually.items():
        own = [one for what, one in judged.items() if kind(what) == topic]
        yield from own or [unlimited(usual, figures[usual])]
    yield from (one for what, one in judged.items() if kind(what) not in usually)


def _correctness(bundle: Bundle, report: Report) -> Verdict:
    """Outputs against the FP32 model's: an export that did not reach this left no bundle."""
    if bundle.manifest.language is not None:
        return _of_text(bundle.manifest.language, report)
    least = f"at least {bundle.manifest.minimum_sqnr_db:g} dB"
    found = report.parity.get("engine")
    if not found:
        why = report.why_no("run", "no outputs were compared").rstrip(".")
        return Verdict(what="correctness", limit=least, found=why, status="unmeasured")
    text = f"worst output {worst(found).weakest_db:.1f} dB of SQNR against FP32"
    reason = f"proven with {report.parity_how}"
    return Verdict(what="correctness", limit=least, found=text, status="met", reason=reason)


def _of_text(entry: LanguageEntry, report: Report) -> Verdict:
    """A decoder's predictions against those of FP32; its engine was held to the bound on golden text."""
    most = f"at most {entry.fp32_nats:.4f} nats a token on golden text"
    parity = None if report.language is None else report.language.parity
    if parity is None:
        why = "" if report.language is None else report.language.missing.get("parity", "")
        return Verdict(what="correctness", limit=most, found=why or "no text was compared", status="unmeasured")
    text = f"kept on golden text, and on real text {parity.kl:.4f} nats a token from FP32"
    return Verdict(what="correctness", limit=most, found=text, status="met", reason=f"proven with {parity.how}")

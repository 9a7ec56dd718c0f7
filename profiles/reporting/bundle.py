"""A bundle as one part of a page."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from itertools import cycle

from ..device.precision import GIVEN, SHIPPED, load_precision, precisions
from ..findings.ladder import Ladder
from ..findings.language import Language
from ..findings.report import Report, TaskMetric, megabytes, rows
from ..timing.measurement import Latency
from .accuracy import by_layer_blocks, parity_blocks, sensitivity_blocks
from .content import HUES, Block, Command, Hue, Part, Section, Sentences, Table
from .grounds import conditions_blocks, evidence_table, evidence_words, machine_table, strongest, tools_table
from .ladder import ladder_blocks
from .language import language_sections
from .latencies import TimedArm, latency_blocks
from .layers import coverage_blocks, files_table, layer_blocks
from .lineage import lineage_table, lineage_words
from .reportable import BundleFindings
from .text import code, sentence
from .trials import choice_blocks, search_blocks
from .verdicts import headline, overall, tiles

_OF_FP32: Hue = "second"  # nothing else takes it before all others are taken
_HUES: Mapping[str, Hue] = {SHIPPED: "first", "fp32": _OF_FP32, GIVEN: "quiet"}
ABSENT = "Nobody has measured this, so that there is nothing to draw. "


def bundle_part(found: BundleFindings) -> Part:
    """Everything that is known of a bundle, the verdict first."""
    report, judged = found.report, tiles(found.report)
    return Part(
        title=f"{report.model} for {report.target}",
        about=f"{report.target_title}; {report.precision} with {report.backend}; bundle {code(found.name)}",
        verdict=headline(report),
        status=overall(judged),
        tiles=judged,
        sections=tuple(_sections(found)),
    )


def _sections(found: BundleFindings) -> Iterator[Section]:
    report = found.report
    table = Table(
        title="FP32 and what is shipped", head=("", "FP32", "shipped"), rows=tuple(rows(report)), numbers=(1,)
    )
    yield Section(title="Before and after", blocks=(table,))
    if report.language is not None:
        yield from _of_decoder(found, report.language)
        return
    yield Section(title="Latency", blocks=tuple(_latency(found)))
    if tried := tuple(_tried(found)):
        yield Section(title="What was tried", blocks=tried)
    if report.ladder is not None:
        yield Section(title="The ladder", blocks=tuple(_ladder(report, report.ladder)))
    yield from _made_smaller(report)
    yield Section(title="Size and time by layer", blocks=tuple(_layers(report)))
    if load_precision(report.precision).integer or report.coverage is not None:
        yield Section(title="int8 coverage", blocks=tuple(_coverage(report)))
    yield Section(title="Parity and sensitivity", blocks=tuple(_accuracy(report)))
    yield from _grounds(report)


def _of_decoder(found: BundleFindings, language: Language) -> Iterator[Section]:
    """What there is to say of a decoder; it has neither latencies of inferences nor integer layers of its own."""
    report = found.report
    yield from language_sections(language)
    if found.search is not None:
        yield Section(title="What was tried", blocks=tuple(search_blocks(found.search)))
    if report.size is not None:
        yield Section(title="Files of the engine", blocks=(files_table(report.size, "weights"),))
    if report.task is not None:
        yield Section(title="The user's own metric", blocks=(_metric(report.task),))
    yield from _grounds(report)


def _grounds(report: Report) -> Iterator[Section]:
    yield Section(title="Evidence", blocks=(evidence_table(report.evidence), evidence_words(report.evidence)))
    if report.lineage:
        yield Section(title="Lineage", blocks=(lineage_table(report.lineage), lineage_words()))
    yield Section(title="Environment", blocks=tuple(_environment(report)))
    yield Section(title="How to reproduce", blocks=tuple(_again(report)))
    yield Section(title="What was not done", blocks=(_not_done(report),))


def arms(found: BundleFindings) -> tuple[TimedArm, ...]:
    """What was measured, what is shipped first; each in a colour of its own, as far as there are any."""
    latencies = found.report.latency
    own: Mapping[str, Hue] = {arm: hue for arm, hue in _HUES.items() if arm in latencies}
    spare = cycle(sorted(set(HUES) - set(own.values()), key=lambda hue: (hue == _OF_FP32, HUES.index(hue))))
    return tuple(
        TimedArm(
            name=_name(arm, found.report),
            group=own[arm] if arm in own else next(spare),
            latency=latency,
            samples=found.samples.get(arm),
        )
        for arm, latency in latencies.items()
    )


def _name(arm: str, report: Report) -> str:
    titles = {GIVEN: "PyTorch", **{precision.name: precision.title for precision in precisions()}}
    return f"shipped, {report.precision}" if arm == SHIPPED else titles.get(arm, arm)


def _latency(found: BundleFindings) -> Iterator[Block]:
    if not found.report.latency:
        yield Sentences(items=(ABSENT + found.report.why_no("latency"),), points=False)
        return
    yield from latency_blocks(arms(found))
    if not found.samples:
        yield Sentences(items=("The bundle does not keep the raw samples, so that nothing is drawn.",), points=False)
    items = (f"One inference of {found.report.latency_shape}, {found.report.threads} threads, arms measured in turn.",)
    yield Sentences(items=items, points=False)


def _tried(found: BundleFindings) -> Iterator[Block]:
    report = found.report
    if report.choice is not None:
        yield Sentences(items=(report.choice.because,), points=False)
        yield from choice_blocks(report.choice, _by_precision(report))
    if found.search is not None:
        yield from search_blocks(found.search)


def _ladder(report: Report, found: Ladder) -> Iterator[Block]:
    """The rungs of the precision that climbed, which may not be the one that ships."""
    latency, contenders = _by_precision(report), () if report.choice is None else report.choice.contenders
    precision = found.steps[0].arm.partition(" ")[0]
    floats = tuple(one for one in contenders if not load_precision(one.precision).integer)
    yield from ladder_blocks(found, latency, precision, floats)


def _by_precision(report: Report) -> dict[str, Latency]:
    return {report.precision if arm == SHIPPED else arm: latency for arm, latency in report.latency.items()}


def _made_smaller(report: Report) -> Iterator[Section]:
    for title, part in (("Pruning", report.pruning), ("2:4 sparsity", report.sparsity), ("Training", report.training)):
        if part is not None:
            yield Section(title=title, blocks=(Sentences(items=tuple(part.lines())),))


def _layers(report: Report) -> Iterator[Block]:
    device = strongest(report.evidence) == "measured"
    timed = "the runtime does not tell" if device else "the engine did not run on its device's architecture"
    yield from layer_blocks(report.size, report.layers, f"Time by layer was not measured: {timed}.")


def _coverage(report: Report) -> Iterator[Block]:
    why = report.why_no("coverage", "int8 coverage was not read.")
    yield from coverage_blocks(report.coverage, report.left_float, why)


def _accuracy(report: Report) -> Iterator[Block]:
    yield from parity_blocks(report.parity, report.parity_how)
    if report.by_layer is not None:
        yield from by_layer_blocks(report.by_layer)
    if report.sensitivity is not None:
        yield from sensitivity_blocks(report.sensitivity)
    elif load_precision(report.precision).integer:
        text = "What each layer does alone was not examined, as nothing was asked of int8: `--max-drop`, `--min-sqnr`."
        yield Sentences(items=(text,), points=False)
    if report.task is not None:
        yield _metric(report.task)


def _metric(task: TaskMetric) -> Table:
    row = (f"{task.before:.4f}", f"{task.after:.4f}", f"{task.after - task.before:+.4f}", task.how)
    head = ("FP32", "shipped", "change", "run as")
    return Table(title="The user's own metric", head=head, rows=(row,), numbers=(0, 1, 2))


def _environment(report: Report) -> Iterator[Block]:
    more = {"date": report.date, "peak memory of the export": megabytes(report.peak_memory)}
    if report.threads:
        more["threads"] = str(report.threads)
    yield machine_table(report.machine, more)
    yield from conditions_blocks(report.before, report.after)
    yield tools_table(report.tools)


def _again(report: Report) -> Iterator[Block]:
    yield Command(text=report.command)
    seconds = tuple((stage, f"{s:.1f} s") for stage, s in report.stage_seconds.items() if s >= 0.05)
    if seconds:
        yield Table(title="Time that each stage took", head=("stage", "time"), rows=seconds, numbers=(1,))
    if report.notes:
        yield Sentences(items=report.notes)


def _not_done(report: Report) -> Sentences:
    said = tuple(sentence(gap.why) for gap in report.missing)
    claims = [one.claim for one in report.evidence if one.kind == "absent"]
    items = (*said, *(sentence(claim) for claim in claims if not any(claim in text for text in said)))
    return Sentences(items=items or ("Nothing that was asked for was left out.",), points=bool(items))

"""The verdict on a bundle: correctness, accuracy, size and latency, each by itself."""

from __future__ import annotations

from collections.abc import Iterator

from ..budget.verdict import Verdict
from ..device.precision import SHIPPED, load_precision
from ..findings.language import Language
from ..findings.parity import worst
from ..findings.report import Report, latency_text, megabytes
from .content import Tile, Tone
from .grounds import strongest
from .language import memory_tile, speed_tile, text_tile
from .text import code, decibels

# How the status of a limit looks, and what it is called.
LOOKS: dict[str, tuple[Tone, str]] = {
    "met": ("good", "within the limit"),
    "missed": ("bad", "over the limit"),
    "undecided": ("open", "undecided"),
    "unstable": ("open", "unstable"),
    "unmeasured": ("absent", "not checked"),
    "unlimited": ("plain", "no limit asked"),
}
_TEXT = ("perplexity", "accuracy", "drop")
_SPEED = ("decode", "prefill", "first_token", "latency", "speedup")
_ORDER: tuple[Tone, ...] = ("bad", "open", "absent", "plain", "good")


def tiles(report: Report) -> tuple[Tile, ...]:
    """Four verdicts, of a decoder five; none hides behind another."""
    if report.language is not None:
        return _of_decoder(report, report.language)
    return (_correctness(report), _accuracy(report), _size(report), _latency(report))


def _of_decoder(report: Report, found: Language) -> tuple[Tile, ...]:
    """Text stands for correctness, and speed for latency; a metric of the user's own is told beside them."""
    why = found.missing
    asked = _TEXT if report.task is None else _TEXT[:1]
    text = _judged(text_tile(found.parity, why.get("parity", "")), tuple(_limits(report, *asked)))
    speed = speed_tile(found.speed, found.bandwidth, why.get("speed", ""))
    memory = _judged(memory_tile(found.memory), tuple(_limits(report, "memory")))
    own = () if report.task is None else (_accuracy(report),)
    return (text, *own, _size(report), _judged(speed, tuple(_limits(report, *_SPEED))), memory)


def overall(found: tuple[Tile, ...]) -> Tone:
    """The status that most needs looking at; a limit that nobody asked for does not count."""
    asked: set[Tone] = {tile.status for tile in found if tile.status != "plain"} or {"good"}
    return next(status for status in _ORDER if status in asked)


def headline(report: Report) -> str:
    """What is shipped and why, one sentence or a few."""
    missed = [verdict.what for verdict in report.budget if verdict.status == "missed"]
    over = f" The budget is missed: {', '.join(missed)}." if missed else ""
    because = report.choice.because if report.choice is not None else "there was nothing to choose from."
    doubt = " No steady state was reached: take latencies as an order of magnitude." if not report.steady else ""
    if report.language is not None:
        return f"{_writes(report.language)}{over}"
    return f"{report.precision} is shipped{': ' if because[:1].islower() else '. '}{because}{doubt}{over}"


def _writes(found: Language) -> str:
    """What it writes, how fast, and what that cost, a sentence."""
    bits = f" with {found.bits.mean:.1f} bits a weight" if found.bits is not None else ""
    lost = f" The perplexity goes from {found.parity.said}." if found.parity is not None else ""
    if found.speed is None:
        return f"It writes text{bits}; how fast was not measured.{lost}"
    one = found.speed.depths[0]
    doubt = " No steady state was reached: take speeds as an order of magnitude." if found.speed.unsteady else ""
    return f"It writes {one.decode.value:,.0f} tokens a second behind {one.depth:,} others{bits}.{lost}{doubt}"


def _correctness(report: Report) -> Tile:
    found = report.parity.get("engine", {})
    if not found:
        return Tile(topic="Correctness", status="absent", label="not checked", found="no outputs compared")
    status: Tone = "good" if strongest(report.evidence) == "measured" else "open"
    least = worst(found)
    figure = "outputs equal" if least.weakest_db == float("inf") else f"{decibels(least.weakest_db)} SQNR"
    scores = "" if least.argmax is None else f"argmax agreement {least.argmax:.1%}, "
    agreement = f"{scores}largest difference {least.max_abs:.3g}"
    return Tile(
        topic="Correctness",
        status=status,
        label="measured" if status == "good" else "emulated",
        found=figure,
        details=(f"golden outputs against FP32, by {report.parity_how}", agreement),
    )


def _accuracy(report: Report) -> Tile:
    limits = tuple(_limits(report, "accuracy", "drop"))
    if report.task is None:
        why = report.why_no("task", "the model file has no evaluate()")
        return _judged(
            Tile(topic="Accuracy", status="absent", label="not measured", found="no metric", details=(why,)), limits
        )
    task = report.task
    details = (f"FP32 {task.before:.4f}, {_change(task.after - task.before)}", f"by {task.how}")
    return _judged(
        Tile(topic="Accuracy", status="plain", label="no limit asked", found=f"{task.after:.4f}", details=details),
        limits,
    )


def _size(report: Report) -> Tile:
    sizes, limits = report.sizes, tuple(_limits(report, "size"))
    if sizes.engine is None:
        details = (f"weights of the graph {megabytes(sizes.weights)}, FP32 {megabytes(sizes.weights_fp32)}",)
        return _judged(
            Tile(topic="Size", status="absent", label="not built here", found="no engine yet", details=details), limits
        )
    before = (
        ""
        if sizes.engine_fp32 is None
        else f"FP32 {megabytes(sizes.engine_fp32)}, {_share(sizes.engine, sizes.engine_fp32)}"
    )
    weights = f"weights {megabytes(sizes.weights)}, FP32 {megabytes(sizes.weights_fp32)}"
    told = tuple(text for text in (before, weights) if text)
    return _judged(
        Tile(topic="Size", status="plain", label="no limit asked", found=megabytes(sizes.engine), details=told),
        limits,
    )


def _latency(report: Report) -> Tile:
    limits = tuple(_limits(report, "latency", "speedup"))
    if SHIPPED not in report.latency:
        why = report.why_no("latency", "Latency was not measured.")
        return _judged(
            Tile(topic="Latency", status="absent", label="not measured", found="no figure", details=(why,)), limits
        )
    found = report.latency[SHIPPED]
    ratio = (
        "" if report.faster is None or load_precision(report.precision).exact else f"{report.faster} as fast as FP32"
    )
    shape = f"median, 95 % interval; {report.latency_shape}"
    tile = Tile(
        topic="Latency",
        status="plain" if found.stable else "open",
        label="no limit asked" if found.stable else "unstable",
        found=latency_text(found, 50),
        details=tuple(text for text in (ratio, shape) if text),
    )
    return _judged(tile, limits)


def _limits(report: Report, *topics: str) -> Iterator[Verdict]:
    return (verdict for verdict in report.budget if verdict.what.startswith(topics))


def _judged(tile: Tile, limits: tuple[Verdict, ...]) -> Tile:
    """The tile with the verdicts of the budget, the worst of which it looks like."""
    if not limits:
        return tile
    looks = [LOOKS.get(verdict.status, ("open", str(verdict.status))) for verdict in limits]
    status, label = min(looks, key=lambda look: _ORDER.index(look[0]))
    said = tuple(f"{code(verdict.what)}: {verdict.said}" for verdict in limits)
    return Tile(topic=tile.topic, status=status, label=label, found=tile.found, details=(*said, *tile.details))


def _change(difference: float) -> str:
    return f"a change of {difference:+.4f}" if abs(difference) >= 0.00005 else "no change"


def _share(after: int, before: int) -> str:
    return f"{before / after:.1f}x smaller" if after < before else f"{after / before:.2f}x as large"

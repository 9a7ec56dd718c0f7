"""What a search found, to look at: the Pareto table and the Pareto plot."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

from rich.markup import escape
from rich.table import Table

from ...profiles.budget.budget import Budget
from ...profiles.findings.point import in_words
from ...profiles.findings.report import megabytes
from .result import Result

FORMATS = ("svg", "png")
# What a latency is in here; see `result.levelled`.
LEVEL = "ratio to FP32, bars: 95 % interval, times FP32's median over all trials"


def table(title: str, results: Sequence[Result], chosen: Result | None = None) -> Table:
    """One row a point; the chosen one is marked."""
    timed = any(result.latency for result in results)
    scored = any(result.metric is not None for result in results)
    shown = Table(title=title, title_justify="left")
    writes = any(result.perplexity is not None for result in results)
    quality = "metric" if scored else "perplexity" if writes else "SQNR"
    timing = ("ms a token" if writes else "ms, p50", "vs FP32") if timed else ()
    for heading in ("", "point", *timing, "size", quality):
        shown.add_column(heading, justify="left" if heading in ("", "point") else "right")
    if any(result.early for result in results):
        shown.add_column("given up because")
    for result in results:
        figures = _figures(result, timed=timed, scored=scored)
        shown.add_row("*" if result is chosen else "", *map(escape, (in_words(result.point), *figures)))
    return shown


def plot(
    path: Path, title: str, results: Sequence[Result], best: Sequence[Result], chosen: Result | None, budget: Budget
) -> list[Path]:
    """Latency x size, coloured by quality, with the limits as lines; files of FORMATS beside `path`'s stem.

    Where nothing was timed, quality takes the axis of latency.
    """
    from matplotlib.figure import Figure

    timed = all(result.latency for result in results)
    figure = Figure(figsize=(8, 5.5), layout="constrained")
    axes = figure.add_subplot()
    scale, unit = _scale(results)
    across, up = [_across(r, timed) for r in results], [_size(r) / scale for r in results]
    quality = [_quality(r) for r in results]
    least = min(*quality, max(quality) - 0.01 * abs(max(quality)))  # one colour needs a span as well
    dots = axes.scatter(across, up, c=quality, vmin=least, vmax=max(quality), s=36, zorder=3)
    if timed:
        figure.colorbar(dots, ax=axes, label=_quality_name(results))
    _mark(axes, best, chosen, timed=timed, scale=scale)
    _limits(axes, budget, timed=timed, scale=scale)
    axes.set_xlabel(f"median latency, ms ({LEVEL})" if timed else _quality_name(results))
    axes.set_ylabel(f"size of the engine, {unit}")
    axes.set_title(title)
    axes.grid(alpha=0.3)
    # Below the axes, where no point can be.
    figure.legend(loc="outside lower center", ncols=2, fontsize="small", frameon=False)
    files = [path.with_suffix(f".{kind}") for kind in FORMATS]
    for file in files:
        figure.savefig(file, dpi=150, metadata={"Date": None} if file.suffix == ".svg" else None)
    return files


def _mark(axes: Any, best: Sequence[Result], chosen: Result | None, *, timed: bool, scale: float) -> None:
    """The front as a line with whiskers, the chosen point as a ring."""
    ordered = sorted(best, key=lambda r: _across(r, timed))
    across, up = [_across(r, timed) for r in ordered], [_size(r) / scale for r in ordered]
    if timed:
        reach = [[abs(_across(r, timed) - _interval(r)[side]) for r in ordered] for side in (0, 1)]
        axes.errorbar(across, up, xerr=reach, fmt="none", ecolor="0.6", elinewidth=1, zorder=1)
    axes.scatter(across, up, s=90, facecolors="none", edgecolors="0.3", linewidths=1, zorder=2, label="Pareto front")
    if chosen is not None:
        spot, label = ([_across(chosen, timed)], [_size(chosen) / scale]), f"chosen: {in_words(chosen.point)}"
        axes.scatter(*spot, s=220, facecolors="none", edgecolors="tab:red", linewidths=2, zorder=4, label=label)


def _limits(axes: Any, budget: Budget, *, timed: bool, scale: float) -> None:
    for limit in budget.latencies if timed else ():
        axes.axvline(limit.ms, color="tab:red", linestyle="--", linewidth=1, label=f"limit {limit}")
    if budget.size is not None:
        axes.axhline(
            budget.size.bytes / scale, color="tab:red", linestyle=":", linewidth=1, label=f"limit {budget.size}"
        )


def _figures(result: Result, *, timed: bool, scored: bool) -> list[str]:
    cells = []
    if timed:
        cells += [str(result.latency[50]) if result.latency else "", str(result.faster or "")]
    cells.append("" if result.size is None else megabytes(result.size))
    if scored:
        cells.append("" if result.metric is None else f"{result.metric:.4f}")
    elif result.perplexity is not None and result.before is not None:
        cells.append(f"{result.perplexity:.2f} ({result.perplexity / result.before - 1:+.1%})")
    else:
        cells.append("" if result.sqnr_db is None else f"{result.sqnr_db:.1f} dB")
    return [*cells, result.early] if result.early else cells


def _scale(results: Sequence[Result]) -> tuple[float, str]:
    return (1e6, "MB") if max(_size(r) for r in results) >= 1e6 else (1e3, "kB")


def _size(result: Result) -> float:
    assert result.size is not None
    return float(result.size)


def _interval(result: Result) -> tuple[float, float]:
    assert result.latency is not None
    return result.latency[50].low, result.latency[50].high


def _across(result: Result, timed: bool) -> float:
    return result.latency[50].value if timed and result.latency else _quality(result)


def _quality(result: Result) -> float:
    if result.metric is None and result.perplexity is not None:
        return -result.perplexity
    return result.metric if result.metric is not None else result.sqnr_db or 0.0


def _quality_name(results: Sequence[Result]) -> str:
    if any(r.metric is not None for r in results):
        return "task metric"
    return "minus the perplexity" if any(r.perplexity for r in results) else "SQNR against FP32, dB"

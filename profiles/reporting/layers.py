"""Size and time by layer, and which layers run in integers."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence

from ..findings.layers import Coverage, Layer
from ..findings.profile import SizeSplit
from ..findings.report import megabytes
from .content import Bar, Bars, Block, Hue, Sentences, Table
from .text import code, counted, microseconds

# The most of them that are shown; what the others come to is said.
SHOWN = 12
LISTED = 40


def layer_blocks(size: SizeSplit | None, layers: Sequence[Layer], untimed: str) -> Iterator[Block]:
    """Bytes by layer and file, and times by layer.

    Args:
        untimed: why there are no times, a sentence.
    """
    if size is not None:
        yield files_table(size)
        if size.layers:
            yield _sizes(size)
    timed = [layer for layer in layers if layer.microseconds is not None]
    if sum(layer.microseconds or 0.0 for layer in timed):
        yield _times(timed)
        yield _timetable(timed)
    else:
        yield Sentences(items=(untimed,), points=False)


def files_table(size: SizeSplit, weights: str = "weights in the graph it is compiled from") -> Table:
    """Bytes of each file of the engine, and of the weights, as they are called."""
    rows = [(code(name), megabytes(held)) for name, held in size.files.items()]
    if rows:
        rows.append(("all files of the engine", megabytes(size.total)))
    rows.append((weights, megabytes(size.weights)))
    return Table(title="Bytes on disk", head=("", "size"), rows=tuple(rows), numbers=(1,))


def _sizes(size: SizeSplit) -> Bars:
    ordered = sorted(size.layers.items(), key=lambda layer: -layer[1])
    rest = ordered[SHOWN:]
    bars = [Bar(name=name, value=held, text=megabytes(held)) for name, held in ordered[:SHOWN]]
    if rest:
        total = sum(held for _, held in rest)
        bars.append(Bar(name=f"{counted(len(rest), 'other layer')}", value=total, text=megabytes(total), group="quiet"))
    return Bars(
        title="Weights by layer",
        says=f"{counted(len(size.layers), 'layer')} have weights. The largest is {ordered[0][0]} "
        f"with {megabytes(ordered[0][1])} of {megabytes(size.weights)}.",
        bars=tuple(bars),
    )


def _times(timed: Sequence[Layer]) -> Bars:
    ordered = sorted(timed, key=_time, reverse=True)
    total, rest = sum(map(_time, timed)), ordered[SHOWN:]
    bars = [Bar(name=o.name, value=_time(o), text=_spent(_time(o), total), group=_group(o)) for o in ordered[:SHOWN]]
    if rest:
        spent = sum(map(_time, rest))
        name = counted(len(rest), "other layer")
        bars.append(Bar(name=name, value=spent, text=_spent(spent, total), group="quiet"))
    names: Mapping[Hue, str] = {
        "first": "products of integers",
        "second": "products of floats",
        "third": "anything else",
    }
    used = {bar.group for bar in bars}
    return Bars(
        title="Time by layer",
        says=f"As the runtime tells, with its own profiling switched on, which slows it down: {microseconds(total)} in "
        f"all, the most in {ordered[0].name} ({_spent(_time(ordered[0]), total)}).",
        bars=tuple(bars),
        legend={group: text for group, text in names.items() if group in used},
    )


def _timetable(timed: Sequence[Layer]) -> Table:
    total = sum(map(_time, timed))
    ordered = sorted(timed, key=_time, reverse=True)
    rows = [
        (code(o.name), o.operator, code(o.kernel) if o.kernel else "not told", _kind(o), microseconds(_time(o)),
         f"{_time(o) / total:.1%}") for o in ordered[:LISTED]
    ]  # fmt: skip
    if rest := ordered[LISTED:]:
        spent = sum(map(_time, rest))
        rows.append((counted(len(rest), "other layer"), "", "", "", microseconds(spent), f"{spent / total:.1%}"))
    head = ("layer", "operator", "kernel", "", "time", "share")
    return Table(title="Time and kernel by layer, the slowest first", head=head, rows=tuple(rows), numbers=(4, 5))


def _spent(time: float, total: float) -> str:
    return f"{microseconds(time)}, {time / total:.0%}"


def _time(layer: Layer) -> float:
    return layer.microseconds or 0.0


def _group(layer: Layer) -> Hue:
    return "third" if not layer.compute else "first" if layer.integer else "second"


def _kind(layer: Layer) -> str:
    return "no product" if not layer.compute else "integer" if layer.integer else "float"


def coverage_blocks(found: Coverage | None, left: Mapping[str, str], why_not: str) -> Iterator[Block]:
    """How many layers run integer kernels, and the others with the reason.

    Args:
        left: why the quantizer left a node float, by name.
        why_not: why the coverage is not known, a sentence.
    """
    if found is None:
        yield Sentences(items=(why_not,), points=False)
        if left:
            rows = tuple((code(name), reason) for name, reason in left.items())
            yield Table(title="Left in float by the quantizer", head=("layer", "why"), rows=rows)
        return
    yield Bars(
        title="Layers that multiply, by kernel",
        says=f"{found} of the convolutions, matrix products and GEMMs run integer kernels, as read from the runtime.",
        bars=(
            Bar(name="integer kernels", value=found.integer, text=str(found.integer)),
            Bar(name="float kernels", value=len(found.left), text=str(len(found.left)), group="second"),
        ),
    )
    if found.left:
        layers = tuple((code(o.name), o.operator, o.reason or "the runtime does not tell why") for o in found.left)
        yield Table(title="Layers that do not run in int8", head=("layer", "operator", "why"), rows=layers)
    else:
        yield Sentences(items=("No layer was left out.",), points=False)

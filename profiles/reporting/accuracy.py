"""How close the outputs are, and what int8 does to which layer."""

from __future__ import annotations

from collections.abc import Iterator, Mapping

from ..findings.parity import Parity
from ..findings.sensitivity import LayerNoise, ParityByLayer, Sensitivity, Trial
from .content import Bar, Bars, Block, Sentences, Table
from .text import code, counted, decibels

DRAWN = 30  # layers of a plot
STAGES = {"capture": "captured graph, against the model", "engine": "what is shipped, against FP32"}


def parity_blocks(found: Mapping[str, Mapping[str, Parity]], how: str) -> Iterator[Block]:
    """One row for each comparison and output."""
    rows = tuple(
        row
        for stage, outputs in found.items()
        for name, one in outputs.items()
        for row in _parity_rows(STAGES.get(stage, stage), name, one)
    )
    if not rows:
        yield Sentences(items=("No outputs were compared.",), points=False)
        return
    head = ("compared", "output", "SQNR", "largest difference", "cosine", "argmax agreement")
    yield Table(title="Parity by output, on synthetic golden inputs", head=head, rows=rows, numbers=(2, 3, 4, 5))
    if how:
        yield Sentences(items=(f"What is shipped was run as: {how}.",), points=False)


def _parity_rows(stage: str, name: str, one: Parity) -> Iterator[tuple[str, ...]]:
    """The whole output, then its channels by scale."""
    argmax = "" if one.argmax is None else f"{one.argmax:.1%}"
    yield stage, code(name), decibels(one.sqnr_db), f"{one.max_abs:.3g}", f"{one.cosine:.5f}", argmax
    for group in one.groups:
        yield stage, f"{code(name)}, {group}", decibels(group.sqnr_db), "", "", ""


def by_layer_blocks(found: ParityByLayer) -> Iterator[Block]:
    """Parity along the graph, first layer first."""
    worst = min(found.layers, key=lambda layer: layer.sqnr_db, default=None)
    if worst is None or worst.sqnr_db == float("inf"):
        return
    shown = found.layers if len(found.layers) <= DRAWN else sorted(found.layers, key=lambda o: o.sqnr_db)[:DRAWN]
    order = "in the order of the graph" if shown is found.layers else f"the worst {DRAWN}"
    finite = [layer for layer in shown if layer.sqnr_db != float("inf")]
    yield Bars(
        title="Parity by layer",
        says=f"SQNR of each layer's output in the int8 graph against FP32, with all before it rounded too, {order}; on "
        f"{counted(found.samples, 'sample')}. Longer is closer. The farthest is {worst.layer} with "
        f"{decibels(worst.sqnr_db)}.",
        bars=tuple(Bar(name=o.layer, value=max(0.0, o.sqnr_db), text=decibels(o.sqnr_db)) for o in finite),
    )


def sensitivity_blocks(found: Sensitivity) -> Iterator[Block]:
    """The ranking of the layers, and the search along it."""
    yield Bars(
        title="Noise by layer",
        says=f"Share of the noise that each layer, alone in int8, adds to the model's worst output; "
        f"{found.elsewhere:.1%} comes from what belongs to no layer, sums and pools between them.",
        bars=tuple(_bar(layer) for layer in found.layers),
        legend={"first": "int8", "second": "left in float"} if found.left else {},
    )
    rows = tuple(_row(layer) for layer in found.layers)
    head = ("layer", "operator", "worse tensor", "own output", "model's output", "share of noise", "why", "shipped as")
    yield Table(title="Parity of each layer alone in int8", head=head, rows=rows, numbers=(3, 4, 5))
    samples, runs = counted(found.samples, "calibration sample"), counted(found.probes, "run")
    yield Sentences(items=(f"SQNR on {samples}, {runs} of them. Required: {found.required}.",), points=False)
    trials = tuple(_trial(t) for t in found.trials)
    if trials:
        columns = ("layers in float", "SQNR predicted", "SQNR found", "on others at least", "metric", "")
        yield Table(title="Evaluations", head=columns, rows=trials, numbers=(1, 2, 3, 4))


def _bar(layer: LayerNoise) -> Bar:
    text = f"{layer.share:.1%}, {decibels(layer.output_db)}"
    return Bar(name=layer.layer, value=layer.share, text=text, group="second" if layer.left else "first")


def _row(layer: LayerNoise) -> tuple[str, ...]:
    figures = (decibels(layer.own_db), decibels(layer.output_db), f"{layer.share:.1%}")
    kept = "float" if layer.left else "int8"
    return (code(layer.layer), layer.operator, layer.tensor, *figures, layer.why, kept)


def _trial(trial: Trial) -> tuple[str, ...]:
    figures = (trial.predicted_db, trial.sqnr_db, trial.assured_db)
    metric = "" if trial.metric is None else f"{trial.metric:.4f}"
    said = "holds" if trial.holds else "does not hold"
    return (str(trial.left), *("" if figure is None else decibels(figure) for figure in figures), metric, said)

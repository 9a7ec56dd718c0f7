"""Lower the captured graph to the precision that is shipped."""

from __future__ import annotations

import shutil
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

from ...backends.base import Feed, Graph
from ...calibration.feeds import samples_in
from ...calibration.statistics import Statistics
from ...errors import InputError, VerificationError
from ...profiles.device.target import Precision, Scheme
from ..draft import Draft
from ..graphs.files import read_graph
from ..progress import Advance, counted
from ..pruning.sparse import found_sparsity
from ..quantization.gains import worthwhile
from ..quantization.gather import calibration_feeds, gather
from ..quantization.mixed_int8 import MixedPrecision
from ..quantization.placement import Placement
from ..quantization.quantizer import Quantizer
from ..quantization.rewrites.to_float16 import to_float16

# Enough samples to tell which lift helps; each is run once for every lift. Not a number of batches, so that the batch
# size decides nothing.
JUDGING_SAMPLES = 32


class NothingToQuantizeError(InputError):
    """The model has nothing that can be int8."""


def run(draft: Draft, advance: Advance) -> Draft:
    """Write `model.onnx`, in the draft's precision, into the bundle.

    Raises:
        VerificationError: 2:4 weights were asked for, and the graph has none.
    """
    if draft.precision == "int8":
        draft = _int8(draft, advance)
    else:
        draft = replace(draft, graph=copied(float_graph(draft, draft.precision), draft.directory))
    assert draft.graph is not None
    return replace(draft, sparsity=found_sparsity(draft.graph.path)) if draft.recipe.sparse else draft


def copied(graph: Graph, directory: Path) -> Graph:
    """The graph with its external data, in another directory."""
    for file in graph.path.parent.glob(f"{graph.path.name}*"):
        shutil.copyfile(file, directory / file.name)
    return replace(graph, path=directory / graph.path.name)


def float_graph(draft: Draft, precision: Precision) -> Graph:
    """The captured graph in a float precision, `model.onnx` in some directory; made once.

    bf16 is a choice of the runtime: its graph is the FP32 one. In fp16, inputs and outputs keep their types.
    """
    reference = _reference(draft)
    if precision != "fp16":
        return reference
    path = draft.scratch / precision / "model.onnx"
    if not path.exists():
        path.parent.mkdir()
        to_float16(reference.path, path)
    return read_graph(path, reference.axes)


def _int8(draft: Draft, advance: Advance) -> Draft:
    """Explicit Q/DQ in the target's scheme, ranges from the calibration data, with the lifts that pay."""
    reference, scheme, recipe = _reference(draft), draft.target.scheme, draft.recipe
    assert scheme is not None  # choose_precision gave int8, and a target has int8 only with a scheme
    quantizer = Quantizer.of(reference, scheme, recipe.exclude, recipe.ranges)
    if not quantizer.placement.weights:
        raise NothingToQuantizeError(
            f"Nothing in {draft.source.name!r} can be int8: {_why_nothing(quantizer.placement)}.",
            hint="Export with --precision fp32, or look at --exclude.",
        )
    statistics = gather(draft.source, reference, quantizer, recipe, counted(advance))
    advance(None, "lifts")
    feeds, kind = _judges(draft)
    gains = worthwhile(reference, draft.target, recipe, statistics, feeds, kind, draft.scratch)
    made = MixedPrecision(draft=draft, statistics=statistics, lifts=gains.lifts, feeds=feeds, advance=advance)
    found = made.search(gains.sqnr_db)
    left = () if found is None else found.left
    _judge(gains.sqnr_db if found is None else found.reached_db, gains.samples, recipe.least_sqnr_db("int8"))
    graph, kept = made.write(left, draft.directory / "model.onnx")
    return replace(
        draft,
        graph=graph,
        left=kept,
        sensitivity=found,
        by_layer=made.by_layer(left),
        notes=(*draft.notes, _origin(statistics, scheme), *gains.sentences),
    )


def _judge(sqnr_db: float, samples: str, least_db: float) -> None:
    if sqnr_db < least_db:
        raise VerificationError(
            f"int8 collapses: {sqnr_db:.1f} dB of SQNR against FP32 on {samples}, {least_db:g} dB needed.",
            hint="Give more calibration data, leave layers in float with --exclude, or lower --min-sqnr.",
        )


def _judges(draft: Draft) -> tuple[list[Feed], str]:
    """Batches on which lifts are judged: the first calibration data, or golden ones where there are only statistics."""
    assert draft.golden is not None
    if draft.recipe.statistics is not None:
        return list(draft.golden.feeds), "synthetic samples"
    feeds = calibration_feeds(draft.source, draft.recipe.calibration, _reference(draft))
    return _first(feeds(), JUDGING_SAMPLES), "calibration samples"


def _first(feeds: Iterator[Feed], samples: int) -> list[Feed]:
    """Whole batches until there are this many samples."""
    taken: list[Feed] = []
    for feed in feeds:
        taken.append(feed)
        if sum(samples_in(batch) for batch in taken) >= samples:
            break
    return taken


def _origin(statistics: Statistics, scheme: Scheme) -> str:
    enough = ", which were enough: the ranges had settled" if statistics.converged else ""
    return f"Calibrated on {statistics.samples} samples{enough}. Scheme {scheme.name}."


def _why_nothing(placement: Placement) -> str:
    reasons = sorted(set(placement.left.values()))
    return "; ".join(reasons) if reasons else "it has no convolution, matrix product or GEMM"


def _reference(draft: Draft) -> Graph:
    assert draft.reference is not None
    return draft.reference

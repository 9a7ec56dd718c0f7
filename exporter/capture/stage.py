"""Capture the model as the FP32 reference graph, prove it, and record golden outputs."""

from __future__ import annotations

import contextlib
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from ...backends.base import AxisRange, Feed, Graph, Rejection, Session
from ...backends.places import Local, Reference, Worker
from ...backends.places.remote import EngineFailedError
from ...calibration.feeds import first_batches
from ...calibration.storage import load_statistics
from ...errors import EdgepressError, InputError, RefusedError, VerificationError
from ...profiles.device.target import Target
from ...profiles.findings.gap import Gap, joined
from ...profiles.findings.parity import Parity
from ...profiles.machine.environment import this_machine
from ..graphs.selection import selected_rows
from ..graphs.synthesis import synthesize
from ..progress import Advance
from ..recipe import Recipe
from ..sources import Source
from ..sources.data import real_feeds
from ..workshop import Workshop
from .amounts import amounts, with_amounts
from .capture import capture
from .captured import Captured
from .float32_margin import float32_margin
from .from_torch.torch_to_onnx import may_trace
from .golden import Golden
from .oddities import oddities
from .of_statistics import of_statistics
from .on_samples import MADE_UP, PROVEN_ON, OnSamples, on_samples_evidence, proven_on_samples
from .proof import ModelFailsError, Origin, prove_capture
from .resized_as import resize_evidence
from .samples_apart import with_samples
from .state import NoGraphError
from .uneven_sizes import at_uneven_sizes

QUANTIZED = frozenset(
    {"QuantizeLinear", "DequantizeLinear", "QLinearConv", "QLinearMatMul", "ConvInteger", "MatMulInteger"}
)
# Integer operators that onnxruntime adds to ONNX: QLinearAdd, QGemm, QAttention, DynamicQuantizeLSTM, MatMulNBits, ...
CONTRIBUTED = (
    "QLinear",
    "QGemm",
    "QAttention",
    "QEmbed",
    "QMoE",
    "DynamicQuantize",
    "MatMulInteger",
    "MatMulNBits",
    "MatMulBnb4",
    "GatherBlockQuantized",
    "QOrdered",
    "DequantizeWithOrder",
    "QuantizeWithOrder",
)
_REPLACE = "Replace the operator in the model, or choose a target that has it."
_REPLACE_FOR_ALL = "Replace the operator in the model: without it no target's graph can be proven."
_HALF = (
    "The model itself computes in bfloat16 there, by torch.autocast or a cast in forward. Take that out, and give the "
    "weights in float32: the target decides in what precision a model runs."
)
_DOUBLES = (
    "The program takes double precision and computes in it. Call .float() on the module, and give float32 inputs, "
    "before torch.export.export."
)
# Feeds of the usual size beside the single inference: enough for a stable SQNR, small enough to ship.
USUAL_FEEDS = 3
Axes = Mapping[str, AxisRange]


def run(
    *, source: Source, target: Target, recipe: Recipe, axes: Axes, workshop: Workshop, advance: Advance
) -> dict[str, Any]:
    """Capture at the target's opset, once for all targets that share it.

    Returns:
        `captured` and `missing`.

    Raises:
        InputError: the model cannot be exported, or is quantized already.
        VerificationError: the graph does not compute what the model does.
    """
    key = captured_key(source, target)
    made = workshop.memo.once("captured", key, lambda: _captured(source, target, recipe, axes, workshop, advance))
    narrow = workshop.memo.once("margin", key, lambda: float32_margin(source, made.graph, made.parity, recipe.seed))
    real = () if made.on_samples is None else made.on_samples.missing
    return {"captured": made, "missing": joined(oddities(source, made.golden), narrow, real, made.missing)}


def _captured(
    source: Source, target: Target, recipe: Recipe, axes: Axes, workshop: Workshop, advance: Advance
) -> Captured:
    apart = "" if moves_bytes(source, target) else "-cast"
    directory = workshop.memo.directory / f"opset{target.opset}-{source.digest[:16]}{apart}"
    directory.mkdir()
    made = _proven_by_either(directory, source, target, recipe, axes, workshop, advance)
    graph, on_samples = made.graph, made.on_samples
    advance(None, "golden outputs")
    counted = amounts(graph.path)
    golden = _golden(source, graph, axes, recipe.seed, target, workshop, counted)
    seen = resize_evidence(graph, golden.feeds[0], str(this_machine()))
    if on_samples is not None:
        seen = (on_samples_evidence(on_samples, str(this_machine())), *seen)
    return Captured(
        graph=graph,
        parity=made.parity,
        golden=golden,
        amounts=counted,
        evidence=seen,
        on_samples=on_samples,
        missing=made.uneven,
    )


@dataclass(frozen=True, slots=True, kw_only=True)
class _Proven:
    """A graph that computes what the model does.

    Attributes:
        uneven: what is to be said of sizes at which it does not.
    """

    graph: Graph
    parity: Mapping[str, Parity]
    on_samples: OnSamples | None
    uneven: tuple[Gap, ...]


def _proven_by_either(
    directory: Path, source: Source, target: Target, recipe: Recipe, axes: Axes, workshop: Workshop, advance: Advance
) -> _Proven:
    """By the newer exporter of torch, or by the tracing one.

    The newer one may fail at a model, fix a free axis of it, or write down how sizes come about at multiples alone.
    Statistics are of the graph that it gives, and no use with another.
    """
    given = source, target, recipe, axes, workshop, advance
    other = not recipe.statistics and may_trace(source, target.opset)
    # In a directory of its own: a session of the other graph may be open.
    traced = directory / "traced"
    try:
        made = _proven(directory, *given)
    except (InputError, VerificationError) as error:
        if isinstance(error, NoGraphError) or not other:
            raise
        traced.mkdir()
        try:
            return _proven(traced, *given, tracing=True)
        except ModelFailsError:  # which the other one came to know as well, had it got so far
            raise
        except EdgepressError:
            raise error from None
    if made.uneven and other:
        traced.mkdir()
        with contextlib.suppress(EdgepressError):
            even = _proven(traced, *given, tracing=True)
            return made if even.uneven else even
    return made


def captured_key(source: Source, target: Target) -> tuple[int, str, bool]:
    """What decides a capture; a graph without bytes is the same for all that read its opset."""
    return target.opset, source.digest, moves_bytes(source, target)


def moves_bytes(source: Source, target: Target) -> bool:
    """Whether the target's parser takes the source's inputs as they are moved: all but bytes everywhere."""
    return target.toolchain.moves_bytes or all(array.dtype != np.uint8 for array in source.inputs.values())


def _proven(
    directory: Path,
    source: Source,
    target: Target,
    recipe: Recipe,
    axes: Axes,
    workshop: Workshop,
    advance: Advance,
    *,
    tracing: bool = False,
) -> _Proven:
    advance(None, "to ONNX")
    moves = moves_bytes(source, target)
    graph = capture(source, target.opset, directory / "model.onnx", axes, tracing=tracing, moves_bytes=moves)
    _refuse_quantized(graph, source.name)
    reference = Reference()
    if source.onnx is not None:
        _try_apart(graph, reference.stand_in(target))
    advance(None, "parity")
    try:
        origin = Origin.of(source, directory)
        found = prove_capture(source, graph, recipe.seed, origin)
    except InputError:
        # Where it is because of nodes that onnxruntime does not have, say which.
        doubles = any(array.dtype == np.float64 for array in source.inputs.values())
        _refuse_unrunnable(Local().check(graph, reference.stand_in(target)), _DOUBLES if doubles else _REPLACE_FOR_ALL)
        raise
    # The session that candidates are judged by, so that they need not ask for answers again.
    session = workshop.open(reference.runs(graph, target, "fp32", None), reference)
    graph = with_samples(graph, source, recipe.seed, session)
    uneven = at_uneven_sizes(origin, graph, recipe.seed, session)
    real = _on_samples(origin, graph, recipe, session)
    return _Proven(graph=graph, parity=found, on_samples=real, uneven=uneven)


def _on_samples(origin: Origin, graph: Graph, recipe: Recipe, session: Session) -> OnSamples | None:
    """The proof on the first calibration samples, or with values of statistics; None where there is neither."""
    if recipe.statistics is not None:
        statistics = load_statistics(Path(recipe.statistics))
        made = of_statistics(origin.source, graph, statistics, recipe.seed, PROVEN_ON)
        with contextlib.suppress(InputError):  # the model fails at what is made up
            return proven_on_samples(origin, graph, made, session, MADE_UP) if made else None
        return None
    feeds = real_feeds(origin.source, recipe, graph.inputs)
    if feeds is None:
        return None
    return proven_on_samples(origin, graph, first_batches(feeds(), PROVEN_ON, graph.samples), session)


def _try_apart(graph: Graph, target: Target) -> None:
    """Nobody knows what a file from elsewhere does to a runtime: it is tried in a process of its own.

    Raises:
        RefusedError: onnxruntime does not have a node.
        InputError: onnxruntime crashed on it.
    """
    try:
        rejections = Worker().check(graph, target)
    except EngineFailedError as error:
        raise InputError(f"{error.message} That was while it was loaded.", hint=error.hint) from error
    _refuse_unrunnable(rejections)


def _golden(
    source: Source, graph: Graph, axes: Axes, seed: int, target: Target, workshop: Workshop, counted: frozenset[str]
) -> Golden:
    """Synthetic feeds and what the FP32 graph answers: a single inference first, then batches of the usual size."""
    usual = {name: reach.usual for name, reach in axes.items()}
    sizes = [single_sizes(source, axes), *[usual] * USUAL_FEEDS]
    feeds: list[Feed] = [
        synthesize(source.inputs, source.dynamic, size, seed + index, source.held) for index, size in enumerate(sizes)
    ]
    place = Reference()
    session = workshop.open(place.runs(graph, target, "fp32", None), place)
    outputs = tuple(with_amounts(session(feed), counted) for feed in feeds)
    return Golden(feeds=tuple(feeds), outputs=outputs, rows=selected_rows(graph))


def _refuse_quantized(graph: Graph, name: str) -> None:
    import onnx_ir as ir

    nodes = ir.load(graph.path).graph.all_nodes()
    found = [n for n in nodes if n.op_type in QUANTIZED or n.op_type.startswith(CONTRIBUTED)]
    if found:
        listed = ", ".join(f"{n.name or n.op_type} ({n.op_type})" for n in found[:3])
        more = f" and {len(found) - 3} more" if len(found) > 3 else ""
        raise InputError(
            f"{name} is already quantized: {len(found)} of its operators are of integers: {listed}{more}.",
            hint="Give the float model; edgepress quantizes it as the target wants.",
        )


def single_sizes(source: Source, axes: Axes) -> dict[str, int]:
    """Sizes of the free axes for one inference: the first axis of an input at its smallest, the others as usual."""
    firsts = {free[0] for free in source.dynamic.values() if 0 in free}
    return {name: reach.smallest if name in firsts else reach.usual for name, reach in axes.items()}


def refuse(rejections: Sequence[Rejection], target: str, by: str = "", hint: str = _REPLACE) -> None:
    """Raise when the target's compiler refuses nodes.

    Args:
        by: who refuses them, where it is not the target's own compiler.
        hint: what to do, in a sentence.

    Raises:
        RefusedError: naming each node and the reason.
    """
    _refuse(rejections, f"Target {target}", by, hint)


def _refuse_unrunnable(rejections: Sequence[Rejection], hint: str = _REPLACE_FOR_ALL) -> None:
    """Raise when onnxruntime does not run nodes, which is the model's fault and no target's: it proves every capture.

    Raises:
        RefusedError: naming each node and the reason.
    """
    _refuse(rejections, "onnxruntime, which every graph is proven with,", "", hint)


def _refuse(rejections: Sequence[Rejection], who: str, by: str, hint: str) -> None:
    if rejections:
        listed = "\n".join(f"  {rejection}" for rejection in rejections[:10])
        more = f"\n  and {len(rejections) - 10} more" if len(rejections) > 10 else ""
        raise RefusedError(
            f"{who} refuses {len(rejections)} node(s) of the graph{by}:\n{listed}{more}",
            hint=_HALF if any("bfloat16" in str(rejection) for rejection in rejections) else hint,
        )

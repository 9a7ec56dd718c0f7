"""Capture the model as the FP32 reference graph, prove it, and record golden outputs."""

from __future__ import annotations

from dataclasses import replace

from ...backends.base import Feed, Graph
from ...backends.places.reference import emulated, emulator
from ...errors import InputError
from ..candidates.compile import refuse
from ..draft import Captured, Draft
from ..graphs.synthesis import synthesize
from ..progress import Advance
from .capture import capture, prove_capture
from .golden import Golden

QUANTIZED = frozenset(
    {"QuantizeLinear", "DequantizeLinear", "QLinearConv", "QLinearMatMul", "ConvInteger", "MatMulInteger"}
)
# Feeds of the usual size beside the single inference: enough for a stable SQNR, small enough to ship.
USUAL_FEEDS = 3


def run(draft: Draft, advance: Advance) -> Draft:
    """Capture at the target's opset, once for all targets that share it."""
    key = draft.target.opset, draft.source.digest
    if key not in draft.shared.captured:
        draft.shared.captured[key] = _captured(draft, draft.target.opset, advance)
    found = draft.shared.captured[key]
    return replace(draft, reference=found.graph, golden=found.golden, **draft.with_parity("capture", found.parity))


def _captured(draft: Draft, opset: int, advance: Advance) -> Captured:
    directory = draft.shared.directory / f"opset{opset}-{draft.source.digest[:16]}"
    directory.mkdir()
    advance(None, "to ONNX")
    graph = capture(draft.source, opset, directory / "model.onnx", draft.axes)
    _refuse_quantized(graph, draft.source.name)
    advance(None, "parity")
    try:
        parity = prove_capture(draft.source, graph, draft.recipe.seed)
    except InputError:
        # Where it is because of nodes that onnxruntime does not have, say which.
        refuse(emulator().check(graph, draft.target), draft.target.name, by=", not even onnxruntime has them")
        raise
    advance(None, "golden outputs")
    return Captured(graph=graph, parity=parity, golden=_golden(draft, graph))


def _golden(draft: Draft, graph: Graph) -> Golden:
    """Synthetic feeds and what the FP32 graph answers: a single inference first, then batches of the usual size."""
    usual = {name: r.usual for name, r in draft.axes.items()}
    sizes = [single_sizes(draft), *[usual] * USUAL_FEEDS]
    feeds: list[Feed] = [
        synthesize(draft.source.inputs, draft.source.dynamic, size, draft.recipe.seed + index)
        for index, size in enumerate(sizes)
    ]
    session = draft.sessions.get(emulator(), emulated(graph), draft.target, draft.threads)
    return Golden(feeds=tuple(feeds), outputs=tuple(session(feed) for feed in feeds))


def _refuse_quantized(graph: Graph, name: str) -> None:
    import onnx_ir as ir

    if any(node.op_type in QUANTIZED for node in ir.load(graph.path).graph):
        raise InputError(
            f"{name} is already quantized: it has QuantizeLinear or integer operators.",
            hint="Give the float model; edgepress quantizes it as the target wants.",
        )


def single_sizes(draft: Draft) -> dict[str, int]:
    """Sizes of the free axes for one inference: the first axis of an input at its smallest, the others as usual."""
    firsts = {axes[0] for axes in draft.source.dynamic.values() if 0 in axes}
    return {name: r.smallest if name in firsts else r.usual for name, r in draft.axes.items()}

"""How onnxruntime is told to compute what a graph says, whatever processor this is."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any, TypeVar

from ..errors import InputError
from ..profiles.machine.environment import VNNI, this_machine
from ._onnxfile import holds_float16

# Optimizers that make a graph fail to load: on x86 without AVX-512 this one of onnxruntime 1.31 fuses a convolution
# with the sum behind it, although its result is an output of the graph as well.
WITHOUT = ("ConvAddActivationFusion",)
EXACTLY = "session.x64quantprecision"
# Only what ends the process is logged.
_SILENT = 4
# onnxruntime 1.31's layouts of convolutions for x86.
LAYOUTS = "NchwcTransformer"
T = TypeVar("T")


def crashing(graph: Path) -> tuple[str, ...]:
    """Optimizers that end the process when they see this graph, to be left out.

    Onnxruntime 1.31.1 on x86 ends with a signal when it opens a float16 graph in which a Transpose of leading axes
    stands before a MatMul, or a GRU behind an LSTM. Without its layouts for convolutions it does neither. Of float16
    nothing is lost with them: x86 has no such kernels, and other processors not these layouts.

    Args:
        graph: an ONNX file; of any other, and of what is none, nothing is left out.
    """
    if graph.suffix == ".ort":
        return ()
    try:
        return (LAYOUTS,) if holds_float16(graph) else ()
    except InputError:  # the runtime says what is wrong with the file
        return ()


def unfused(options: Any) -> Any:
    """The session options, with Q and DQ computed as they are, and weights made floats when a graph is opened."""
    options.add_session_config_entry("session.disable_quant_qdq", "1")
    return options


def exactly(open_with: Callable[[Any], T], options: Any) -> T:
    """Open with session options that make sums of products of u8 and s8 exact; without VNNI they saturate in 16 bits.

    With VNNI they are exact as they are, and the other kernels give the same to the bit in three times the time
    (docs/decisions/0056-time-of-an-export.md).

    Onnxruntime 1.31 fails at that where two LSTMs or two convolutions share their weights: such a graph is opened as
    any other is, and what it logs of the attempt is of no use to anybody.
    """
    if VNNI.intersection(this_machine().isa):
        return open_with(options)
    told = options.log_severity_level
    options.add_session_config_entry(EXACTLY, "1")
    try:
        options.log_severity_level = _SILENT
        return open_with(options)
    except Exception:  # onnxruntime's exceptions have no base of their own; what is wrong with the graph comes again
        options.log_severity_level = told
        options.add_session_config_entry(EXACTLY, "0")
        return open_with(options)

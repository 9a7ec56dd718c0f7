"""What torch's exporters raise, as an `InputError` in the user's terms: the reason, the line of the model, a remedy."""

from __future__ import annotations

import contextlib
import re
import traceback
from collections.abc import Iterator, Sequence

from ....errors import EdgepressError, InputError
from ...sources.base import Source
from ...sources.quiet import quiet
from ...sources.traceback import is_user_file, user_traceback
from ..state import NoGraphError
from .arguments import arguments, dynamic_shapes
from .fixed_size import fixed_by_torch
from .not_followed import not_followed

_BRANCH = (
    "Compute both and choose with torch.where, or decide outside of forward; only shapes may be branched on, and sizes "
    "come of shapes in whole numbers (x.shape[1] // 2, without tensors in between)."
)
_REPLACE = "Replace it in forward by operators that ONNX has, or move it out of the model."


@contextlib.contextmanager
def explained(source: Source) -> Iterator[None]:
    """What an exporter raises inside becomes an `InputError` in the user's terms."""
    try:
        yield
    except EdgepressError:
        raise
    except Exception as error:
        raise refusal(source, error) from error


def refusal(source: Source, error: BaseException) -> InputError:
    """Which of the known reasons it is, with the user's line; else the exporter's own words, shortened."""
    chain = list(_chain(error))
    root, text = chain[-1], "\n".join(str(link) for link in chain)
    where = _line(chain, text)
    if isinstance(root, EdgepressError):  # of a translation of ours
        return InputError(f"{source.name} cannot be exported: {root.message}{where}", hint=root.hint)
    if "Could not guard on data-dependent" in text or "Could not extract specialized integer" in text:
        return NoGraphError(
            f"{source.name} cannot be exported: its forward branches on a value of a tensor, or makes a size of one."
            f"{where}",
            hint=_BRANCH,
        )
    if (fixed := fixed_by_torch(source, text)) is not None:
        return fixed
    if (number := _free_number(source, text, where)) is not None:
        return number
    if operator := re.search(r"No ONNX function found for <OpOverload\(op='([\w.]+)'|operator '([\w:]+)'", text):
        name = (operator[1] or operator[2]).replace("::", ".")
        where = where or _line_of_operator(source, name)
        when = " at this opset" if re.search(r"opset version \d+ is not supported", text) else ""
        return InputError(
            f"{source.name} cannot be exported: the operator {name} has no ONNX form{when}.{where}",
            hint=_REPLACE,
        )
    if pool := re.search(r"(adaptive_\w+), (input size not accessible|output size that are not factor)", text):
        return _no_pool(source, pool[1], where, free=pool[2].startswith("input"))
    if (known := not_followed(source, chain, text, where)) is not None:
        return known
    return InputError(
        f"{source.name} cannot be exported to ONNX: {_brief(root)}{where}",
        hint="Change the line above so that torch.export can follow it, or export the model without that part."
        if where
        else "The exporter of torch failed in its own code, and names no line of the model. Export it to an .onnx file "
        "yourself and give that, or leave out free axes or parts until it works.",
    )


def _free_number(source: Source, text: str, where: str) -> InputError | None:
    """An attribute of an operator, a number in ONNX, that a free size decides; None where it is something else."""
    call = re.search(r"Error calling operator '(\w+)' .* and kwargs \{.*?'(\w+)': SymbolicTensor\(", text)
    if call is None or "Unsupported attribute type" not in text:
        return None
    node = re.search(r"Error when translating node %(\w+) ", text)
    where = where or (_line_of_operator(source, node[1]) if node is not None else "")
    return InputError(
        f"{source.name} cannot be exported: the {call[2]} of a {call[1]} is a number in ONNX, and here it depends on a "
        f"size that is free.{where}",
        hint="Fix that size, by leaving its axis out of dynamic(), or compute the same without it: a convolution with "
        "a kernel for each sample is torch.nn.functional.unfold and a matrix product.",
    )


def _no_pool(source: Source, name: str, where: str, *, free: bool) -> InputError:
    """An adaptive pool for which the tracing exporter knows no windows."""
    what, hint = (
        ("over a size that is free", "Fix the size, or take a target whose runtime reads opset 18.")
        if free
        else (
            "to a size that does not divide its input's",
            "Give it a size that divides, or resize what it reads before it (torch.nn.functional.interpolate).",
        )
    )
    where = where or _line_of_operator(source, name)
    return InputError(
        f"{source.name} cannot be exported: {name} {what} has no ONNX form at this opset.{where}", hint=hint
    )


def _chain(error: BaseException | None) -> Iterator[BaseException]:
    while error is not None:
        yield error
        error = error.__cause__


def _brief(error: BaseException) -> str:
    lines = [line for line in str(error).splitlines() if line.strip()][:4]
    return f"{type(error).__name__}: " + "\n".join(lines)


def _line(chain: Sequence[BaseException], text: str) -> str:
    """The user's deepest line: from the tracebacks, else from a trace quoted in a message."""
    for error in reversed(chain):
        frames = [
            f for f in traceback.extract_tb(error.__traceback__) if is_user_file(f.filename) and f.name != "<module>"
        ]
        if any(frame.name == "forward" for frame in frames):
            return "\n" + user_traceback(error).splitlines()[0] + "\n" + "".join(traceback.format_list(frames)).rstrip()
    return _quoted_line(text)


def _quoted_line(text: str) -> str:
    quoted = re.findall(r'( *File "([^"\n]+)", line \d+, in \w+\n(?: {4}[^\n]*\n?)?)', text)
    user = [frame for frame, file in quoted if is_user_file(file)]
    return "\n  " + user[-1].strip() if user else ""


def _line_of_operator(source: Source, operator: str) -> str:
    """The user's line that led to the operator, or the node of that name, found by exporting once more; else empty."""
    import torch

    assert source.module is not None
    try:
        with quiet():
            program = source.program or torch.export.export(
                source.module, **arguments(source), dynamic_shapes=dynamic_shapes(source), strict=False
            )
            nodes = [*program.graph.nodes, *program.run_decompositions().graph.nodes]
    except Exception:
        # Only the message would have been better with it; the operator is named already.
        return ""
    short = operator.rpartition(".")[2]
    meant = (node for node in nodes if node.name == operator or short in str(node.target))
    traces = (node.meta.get("stack_trace") or "" for node in meant)
    return next((line for trace in traces if (line := _quoted_line(trace))), "")

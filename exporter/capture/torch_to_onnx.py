"""A torch module as an ONNX model in memory, by one of torch's two exporters."""

from __future__ import annotations

import contextlib
import re
import tempfile
import traceback
from collections.abc import Callable, Iterator, Sequence
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from ...errors import EdgepressError, InputError
from ..graphs.names import free_name, value_names
from ..sources.base import Source
from ..sources.parts import without_parts
from ..sources.plain import by_position, takes_anything, takes_more, with_plain_weights
from ..sources.quiet import quiet
from ..sources.torch_module import by_keyword, output_tensors
from ..sources.traceback import is_user_file, user_traceback
from ..sources.undisturbed import undisturbed
from . import adaptive_pool, cum_product, distances, divided_pool, row_major, scatter_mean, suppression
from .computed_splits import computed_splits_stay
from .exact_constants import exact_constants
from .fixed_integers import with_fixed_integers
from .fixed_size import fixed_by_torch
from .legacy_symbolics import legacy_corrected
from .not_followed import not_followed
from .onnx_to_opset import optimized
from .scopes import name_weights
from .state import NoGraphError, refuse_state
from .torchlib import domains_at_hand

if TYPE_CHECKING:
    import onnx_ir as ir

# The dynamo exporter writes 18 whatever lower opset is asked of it; below, only the legacy one gives what is asked.
DYNAMO_OPSET = 18
# The last one that the legacy exporter writes.
TRACING_OPSET = 20
_BRANCH = (
    "Compute both and choose with torch.where, or decide outside of forward; only shapes may be branched on, and sizes "
    "come of shapes in whole numbers (x.shape[1] // 2, without tensors in between)."
)
_REPLACE = "Replace it in forward by operators that ONNX has, or move it out of the model."


def may_trace(source: Source, opset: int) -> bool:
    """The tracing exporter is another way to this opset than the usual one, for this source."""
    return source.module is not None and source.program is None and DYNAMO_OPSET <= opset <= TRACING_OPSET


def exported(source: Source, opset: int, directory: Path, *, tracing: bool = False) -> ir.Model:
    """The source's module as ONNX, inputs and outputs called as the source's.

    Args:
        directory: where temporary files of the legacy exporter may go.
        tracing: use the legacy exporter whatever the opset.

    Raises:
        InputError: the module cannot be exported; the user's line and a remedy are given.
    """
    from onnx_ir.passes import common

    usual = opset >= DYNAMO_OPSET and not tracing
    source = _explicit(source, tracing=not usual)
    assert source.module is not None
    _refuse_projections(source)
    with undisturbed(source.module):
        model = _followed(source, lambda of: _dynamo(of, opset) if usual else _legacy(of, opset, directory))
    common.LiftConstantsToInitializersPass(lift_all_constants=True, size_limit=0)(model)
    common.OutputFixPass()(model)
    name_weights(model.graph)
    _rename(model.graph, list(source.inputs), list(output_tensors(source.module, source.inputs)))
    return model


def _followed(source: Source, make: Callable[[Source], ir.Model]) -> ir.Model:
    """What is made of the source; where a size or a branch comes of a value, that may be a number in a buffer."""
    try:
        return make(source)
    except NoGraphError:
        fixed = with_fixed_integers(source)
        if fixed is None:
            raise
    return make(fixed)


def _explicit(source: Source, *, tracing: bool) -> Source:
    """The source with a module that takes what is given alone and holds its weights, where its own does not.

    The tracer makes a tensor of what a parameter is by default, and then a branch on a value of it.
    """
    if source.program is not None or source.module is None:
        return source
    module, names = with_plain_weights(source.module), list(source.inputs)
    others = takes_anything(module) or (tracing and takes_more(module, names))
    return replace(source, module=by_position(module, names) if others else module)


def _refuse_projections(source: Source) -> None:
    """Refuse what both exporters write as an LSTM without its projection, whose states are of another size.

    Raises:
        InputError: naming the layer.
    """
    from torch import nn

    assert source.module is not None
    for name, child in source.module.named_modules():
        if isinstance(child, nn.LSTM) and child.proj_size:
            raise InputError(
                f"{source.name} cannot be exported: {without_parts(name) or 'it'} is an LSTM with "
                f"proj_size={child.proj_size}, and ONNX's LSTM has no projection.",
                hint="Train it without proj_size, with a Linear behind it where fewer outputs are wanted; or write its "
                "steps in forward, for a fixed number of them.",
            )


def _dynamo(source: Source, opset: int) -> ir.Model:
    import torch

    target: Any = source.program or source.module
    arguments = {} if source.program else {**_arguments(source), "dynamic_shapes": _dynamic_shapes(source)}
    with _explained(source), quiet(), domains_at_hand(), exact_constants(), computed_splits_stay():
        program = torch.onnx.export(
            target,
            **arguments,
            dynamo=True,
            opset_version=opset,
            verbose=False,
            custom_translation_table={
                **suppression.translations(),
                **row_major.translations(),
                **divided_pool.translations(),
                **scatter_mean.translations(),
                **cum_product.translations(),
                **distances.translations(),
                **adaptive_pool.translations(source.dynamic),
            },
        )
    assert program is not None
    assert program.exported_program is not None
    refuse_state(program.exported_program, source.name)
    return program.model


def _legacy(source: Source, opset: int, directory: Path) -> ir.Model:
    """The graph of the tracing exporter, optimized as the other one's already is."""
    import onnx_ir as ir
    import torch

    assert source.module is not None
    _refuse_branches_on_values(source)
    # Of what has a `graph`, as what torch.fx makes has, it would ask that for the names of its outputs.
    named: dict[str, Any] = {"output_names": list(output_tensors(source.module, source.inputs))}
    # Beyond 2 GB it writes one file a weight, so it gets a directory of its own.
    with tempfile.TemporaryDirectory(dir=directory, prefix=".tracing-") as name:
        file = Path(name) / "model.onnx"
        # Weights that were made in inference mode take no part in a trace with gradients.
        with _explained(source), quiet(), legacy_corrected(opset), torch.no_grad():
            torch.onnx.export(
                source.module,
                **_arguments(source),
                f=str(file),
                dynamo=False,
                opset_version=opset,
                input_names=list(source.inputs),
                dynamic_axes=source.dynamic,
                **(named if hasattr(source.module, "graph") else {}),
            )
        model = ir.load(file)
        ir.external_data.load_to_model(model)
    _restore_inputs(model.graph, source)
    return optimized(model)


def _restore_inputs(graph: ir.Graph, source: Source) -> None:
    """Put back the inputs that nothing reads: the legacy exporter drops them, and a caller would still feed them."""
    import onnx_ir as ir

    kept = {value.name: value for value in graph.inputs}
    inputs = []
    for name, array in source.inputs.items():
        free = source.dynamic.get(name, {})
        shape = ir.Shape([free.get(axis, size) for axis, size in enumerate(array.shape)])
        dropped = ir.Value(name=name, shape=shape, type=ir.TensorType(ir.DataType.from_numpy(array.dtype)))
        inputs.append(kept.get(name, dropped))
    graph.inputs[:] = inputs


def _refuse_branches_on_values(source: Source) -> None:
    """The tracer follows a branch on the data and silently forgets the other one; torch.export tells.

    Raises:
        InputError: the forward branches on values.
    """
    import torch
    from torch.fx.experimental.symbolic_shapes import GuardOnDataDependentSymNode

    if source.program is not None or source.module is None:
        return
    try:
        with quiet():
            program = torch.export.export(
                source.module, **_arguments(source), dynamic_shapes=_dynamic_shapes(source), strict=False
            ).run_decompositions({})
    except GuardOnDataDependentSymNode as error:
        raise _refusal(source, error) from error
    except Exception:
        # What else torch.export cannot do, the tracer may; the proof of parity judges what comes of it.
        return
    refuse_state(program, source.name)


def _arguments(source: Source) -> dict[str, Any]:
    """The example inputs, as torch.onnx.export and torch.export take them."""
    import torch

    assert source.module is not None
    tensors = {n: torch.from_numpy(np.require(a, requirements=["C", "W"])) for n, a in source.inputs.items()}
    if by_keyword(source.module, list(tensors), "The inputs"):
        return {"args": (), "kwargs": tensors}
    return {"args": tuple(tensors.values())}


def _dynamic_shapes(source: Source) -> Any:
    """Free axes in the form of the arguments; None leaves all sizes fixed."""
    import inspect

    assert source.module is not None
    if not source.dynamic:
        return None
    from torch.export import Dim

    shapes = {n: dict.fromkeys(source.dynamic.get(n, {}), Dim.DYNAMIC) for n in source.inputs}
    if by_keyword(source.module, list(shapes), "The inputs"):
        return shapes
    kinds = [p.kind for p in inspect.signature(source.module.forward).parameters.values()]
    listed = tuple(shapes.values())
    # `forward(self, *tensors)` has one parameter, a tuple.
    return (listed,) if kinds == [inspect.Parameter.VAR_POSITIONAL] else listed


def _rename(graph: ir.Graph, inputs: Sequence[str], outputs: Sequence[str]) -> None:
    """Call inputs and outputs by the source's names; a value inside that has one of them makes way.

    Raises:
        InputError: the exporter dropped or added an output.
    """
    if len(graph.inputs) != len(inputs) or len(graph.outputs) != len(outputs):
        raise InputError(
            f"The exported graph has {len(graph.inputs)} inputs and {len(graph.outputs)} outputs; "
            f"the model has {', '.join(inputs)} and {', '.join(outputs)}.",
            hint="Return tensors only, and take tensors only, in the model's forward.",
        )
    ends = {
        value: name
        for values, names in ((graph.inputs, inputs), (graph.outputs, outputs))
        for value, name in zip(values, names, strict=True)
    }
    taken = {*inputs, *outputs}
    names = value_names(graph)
    inner = (output for node in graph.all_nodes() for output in node.outputs)
    for value in (*inner, *list(graph.initializers.values())):
        if value not in ends and value.name in taken:
            value.name = free_name(f"{value.name}_inner", names)
    for value in ends:
        value.name = f"{ends[value]}_being_renamed"
    for value, name in ends.items():
        value.name = name


@contextlib.contextmanager
def _explained(source: Source) -> Iterator[None]:
    """What an exporter raises inside becomes an `InputError` in the user's terms."""
    try:
        yield
    except EdgepressError:
        raise
    except Exception as error:
        raise _refusal(source, error) from error


def _refusal(source: Source, error: BaseException) -> InputError:
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
                source.module, **_arguments(source), dynamic_shapes=_dynamic_shapes(source), strict=False
            )
            nodes = [*program.graph.nodes, *program.run_decompositions().graph.nodes]
    except Exception:
        # Only the message would have been better with it; the operator is named already.
        return ""
    short = operator.rpartition(".")[2]
    meant = (node for node in nodes if node.name == operator or short in str(node.target))
    traces = (node.meta.get("stack_trace") or "" for node in meant)
    return next((line for trace in traces if (line := _quoted_line(trace))), "")

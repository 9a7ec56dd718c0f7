"""A torch module as an ONNX model in memory, by one of torch's two exporters."""

from __future__ import annotations

import tempfile
from collections.abc import Callable, Sequence
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

from ....errors import InputError
from ...graphs.names import free_name, value_names
from ...sources.base import Source
from ...sources.parts import without_parts
from ...sources.plain import by_position, takes_anything, takes_more, with_plain_weights
from ...sources.quiet import quiet
from ...sources.torch_module import output_tensors
from ...sources.undisturbed import undisturbed
from ..onnx_to_opset import optimized
from ..rewrites.computed_splits import computed_splits_stay
from ..rewrites.exact_constants import exact_constants
from ..scopes import name_weights
from ..state import NoGraphError, refuse_state
from . import adaptive_pool, cum_product, distances, divided_pool, row_major, scatter_mean, suppression
from .arguments import arguments, dynamic_shapes
from .export_refusals import explained, refusal
from .fixed_integers import with_fixed_integers
from .legacy_symbolics import legacy_corrected
from .torchlib import domains_at_hand

if TYPE_CHECKING:
    import onnx_ir as ir

# The dynamo exporter writes 18 whatever lower opset is asked of it; below, only the legacy one gives what is asked.
DYNAMO_OPSET = 18
# The last one that the legacy exporter writes.
TRACING_OPSET = 20


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
    given = {} if source.program else {**arguments(source), "dynamic_shapes": dynamic_shapes(source)}
    with explained(source), quiet(), domains_at_hand(), exact_constants(), computed_splits_stay():
        program = torch.onnx.export(
            target,
            **given,
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
        with explained(source), quiet(), legacy_corrected(opset), torch.no_grad():
            torch.onnx.export(
                source.module,
                **arguments(source),
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
                source.module, **arguments(source), dynamic_shapes=dynamic_shapes(source), strict=False
            ).run_decompositions({})
    except GuardOnDataDependentSymNode as error:
        raise refusal(source, error) from error
    except Exception:
        # What else torch.export cannot do, the tracer may; the proof of parity judges what comes of it.
        return
    refuse_state(program, source.name)


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

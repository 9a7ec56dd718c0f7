"""Whether the execution providers of onnxruntime for phones would take a graph: what its own checker says of it.

The checker (`onnxruntime.tools.check_onnx_model_mobile_usability`) compares operators, ranks and fixed shapes with what
a provider takes, and judges by the number of pieces that the graph falls into. It runs nothing, and knows NNAPI and
Core ML alone. Of other providers this says where they are documented, and no verdict.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from ...errors import UnservedError
from ...profiles.machine.held import temporary
from .._vendor import import_or_explain

_CHECKER = "onnxruntime.tools.mobile_helpers.usability_checker"
_WORDS = {"YES": "should do well", "MAYBE": "may do well, to be measured", "NO": "not worth trying"}
_REMARKS = {"NNAPI": ("Android has deprecated NNAPI since version 15",)}
_DOCUMENTED = "https://onnxruntime.ai/docs/execution-providers"


@dataclass(frozen=True, slots=True, kw_only=True)
class ProviderVerdict:
    """What is known of one provider for one graph.

    Attributes:
        as_is: for the graph as it is.
        fixed: for the graph with fixed shapes; empty where that makes no difference, or nobody judged it.
        grounds: what that rests on.
    """

    provider: str
    as_is: str
    fixed: str = ""
    grounds: str


_UNJUDGED = (
    ProviderVerdict(
        provider="XNNPACK",
        as_is="not judged",
        grounds="onnxruntime's checker does not know it; it takes the operators of "
        f"{_DOCUMENTED}/Xnnpack-ExecutionProvider and leaves others to the CPU",
    ),
    ProviderVerdict(
        provider="QNN",
        as_is="not judged",
        grounds="onnxruntime's checker does not know it; it is a plug-in, onnxruntime-qnn, described in "
        f"{_DOCUMENTED}/QNN-ExecutionProvider, and is said to need fixed shapes (second hand)",
    ),
)


def verdicts(graph: Path) -> tuple[ProviderVerdict, ...]:
    """One a provider.

    Args:
        graph: the ONNX file that an engine was compiled from.
    """
    return (
        ProviderVerdict(
            provider="CPU",
            as_is="is what the engine was made for",
            grounds="the golden data of this bundle; report.md says on what they ran",
        ),
        *_checked(graph),
        *_UNJUDGED,
    )


def _checked(graph: Path) -> tuple[ProviderVerdict, ...]:
    try:
        checker = import_or_explain(_CHECKER)
    except UnservedError as error:
        return _unknown(f"onnxruntime's checker is not installed here: {error.message}")
    try:
        model = _with_shapes(checker, graph)
        return tuple(_verdict(name, checker, model, judge) for name, judge in _judges(checker).items())
    except Exception as error:  # it is somebody else's, and was not written for every graph
        return _unknown(f"onnxruntime's checker failed on this graph: {type(error).__name__}")


def _unknown(why: str) -> tuple[ProviderVerdict, ...]:
    return tuple(ProviderVerdict(provider=name, as_is="not known", grounds=why) for name in ("NNAPI", "Core ML"))


def _with_shapes(checker: Any, graph: Path) -> Any:
    """The graph after the basic optimizations, as the checker's own program reads it."""
    with temporary() as scratch:
        path = Path(scratch, "model.onnx")
        checker.optimize_model(graph, path, use_external_initializers=True)
        return checker.ModelProtoWithShapeInfo(path).model_with_shape_info


def _judges(checker: Any) -> dict[str, Callable[[Any, bool], Any]]:
    def core_ml(file: str) -> Callable[[Any, bool], Any]:
        return lambda model, fixed: checker.check_coreml_partitions(model, fixed, file)

    return {
        "NNAPI": checker.check_nnapi_partitions,
        "Core ML (MLProgram)": core_ml("coreml_supported_mlprogram_ops.md"),
        "Core ML (NeuralNetwork)": core_ml("coreml_supported_neuralnetwork_ops.md"),
    }


def _verdict(name: str, checker: Any, model: Any, judge: Callable[[Any, bool], Any]) -> ProviderVerdict:
    free, _ = checker.check_shapes(model.graph)
    # The second argument asks that shapes be fixed; without it the graph is judged as if they were.
    as_is, fixed = judge(model, True), judge(model, False)
    return ProviderVerdict(
        provider=name,
        as_is=_words(as_is),
        fixed=_words(fixed) if free else "",
        grounds="; ".join(["onnxruntime's checker", *_lacking(fixed), *_REMARKS.get(name, ())]),
    )


def _words(info: Any) -> str:
    pieces = f"{info.num_partitions} {'piece' if info.num_partitions == 1 else 'pieces'}"
    taken = f"takes {info.num_supported_nodes} of {info.num_nodes} nodes in {pieces}"
    return f"{_WORDS[info.suitability().name]}: {taken}"


def _lacking(info: Any) -> list[str]:
    lacking = sorted(info.unsupported_ops)
    return [f"it has no {', '.join(lacking)}"] if lacking else []

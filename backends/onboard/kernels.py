"""What TensorRT's engine inspector says of the layers: which arithmetic each of them runs, and why it is not int8."""

import json
import re
from typing import Any, Dict, List, NamedTuple, Tuple

from .orders import BuildError

# LayerType of convolutions and matrix products: CaskConvolution, CudaDepthwiseConvolution, CublasConvolution,
# CaskDeconvolutionV2, CaskGemmConvolution, CaskGemmMatrixMultiply, MatrixMultiply, FullyConnected, gemm, conv.
_COMPUTE = re.compile(r"conv|gemm|mha|matrix_?multiply|matmul|fully_?connected", re.IGNORECASE)

# A region that the Myelin compiler fused is `kgen`, `fusion` or `Myelin`, and its name lists what is in it:
# __myl_FcAddMul_myl0_3, _gemm_mha_v2_myl0_7. Its metadata do not count: they also name layers it only reads weights of.
_FUSED = ("kgen", "fusion", "myelin")
_FUSED_COMPUTE = re.compile(r"Fc(?![a-z])|(?i:gemm|mha|conv(?!ert)|matmul)")

# Kernel names spell out operand and accumulator types: i8i8_i8i32_f32, int8x4, i8816cudnn, imma multiply integers. The
# order matters: ampere_fp32_icudnn_int8x4 and i8f32_i8i32_f32 are integer kernels with an FP32 result, whereas
# xmma_fprop_conv1x1_i8f32_f32_f32 reads int8 and multiplies floats.
_INTEGER = re.compile(r"i8i32|i8_?i8|s8_?s8|int8|imma|i\d{3,6}(?:gemm|cudnn)")
_FLOAT = re.compile(r"f\d+_?f\d+|hmma|[hs]\d{3,6}(?:gemm|cudnn)|[hs](?:gemm|cudnn)|e4m3")
_NAMED = (
    ("tf32", re.compile(r"tf32")),
    ("fp8", re.compile(r"e4m3")),
    ("bf16", re.compile(r"bf16")),
    ("fp16", re.compile(r"f16|hmma|h\d{3,6}(?:gemm|cudnn)|h(?:gemm|cudnn)")),
    ("fp32", re.compile(r"f32|s\d{3,6}(?:gemm|cudnn)|s(?:gemm|cudnn)")),
)
# How the inspector writes the types of tensors: `Row major linear FP32`, `Int8`, `Half`.
_WRITTEN = (
    ("int8", re.compile(r"\bint8\b", re.IGNORECASE)),
    ("fp8", re.compile(r"\bfp8\b", re.IGNORECASE)),
    ("bf16", re.compile(r"\bb(?:f|float)16\b", re.IGNORECASE)),
    ("fp16", re.compile(r"\b(?:fp16|half)\b", re.IGNORECASE)),
    ("fp32", re.compile(r"\b(?:fp32|float)\b", re.IGNORECASE)),
    ("int32", re.compile(r"\bint32\b", re.IGNORECASE)),
)


class KernelLayer(NamedTuple):
    """One layer of an engine.

    Attributes:
        name: the graph's nodes where the engine keeps them.
        kernel: empty where the inspector does not tell.
        compute: it is a convolution, a matrix product or a region with one.
        integer: it multiplies integers; False as well where nothing tells.
        reason: why it does not; empty where it does or nothing tells.
        precision: of its arithmetic by the name of its kernel, else of what it reads; empty where neither tells.
    """

    name: str
    operator: str
    kernel: str
    compute: bool
    integer: bool
    reason: str
    precision: str


def kernels_from_json(text: str) -> List[KernelLayer]:
    """Read `get_engine_information(LayerInformationFormat.JSON)`, or the file of `trtexec --exportLayerInfo`.

    Field names: NVIDIA/TensorRT, tools/experimental/trt-engine-explorer; TensorRT documentation, "Engine Inspector".

    Raises:
        BuildError: the text is not that JSON, or the engine was not built with detailed profiling verbosity.
    """
    try:
        entries = json.loads(text)["Layers"]
    except (ValueError, KeyError, TypeError):
        raise BuildError(
            "verification", "The engine inspector's answer is not the expected JSON: {!r}.".format(text[:80])
        )
    if not all(isinstance(entry, dict) and "LayerType" in entry for entry in entries):
        raise BuildError(
            "verification",
            "The engine keeps only the names of its layers, so that its kernels cannot be read.",
            "Build it with `edgepress build`, or with trtexec --profilingVerbosity=detailed.",
        )
    return [_kernel_layer(entry) for entry in entries]


def counted(layers: List[KernelLayer]) -> Dict[str, int]:
    """How many of the layers that compute run in each precision; those of which nothing tells as `untold`."""
    found: Dict[str, int] = {}
    for layer in layers:
        if layer.compute:
            found[layer.precision or "untold"] = found.get(layer.precision or "untold", 0) + 1
    return found


def _kernel_layer(entry: Dict[str, Any]) -> KernelLayer:
    compute = _is_compute(entry)
    integer, reason = _arithmetic(entry) if compute else (False, "")
    return KernelLayer(
        name=_node_names(entry),
        operator=entry["LayerType"],
        kernel=entry.get("TacticName") or "",
        compute=compute,
        integer=integer,
        reason=reason,
        precision="int8" if integer else _precision(entry),
    )


def _node_names(entry: Dict[str, Any]) -> str:
    """The graph's node names where the metadata keep them: a fused region's own name is made up."""
    nodes = re.findall(r"\[ONNX Layer: ([^\]]*)\]", entry.get("Metadata") or "")
    return " + ".join(dict.fromkeys(nodes)) or str(entry.get("Name", ""))


def _is_compute(entry: Dict[str, Any]) -> bool:
    kind = entry["LayerType"]
    if kind.lower() not in _FUSED:
        return _COMPUTE.search(kind) is not None
    said = "{} {}".format(entry.get("Name", ""), entry.get("TacticName") or "")
    return _FUSED_COMPUTE.search(said) is not None


def _first_input(entry: Dict[str, Any]) -> str:
    """The type of the activation, which comes first; empty where the shapes, and so the formats, are not known."""
    formats = [str(tensor.get("Format/Datatype", "")) for tensor in entry.get("Inputs") or ()]
    shown = formats[0].rstrip(".") if formats else ""
    return "" if shown == "N/A due to dynamic shapes" else shown


def _arithmetic(entry: Dict[str, Any]) -> Tuple[bool, str]:
    """Whether a compute layer multiplies integers, and why not; both empty where nothing tells."""
    kernel, shown = (entry.get("TacticName") or "").lower(), _first_input(entry)
    if _INTEGER.search(kernel):
        return True, ""
    if _FLOAT.search(kernel):
        reads = " (input: {})".format(shown) if shown else ""
        return False, "its kernel multiplies floats" + reads
    if not shown:
        return False, ""
    # A kernel without a telling name goes by its first input, the activation; int8 weights alone are weight-only.
    return "Int8" in shown, "" if "Int8" in shown else "its input is " + shown


def _precision(entry: Dict[str, Any]) -> str:
    kernel, shown = (entry.get("TacticName") or "").lower(), _first_input(entry)
    if _is_compute(entry) and _FLOAT.search(kernel):
        return next((name for name, told in _NAMED if told.search(kernel)), "")
    return next((name for name, told in _WRITTEN if told.search(shown)), "")

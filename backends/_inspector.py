"""What TensorRT's engine inspector says of the layers, read into `Layer`."""

from __future__ import annotations

import json
import re
from typing import Any

from ..errors import VerificationError
from ..profiles.findings.layers import Layer

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


def layers_from_json(text: str) -> tuple[Layer, ...]:
    """Read `get_engine_information(LayerInformationFormat.JSON)`, or the file of `trtexec --exportLayerInfo`.

    Field names: NVIDIA/TensorRT, tools/experimental/trt-engine-explorer; TensorRT documentation, "Engine Inspector".

    Raises:
        VerificationError: the text is not that JSON, or the engine was not built with detailed profiling verbosity.
    """
    try:
        entries = json.loads(text)["Layers"]
    except (ValueError, KeyError, TypeError) as error:
        raise VerificationError(f"The engine inspector's answer is not the expected JSON: {text[:80]!r}.") from error
    if not all(isinstance(entry, dict) and "LayerType" in entry for entry in entries):
        raise VerificationError(
            "The engine keeps only the names of its layers, so that its kernels cannot be read.",
            hint="Build it with `edgepress build`, or with trtexec --profilingVerbosity=detailed.",
        )
    return tuple(_layer(entry) for entry in entries)


def _layer(entry: dict[str, Any]) -> Layer:
    compute = _is_compute(entry)
    integer, reason = _arithmetic(entry) if compute else (False, "")
    return Layer(
        name=_name(entry),
        operator=entry["LayerType"],
        kernel=entry.get("TacticName") or "",
        compute=compute,
        integer=integer,
        reason=reason,
    )


def _name(entry: dict[str, Any]) -> str:
    """The graph's node names where the metadata keep them: a fused region's own name is made up."""
    nodes = re.findall(r"\[ONNX Layer: ([^\]]*)\]", entry.get("Metadata") or "")
    return " + ".join(dict.fromkeys(nodes)) or str(entry.get("Name", ""))


def _is_compute(entry: dict[str, Any]) -> bool:
    kind = entry["LayerType"]
    if kind.lower() not in _FUSED:
        return _COMPUTE.search(kind) is not None
    return _FUSED_COMPUTE.search(f"{entry.get('Name', '')} {entry.get('TacticName') or ''}") is not None


def _arithmetic(entry: dict[str, Any]) -> tuple[bool, str]:
    """Whether a compute layer multiplies integers, and why not; both empty where nothing tells."""
    kernel = (entry.get("TacticName") or "").lower()
    if _INTEGER.search(kernel):
        return True, ""
    formats = [str(tensor.get("Format/Datatype", "")) for tensor in entry.get("Inputs") or ()]
    shown = formats[0].rstrip(".") if formats else ""
    if _FLOAT.search(kernel):
        return False, f"its kernel multiplies floats (input: {shown})" if shown else "its kernel multiplies floats"
    if not shown or shown == "N/A due to dynamic shapes":
        return False, ""
    # A kernel without a telling name goes by its first input, the activation; int8 weights alone are weight-only.
    return ("Int8" in shown, "" if "Int8" in shown else f"its input is {shown}")

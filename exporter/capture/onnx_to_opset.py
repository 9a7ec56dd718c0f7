"""An ONNX file as a model in memory, at an opset that the target reads, optimized."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

from ...errors import InputError
from ..sources.quiet import quiet

if TYPE_CHECKING:
    import onnx_ir as ir

# Per-channel DequantizeLinear and the inputs of ReduceSum, Squeeze and Clip as the passes know them begin here.
LOWEST_OPSET = 13
# Before it, initializers had to be listed among the inputs.
_LOWEST_IR = 7


def converted(path: Path, opset: int) -> ir.Model:
    """The model of the file, at its own opset where that lies between 13 and `opset`, else brought there.

    Raises:
        InputError: the converter cannot bring it there.
    """
    import onnx_ir as ir
    from onnx_ir.passes import common

    model = ir.load(path)
    common.RemoveInitializersFromInputsPass()(model)
    model.ir_version = max(model.ir_version, _LOWEST_IR)
    given = model.opset_imports.get("", 0)
    wanted = min(max(given, LOWEST_OPSET), opset)
    if wanted != given:
        _convert(model, path, given, wanted)
    return optimized(model)


def optimized(model: ir.Model) -> ir.Model:
    """The same function: constants are initializers, batch normalization is folded, and what is unused is gone."""
    from onnx_ir.passes import common
    from onnxscript import optimizer, rewriter
    from onnxscript.rewriter.rules.common import (
        fuse_batchnorm_into_conv_rule,
        fuse_batchnorm_into_conv_transpose_rule,
        fuse_batchnorm_into_gemm_rule,
    )

    lift = common.LiftConstantsToInitializersPass(lift_all_constants=True, size_limit=0)
    fuse = [fuse_batchnorm_into_conv_rule, fuse_batchnorm_into_conv_transpose_rule, fuse_batchnorm_into_gemm_rule]
    with quiet():
        lift(model)
        model = rewriter.rewrite(model, pattern_rewrite_rules=fuse)
        model = optimizer.optimize(model)
        lift(model)
    return model


def _convert(model: ir.Model, path: Path, given: int, wanted: int) -> None:
    from onnxscript import version_converter

    with quiet():
        version_converter.convert_version(model, target_version=wanted, fallback=True)
    # A converter that fails leaves the model as it was, and only logs.
    if model.opset_imports.get("") != wanted:
        raise InputError(
            f"{path} is at ONNX opset {given}, the target needs {wanted}, and the converter cannot bring it there.",
            hint=f"Export the file at opset {wanted}, or choose a target with other software (TARGET@TOOLCHAIN).",
        )

"""Convert a float32 graph to float16, inputs and outputs unchanged."""

from __future__ import annotations

from pathlib import Path


def to_float16(source: Path, destination: Path) -> None:
    """Write the float16 form of an ONNX file.

    onnxruntime's converter clamps values beyond float16's range and casts around operators without a float16 form.
    """
    import onnx
    import onnx_ir as ir
    from onnxruntime.transformers.float16 import convert_float_to_float16

    from ...graphs.files import write_model

    model = ir.from_proto(convert_float_to_float16(onnx.load(source), keep_io_types=True))
    model.graph.sort()  # the converter appends the casts of the inputs at the end
    write_model(model, destination)

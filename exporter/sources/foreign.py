"""Files that are there and are no source: what they are, and the way from them to one."""

from __future__ import annotations

from pathlib import Path

from ...errors import InputError

_POINTER = b"version https://git-lfs.github.com/spec/"
_ENGINE = "the .onnx file or the Python model that it was compiled from"
# What a file is, by suffix, and what to give instead.
_FOREIGN = {
    **dict.fromkeys((".engine", ".plan", ".trt"), ("an engine of TensorRT", _ENGINE)),
    ".xml": ("a compiled model of OpenVINO", _ENGINE),
    ".ort": ("a model in ONNX Runtime's own format", _ENGINE),
    **dict.fromkeys((".mlmodel", ".mlpackage"), ("a model of Core ML", _ENGINE)),
    ".tflite": ("a model of TensorFlow Lite", "an .onnx file made by tf2onnx"),
    **dict.fromkeys((".h5", ".keras", ".pb"), ("a model of TensorFlow or Keras", "an .onnx file made by tf2onnx")),
    **dict.fromkeys((".pdmodel", ".pdiparams"), ("a model of PaddlePaddle", "an .onnx file made by paddle2onnx")),
    ".ipynb": ("a notebook", "a Python file with model() and inputs(), as `edgepress init` writes one"),
}
_KINDS = "Give a Python file or module, a .pt2 program, an .onnx or .gguf file, or a Hugging Face model directory."


def refuse_foreign(spec: str) -> None:
    """Refuse a file of another framework, and one of which only a pointer is there.

    Raises:
        InputError: saying which.
    """
    path = Path(spec)
    if path.is_file() and path.stat().st_size < 1024 and path.read_bytes().startswith(_POINTER):
        raise InputError(
            f"{spec} is a pointer of git-lfs; the file itself was not fetched.",
            hint="Fetch it: git lfs pull, in the repository that it is of.",
        )
    if path.exists() and (known := _FOREIGN.get(path.suffix.lower())) is not None:
        raise InputError(f"{spec} is {known[0]}, from which nothing is exported.", hint=f"Give {known[1]}.")


def no_source(spec: str) -> InputError:
    """The error for what no kind of source takes."""
    if Path(spec).exists():
        return InputError(f"{spec} is not a model source.", hint=_KINDS)
    return InputError(f"{spec} is neither a file, a directory nor an importable Python module.", hint=_KINDS)

"""What onnxruntime says of a graph that it does not load, without where in its sources that arose."""

from __future__ import annotations

import re
from pathlib import Path

from ...errors import InputError

_WHERE = re.compile(
    r"^\[ONNXRuntimeError\] : \d+ : \w+ : (Load model from .*? failed: ?)?(/\S+\.(cc|h):\d+ [^\n]*\) )?"
)
_TOO_NEW = ("Unsupported model IR version", "is under development")


def unloaded(path: Path, message: str) -> InputError:
    """Of onnxruntime's own words, those behind its code and the place in its sources."""
    new = any(words in message for words in _TOO_NEW)
    return InputError(
        f"onnxruntime does not load {path.name}: {_WHERE.sub('', message).strip()}",
        hint="Export the model at an older opset." if new else "Replace the operator it names in the model.",
    )

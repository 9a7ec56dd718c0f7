"""What an export needs beyond the base install."""

from __future__ import annotations

from importlib.util import find_spec

from ...errors import UnservedError

MODULES = ("torch", "onnx", "onnx_ir", "onnxscript", "onnxruntime")


def require_host() -> None:
    """Say what is missing before anything is imported.

    Raises:
        UnservedError: a module of the `host` extra is not installed.
    """
    if missing := [name for name in MODULES if find_spec(name) is None]:
        raise UnservedError(
            f"Exporting needs {', '.join(missing)}, which this installation does not have.",
            hint="Install the host tools: pip install 'edgepress[host]'",
        )

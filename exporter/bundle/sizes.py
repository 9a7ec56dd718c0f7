"""Bytes of an engine by file, and of its graph by layer; nothing here needs onnx."""

from __future__ import annotations

from pathlib import Path

from ...backends._onnxsizes import weight_sizes
from ...profiles.findings.profile import SizeSplit


def size_split(graph: Path, engine: Path | None) -> SizeSplit:
    """What lies on disk.

    Args:
        engine: its file, beside which its others lie; None where it is not built.
    """
    weights = weight_sizes(graph)
    files = [] if engine is None else sorted(path for path in engine.parent.iterdir() if path.is_file())
    sizes = {path.name: path.stat().st_size for path in files}
    return SizeSplit(files=sizes, weights=weights.total, layers=weights.layers)

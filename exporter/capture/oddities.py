"""What a person should know of a captured model, although nothing is wrong with the capture."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from pathlib import Path

import numpy as np

from ...backends.base import Array
from ...profiles.findings.gap import Gap
from ..sources import Source
from .golden import Golden

# From this version of the format on, an initializer that is listed among the inputs is a default that a caller may
# override; before, all of them had to be listed.
_OVERRIDABLE_IR = 4


def oddities(source: Source, golden: Golden) -> tuple[Gap, ...]:
    """Outputs that do not depend on the inputs, and defaults of an ONNX file that are fixed from now on."""
    defaults = [] if source.onnx is None else _defaults(source.onnx)
    return (
        *(Gap(about="other", subject=f"constant {name}", why=_constant(name)) for name in _constants(golden)),
        *(Gap(about="other", subject=f"fixed {name}", why=_fixed(name)) for name in defaults),
    )


def _constant(name: str) -> str:
    return (
        f"Output {name!r} is the same for all inputs that it was proven with: it does not depend on them, or inputs of "
        "another range are needed; give calibration data of the real one."
    )


def _fixed(name: str) -> str:
    return (
        f"{name!r} has a default in the file that a caller could override; the engine has the default, fixed. Take it "
        "out of the initializers where it is to stay an input."
    )


def _constants(golden: Golden) -> Iterator[str]:
    for name in golden.outputs[0]:
        if _all_equal([outputs[name] for outputs in golden.outputs]):
            yield name


def _all_equal(arrays: Sequence[Array]) -> bool:
    """Whether arrays that have one shape are equal, of which there are at least two."""
    usual = [array for array in arrays if array.shape == arrays[-1].shape and array.size]
    return len(usual) > 1 and all(np.array_equal(usual[0], array) for array in usual[1:])


def _defaults(path: Path) -> list[str]:
    """Inputs of a file that are initializers too."""
    import onnx

    model = onnx.load(path, load_external_data=False)
    if model.ir_version < _OVERRIDABLE_IR:
        return []
    initializers = {tensor.name for tensor in model.graph.initializer}
    return [value.name for value in model.graph.input if value.name in initializers]

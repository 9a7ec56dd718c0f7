"""The example inputs and the free axes of a source, in the form in which torch's exporters take them."""

from __future__ import annotations

import inspect
from typing import Any

import numpy as np

from ...sources.base import Source
from ...sources.torch_module import by_keyword


def arguments(source: Source) -> dict[str, Any]:
    """The example inputs, as torch.onnx.export and torch.export take them."""
    import torch

    assert source.module is not None
    tensors = {n: torch.from_numpy(np.require(a, requirements=["C", "W"])) for n, a in source.inputs.items()}
    if by_keyword(source.module, list(tensors), "The inputs"):
        return {"args": (), "kwargs": tensors}
    return {"args": tuple(tensors.values())}


def dynamic_shapes(source: Source) -> Any:
    """Free axes in the form of the arguments; None leaves all sizes fixed."""
    assert source.module is not None
    if not source.dynamic:
        return None
    from torch.export import Dim

    shapes = {n: dict.fromkeys(source.dynamic.get(n, {}), Dim.DYNAMIC) for n in source.inputs}
    if by_keyword(source.module, list(shapes), "The inputs"):
        return shapes
    kinds = [p.kind for p in inspect.signature(source.module.forward).parameters.values()]
    listed = tuple(shapes.values())
    # `forward(self, *tensors)` has one parameter, a tuple.
    return (listed,) if kinds == [inspect.Parameter.VAR_POSITIONAL] else listed

"""ONNX operators that move, cut, count and reduce values, in torch."""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Any

import torch
from torch import Tensor
from torch.nn import functional

from .operators import Attributes, Inputs, operator

# TensorProto.DataType of what a captured network holds.
TYPES = {
    1: torch.float32,
    2: torch.uint8,
    3: torch.int8,
    6: torch.int32,
    7: torch.int64,
    9: torch.bool,
    10: torch.float16,
    11: torch.float64,
    16: torch.bfloat16,
}


def numbers(value: Any) -> list[int]:
    """The whole numbers of a tensor or a list."""
    return [int(each) for each in (value.reshape(-1).tolist() if isinstance(value, Tensor) else value)]


def _axes(inputs: Inputs, attributes: Attributes, index: int = 1) -> list[int] | None:
    """Axes of an input, or of an attribute as earlier opsets have them."""
    if len(inputs) > index and inputs[index] is not None:
        return numbers(inputs[index])
    given = attributes.get("axes")
    return None if given is None else numbers(given)


@operator("Reshape")
def _reshape(inputs: Inputs, attributes: Attributes) -> Any:
    wanted = numbers(inputs[1])
    if not attributes.get("allowzero"):
        wanted = [inputs[0].shape[axis] if size == 0 else size for axis, size in enumerate(wanted)]
    return inputs[0].reshape(wanted)


@operator("Flatten")
def _flatten(inputs: Inputs, attributes: Attributes) -> Any:
    axis = attributes.get("axis", 1)
    return inputs[0].reshape(math.prod(inputs[0].shape[:axis]), -1)


@operator("Transpose")
def _transpose(inputs: Inputs, attributes: Attributes) -> Any:
    return inputs[0].permute(list(attributes.get("perm", reversed(range(inputs[0].ndim)))))


@operator("Squeeze")
def _squeeze(inputs: Inputs, attributes: Attributes) -> Any:
    axes = _axes(inputs, attributes)
    return inputs[0].squeeze() if axes is None else inputs[0].squeeze(axes)


@operator("Unsqueeze")
def _unsqueeze(inputs: Inputs, attributes: Attributes) -> Any:
    x, axes = inputs[0], _axes(inputs, attributes) or []
    for axis in sorted(axis % (x.ndim + len(axes)) for axis in axes):
        x = x.unsqueeze(axis)
    return x


@operator("Concat")
def _concat(inputs: Inputs, attributes: Attributes) -> Any:
    return torch.cat(list(inputs), dim=attributes["axis"])


@operator("Split")
def _split(inputs: Inputs, attributes: Attributes) -> Any:
    axis = attributes.get("axis", 0)
    sizes = inputs[1] if len(inputs) > 1 and inputs[1] is not None else attributes.get("split")
    if sizes is not None:
        return inputs[0].split(numbers(sizes), axis)
    whole = inputs[0].shape[axis]
    return inputs[0].split(-(-whole // attributes["results"]), axis)


@operator("Slice")
def _slice(inputs: Inputs, attributes: Attributes) -> Any:
    x, starts, ends = inputs[0], numbers(inputs[1]), numbers(inputs[2])
    axes = numbers(inputs[3]) if len(inputs) > 3 and inputs[3] is not None else list(range(len(starts)))
    steps = numbers(inputs[4]) if len(inputs) > 4 and inputs[4] is not None else [1] * len(starts)
    for axis, start, end, step in zip(axes, starts, ends, steps, strict=True):
        chosen = range(*slice(start, end if end >= -x.shape[axis] or step > 0 else None, step).indices(x.shape[axis]))
        if step == 1:
            x = x.narrow(axis, chosen.start, len(chosen)) if len(chosen) else x.narrow(axis, 0, 0)
        else:
            x = x.index_select(axis, torch.tensor(list(chosen), dtype=torch.int64, device=x.device))
    return x


@operator("Gather")
def _gather(inputs: Inputs, attributes: Attributes) -> Any:
    x, index, axis = inputs[0], inputs[1].long(), attributes.get("axis", 0) % inputs[0].ndim
    index = torch.where(index < 0, index + x.shape[axis], index)
    return x.index_select(axis, index.reshape(-1)).reshape(*x.shape[:axis], *index.shape, *x.shape[axis + 1 :])


@operator("GatherElements")
def _gather_elements(inputs: Inputs, attributes: Attributes) -> Any:
    axis = attributes.get("axis", 0)
    index = inputs[1].long()
    return inputs[0].gather(axis, torch.where(index < 0, index + inputs[0].shape[axis], index))


@operator("Expand")
def _expand(inputs: Inputs, attributes: Attributes) -> Any:
    return torch.broadcast_to(inputs[0], _together(inputs[0].shape, numbers(inputs[1])))


def _together(one: Sequence[int], other: Sequence[int]) -> list[int]:
    """The shape that two shapes broadcast to, where each axis of the second may also be 1."""
    count = max(len(one), len(other))
    padded = ([1] * (count - len(shape)) + list(shape) for shape in (one, other))
    return [b if a == 1 else a for a, b in zip(*padded, strict=True)]


@operator("Tile")
def _tile(inputs: Inputs, attributes: Attributes) -> Any:
    return inputs[0].repeat(numbers(inputs[1]))


@operator("Pad")
def _pad(inputs: Inputs, attributes: Attributes) -> Any:
    x, pads = inputs[0], numbers(inputs[1])
    axes = _axes(inputs, {}, 3) or list(range(x.ndim))
    pairs = zip(pads[: len(axes)], pads[len(axes) :], strict=True)
    sides = dict(zip([axis % x.ndim for axis in axes], pairs, strict=True))
    first = min((axis for axis, pair in sides.items() if any(pair)), default=x.ndim - 1)
    flat = [side for axis in reversed(range(first, x.ndim)) for side in sides.get(axis, (0, 0))]
    asked = attributes.get("mode", "constant")
    mode = {"edge": "replicate", "reflect": "reflect", "constant": "constant"}.get(asked)
    if mode is None:
        raise NotImplementedError(f"a Pad that is called {asked}")
    value = float(inputs[2]) if len(inputs) > 2 and inputs[2] is not None else 0.0
    return functional.pad(x, flat, mode, value) if mode == "constant" else functional.pad(x, flat, mode)


@operator("DepthToSpace")
def _depth_to_space(inputs: Inputs, attributes: Attributes) -> Any:
    size = attributes["blocksize"]
    if attributes.get("mode", "DCR") == "CRD":
        return functional.pixel_shuffle(inputs[0], size)
    n, c, h, w = inputs[0].shape
    x = inputs[0].reshape(n, size, size, c // size**2, h, w).permute(0, 3, 4, 1, 5, 2)
    return x.reshape(n, c // size**2, h * size, w * size)


@operator("SpaceToDepth")
def _space_to_depth(inputs: Inputs, attributes: Attributes) -> Any:
    size, (n, c, h, w) = attributes["blocksize"], inputs[0].shape
    x = inputs[0].reshape(n, c, h // size, size, w // size, size).permute(0, 3, 5, 1, 2, 4)
    return x.reshape(n, c * size**2, h // size, w // size)


@operator("Resize")
def _resize(inputs: Inputs, attributes: Attributes) -> Any:
    x = inputs[0]
    scales = inputs[2] if len(inputs) > 2 and inputs[2] is not None and inputs[2].numel() else None
    sizes = numbers(inputs[3]) if len(inputs) > 3 and inputs[3] is not None else None
    if "axes" in attributes or x.ndim < 3:
        raise NotImplementedError("a Resize of chosen axes")
    wanted = sizes or [math.floor(size * float(s)) for size, s in zip(x.shape, scales, strict=True)]  # type: ignore[arg-type]
    mode, where = attributes.get("mode", "nearest"), attributes.get("coordinate_transformation_mode", "half_pixel")
    if wanted[:2] != list(x.shape[:2]):
        raise NotImplementedError("a Resize of the batch or the channels")
    if mode == "nearest":
        whole = all(new % old == 0 for new, old in zip(wanted[2:], x.shape[2:], strict=True))
        if not whole and (where != "asymmetric" or attributes.get("nearest_mode") != "floor"):
            raise NotImplementedError(f"a nearest Resize by {where} to sizes that are no multiples")
        return functional.interpolate(x, size=wanted[2:], mode="nearest")
    if where not in ("half_pixel", "pytorch_half_pixel", "align_corners") or attributes.get("antialias"):
        raise NotImplementedError(f"a Resize by {where}")
    kind = {("linear", 3): "linear", ("linear", 4): "bilinear", ("cubic", 4): "bicubic"}.get((mode, x.ndim))
    if kind is None:
        raise NotImplementedError(f"a {mode} Resize of {x.ndim} axes")
    return functional.interpolate(x, size=wanted[2:], mode=kind, align_corners=where == "align_corners")


@operator("ReduceMean", "ReduceSum", "ReduceMax", "ReduceMin", "ReduceL2", "ReduceProd", "ReduceSumSquare")
def _reduce(inputs: Inputs, attributes: Attributes) -> Any:
    x, axes = inputs[0], _axes(inputs, attributes)
    if axes is None or not axes:
        if attributes.get("noop_with_empty_axes"):
            return x
        axes = list(range(x.ndim))
    keep, kind = bool(attributes.get("keepdims", 1)), attributes["op_type"]
    if kind == "ReduceProd":
        for axis in sorted((axis % x.ndim for axis in axes), reverse=True):
            x = x.prod(dim=axis, keepdim=keep)
        return x
    function: Any = {
        "ReduceMean": torch.mean,
        "ReduceSum": torch.sum,
        "ReduceMax": torch.amax,
        "ReduceMin": torch.amin,
        "ReduceL2": torch.linalg.vector_norm,
        "ReduceSumSquare": lambda value, dim, keepdim: value.square().sum(dim=dim, keepdim=keepdim),
    }[kind]
    return function(x, dim=axes, keepdim=keep)


@operator("ArgMax")
def _arg_max(inputs: Inputs, attributes: Attributes) -> Any:
    return inputs[0].argmax(dim=attributes.get("axis", 0), keepdim=bool(attributes.get("keepdims", 1)))


@operator("TopK")
def _top_k(inputs: Inputs, attributes: Attributes) -> Any:
    (count,) = numbers(inputs[1])
    largest = bool(attributes.get("largest", 1))
    return tuple(torch.topk(inputs[0], count, attributes.get("axis", -1), largest, bool(attributes.get("sorted", 1))))


@operator("CumSum")
def _cum_sum(inputs: Inputs, attributes: Attributes) -> Any:
    if attributes.get("exclusive") or attributes.get("reverse"):
        raise NotImplementedError("a CumSum that is exclusive or reversed")
    return inputs[0].cumsum(numbers(inputs[1])[0])


@operator("Trilu")
def _trilu(inputs: Inputs, attributes: Attributes) -> Any:
    diagonal = numbers(inputs[1])[0] if len(inputs) > 1 and inputs[1] is not None else 0
    return (torch.triu if attributes.get("upper", 1) else torch.tril)(inputs[0], diagonal)


@operator("Shape")
def _shape(inputs: Inputs, attributes: Attributes) -> Any:
    shape = inputs[0].shape[slice(attributes.get("start", 0), attributes.get("end"))]
    return torch.tensor(list(shape), dtype=torch.int64)


@operator("Size")
def _size(inputs: Inputs, attributes: Attributes) -> Any:
    return torch.tensor(inputs[0].numel(), dtype=torch.int64)


@operator("Range")
def _range(inputs: Inputs, attributes: Attributes) -> Any:
    start, limit, delta = (value.item() for value in inputs)
    return torch.arange(start, limit, delta, dtype=inputs[0].dtype, device=inputs[0].device)


@operator("ConstantOfShape")
def _constant_of_shape(inputs: Inputs, attributes: Attributes) -> Any:
    value = attributes.get("value", torch.zeros(1))
    return torch.full(numbers(inputs[0]), value.item(), dtype=value.dtype)


@operator("Constant")
def _constant(inputs: Inputs, attributes: Attributes) -> Any:
    for name in ("value_int", "value_ints", "value_float", "value_floats"):
        if name in attributes:
            return torch.tensor(attributes[name], dtype=torch.int64 if "int" in name else torch.float32)
    return attributes["value"]


@operator("Cast")
def _cast(inputs: Inputs, attributes: Attributes) -> Any:
    if attributes["to"] not in TYPES:
        raise NotImplementedError(f"a Cast to type {attributes['to']}")
    return inputs[0].to(TYPES[attributes["to"]])


@operator("CastLike")
def _cast_like(inputs: Inputs, attributes: Attributes) -> Any:
    return inputs[0].to(inputs[1].dtype)

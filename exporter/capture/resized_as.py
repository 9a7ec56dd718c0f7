"""What the captured preprocessing does to pixels, held against Pillow and OpenCV.

A network is trained with one library's resize and runs behind another's: the same name, "bilinear", is an average over
many pixels in Pillow and an interpolation between four in OpenCV. The comparison needs no knowledge of what
`preprocess` is: a made-up picture goes through the captured nodes and through each library's ways of resizing, and what
is left after the best scale and offset of each channel (mean, std, division) is what they differ by.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from importlib import import_module
from importlib.util import find_spec
from typing import TYPE_CHECKING, Any

import numpy as np
import numpy.typing as npt

from ...backends.base import Array, Feed, Graph
from ...backends.places import Reference
from ...calibration.images import scaled_size
from ...profiles.findings.evidence import Evidence
from ...profiles.machine.environment import installed
from ..sources.parts import AROUND

if TYPE_CHECKING:
    import onnx_ir as ir

Pixels = npt.NDArray[np.float64]
PIL_WAYS = ("NEAREST", "BOX", "BILINEAR", "HAMMING", "BICUBIC", "LANCZOS")
OPENCV_WAYS = ("INTER_NEAREST", "INTER_NEAREST_EXACT", "INTER_LINEAR", "INTER_CUBIC", "INTER_AREA", "INTER_LANCZOS4")
# Pillow rounds to whole levels behind each of its two passes, and OpenCV computes in integers of 11 bits: torch's own
# ways, in float, are 0.5 to 1.02 levels from theirs.
EQUAL_LEVELS = 1.5
_WITHOUT_OPENCV = " OpenCV is not installed here, and was not compared (pip install 'edgepress[vision]')."


@dataclass(frozen=True, slots=True, kw_only=True)
class ResizeMatch:
    """How far the result is from one way of resizing.

    Attributes:
        library: `Pillow` or `OpenCV`.
        way: as the library calls it.
        fit: `stretch`, `letterbox` or `crop`.
        most, mean: difference of a pixel in grey levels of 255.
        reversed: the channels come out in the other order.
    """

    library: str
    way: str
    fit: str
    most: float
    mean: float
    reversed: bool


def resize_evidence(graph: Graph, feed: Feed, machine: str) -> tuple[Evidence, ...]:
    """What the captured `preprocess()` is equal to; nothing where no image in bytes goes in or no image comes out.

    Args:
        feed: any; its shapes are taken for the made-up picture.
        machine: in words.
    """
    given = _image(feed)
    inner = _boundary(graph) if given is not None and find_spec("PIL") else None
    if given is None or inner is None:
        return ()
    name, last = given
    picture = _picture(feed[name].shape if last else tuple(feed[name].shape[i] for i in (0, 2, 3, 1)))
    made = {**feed, name: picture if last else np.ascontiguousarray(picture.transpose(0, 3, 1, 2))}
    with Reference().values(graph.path, [inner]) as values:
        result = values(made, [inner])[inner]
    planes = _channels_last(result, picture.shape[-1])
    if planes is None:
        return ()
    return (_evidence(picture[0], planes[0].astype(np.float64), machine),)


def likenesses(picture: Array, result: Pixels) -> list[ResizeMatch]:
    """Every way of resizing that both libraries have, the nearest first.

    Args:
        picture: [H, W, C] uint8.
        result: [h, w, C], of any scale and offset by channel.
    """
    found = []
    sizes: set[tuple[int, int]] = set()
    for fit in ("stretch", "letterbox", "crop"):
        size = scaled_size((picture.shape[0], picture.shape[1]), (result.shape[0], result.shape[1]), fit)
        if size in sizes:
            continue
        sizes.add(size)
        for library, way, resized in _resized(picture, size):
            reference, seen = _overlapping(resized.astype(np.float64), result)
            for flipped in (False, True)[: 2 if picture.shape[-1] > 1 else 1]:
                most, mean = _difference(reference[:, :, ::-1] if flipped else reference, seen)
                found.append(ResizeMatch(library=library, way=way, fit=fit, most=most, mean=mean, reversed=flipped))
    return sorted(found, key=lambda one: (one.mean, one.most))


def _evidence(picture: Array, result: Pixels, machine: str) -> Evidence:
    found = likenesses(picture, result)
    tools = [f"onnxruntime {installed('onnxruntime')}", f"pillow {installed('pillow')}"]
    claim = _claim(picture, result, found)
    if (opencv := _opencv()) is not None:
        tools.append(f"opencv {opencv.__version__}")
    else:
        claim += _WITHOUT_OPENCV
    return Evidence(about="graph", claim=claim, kind="emulated", tool=", ".join(tools), machine=machine)


def _claim(picture: Array, result: Pixels, found: list[ResizeMatch]) -> str:
    best = found[0]
    order = ", and exchanges red and blue" if best.reversed else ""
    if picture.shape[:2] == result.shape[:2]:
        if best.most <= EQUAL_LEVELS:
            return f"preprocess() does not resize: each pixel is a scale and an offset of its bytes{order}."
        return f"preprocess() does not resize, and changes pixels otherwise than by a scale and an offset{order}."
    sizes = f"{picture.shape[1]}x{picture.shape[0]} to {result.shape[1]}x{result.shape[0]} ({best.fit})"
    others = {one.library: one for one in reversed(found) if one.library != best.library}
    compared = " or ".join(f"{name}'s" for name in sorted({one.library for one in found}, reverse=True))
    beside = "".join(f" The nearest of {name}'s is {one.way}, {_off(one)}." for name, one in others.items())
    if best.most <= EQUAL_LEVELS:
        return f"preprocess() resizes {sizes} as {best.library}'s {best.way}, {_off(best)}{order}.{beside}"
    return (
        f"preprocess() makes {sizes} in a way that is none of {compared}: the nearest is {best.library}'s "
        f"{best.way}, {_off(best)}{order}.{beside}"
    )


def _off(one: ResizeMatch) -> str:
    return f"up to {one.most:.1f} grey levels of 255 off on a made-up picture, {one.mean:.2f} in the mean"


def _image(feed: Feed) -> tuple[str, bool] | None:
    """The one image in bytes, and whether its channels come last."""
    able = [(n, a) for n, a in feed.items() if a.dtype == np.uint8 and a.ndim == 4 and a.size]
    if len(able) != 1:
        return None
    name, array = able[0]
    axis = next((axis for axis in (3, 1) if array.shape[axis] in (1, 3)), None)
    return None if axis is None else (name, axis == 3)


def _boundary(graph: Graph) -> str | None:
    """The one value that the network takes of `preprocess()`."""
    import onnx_ir as ir

    model = ir.load(graph.path)
    outputs = set(model.graph.outputs)
    leaving = [
        value
        for node in model.graph
        if _is_before(node)
        for value in node.outputs
        if value not in outputs and any(not _is_before(use.node) for use in value.uses())
    ]
    return str(leaving[0].name) if len(leaving) == 1 else None


def _is_before(node: ir.Node) -> bool:
    return (node.name or "").startswith(AROUND[0])


def _channels_last(result: Array, channels: int) -> Array | None:
    if result.ndim != 4 or result.dtype.kind != "f":
        return None
    if result.shape[1] == channels:
        return result.transpose(0, 2, 3, 1)
    return result if result.shape[3] == channels else None


def _picture(shape: tuple[int, ...]) -> Array:
    """Patches with sharp edges, and noise on them, which every way of resizing treats differently."""
    rng = np.random.default_rng(0)
    batch, height, width, channels = shape
    coarse = rng.integers(30, 226, (batch, -(-height // 8), -(-width // 8), channels))
    patches = coarse.repeat(8, 1).repeat(8, 2)[:, :height, :width]
    return np.asarray((patches + rng.integers(-20, 21, shape)).clip(0, 255), np.uint8)


def _resized(picture: Array, size: tuple[int, int]) -> Iterator[tuple[str, str, Array]]:
    from PIL import Image

    height, width = size
    image = Image.fromarray(picture.squeeze(-1) if picture.shape[-1] == 1 else picture)
    for way in PIL_WAYS:
        yield "Pillow", way, _axes(np.asarray(image.resize((width, height), Image.Resampling[way])), picture)
    if (opencv := _opencv()) is None:
        return
    for way in OPENCV_WAYS:
        resized = opencv.resize(picture, (width, height), interpolation=getattr(opencv, way))
        yield "OpenCV", way, _axes(resized, picture)


def _opencv() -> Any:
    """OpenCV's module; None where it is not installed."""
    return import_module("cv2") if find_spec("cv2") else None


def _axes(resized: Array, picture: Array) -> Array:
    return resized.reshape(*resized.shape[:2], picture.shape[-1])


def _overlapping(resized: Pixels, result: Pixels) -> tuple[Pixels, Pixels]:
    """What both show, each being in the middle of the other where they are of different sizes."""
    sides: list[tuple[slice, slice]] = []
    for axis in (0, 1):
        have, want = resized.shape[axis], result.shape[axis]
        start, size = abs(have - want) // 2, min(have, want)
        inside = slice(start, start + size)
        sides.append((inside, slice(None)) if have > want else (slice(None), inside))
    (top, down), (left, right) = sides
    return resized[top, left], result[down, right]


def _difference(reference: Pixels, seen: Pixels) -> tuple[float, float]:
    """Largest and mean difference in levels, behind the best scale and offset of each channel."""
    levels = np.empty_like(reference)
    for channel in range(reference.shape[-1]):
        x, y = reference[:, :, channel], seen[:, :, channel]
        spread = float(((x - x.mean()) ** 2).mean())
        scale = float(((x - x.mean()) * (y - y.mean())).mean()) / spread if spread else 0.0
        levels[:, :, channel] = (y - y.mean()) / scale + x.mean() - x if abs(scale) > np.finfo(np.float32).tiny else 255
    off = np.abs(levels)
    return float(off.max()), float(off.mean())

"""Pictures as calibration data: read, turned upright, and brought to the size that the engine takes."""

from __future__ import annotations

import hashlib
from collections import Counter
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from functools import lru_cache
from pathlib import Path
from typing import TYPE_CHECKING, Literal, TypeAlias

import numpy as np

from ..backends.base import Array, Feed, TensorSpec
from ..errors import InputError, UnservedError

if TYPE_CHECKING:
    from PIL.Image import Image

SUFFIXES = (".jpg", ".jpeg", ".png", ".bmp", ".webp", ".tif", ".tiff", ".ppm", ".pgm", ".gif")
Fit: TypeAlias = Literal["stretch", "letterbox", "crop"]
Size: TypeAlias = tuple[int, int]
# What PIL calls pictures of more than 8 bits a channel, which a conversion to bytes would clip.
_DEEP = ("I", "F", "I;16", "I;16B", "I;16L", "I;16N")
_ORIENTATION = 0x0112
_LISTED = 5


@dataclass(frozen=True, slots=True, kw_only=True)
class Reading:
    """How pictures become what the engine takes.

    Attributes:
        fit: what is done with those of another size; None refuses them.
        fill: around a letterboxed one, 0..255.
        bgr: the engine takes the channels as OpenCV orders them.
    """

    fit: Fit | None = None
    fill: int = 114
    bgr: bool = False


@dataclass(frozen=True, slots=True, kw_only=True)
class ImageInput:
    """The input of an engine that takes pictures.

    Attributes:
        sides: height and width; one given by name is free.
        channels: 1 or 3.
        last: the channels come last.
    """

    name: str
    sides: tuple[int | str, int | str]
    channels: int
    last: bool

    @property
    def size(self) -> Size | None:
        """Height and width; None where one is free."""
        height, width = self.sides
        return (height, width) if isinstance(height, int) and isinstance(width, int) else None


@dataclass(frozen=True, slots=True, kw_only=True)
class Picture:
    """A file of a picture, as its header says.

    Attributes:
        size: height and width, upright.
        turned: its EXIF data say that it was taken with the camera turned.
    """

    path: Path
    size: Size
    format: str
    turned: bool


@dataclass(frozen=True, slots=True, kw_only=True)
class Pictures:
    """A directory of pictures for an input.

    Attributes:
        files: in the order in which they are read: that of digests of their names, which mixes directories of classes.
        size: height and width that the engine takes; None where they are free.
        channels: 1 or 3.
        last: the channels come last.
        batch: pictures a feed, all of one size.
        rest: pictures at the end that no whole batch of a fixed size is made of.
    """

    name: str
    files: tuple[Picture, ...]
    size: Size | None
    channels: int
    last: bool
    batch: int
    rest: int
    reading: Reading

    def feeds(self) -> Iterator[Feed]:
        """The pictures in batches.

        Raises:
            InputError: a file whose header was whole is not.
        """
        used = self.files[: len(self.files) - self.rest]
        for start in range(0, len(used), self.batch):
            yield {self.name: np.stack([self.array(picture) for picture in used[start : start + self.batch]])}

    def array(self, picture: Picture) -> Array:
        """One picture as the engine takes it, without the axis of the batch: uint8."""
        image = fitted(upright(picture.path, self.channels), self.size, self.reading)
        pixels = np.asarray(image).reshape(image.height, image.width, self.channels)
        if self.reading.bgr and self.channels > 1:
            pixels = pixels[:, :, ::-1]
        return np.ascontiguousarray(pixels if self.last else pixels.transpose(2, 0, 1))

    def __str__(self) -> str:
        formats = ", ".join(f"{count} {name}" for name, count in Counter(p.format for p in self.files).most_common())
        said = [f"{len(self.files)} pictures were read ({formats})"]
        if turned := sum(picture.turned for picture in self.files):
            said.append(f"{turned} were turned upright as their EXIF data say")
        if self.size and (others := sum(picture.size != self.size for picture in self.files)):
            ways = {"stretch": "stretched", "letterbox": "letterboxed", "crop": "cropped"}
            said.append(f"{others} of another size were {ways[self.reading.fit or 'stretch']} to {_said(self.size)}")
        if self.rest:
            said.append(f"{self.rest} were left out, as the batch is fixed to {self.batch}")
        return "; ".join(said) + "."


def holds_pictures(path: Path) -> bool:
    """A directory in or below which are pictures, and no arrays beside them."""
    return path.is_dir() and not any(f.suffix in (".npz", ".npy") for f in path.iterdir()) and any(files_in(path))


def pictures(path: Path, specs: Sequence[TensorSpec], batch: int, reading: Reading) -> Pictures:
    """The pictures of a directory for a model whose one input takes them; only headers are read here.

    Args:
        specs: the model's inputs.
        batch: pictures a feed, where the first axis is free.

    Raises:
        InputError: no input in bytes, files that are no pictures, or pictures of another size and no `fit`.
        UnservedError: Pillow is not installed.
    """
    taken = image_input(f"{path} holds pictures; the model", specs)
    first, size = specs[0].shape[0], taken.size
    files = headers(sorted(files_in(path), key=lambda file: _digest(file.relative_to(path))))
    if size and reading.fit is None and (others := [picture for picture in files if picture.size != size]):
        raise _sizes_differ(path, others, len(files), size)
    each = first if isinstance(first, int) else batch if size else 1
    rest = len(files) % each if isinstance(first, int) else 0
    if rest == len(files):
        raise InputError(f"{path} holds {len(files)} pictures; the model takes {each} at a time.")
    return Pictures(
        name=taken.name,
        files=files,
        size=size,
        channels=taken.channels,
        last=taken.last,
        batch=each,
        rest=rest,
        reading=reading,
    )


def upright(path: Path, channels: int) -> Image:
    """A picture in RGB or grey, as it is to be seen.

    Raises:
        InputError: it is damaged.
    """
    from PIL import ImageOps

    with _opened(path) as image:
        try:
            image.load()
        except (OSError, SyntaxError, ValueError) as error:
            raise _damaged(path, error) from error
        return ImageOps.exif_transpose(image).convert("L" if channels == 1 else "RGB")


def fitted(image: Image, size: Size | None, reading: Reading) -> Image:
    """A picture in a size, by PIL's bilinear, which averages where it makes smaller."""
    from PIL import Image as Images

    given = (image.height, image.width)
    if size is None or given == size or reading.fit is None:
        return image
    left, top, width, height = placed(given, size, reading.fit)
    scaled = image.resize((width, height), Images.Resampling.BILINEAR)
    if reading.fit == "crop":
        return scaled.crop((-left, -top, size[1] - left, size[0] - top))
    if reading.fit == "stretch":
        return scaled
    fill = reading.fill if image.mode == "L" else (reading.fill,) * 3
    canvas = Images.new(image.mode, (size[1], size[0]), fill)
    canvas.paste(scaled, (left, top))
    return canvas


def placed(image: Size, wanted: Size, fit: Fit) -> tuple[int, int, int, int]:
    """Left, top, width and height of a fitted image in the wanted size; left and top of a cropped one are below 0."""
    height, width = scaled_size(image, wanted, fit)
    sign = -1 if fit == "crop" else 1
    return sign * (abs(wanted[1] - width) // 2), sign * (abs(wanted[0] - height) // 2), width, height


def scaled_size(image: Size, wanted: Size, fit: str) -> Size:
    """Height and width to which an image is resized, before it is padded or cropped to the wanted size."""
    if fit == "stretch":
        return wanted
    scales = wanted[0] / image[0], wanted[1] / image[1]
    scale = min(scales) if fit == "letterbox" else max(scales)
    height, width = (max(1, round(side * scale)) for side in image)
    return (height, width)


def files_in(path: Path) -> Iterator[Path]:
    """Files in or below a directory whose names say that they are pictures."""
    return (file for file in path.rglob("*") if file.suffix.lower() in SUFFIXES and file.is_file())


def _digest(name: Path) -> bytes:
    return hashlib.sha256(name.as_posix().encode("utf-8", "surrogateescape")).digest()


def image_input(who: str, specs: Sequence[TensorSpec]) -> ImageInput:
    """The one input of a model, where it takes images in bytes.

    Args:
        who: takes it, as a message begins.
        specs: all of its inputs.

    Raises:
        InputError: it takes something else.
    """
    spec = specs[0]
    last = next((axis == 3 for axis in (3, 1) if len(spec.shape) == 4 and spec.shape[axis] in (1, 3)), None)
    if len(specs) != 1 or spec.dtype != "uint8" or last is None:
        listed = ", ".join(f"{s.name} {s.dtype} {s}" for s in specs)
        raise InputError(
            f"{who} takes {listed}, and no image in bytes alone.",
            hint="Add preprocess() to the model file, or [preprocess] to the recipe, which takes uint8 images.",
        )
    height, width = spec.shape[1:3] if last else spec.shape[2:4]
    return ImageInput(name=spec.name, sides=(height, width), channels=int(spec.shape[3 if last else 1]), last=last)


def headers(files: Iterable[Path]) -> tuple[Picture, ...]:
    """What the headers of files say, in the files' order.

    Raises:
        InputError: some have none that is whole; all of them are told of together.
    """
    found = [_header_or_fault(path) for path in files]
    damaged = [one for one in found if isinstance(one, InputError)]
    if damaged:
        more = f"\n  and {len(damaged) - _LISTED} more" if len(damaged) > _LISTED else ""
        listed = "".join(f"\n  {error.message}" for error in damaged[:_LISTED])
        raise InputError(f"{len(damaged)} pictures cannot be read:{listed}{more}", hint=damaged[0].hint)
    return tuple(one for one in found if isinstance(one, Picture))


def _header_or_fault(path: Path) -> Picture | InputError:
    try:
        stat = path.stat()
        return _header(path, stat.st_mtime_ns, stat.st_size)
    except InputError as error:
        return error


@lru_cache(maxsize=1 << 16)
def _header(path: Path, changed: int, size: int) -> Picture:
    """What a file's header says; read once while the file stays as it is, since several steps ask."""
    with _opened(path) as image:
        if (deep := _deep(image)) is not None:
            raise InputError(
                f"{path} has more than 8 bits a channel ({deep}); an engine that takes bytes gets no such image.",
                hint="Convert it as the camera's driver would, or take it out.",
            )
        # Orientations 5 to 8 exchange the sides (EXIF 2.32, tag 274).
        try:
            orientation = image.getexif().get(_ORIENTATION, 1)
        except (OSError, SyntaxError, ValueError) as error:  # a PNG is read to its end for them
            raise _damaged(path, error) from error
        sides = (image.height, image.width)
        upright = (sides[1], sides[0]) if orientation in (5, 6, 7, 8) else sides
        return Picture(path=path, size=upright, format=image.format or "?", turned=orientation not in (0, 1))


def _deep(image: Image) -> str | None:
    """What PIL calls more than 8 bits a channel, in memory or, where it would drop the lower ones, in the file."""
    if image.mode in _DEEP:
        return image.mode
    packed = (
        part for tile in getattr(image, "tile", ()) for part in (tile[3] if isinstance(tile[3], tuple) else (tile[3],))
    )
    return next((part for part in packed if isinstance(part, str) and ";16" in part), None)


def _opened(path: Path) -> Image:
    try:
        from PIL import Image as Images
        from PIL import UnidentifiedImageError
    except ImportError as error:
        raise UnservedError(
            "Pictures need Pillow, which this installation does not have.", hint="pip install pillow"
        ) from error
    try:
        return Images.open(path)
    except (UnidentifiedImageError, OSError, SyntaxError, ValueError, Images.DecompressionBombError) as error:
        raise _damaged(path, error) from error


def _damaged(path: Path, error: Exception) -> InputError:
    said = f"{error}".replace(f"{str(path)!r}", "it")
    return InputError(f"{path}: {said or type(error).__name__}.", hint="Take it out, or copy it again.")


def _sizes_differ(path: Path, others: Sequence[Picture], count: int, size: Size) -> InputError:
    listed = ", ".join(f"{picture.path.name} {_said(picture.size)}" for picture in others[:_LISTED])
    more = f" and {len(others) - _LISTED} more" if len(others) > _LISTED else ""
    return InputError(
        f"{len(others)} of {count} pictures in {path} are not {_said(size)}, which the engine takes: {listed}{more}.",
        hint="Say how they are fitted with --fit stretch, letterbox or crop, or give pictures as the camera will.",
    )


def _said(size: Size) -> str:
    return f"{size[1]}x{size[0]}"

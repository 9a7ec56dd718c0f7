"""The pictures of a demo: which files, and how an engine gets them."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from pydantic import ValidationError

from ...backends.base import AxisRange, Feed
from ...calibration.images import Fit, ImageInput, Picture, Pictures, Reading, Size, files_in, headers, image_input
from ...errors import InputError, as_text
from ...profiles.reading.validator import first_fault, value_of
from ..bundle.manifest import Bundle
from ..recipe import PreprocessSettings, reading_of
from .fitting import Fitting

_LISTED = 5
_WAYS = {"stretch": "stretched", "letterbox": "letterboxed", "crop": "cropped"}


@dataclass(frozen=True, slots=True, kw_only=True)
class _Fits:
    """What a recipe says of pictures of another size."""

    fit: Fit


@dataclass(frozen=True, slots=True, kw_only=True)
class NamedPicture:
    """A picture with its name below the directory that was given."""

    name: str
    picture: Picture


@dataclass(frozen=True, slots=True, kw_only=True)
class Taking:
    """How an engine gets pictures.

    Attributes:
        copies: of a picture that fill the smallest batch.
        ranges: of height and width; a fixed one's ends are equal, and one of None is not known.
    """

    image: ImageInput
    reading: Reading
    copies: int
    ranges: tuple[tuple[int, int] | None, tuple[int, int] | None]

    def feed(self, picture: Picture) -> Feed:
        """One picture as a batch."""
        import numpy as np

        array = self._pictures(picture).array(picture)
        return {self.image.name: np.stack([array] * self.copies)}

    def fitting(self, size: Size) -> Fitting:
        """Where a picture of a size lies in what the engine takes."""
        return Fitting.of(size, self.image.size, self.reading.fit)

    def why_not(self, size: Size) -> str:
        """Why a picture of a size is not taken, one clause; empty where it is."""
        if self.image.size is not None and (self.reading.fit is not None or size == self.image.size):
            return ""
        for side, found, allowed in zip(("high", "wide"), size, self.ranges, strict=True):
            if allowed is not None and not allowed[0] <= found <= allowed[1]:
                low, high = allowed
                return f"is {found} pixels {side}; the engine takes {low if low == high else f'{low} to {high}'}"
        return ""

    def __str__(self) -> str:
        """What is done with pictures of another size."""
        if self.image.size is None:
            return "pictures are taken in their own size"
        height, width = self.image.size
        how = _WAYS[self.reading.fit] if self.reading.fit else "taken as they are, if they have that size"
        return f"pictures are {how}{' to' if self.reading.fit else ':'} {width}x{height}"

    def _pictures(self, picture: Picture) -> Pictures:
        image = self.image
        return Pictures(
            name=image.name,
            files=(picture,),
            size=image.size,
            channels=image.channels,
            last=image.last,
            batch=1,
            rest=0,
            reading=self.reading,
        )


def given_pictures(paths: Sequence[Path], most: int) -> tuple[tuple[NamedPicture, ...], int]:
    """The pictures in files and directories, and how many more there are.

    Raises:
        InputError: there is no such file, a directory holds none, or some are damaged.
    """
    named = [pair for path in paths for pair in _files(path)]
    shown = named[:most]
    found = headers([path for _, path in shown])
    pairs = zip(shown, found, strict=True)
    return tuple(NamedPicture(name=name, picture=one) for (name, _), one in pairs), len(named) - len(shown)


def taking_of(bundle: Bundle, fit: Fit | None) -> Taking:
    """How a bundle's engine gets pictures.

    Raises:
        InputError: it takes no image in bytes, or its recipe is not one.
    """
    model = bundle.manifest.model
    image = image_input(f"Pictures are given in bytes; {bundle.path}", model.inputs)
    first = model.inputs[0].shape[0]
    return Taking(
        image=image,
        reading=_reading(bundle, fit),
        copies=(_range(first, model.axes) or (1, 1))[0],
        ranges=(_range(image.sides[0], model.axes), _range(image.sides[1], model.axes)),
    )


def check_sizes(given: Sequence[NamedPicture], taking: Taking, who: Path) -> None:
    """Refuse pictures that the engine does not take, before any is run.

    Raises:
        InputError: naming them.
    """
    faults = [f"{one.picture.path} {why}" for one in given if (why := taking.why_not(one.picture.size))]
    if faults:
        more = f"\n  and {len(faults) - _LISTED} more" if len(faults) > _LISTED else ""
        free = taking.image.size is None
        raise InputError(
            f"{len(faults)} of {len(given)} pictures do not fit {who}:" + "".join(f"\n  {f}" for f in faults[:_LISTED])
            + more,
            hint="Resize them, or export with a wider range: --axis NAME=MIN:USUAL:MAX." if free else
            "Say how they are fitted with --fit stretch, letterbox or crop, or give pictures as the camera will.",
        )  # fmt: skip


def _files(path: Path) -> Iterator[tuple[str, Path]]:
    if path.is_file():
        yield as_text(path.name), path
        return
    if not path.is_dir():
        raise InputError(f"{path} does not exist.", hint="Give image files, or directories of them.")
    found = sorted(files_in(path))
    if not found:
        raise InputError(f"{path} holds no pictures.", hint="Give image files, or directories of them.")
    for file in found:
        yield as_text(file.relative_to(path).as_posix()), file


def _reading(bundle: Bundle, fit: Fit | None) -> Reading:
    recipe = bundle.manifest.recipe
    said, own = recipe.get("preprocess"), recipe.get("fit")
    try:
        settings = None if said is None else value_of(PreprocessSettings, said)
        return reading_of(fit or (None if own is None else value_of(_Fits, {"fit": own}).fit), settings)
    except ValidationError as error:
        raise InputError(f"{bundle.path}: its recipe is none: {first_fault(error)}.") from error


def _range(size: int | str, axes: Mapping[str, AxisRange]) -> tuple[int, int] | None:
    if isinstance(size, int):
        return size, size
    return (axes[size].smallest, axes[size].largest) if size in axes else None

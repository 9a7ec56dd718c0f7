"""What engines gave for pictures, and how far two of them agree, as plain data: `demo.json`."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

DrawnAs = Literal["boxes", "classes", "masks"]
KINDS: tuple[DrawnAs, ...] = ("boxes", "classes", "masks")
SCHEMA = 1
FILE = "demo.json"


@dataclass(frozen=True, slots=True, kw_only=True)
class Box:
    """One box.

    Attributes:
        corners: left, top, right and bottom in pixels of the upright picture.
        label: number of its class; None where the engine gives none.
    """

    corners: tuple[float, float, float, float]
    score: float
    label: int | None
    name: str


@dataclass(frozen=True, slots=True, kw_only=True)
class Boxes:
    """The boxes of a picture, from the best down.

    Attributes:
        shown: those with at least the score that was asked for.
        faint: the others.
    """

    kind: Literal["boxes"] = "boxes"
    shown: tuple[Box, ...]
    faint: tuple[Box, ...]


@dataclass(frozen=True, slots=True, kw_only=True)
class Ranked:
    """A class and its score, 0..1."""

    label: int
    name: str
    score: float


@dataclass(frozen=True, slots=True, kw_only=True)
class Classes:
    """The best classes of a picture, from the best down.

    Attributes:
        how: `softmax` of what the engine gives, or `as given`, where all of it lies within 0..1.
    """

    kind: Literal["classes"] = "classes"
    top: tuple[Ranked, ...]
    how: Literal["softmax", "as given"]


@dataclass(frozen=True, slots=True, kw_only=True)
class Region:
    """Where a mask has one class; `share` is of the picture, 0..1."""

    label: int
    name: str
    share: float


@dataclass(frozen=True, slots=True, kw_only=True)
class Masks:
    """The mask of a picture, the largest region first; `unseen` is the share of the picture that was cropped away."""

    kind: Literal["masks"] = "masks"
    regions: tuple[Region, ...]
    unseen: float


Answer = Boxes | Classes | Masks


@dataclass(frozen=True, slots=True, kw_only=True)
class Lone:
    """A box that only one of two engines shows.

    Attributes:
        box: its place among those shown, from 0.
        faint: score of the box that the other one has there below what was asked for; None where it has none.
    """

    box: int
    faint: float | None


@dataclass(frozen=True, slots=True, kw_only=True)
class BoxesAgreement:
    """Boxes of two engines, matched by intersection over union.

    Attributes:
        matched: pairs that cover each other by at least half.
        iou: of each pair.
        same_class: how many pairs are of one class.
        score: largest difference of the scores of a pair; None without one.
        only_first, only_second: boxes that are in no pair.
    """

    kind: Literal["boxes"] = "boxes"
    matched: int
    iou: tuple[float, ...]
    same_class: int
    score: float | None
    only_first: tuple[Lone, ...]
    only_second: tuple[Lone, ...]


@dataclass(frozen=True, slots=True, kw_only=True)
class ClassesAgreement:
    """Scores of two engines.

    Attributes:
        same_first: both have the same best class.
        common: classes that both have among their best, of `of`.
        score: largest difference of a class's score, among all classes.
    """

    kind: Literal["classes"] = "classes"
    same_first: bool
    common: int
    of: int
    score: float


@dataclass(frozen=True, slots=True, kw_only=True)
class Overlap:
    """Pixels that one of two masks, or both, give to a class."""

    label: int
    name: str
    both: int
    either: int

    @property
    def iou(self) -> float:
        """Intersection over union."""
        return self.both / self.either


@dataclass(frozen=True, slots=True, kw_only=True)
class MasksAgreement:
    """Masks of two engines, counted in pixels of the picture as it is drawn, where both saw it.

    Attributes:
        same: pixels that both give to one class, of `of`.
        overlaps: by class, of those that at least one of them has.
    """

    kind: Literal["masks"] = "masks"
    same: int
    of: int
    overlaps: tuple[Overlap, ...]


DrawnAgreement = BoxesAgreement | ClassesAgreement | MasksAgreement


@dataclass(frozen=True, slots=True, kw_only=True)
class Ran:
    """An engine and where it ran.

    Attributes:
        label: it in the pictures, as `int8 · cpu`.
        manifest: sha256 of the bundle's manifest, which has the hashes of all else.
        outputs: name of the output that is drawn, by what it is read as.
        unread: outputs that are not drawn.
        reading: what was done with pictures of another size.
        cropped: that may have cut off what the engine then did not see.
        on_device: it ran on the architecture of the device.
    """

    label: str
    bundle: str
    target: str
    precision: str
    manifest: str
    tool: str
    how: str
    on_device: bool
    outputs: dict[str, str]
    unread: tuple[str, ...]
    reading: str
    cropped: bool


@dataclass(frozen=True, slots=True, kw_only=True)
class Shown:
    """One picture.

    Attributes:
        name: of its file, below the directory that was given.
        size: height and width, upright.
        file: what was drawn.
        found: by engine.
        agreements: of the first engine with each other one.
    """

    name: str
    size: tuple[int, int]
    file: str
    found: tuple[Answer, ...]
    agreements: tuple[DrawnAgreement, ...]


@dataclass(frozen=True, slots=True, kw_only=True)
class Demo:
    """What `demo.json` holds.

    Attributes:
        score: below which a box is not shown, or a pixel of a mask with one channel is not in it; None of classes.
        left_out: pictures that were given, beyond the number that is drawn.
    """

    schema: int = SCHEMA
    written: Literal["edgepress demo"] = "edgepress demo"
    date: str
    model: str
    drawn: DrawnAs
    score: float | None
    engines: tuple[Ran, ...]
    pictures: tuple[Shown, ...]
    left_out: int

"""A demo from bundles and pictures to a directory of drawings, in order."""

from __future__ import annotations

import re
from collections.abc import Callable, Sequence
from contextlib import ExitStack
from dataclasses import dataclass
from pathlib import Path

from PIL import Image

from ...backends.base import Array, Session
from ...calibration.images import upright
from ...errors import InputError
from ...profiles.findings.files import json_text
from ...profiles.machine.environment import now
from ...profiles.reporting.html import html
from ..bundle.directory import Kind as Directory
from ..bundle.directory import check_destination, new_directory
from .asked import BOX_SCORE, PIXEL_SCORE, Asked
from .boxes import boxes_agreement, read_boxes
from .classes import classes_agreement, read_classes, shares
from .drawing import draw_boxes, draw_mask, drawn_size, enlarged, shaded, text_size
from .engines import Subject, subjects_of
from .findings import FILE, Agreement, BoxesAgreement, Demo, Found, Shown
from .masks import mask_of, masks_agreement, read_mask
from .page import embedded, page_of
from .panel import Row, class_rows, joined, panel, region_rows
from .pictures import Given, check_sizes, given_pictures
from .words import in_short

DIRECTORY = Directory(mark=FILE, one="a demo", many="demos")
_DIGITS = 4
Step = Callable[[Shown, tuple[str, ...]], None]


@dataclass(frozen=True, slots=True, kw_only=True)
class _Read:
    """What engines gave for a picture, and it drawn by each: the image, and the rows below."""

    found: tuple[Found, ...]
    agreements: tuple[Agreement, ...]
    drawn: tuple[tuple[Image.Image, tuple[Row, ...]], ...]


def make_demo(
    bundles: Sequence[Path],
    paths: Sequence[Path],
    output: Path,
    asked: Asked,
    *,
    force: bool = False,
    step: Step = lambda shown, labels: None,
) -> Demo:
    """Draw what the engines of bundles give for pictures, and write it whole or not at all.

    Args:
        bundles: the first is the one that the others are held against.
        paths: image files, or directories of them.
        output: the directory to write: a PNG a picture, `index.html`, `demo.json`.
        step: is told of each picture when it is drawn, with the engines' labels.

    Raises:
        InputError: a bundle, a picture or the directory is not what it has to be.
        VerificationError: a bundle is not whole.
        UnservedError: an engine does not run here.
    """
    check_destination(output, force=force, kind=DIRECTORY)
    subjects = subjects_of(bundles, asked)
    given, left_out = given_pictures(paths, asked.most)
    labels = tuple(subject.label for subject in subjects)
    for subject in subjects:
        check_sizes(given, subject.taking, subject.bundle.path)
    with new_directory(output, force=force, kind=DIRECTORY) as work, ExitStack() as stack:
        sessions = [stack.enter_context(one.place.open(one.engine, one.place.threads())) for one in subjects]
        shown, sources, sizes = [], {}, {}
        for number, one in enumerate(given, 1):
            found, image = _one(subjects, sessions, one, f"{number:0{_DIGITS}}{_slug(one.name)}.png", asked)
            image.save(work / found.file, optimize=True)
            sources[found.file] = embedded(image, (work / found.file).read_bytes())
            sizes[found.file] = (image.height, image.width)
            shown.append(found)
            step(found, labels)
        demo = Demo(
            date=now(),
            model=subjects[0].bundle.manifest.model.name,
            drawn=subjects[0].roles.kind,
            score=_score(subjects, asked),
            engines=tuple(subject.ran() for subject in subjects),
            pictures=tuple(shown),
            left_out=left_out,
        )
        (work / "index.html").write_text(html(page_of(demo, sources, sizes)), encoding="utf-8")
        (work / FILE).write_text(json_text(demo), encoding="utf-8")
    return demo


def _one(
    subjects: Sequence[Subject], sessions: Sequence[Session], given: Given, file: str, asked: Asked
) -> tuple[Shown, Image.Image]:
    picture = given.picture
    try:
        arrays = [_run(subject, session, given) for subject, session in zip(subjects, sessions, strict=True)]
        read = _READERS[subjects[0].roles.kind](subjects, arrays, given, asked)
    except InputError as error:
        raise InputError(f"{picture.path}: {error.message}", hint=error.hint) from error
    most = max(len(rows) for _, rows in read.drawn)
    panels = [
        panel(image, subject.label, in_short(found), rows, most)
        for subject, found, (image, rows) in zip(subjects, read.found, read.drawn, strict=True)
    ]
    shown = Shown(name=given.name, size=picture.size, file=file, found=read.found, agreements=read.agreements)
    return shown, joined(panels)


def _run(subject: Subject, session: Session, given: Given) -> dict[str, Array]:
    """The outputs for one picture, by what each is read as, without the axis of the batch."""
    feed = subject.taking.feed(given.picture)
    outputs = session(feed)
    pictures = len(feed[subject.taking.image.name])
    for name in subject.roles.names.values():
        if len(outputs[name]) != pictures:
            raise InputError(
                f"Output {name} of {subject.bundle.path} has the shape {outputs[name].shape} for "
                f"{pictures} picture{'' if pictures == 1 else 's'}; expected one of each in front.",
                hint="Give it an axis for the pictures in postprocess().",
            )
    return {role: outputs[name][0] for role, name in subject.roles.names.items()}


def _boxes(subjects: Sequence[Subject], arrays: Sequence[dict[str, Array]], given: Given, asked: Asked) -> _Read:
    size = given.picture.size
    found = [read_boxes(one, s.taking.fitting(size), asked) for s, one in zip(subjects, arrays, strict=True)]
    agreements = [boxes_agreement(found[0], other) for other in found[1:]]
    drawn = []
    for number, (subject, one) in enumerate(zip(subjects, found, strict=True)):
        image = shaded(_ground(given, len(subjects)), subject.taking.fitting(size))
        draw_boxes(image, one, size, _alone(agreements, number))
        drawn.append((image, ()))
    return _Read(found=tuple(found), agreements=tuple(agreements), drawn=tuple(drawn))


def _alone(agreements: Sequence[BoxesAgreement], number: int) -> set[int]:
    """Boxes of an engine that the first lacks; of the first those that no other has."""
    if not agreements:
        return set()
    if number:
        return {lone.box for lone in agreements[number - 1].only_second}
    return set.intersection(*({lone.box for lone in one.only_first} for one in agreements))


def _classes(subjects: Sequence[Subject], arrays: Sequence[dict[str, Array]], given: Given, asked: Asked) -> _Read:
    scores, softmax = shares([one["scores"] for one in arrays])
    found = tuple(read_classes(one, softmax, asked) for one in scores)
    image = _ground(given, len(subjects))
    return _Read(
        found=found,
        agreements=tuple(classes_agreement(scores[0], other, asked.top) for other in scores[1:]),
        drawn=tuple(
            (
                shaded(image, s.taking.fitting(given.picture.size)),
                class_rows(one, text_size((image.height, image.width))),
            )
            for s, one in zip(subjects, found, strict=True)
        ),
    )


def _masks(subjects: Sequence[Subject], arrays: Sequence[dict[str, Array]], given: Given, asked: Asked) -> _Read:
    image = _ground(given, len(subjects))
    size = (image.height, image.width)
    masks = [
        mask_of(one["mask"], subject.taking.fitting(given.picture.size), asked, size)
        for subject, one in zip(subjects, arrays, strict=True)
    ]
    found = tuple(read_mask(mask, asked.labels) for mask in masks)
    return _Read(
        found=found,
        agreements=tuple(masks_agreement(masks[0], other, asked.labels) for other in masks[1:]),
        drawn=tuple(
            (draw_mask(image, mask, asked.clear), region_rows(one, asked.clear, text_size(size)))
            for mask, one in zip(masks, found, strict=True)
        ),
    )


_READERS = {"boxes": _boxes, "classes": _classes, "masks": _masks}


def _ground(given: Given, panels: int) -> Image.Image:
    """The picture in the size in which it is drawn."""
    image = upright(given.picture.path, 3)
    return enlarged(image, drawn_size(given.picture.size, panels))


def _score(subjects: Sequence[Subject], asked: Asked) -> float | None:
    """The least score that counted, where one did."""
    roles = subjects[0].roles
    if roles.kind == "boxes":
        return BOX_SCORE if asked.score is None else asked.score
    mask = next((s for s in subjects[0].engine.outputs if s.name == roles.names.get("mask")), None)
    if mask is None or len(mask.shape) != 4 or mask.shape[1] != 1 or not mask.dtype.startswith("float"):
        return None
    return PIXEL_SCORE if asked.score is None else asked.score


def _slug(name: str) -> str:
    """What of a file's name is safe everywhere."""
    letters = re.sub(r"[^a-z0-9]+", "-", Path(name).stem.lower()).strip("-")[:40].strip("-")
    return f"-{letters}" if letters else ""

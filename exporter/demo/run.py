"""A demo from bundles and pictures to a directory of drawings, in order."""

from __future__ import annotations

import re
from collections.abc import Callable, Sequence
from contextlib import ExitStack
from pathlib import Path

from PIL import Image

from ...backends.base import Array, Session
from ...errors import InputError
from ...profiles.findings.files import json_text
from ...profiles.machine.environment import now
from ...profiles.reporting.html import html
from ..bundle.directory import DirectoryKind, check_destination, new_directory
from .engines import DemoEngine, subjects_of
from .findings import FILE, Demo, Shown
from .page import embedded, page_of
from .panel import joined, panel
from .pictures import NamedPicture, check_sizes, given_pictures
from .read import read_picture
from .settings import BOX_SCORE, PIXEL_SCORE, DemoSettings
from .words import in_short

DIRECTORY = DirectoryKind(mark=FILE, one="a demo", many="demos")
_DIGITS = 4
Told = Callable[[Shown, tuple[str, ...]], None]


def make_demo(
    bundles: Sequence[Path],
    paths: Sequence[Path],
    output: Path,
    asked: DemoSettings,
    *,
    force: bool = False,
    step: Told = lambda shown, labels: None,
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
        drawn = _Drawn()
        for number, one in enumerate(given, 1):
            found, image = _one(subjects, sessions, one, f"{number:0{_DIGITS}}{_slug(one.name)}.png", asked)
            drawn.add(found, image, work)
            step(found, labels)
        demo = Demo(
            date=now(),
            model=subjects[0].bundle.manifest.model.name,
            drawn=subjects[0].roles.kind,
            score=_score(subjects, asked),
            engines=tuple(subject.ran() for subject in subjects),
            pictures=tuple(drawn.shown),
            left_out=left_out,
        )
        (work / "index.html").write_text(html(page_of(demo, drawn.sources, drawn.sizes)), encoding="utf-8")
        (work / FILE).write_text(json_text(demo), encoding="utf-8")
    return demo


class _Drawn:
    """Pictures that are drawn: what was found in each, and by file its source in a page, and its height and width."""

    def __init__(self) -> None:
        self.shown: list[Shown] = []
        self.sources: dict[str, str] = {}
        self.sizes: dict[str, tuple[int, int]] = {}

    def add(self, found: Shown, image: Image.Image, directory: Path) -> None:
        """Write one."""
        path = directory / found.file
        image.save(path, optimize=True)
        self.sources[found.file] = embedded(image, path.read_bytes())
        self.sizes[found.file] = (image.height, image.width)
        self.shown.append(found)


def _one(
    subjects: Sequence[DemoEngine], sessions: Sequence[Session], given: NamedPicture, file: str, asked: DemoSettings
) -> tuple[Shown, Image.Image]:
    picture = given.picture
    try:
        arrays = [_run(subject, session, given) for subject, session in zip(subjects, sessions, strict=True)]
        read = read_picture(subjects, arrays, given, asked)
    except InputError as error:
        raise InputError(f"{picture.path}: {error.message}", hint=error.hint) from error
    most = max(len(rows) for _, rows in read.drawn)
    panels = [
        panel(image, subject.label, in_short(found), rows, most)
        for subject, found, (image, rows) in zip(subjects, read.found, read.drawn, strict=True)
    ]
    shown = Shown(name=given.name, size=picture.size, file=file, found=read.found, agreements=read.agreements)
    return shown, joined(panels)


def _run(subject: DemoEngine, session: Session, given: NamedPicture) -> dict[str, Array]:
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


def _score(subjects: Sequence[DemoEngine], asked: DemoSettings) -> float | None:
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

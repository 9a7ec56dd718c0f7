"""The page of a demo, in the look of the reports."""

from __future__ import annotations

import base64
import io
from collections import Counter
from collections.abc import Iterator, Mapping, Sequence

from PIL import Image

from ...profiles.machine.environment import installed
from ...profiles.reporting.content import Illustration, Page, Part, Section, Sentences, Table, Tile
from ...profiles.reporting.text import code, counted, listed, sentence
from .boxes import SAME
from .findings import Answer, Boxes, BoxesAgreement, Classes, Demo, DrawnAgreement, Masks, Ran, Shown
from .words import agreement_in_words, in_all, in_words, lone_in_words

# Of a picture in the page; the file beside it is exact.
_QUALITY = 90
_WIDE = 900
_NAMED = 3


def embedded(image: Image.Image, exact: bytes) -> str:
    """A picture as part of a page: its exact file, or as JPEG where that is smaller.

    Args:
        exact: the picture as PNG.
    """
    data = io.BytesIO()
    image.save(data, "JPEG", quality=_QUALITY, subsampling=0, optimize=True)
    kind, found = min((("png", exact), ("jpeg", data.getvalue())), key=lambda pair: len(pair[1]))
    return f"data:image/{kind};base64,{base64.b64encode(found).decode()}"


def page_of(demo: Demo, sources: Mapping[str, str], sizes: Mapping[str, tuple[int, int]]) -> Page:
    """The page.

    Args:
        sources: of `embedded`, by file.
        sizes: height and width of these, by file.
    """
    pictures = tuple(_picture(one, demo.engines, sources[one.file], sizes[one.file]) for one in demo.pictures)
    part = Part(
        title=f"{demo.model}: {demo.drawn} in {counted(len(pictures), 'picture')}",
        about=listed([f"{run.label} by {run.tool}" for run in demo.engines]),
        verdict=_verdict(demo),
        status="plain",
        tiles=tuple(_tiles(demo)),
        sections=(
            Section(title="Pictures", blocks=pictures),
            Section(title="How this was drawn", blocks=(Sentences(items=tuple(map(sentence, _notes(demo)))),)),
        ),
    )
    made = f"Made by edgepress {installed('edgepress') or 'from source'} on {demo.date}."
    return Page(title=part.title, overview=(), parts=(part,), made=made)


def agreements_of(demo: Demo) -> Iterator[tuple[Ran, list[DrawnAgreement]]]:
    """Each engine beside the first, with how far they agree on every picture."""
    for number, other in enumerate(demo.engines[1:]):
        yield other, [shown.agreements[number] for shown in demo.pictures]


def outside(demo: Demo) -> str:
    """A sentence, where boxes are not on their pictures, as those in another unit; else empty."""
    away = sum(
        not (0 <= box.corners[0] + box.corners[2] <= 2 * shown.size[1])
        or not (0 <= box.corners[1] + box.corners[3] <= 2 * shown.size[0])
        for shown in demo.pictures
        for found in shown.found
        if isinstance(found, Boxes)
        for box in found.shown
    )
    if not away:
        return ""
    return (
        f"The middle of {away} box{'' if away == 1 else 'es'} is outside of the picture; where boxes are in pixels of "
        "another size than the engine takes, --boxes-in WIDTHxHEIGHT says so"
    )


def _verdict(demo: Demo) -> str:
    first = demo.engines[0].label
    if len(demo.engines) == 1:
        return f"What {first} gives. Whether it is right nobody has said: there is no ground truth here."
    return " ".join(
        f"{first} and {other.label}: {in_all(all_of, (first, other.label))}." for other, all_of in agreements_of(demo)
    )


def _tiles(demo: Demo) -> Iterator[Tile]:
    for number, ran in enumerate(demo.engines):
        found = [shown.found[number] for shown in demo.pictures]
        yield Tile(
            topic=ran.label,
            status="plain" if ran.on_device else "open",
            label="ran" if ran.on_device else "not its device",
            found=_total(found),
            details=(f"{ran.how}, by {ran.tool}", f"bundle `{ran.bundle}`"),
        )


def _total(found: Sequence[Answer]) -> str:
    if isinstance(found[0], Boxes):
        count = sum(len(one.shown) for one in found if isinstance(one, Boxes))
        return f"{count} box{'' if count == 1 else 'es'}"
    if isinstance(found[0], Classes):
        best = Counter(one.top[0].name for one in found if isinstance(one, Classes)).most_common()
        rest = f" and {len(best) - _NAMED} more" if len(best) > _NAMED else ""
        return ", ".join(f"{count} {name}" for name, count in best[:_NAMED]) + rest
    labels = {region.label for one in found if isinstance(one, Masks) for region in one.regions}
    return _classes(len(labels))


def _classes(count: int) -> str:
    return f"{count} class{'' if count == 1 else 'es'}"


def _picture(shown: Shown, engines: Sequence[Ran], source: str, size: tuple[int, int]) -> Illustration:
    said = [f"{ran.label}: {in_words(found)}" for ran, found in zip(engines, shown.found, strict=True)]
    first = engines[0].label
    said += [
        f"{first} and {ran.label}: {agreement_in_words(one, (first, ran.label))}"
        for ran, one in zip(engines[1:], shown.agreements, strict=True)
    ]
    said += list(_lone(shown, engines))
    return Illustration(
        title=shown.name,
        says=tuple(map(sentence, said)),
        source=source,
        file=shown.file,
        size=size,
        wide=size[1] > _WIDE,
        figures=_figures(shown, engines),
    )


def _lone(shown: Shown, engines: Sequence[Ran]) -> Iterator[str]:
    for number, one in enumerate(shown.agreements, 1):
        if not isinstance(one, BoxesAgreement):
            continue
        for index, alone in ((0, one.only_first), (number, one.only_second)):
            found = shown.found[index]
            if alone and isinstance(found, Boxes):
                yield f"only in {engines[index].label}: {', '.join(lone_in_words(lone, found) for lone in alone)}"


def _figures(shown: Shown, engines: Sequence[Ran]) -> Table:
    pairs = list(zip(engines, shown.found, strict=True))
    if isinstance(shown.found[0], Boxes):
        head: tuple[str, ...] = ("engine", "class", "score", "left", "top", "right", "bottom")
        rows = [(ran.label, box.name, f"{box.score:.3f}", *(f"{c:.1f}" for c in box.corners))
                for ran, found in pairs if isinstance(found, Boxes) for box in found.shown]  # fmt: skip
        return Table(title="", head=head, rows=tuple(rows), numbers=(2, 3, 4, 5, 6))
    if isinstance(shown.found[0], Classes):
        scored = [(ran.label, one.name, f"{one.score:.4f}")
                  for ran, found in pairs if isinstance(found, Classes) for one in found.top]  # fmt: skip
        return Table(title="", head=("engine", "class", "score"), rows=tuple(scored), numbers=(2,))
    shares = [(ran.label, one.name, f"{one.share:.2%}")
              for ran, found in pairs if isinstance(found, Masks) for one in found.regions]  # fmt: skip
    return Table(title="", head=("engine", "class", "share of the picture"), rows=tuple(shares), numbers=(2,))


def _notes(demo: Demo) -> Iterator[str]:
    for ran in demo.engines:
        drawn = ", ".join(f"{role} from {code(name)}" for role, name in ran.outputs.items())
        unread = f"; not drawn: {', '.join(map(code, ran.unread))}" if ran.unread else ""
        yield f"{ran.label}: {drawn}{unread}; {ran.reading}"
        if not ran.on_device:
            yield f"{ran.label} did not run on its device: {ran.how}"
    yield from _KINDS[demo.drawn](demo)
    if any(ran.cropped for ran in demo.engines):
        yield "what an engine did not see, since it was cropped away, is dark"
    if away := outside(demo):
        yield away
    if demo.left_out:
        yield f"{counted(demo.left_out, 'more picture')} of those that were given are not drawn"
    yield "Nothing here was timed; `edgepress compare` says which of two engines is faster"
    yield "Large pictures are JPEG on this page; each leads to its file, which is exact"


def _box_notes(demo: Demo) -> Iterator[str]:
    yield f"boxes of a score of {demo.score:g} and more are drawn"
    if len(demo.engines) > 1:
        yield (
            f"boxes of two engines are one where their intersection over union is {SAME:g} or more, those of one class "
            "first; dashed boxes are in one engine alone"
        )


def _class_notes(demo: Demo) -> Iterator[str]:
    softmax = [isinstance(one, Classes) and one.how == "softmax" for shown in demo.pictures for one in shown.found]
    if any(softmax):
        yield "percents are the softmax of what the engine gives" + ("" if all(softmax) else ", where that is not 0..1")
    if not all(softmax):
        yield "percents are the engine's own scores, which lie within 0..1" + (" elsewhere" if any(softmax) else "")


def _mask_notes(demo: Demo) -> Iterator[str]:
    yield "shares and agreement are counted in pixels of the picture as it is drawn"
    if demo.score is not None:
        yield f"a pixel belongs to the mask where its score is {demo.score:g} or more"


_KINDS = {"boxes": _box_notes, "classes": _class_notes, "masks": _mask_notes}

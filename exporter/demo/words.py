"""What was found, in words."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator, Sequence

from .findings import (
    Answer,
    Boxes,
    BoxesAgreement,
    Classes,
    ClassesAgreement,
    DrawnAgreement,
    Lone,
    Masks,
    MasksAgreement,
)

_NAMED = 4


def in_short(found: Answer) -> str:
    """A few words for a headline: how many boxes, the best class, the largest region."""
    match found:
        case Boxes():
            return _boxes(len(found.shown))
        case Classes():
            return f"{found.top[0].name} {found.top[0].score:.1%}"
        case Masks():
            return f"{len(found.regions)} {'class' if len(found.regions) == 1 else 'classes'}"


def in_words(found: Answer) -> str:
    """A clause on one picture."""
    match found:
        case Boxes():
            names = Counter(box.name for box in found.shown).most_common()
            more = f" and {len(names) - _NAMED} more" if len(names) > _NAMED else ""
            said = ", ".join(f"{count} {name}" for name, count in names[:_NAMED]) + more
            return f"{_boxes(len(found.shown))}{': ' if said else ''}{said}"
        case Classes():
            return ", ".join(f"{one.name} {one.score:.1%}" for one in found.top)
        case Masks():
            rest = len(found.regions) - _NAMED
            said = ", ".join(f"{one.name} {one.share:.1%}" for one in found.regions[:_NAMED])
            return said + (f" and {rest} more" if rest > 0 else "")


def agreement_in_words(one: DrawnAgreement, names: tuple[str, str]) -> str:
    """How far two engines of these names agree on a picture."""
    match one:
        case BoxesAgreement():
            return _boxes_agreement(one, names)
        case ClassesAgreement():
            first = "the same first class" if one.same_first else "another first class"
            return f"{first}; {one.common} of {one.of} among the best of both; {_apart(one.score)}"
        case MasksAgreement():
            apart = ", ".join(f"{overlap.name} {overlap.iou:.3f}" for overlap in one.overlaps[:_NAMED])
            return f"{one.same / max(1, one.of):.2%} of the pixels of the same class; IoU {apart}"


def lone_in_words(lone: Lone, found: Boxes) -> str:
    """A box that only one engine shows."""
    box = found.shown[lone.box]
    there = "none there" if lone.faint is None else f"{lone.faint:.3f} there, too little to be shown"
    return f"{box.name} {box.score:.3f} ({there})"


def in_all(agreements: Sequence[DrawnAgreement], names: tuple[str, str]) -> str:
    """How far two engines of these names agree on all pictures together."""
    match agreements[0]:
        case BoxesAgreement():
            return _boxes_agreement(_all_boxes([one for one in agreements if isinstance(one, BoxesAgreement)]), names)
        case ClassesAgreement():
            each = [one for one in agreements if isinstance(one, ClassesAgreement)]
            same = sum(one.same_first for one in each)
            most = max(one.score for one in each)
            return f"the same first class in {same} of {len(each)} pictures; {_apart(most)}"
        case MasksAgreement():
            return _all_masks([one for one in agreements if isinstance(one, MasksAgreement)])


def _boxes_agreement(one: BoxesAgreement, names: tuple[str, str]) -> str:
    return "; ".join(_box_clauses(one, names))


def _box_clauses(one: BoxesAgreement, names: tuple[str, str]) -> Iterator[str]:
    alone = len(one.only_first), len(one.only_second)
    if not one.matched:
        yield "no box in common" if any(alone) else "no boxes in either"
    else:
        same = "all" if one.same_class == one.matched else f"{one.same_class} of them"
        yield f"{_boxes(one.matched)} in both, {same} of the same class"
        yield f"IoU {sum(one.iou) / one.matched:.3f} on average, {min(one.iou):.3f} at least"
        yield _apart(one.score or 0.0)
    if any(alone):
        yield ", ".join(f"{count} in {name} alone" for count, name in zip(alone, names, strict=True))


def _apart(score: float) -> str:
    """The largest difference of scores."""
    if score == 0:
        return "equal scores"
    return "scores differ by less than 0.001" if score < 0.001 else f"scores differ by {score:.3f} at most"


def _all_boxes(each: Sequence[BoxesAgreement]) -> BoxesAgreement:
    return BoxesAgreement(
        matched=sum(one.matched for one in each),
        iou=tuple(iou for one in each for iou in one.iou),
        same_class=sum(one.same_class for one in each),
        score=max((one.score for one in each if one.score is not None), default=None),
        only_first=tuple(lone for one in each for lone in one.only_first),
        only_second=tuple(lone for one in each for lone in one.only_second),
    )


def _all_masks(each: Sequence[MasksAgreement]) -> str:
    """Pixels of all pictures counted together, as mean IoU is defined."""
    both: Counter[int] = Counter()
    either: Counter[int] = Counter()
    for one in each:
        for overlap in one.overlaps:
            both[overlap.label] += overlap.both
            either[overlap.label] += overlap.either
    mean = sum(both[label] / either[label] for label in either) / max(1, len(either))
    same, of = sum(one.same for one in each), sum(one.of for one in each)
    classes = f"{len(either)} class{'' if len(either) == 1 else 'es'}"
    return f"{same / max(1, of):.2%} of the pixels of the same class; mean IoU {mean:.3f} over {classes}"


def _boxes(count: int) -> str:
    return f"{count} box{'' if count == 1 else 'es'}"

"""What an engine's outputs are, by their shapes and, where several have the same, by their names.

- boxes: floats (B, rows, 4), with floats (B, rows) as scores, and integers (B, rows), or floats whose name says class
  or label, as classes, as `edgepress.boxes.select` gives them.
- masks: scores as floats (B, C, H, W), or the numbers of classes as integers (B, H, W) or (B, 1, H, W).
- classes: floats (B, C), with at least two classes, that are not the scores of boxes.

The first of these that the outputs have is what is drawn, unless something else is asked for.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass

from ...backends.base import TensorSpec
from ...errors import InputError
from .findings import DrawnAs

_WORDS = {
    "boxes": ("box",),
    "scores": ("score", "conf", "prob"),
    "classes": ("class", "label", "categor"),
    "mask": ("mask", "segm"),
    "scores of classes": ("logit", "score", "prob", "class"),
}
_NEEDED = {
    "boxes": "floats (B, rows, 4) and scores (B, rows), as edgepress.boxes.select gives them",
    "masks": "floats (B, C, H, W), or integers (B, H, W)",
    "classes": "floats (B, C) of two classes or more",
}
# In this order: the scores of boxes look like those of classes.
_ORDER: tuple[DrawnAs, ...] = ("boxes", "masks", "classes")


@dataclass(frozen=True, slots=True, kw_only=True)
class Roles:
    """What is drawn, and of which outputs: `boxes`, `scores` and `classes`, or `mask`, or `scores`."""

    kind: DrawnAs
    names: Mapping[str, str]
    unread: tuple[str, ...]


def roles_of(outputs: Sequence[TensorSpec], batch: int | str, told: DrawnAs | None, who: str) -> Roles:
    """What the outputs are.

    Args:
        batch: how many pictures the engine takes; what has another number in front is of no picture.
        told: what they are to be drawn as.
        who: has them, as a message begins.

    Raises:
        InputError: they are nothing that can be drawn, or not what was told, or several are the same.
    """
    each = [spec for spec in outputs if spec.shape and isinstance(spec.shape[0], str) == isinstance(batch, str)]
    able = [spec for spec in each if isinstance(batch, str) or spec.shape[0] == batch]
    for kind in _ORDER if told is None else (told,):
        if (found := _FINDERS[kind](able, who)) is not None:
            unread = tuple(spec.name for spec in outputs if spec.name not in found.values())
            return Roles(kind=kind, names=found, unread=unread)
    wanted = "; ".join(f"{kind}: {_NEEDED[kind]}" for kind in (_ORDER if told is None else (told,)))
    raise InputError(
        f"{who} gives {_listed(outputs)}; nothing there can be drawn as {told or 'boxes, masks or classes'}.",
        hint=f"Expected are {wanted}. postprocess() of the model file can give that.",
    )


def _boxes(outputs: Sequence[TensorSpec], who: str) -> dict[str, str] | None:
    boxes = _one("boxes", [s for s in outputs if _is_float(s) and len(s.shape) == 3 and s.shape[2] == 4], who)
    if boxes is None:
        return None
    beside = [s for s in outputs if len(s.shape) == 2 and _may_equal(s.shape[1], boxes.shape[1])]
    classes = _one("classes", [s for s in beside if not _is_float(s) or _named(s, "classes")], who)
    scores = _one("scores", [s for s in beside if _is_float(s) and s != classes], who)
    if scores is None:
        return None
    found = {"boxes": boxes.name, "scores": scores.name}
    return found if classes is None else {**found, "classes": classes.name}


def _masks(outputs: Sequence[TensorSpec], who: str) -> dict[str, str] | None:
    def fits(spec: TensorSpec) -> bool:
        rank = len(spec.shape)
        if _is_float(spec):
            return rank == 4
        return rank == 3 or (rank == 4 and spec.shape[1] == 1)

    found = _one("mask", [spec for spec in outputs if fits(spec)], who)
    return None if found is None else {"mask": found.name}


def _classes(outputs: Sequence[TensorSpec], who: str) -> dict[str, str] | None:
    of_boxes = (_boxes(outputs, who) or {}).values()
    able = [s for s in outputs if _is_float(s) and len(s.shape) == 2 and s.shape[1] != 1 and s.name not in of_boxes]
    found = _one("scores of classes", able, who)
    return None if found is None else {"scores": found.name}


_FINDERS: Mapping[DrawnAs, Callable[[Sequence[TensorSpec], str], dict[str, str] | None]] = {
    "boxes": _boxes,
    "masks": _masks,
    "classes": _classes,
}


def _one(role: str, able: Sequence[TensorSpec], who: str) -> TensorSpec | None:
    """The only one, or the only one whose name says so; None where there is none.

    Raises:
        InputError: several.
    """
    named = [spec for spec in able if _named(spec, role)]
    for found in (able, named):
        if len(found) == 1:
            return found[0]
    if not able:
        return None
    raise InputError(
        f"{who} gives {_listed(able)}, each of which may be its {role}.",
        hint=f"Give one of them a name with {' or '.join(_WORDS[role])} in it, by a dict that postprocess() returns.",
    )


def _named(spec: TensorSpec, role: str) -> bool:
    return any(word in spec.name.lower() for word in _WORDS[role])


def _is_float(spec: TensorSpec) -> bool:
    return spec.dtype.startswith(("float", "bfloat"))


def _may_equal(one: int | str, other: int | str) -> bool:
    """Whether two sizes can be the same; a free one can be any."""
    return isinstance(one, str) or isinstance(other, str) or one == other


def _listed(specs: Sequence[TensorSpec]) -> str:
    return ", ".join(f"{spec.name} {spec.dtype} {spec}" for spec in specs)

"""The smallest part of a network of which the same is said."""

from __future__ import annotations

from ..lines import Line
from ..model import ZooModel
from ..work import lines
from .network import PREFIX, drawn, named
from .run import kind_of
from .state import UnfitError


def shrink(name: str, target: str, precision: str) -> str:
    """Leave out blocks, the last ones first, while the verdict stays; the name of what is left.

    A refusal, warning or traceback has to say the same but for names and numbers.
    """
    wanted = _told(named(name), target, precision)
    print(f"{name}: {wanted}")
    seed = int(name.removeprefix(PREFIX).partition(":")[0])
    kept = _numbers(name, seed)
    left = True
    while left:
        left = False
        for number in reversed(kept):
            fewer = [each for each in kept if each != number]
            smaller = f"{PREFIX}{seed}:{','.join(map(str, fewer))}"
            if fewer and _still(smaller, target, precision, wanted):
                kept, left = fewer, True
                print(f"{smaller}: {[name for _, name in drawn(seed, kept).blocks]}", flush=True)
    return f"{PREFIX}{seed}:{','.join(map(str, kept))}"


def _numbers(name: str, seed: int) -> list[int]:
    asked = name.partition(":")[2]
    return [int(number) for number in asked.split(",")] if asked else [number for number, _ in drawn(seed).blocks]


def _still(name: str, target: str, precision: str, wanted: tuple[str, str]) -> bool:
    try:
        return _told(named(name), target, precision) == wanted
    except UnfitError:
        return False


def _told(model: ZooModel, target: str, precision: str) -> tuple[str, str]:
    (line,) = lines(model, precision, (target,))
    return line["verdict"], _said(line)


def _said(line: Line) -> str:
    return "" if line["verdict"] in ("works", "wrong") else kind_of(line)[:80]

"""Outputs whose number of axes depends on the sizes of the inputs: no engine and no proof can be said to have them."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from ...backends.base import Array, Feed, Graph
from ...errors import InputError


def refuse_other_axes(graph: Graph, feeds: Sequence[Feed], answers: Sequence[Mapping[str, Array]]) -> None:
    """Hold the number of axes that is declared of each output against what the model gives, where that varies.

    One that is declared wrongly, and always the same, is known by what the model gives.

    Args:
        answers: of the model itself, one for each feed.

    Raises:
        InputError: they are not the same; with the inputs, and the axes whose sizes can be fixed.
    """
    for output in graph.outputs:
        if len({answer[output.name].ndim for answer in answers}) == 1:
            continue
        for feed, answer in zip(feeds, answers, strict=True):
            given = answer[output.name].shape
            if len(given) != len(output.shape):
                shapes = ", ".join(f"{name} {array.shape}" for name, array in feed.items())
                raise InputError(
                    f"Output {output.name!r} is declared with {len(output.shape)} axes, and is {given} on inputs of "
                    f"the shapes {shapes}: an operator, as a Squeeze without axes, gives fewer where a size is 1.",
                    hint=_hint(graph),
                )


def _hint(graph: Graph) -> str:
    free = [(name, reach) for name, reach in graph.axes.items() if reach.smallest == 1]
    one = " or ".join(f"--axis {name}=1:1:1" for name, _ in free)
    more = " or ".join(
        f"--axis {name}=2:{max(2, reach.usual)}:{reach.largest}" for name, reach in free if reach.largest > 1
    )
    ways = [f"Fix the size that it depends on ({one})"] if one else []
    ways += [f"say that it is never 1 ({more}), which OpenVINO does not take"] if more else []
    return f"{', '.join([*ways, 'or export' if ways else 'Export'])} the file with that operator's axes named."

"""Inputs that a whole batch shares: the samples may be many, and the values that they show of such an input few."""

from __future__ import annotations

from collections import Counter
from collections.abc import Collection, Mapping, Sequence
from typing import TYPE_CHECKING

from ....backends.base import Array, SampleAxes
from ...graphs.order import bodies
from ...quantization.gains import FEW
from .alike import sample_bytes

if TYPE_CHECKING:
    import onnx_ir as ir


def shared(
    feeds: Sequence[Mapping[str, Array]], along: SampleAxes, samples: int, names: Collection[str]
) -> dict[str, str]:
    """What to say of an input that varies from batch to batch and hardly inside of one, under `shared`; else empty.

    A temperature, a camera or a style that a batch shares has been drawn as often as there are batches. Not where most
    of its values came again, as of a few modes: then there are no others (Good and Turing's estimate of what is unseen
    is the share of what was seen once).

    Args:
        feeds: the first samples by name, a mapping a batch.
        along: where the samples of a batch lie.
        samples: how many ranges come of.
        names: inputs that something rounded is made of.
    """
    count = sum(map(along.count, feeds))
    for name in (name for name, array in feeds[0].items() if name in names and array.dtype.kind == "f"):
        values = Counter(value for feed in feeds for value in _values({name: feed[name]}, along))
        drawn, once = sum(values.values()), sum(times == 1 for times in values.values())
        if len(values) > 1 and 2 * once > drawn and 2 * drawn <= count and drawn * samples < FEW * count:
            return {
                "shared": f"Input {name!r} has {len(values)} values in the first {count} calibration samples, as those "
                "of a batch share one: what others than these make larger is clipped. Give samples of more values, "
                f"{FEW} or more, as in smaller batches."
            }
    return {}


def _values(feed: Mapping[str, Array], along: SampleAxes) -> set[bytes]:
    """The different samples of a batch."""
    return {sample_bytes(feed, along, index) for index in range(along.count(feed))}


def rounded_inputs(model: ir.Model, rounded: Collection[str]) -> set[str]:
    """The inputs of a graph that these values are made of.

    Args:
        rounded: names of values.
    """
    inside = set(rounded)
    for node in reversed(list(model.graph)):
        if any(value.name in inside for value in node.outputs):
            given = [
                *node.inputs,
                *(value for body in bodies(node) for one in body.all_nodes() for value in one.inputs),
            ]
            inside.update(str(value.name) for value in given if value is not None)
    return inside & {str(value.name) for value in model.graph.inputs}

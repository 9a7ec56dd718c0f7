"""What int8 loses where channels that are small in the data are as large as others: the data may be of one kind."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from ....backends.base import Array, Feed, Graph
from ....backends.places import Reference
from ....profiles.findings.parity import parity, worst
from ...graphs.channels import ChannelSizes
from ...graphs.synthesis import synthesize
from ...sources import Source

# Feeds that tell it.
_FEEDS = 2
_SAID = (
    "Channels of {} differ much in size, and where those that are small in the data are as large as the others int8 "
    "has {:.1f} dB of SQNR: its ranges are those of the calibration data. Of quantities in unlike units nothing "
    "follows. Else give data of every kind, with each channel at its largest."
)


def of_one_size(source: Source, reference: Graph, graph: Graph, seed: int, asked_db: float) -> dict[str, str]:
    """The doubt, by what it is about; empty where channels are of about one size, or int8 bears it.

    Args:
        reference: the captured graph.
        graph: that of int8.
        asked_db: the SQNR that is asked of int8.
    """
    apart = [name for name, array in source.inputs.items() if ChannelSizes.of(array) is not None]
    if not apart:
        return {}
    usual = {name: reach.usual for name, reach in reference.axes.items()}
    how = source.inputs, source.dynamic, usual
    feeds = [synthesize(*how, seed + index, source.held, by_channel=False) for index in range(_FEEDS)]
    least_db = worst(parity(_answers(reference, feeds), _answers(graph, feeds))).weakest_db
    return {} if least_db >= asked_db else {"channels": _SAID.format(", ".join(apart), least_db)}


def _answers(graph: Graph, feeds: Sequence[Feed]) -> list[Mapping[str, Array]]:
    with Reference().values(graph.path) as values:
        return [values(feed) for feed in feeds]

"""Whether the disks have room for what an export of a decoder writes, seen before it is written."""

from __future__ import annotations

import os
import shutil
from collections.abc import Iterator
from pathlib import Path

from ...errors import InputError
from ...profiles.device.grid import Grid
from ...profiles.findings.report import megabytes
from .grids import grids_of
from .task import TextTask
from .texts import ANSWERS, answer_bytes

# The graph, the tokenizer, golden text, reports and what else is written beside the weights.
BESIDE = 32 << 20


def need_room(task: TextTask, weights: int | None = None) -> None:
    """See that the weights have room where they are made and where they are shipped, FP32's answers in the former.

    Args:
        weights: bytes of the matrices; None before they are rounded: then of the fewest bits that may be tried.

    Raises:
        InputError: there is too little.
    """
    engine = least_bytes(task) if weights is None else weights
    # The weights of a graph that is compiled lie in it and in the engine.
    engine = (2 * engine if task.form.compiled else engine) + BESIDE
    wanted: dict[int, tuple[Path, int]] = {}
    for place, needed in _needed(task, engine):
        device = os.stat(place).st_dev
        wanted[device] = (place, needed + (wanted[device][1] if device in wanted else 0))
    for place, needed in wanted.values():
        if (free := shutil.disk_usage(place).free) < needed:
            raise InputError(
                f"The disk of {place} has {megabytes(free)} free, and the export of {task.source.name} writes up to "
                f"{megabytes(needed)} there.",
                hint="Make room, or choose other places: --output for the bundle, the variable TMPDIR for the rest.",
            )


def _needed(task: TextTask, engine: int) -> Iterator[tuple[Path, int]]:
    """Directories, and the bytes that are still to be written in each. The engine lies in both for a moment."""
    yield task.destination, engine
    yield task.scratch, engine
    if not (task.memo.directory / ANSWERS).exists():
        yield task.memo.directory, answer_bytes(task.source.decoder)


def least_bytes(task: TextTask) -> int:
    """Bytes of the matrices in the smallest of the grids that may be tried."""
    found = [grid for name in task.precisions for grid in grids_of(name, task)]
    grids: list[Grid] | list[None] = found or [None]
    decoder = task.source.decoder
    shapes = [(each.outputs, each.inputs) for each in decoder.linears()]
    if not decoder.tied:
        shapes.append((decoder.vocabulary, decoder.width))
    return min(sum(task.form.matrix_bytes(*shape, grid) for shape in shapes) for grid in grids)

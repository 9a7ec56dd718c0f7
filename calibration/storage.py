"""Statistics as one safetensors file: counts, extremes and sums, never a sample."""

from __future__ import annotations

import hashlib
import json
import os
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np

from ..backends.base import Array
from ..errors import InputError
from ..profiles.machine.writing import whole
from ..profiles.reading.json_file import decoded
from ..profiles.reading.opened import in_words
from .soundness import fault
from .statistics import ChannelStatistics, Statistics, TensorStatistics
from .tensors import read_tensors, write_tensors

FORMAT = "edgepress-statistics"
VERSION = 1
_AGAIN = "Copy the file again, or calibrate again."


def save_statistics(statistics: Statistics, path: Path) -> None:
    """Write one safetensors file; no sample is in it, only counts, extremes and sums."""
    header, arrays = _laid_out(statistics)
    with whole(path) as scratch:
        write_tensors(scratch, arrays, "numpy", {**header, "checksum": _checksum(header, arrays)})


def content_digest(statistics: Statistics) -> str:
    """Sha256 in hex of all that statistics hold: the checksum of a file of them."""
    return _checksum(*_laid_out(statistics))


def _laid_out(statistics: Statistics) -> tuple[dict[str, str], dict[str, Array]]:
    """Header and arrays of the file."""
    arrays: dict[str, Array] = {}
    tensors: dict[str, dict[str, Any]] = {}
    for index, (name, state) in enumerate(sorted(statistics.tensors.items())):
        tensors[name] = {"index": index, "count": state.count}
        arrays[f"{index}.extremes"] = np.asarray([state.minimum, state.maximum])
        arrays[f"{index}.histogram"] = state.histogram
        if state.channels is not None:
            tensors[name] |= {"axis": state.channels.axis, "channel_count": state.channels.count}
            arrays[f"{index}.channel_extremes"] = np.stack([state.channels.minimum, state.channels.maximum])
            arrays[f"{index}.channel_total"] = state.channels.total
            arrays[f"{index}.channel_square"] = state.channels.square
    return {
        "format": FORMAT,
        "version": str(VERSION),
        "graph": statistics.graph,
        "samples": str(statistics.samples),
        "data": statistics.data,
        "converged": str(statistics.converged),
        "tensors": json.dumps(tensors, sort_keys=True),
    }, arrays


def load_statistics(path: Path) -> Statistics:
    """Read what `save_statistics` wrote.

    Raises:
        InputError: no such file, not statistics, damaged, or of another version.
    """
    if not os.path.lexists(path):
        raise InputError(f"Statistics file {path} does not exist.", hint="`edgepress calibrate` makes one.")
    metadata, arrays = read_tensors(path, "numpy", hint="Give a file that `edgepress calibrate` wrote, whole.")
    header = dict(metadata)
    if header.get("format") != FORMAT or header.get("version") != str(VERSION):
        found = f"{header.get('format', 'no format')} version {header.get('version', 'unknown')}"
        raise InputError(f"{path} is {found}; this edgepress reads {FORMAT} version {VERSION}.")
    # Files of earlier versions have none.
    if header.pop("checksum", None) not in (None, _checksum(header, arrays)):
        raise InputError(f"{path} is damaged: its checksum is of other content.", hint=_AGAIN)
    try:
        tensors = {name: _tensor(entry, arrays) for name, entry in decoded(header["tensors"].encode()).items()}
        statistics = Statistics(
            graph=header["graph"],
            samples=int(header["samples"]),
            data=header["data"],
            tensors=tensors,
            converged=header["converged"] == "True",
        )
    except (AttributeError, KeyError, ValueError, TypeError, OverflowError, RecursionError) as error:
        raise InputError(f"{path} is damaged: {type(error).__name__}: {in_words(error)}.", hint=_AGAIN) from error
    if faults := [f"of {name!r} {why}" for name, state in tensors.items() if (why := fault(state))]:
        raise InputError(f"{path} holds what cannot be: {faults[0]}.", hint=_AGAIN)
    return statistics


def _checksum(header: Mapping[str, str], arrays: Mapping[str, Array]) -> str:
    """Of everything in the file: it shows damage, not forgery."""
    digest = hashlib.sha256(json.dumps(header, sort_keys=True).encode())
    for name, array in sorted(arrays.items()):
        digest.update(f"{name} {array.dtype.str} {array.shape}".encode())
        digest.update(np.ascontiguousarray(array).tobytes())
    return digest.hexdigest()


def _tensor(entry: Mapping[str, Any], arrays: Mapping[str, Array]) -> TensorStatistics:
    index = entry["index"]
    channels = None
    if "axis" in entry:
        low, high = arrays[f"{index}.channel_extremes"]
        channels = ChannelStatistics(
            axis=entry["axis"],
            count=entry["channel_count"],
            minimum=low,
            maximum=high,
            total=np.asarray(arrays[f"{index}.channel_total"], np.int64),
            square=np.asarray(arrays[f"{index}.channel_square"], np.int64),
        )
    low, high = arrays[f"{index}.extremes"]
    return TensorStatistics(
        count=entry["count"],
        minimum=float(low),
        maximum=float(high),
        histogram=np.asarray(arrays[f"{index}.histogram"], np.int64),
        channels=channels,
    )

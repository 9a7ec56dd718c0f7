"""A seed, exported by the command line in a process of its own, and judged there."""

from __future__ import annotations

import json
import os
import random
from collections.abc import Iterable, Iterator
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import onnx
from forked import UNCAUGHT, Job, edgepress_main, outcomes, prepare, unguarded

from .made import CALIBRATION, Made, make
from .verdict import judged, line, unsteady

MARK = "\nJUDGED: "
# How a seed is exported; some targets stand there twice, as they are of more use.
WAYS = (
    *(((target,), precision) for target in ("cpu", "server-cpu", "mobile") for precision in ("int8", "int8", "fp32")),
    (("cpu", "server-cpu", "mobile"), "int8"), (("jetson",), "fp16"), (("jetson",), "int8"),
)  # fmt: skip
# Several exports share a process.
TOGETHER = 6


def run(seeds: Iterable[int], results: Path, scratch: Path, processes: int = 1) -> Iterator[dict[str, Any]]:
    """Export what has no line in the file, and append one; yields them as they come."""
    done = {json.loads(text)["seed"] for text in results.read_text().splitlines()} if results.exists() else set()
    prepare(scratch)
    todo = [seed for seed in seeds if seed not in done]
    with results.open("a") as out:
        for found in _tried(todo, scratch, processes):
            out.write(json.dumps(found, ensure_ascii=False) + "\n")
            out.flush()
            yield found


def _tried(seeds: list[int], scratch: Path, processes: int) -> Iterator[dict[str, Any]]:
    """What ends a shared process is done again as a user would: there edgepress tries the file in a child."""
    ended = []
    for found in outcomes((trial(seed, scratch, bare=True) for seed in seeds), processes, TOGETHER):
        if found["ended"] is None:
            yield told(found)
        else:
            ended.append(found["seed"])
    yield from map(told, outcomes((trial(seed, scratch) for seed in ended), processes))


def trial(seed: int, scratch: Path, *, bare: bool = False) -> Job:
    """One seed.

    Args:
        bare: the file is opened in the same process.
    """
    chance = random.Random(seed)
    targets, precision = chance.choice(WAYS)
    made = make(seed)
    directory = scratch / f"seed{seed}"
    directory.mkdir()
    record = {
        "seed": seed,
        "opset": made.model.opset_import[0].version,
        "odd": list(made.odd),
        "targets": list(targets),
        "precision": precision,
        "nodes": [node.op_type for node in made.model.graph.node],
    }
    return Job(record=record, directory=directory, work=partial(_work, made, targets, precision, bare))


def _work(made: Made, targets: tuple[str, ...], precision: str, bare: bool) -> int:
    """Write the files, export them, judge what came; the code of the export."""
    if bare:
        unguarded()
    path = Path("model.onnx")
    words = written(made, Path(), precision)
    if why := unsteady(made, precision):
        _say([{"verdict": "skipped", "message": why}])
        return 0
    code = edgepress_main("export", str(path), "-t", ",".join(targets), *words, "--no-measure", "-q")
    bundles = [manifest.parent for manifest in sorted(Path("dist").glob("*/manifest.json"))]
    _say([{"bundle": bundle.name, **line(judged(made, bundle), precision)} for bundle in bundles])
    return code


def written(made: Made, directory: Path, precision: str) -> list[str]:
    """The model and its data as files there, and the options that name them."""
    external, model = made.seed % 9 == 0, onnx.ModelProto()
    model.CopyFrom(made.model)  # which `save` would take the weights out of
    onnx.save(model, directory / "model.onnx", save_as_external_data=external, location="model.data",
              size_threshold=100)  # fmt: skip
    words = ["--precision", precision]
    if precision == "fp32" and made.seed % 2:
        return words
    if made.free and all(one.batch == 0 for one in made.inputs.values()):
        _save(directory / "cal.npz", made.feed(0, CALIBRATION))
        return [*words, "--calibration", "cal.npz"]
    (directory / "data").mkdir()
    each = 4 if made.free else made.size
    for index in range(CALIBRATION // each):
        _save(directory / f"data/{index:03}.npz", made.feed(10_000 + index, each))
    return [*words, "--calibration", "data"]


def _save(path: Path, feed: dict[str, Any]) -> None:
    """As numpy does, which takes no array that is called `file`."""
    import zipfile

    with zipfile.ZipFile(path, "w") as archive:
        for name, array in feed.items():
            with archive.open(f"{name}.npy", "w") as file:
                np.lib.format.write_array(file, np.asarray(array), allow_pickle=False)


def _say(lines: list[dict[str, Any]]) -> None:
    os.write(2, f"{MARK}{json.dumps(lines)}\n".encode())


def told(found: dict[str, Any]) -> dict[str, Any]:
    """A line of results: the worst of a seed's verdicts, with what was said where it was not made."""
    words, _, rest = found.pop("words").partition(MARK)
    lines = json.loads(rest.splitlines()[0]) if rest else []
    verdict = found["ended"] or _verdict(found["code"], words, lines)
    said = "" if verdict in ("works", "skipped") else words[-4000:]
    return {**found, "verdict": verdict, "judged": lines, "said": said}


def _verdict(code: int, words: str, lines: list[dict[str, Any]]) -> str:
    if code == UNCAUGHT or "Traceback (most recent call last)" in words.partition("error: ")[0]:
        return "traceback"
    verdicts = [one["verdict"] for one in lines]
    for worst in ("wrong", "warned", "skipped"):
        if worst in verdicts:
            return worst
    return "refused" if code else "works"

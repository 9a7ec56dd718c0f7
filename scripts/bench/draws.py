"""What one draw of calibration data decides: quality over several draws, with tied scores resolved in two ways.

    scripts/bench/setup_realworld
    python scripts/bench/draws.py measure
    python scripts/bench/draws.py render          # writes the table into docs/benchmarks.md

The rows of realworld.py hold for the files that were made there: their intervals say what other held-out samples would
give, not what other calibration data would. Here every tool is given a new draw of as many samples, and the files meet
the same held-out data on onnxruntime. An answer that is tied, as scores rounded to 8 bits may be, is counted as numpy
takes it, the first of the best, and as a random one of them would be.
"""

from __future__ import annotations

import argparse
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
from models import HOME, ROOT
from realworld import answers, samples_of
from realworld_models import REAL, Floats, RealModel, tones
from results import load, record
from sections import table, write_section
from tools import TOOLS, quantized

import edgepress

RUNTIME, TARGET, PEER = "onnxruntime", "server-cpu", "onnxruntime-minmax"
RANGES = ("auto", "min-max")
FIRST_SEED, SAMPLES = 100, 256
# Far below a step of 8 bits, and the same for both tools: it orders nothing but ties.
SHAKEN, ORDERS = 1e-7, 16
DOCUMENT = ROOT / "docs" / "benchmarks.md"


def main() -> None:
    """Measure or render."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("part", choices=("measure", "render"))
    parser.add_argument("--draws", type=int, default=12)
    options = parser.parse_args()
    if options.part == "render":
        write_section("draws", list(_section()), DOCUMENT)
        return
    (real,) = (real for real in REAL if real.model.name == "crepe")
    inputs, truths = real.heldout()
    real.model.prepare()
    expected = answers(RUNTIME, real.model.onnx, inputs)
    _record(real, -1, "fp32", expected, expected, truths)
    for seed in range(FIRST_SEED, FIRST_SEED + options.draws):
        for tool, path in _files(real, seed).items():
            _record(real, seed, tool, answers(RUNTIME, path, inputs), expected, truths)


def _files(real: RealModel, seed: int) -> dict[str, Path]:
    """What each tool makes of one draw."""
    model = replace(real.model, name=f"{real.model.name}-draw-{seed}", samples=lambda: tones(SAMPLES, seed)[0])
    model.prepare()
    files = {PEER: quantized(TOOLS[PEER], model, "x86", SAMPLES)[0]}
    for ranges in RANGES:
        bundle = HOME / "out" / "draws" / ranges / model.name / f"model-{TARGET}"
        if not bundle.exists():
            edgepress.export(
                str(model.onnx),
                target=TARGET,
                precision="int8",
                ranges=ranges,
                calibration=lambda: iter(samples_of(model)),
                measure=False,
                quiet=True,
                output=bundle.parent,
            )
        files[f"edgepress, {ranges}"] = bundle / "engine" / "model.onnx"
    return files


def _record(real: RealModel, seed: int, tool: str, found: Floats, expected: Floats, truths: list[Any]) -> None:
    hits = float(np.mean(real.hits(found, expected, truths)))
    shaken = [real.hits(_shaken(found, order), expected, truths).mean() for order in range(ORDERS)]
    same = float((found.argmax(-1) == expected.argmax(-1)).mean())
    scores = {real.name: hits, "at_random": float(np.mean(shaken)), "same_best": same, **real.noise(found, expected)}
    record("draws", model=real.model.name, tool=tool, seed=seed, samples=len(found), **scores)


def _shaken(found: Floats, seed: int) -> Floats:
    """Scores with the order of equal ones left to chance."""
    noise = np.random.default_rng(seed).uniform(0, SHAKEN, found.shape)
    return (found + noise).astype(np.float64)


def _section() -> Iterator[str]:
    lines = {(line["tool"], line["seed"]): line for line in load("draws")}
    seeds = sorted({seed for _, seed in lines if seed >= 0})
    yield f"### One draw of calibration data, or {len(seeds)}\n"
    yield __doc__.split("\n\n")[2].strip() + "\n"
    fp32 = lines["fp32", -1]
    yield (
        f"`crepe`, {SAMPLES} tones a draw, {fp32['samples']} held out: means over the draws, and the mean of the\n"
        f"differences to `{PEER}` of the same draw, with twice its standard error. FP32 has\n"
        f"{fp32['within_50_cents']:.4f}. *same best*: how often the best bin is FP32's. Decision 76 has what ties do.\n"
    )
    rows = [_row(lines, tool, seeds) for tool in (PEER, *(f"edgepress, {ranges}" for ranges in RANGES))]
    yield table(["file", "first of the best", "difference", "one at random", "difference", "same best", "dB"], rows)


def _row(lines: dict[tuple[str, int], dict[str, Any]], tool: str, seeds: list[int]) -> list[str]:
    own, peer = ([lines[name, seed] for seed in seeds] for name in (tool, PEER))

    def mean(name: str) -> float:
        return float(np.mean([line[name] for line in own]))

    def difference(name: str) -> str:
        apart = np.asarray([a[name] - b[name] for a, b in zip(own, peer, strict=True)])
        return "" if tool == PEER else f"{apart.mean():+.4f} ± {2 * apart.std(ddof=1) / len(apart) ** 0.5:.4f}"

    first, random = "within_50_cents", "at_random"
    figures = [f"{mean(first):.4f}", difference(first), f"{mean(random):.4f}", difference(random)]
    return [tool, *figures, f"{mean('same_best'):.4f}", f"{mean('sqnr_db'):.2f}"]


if __name__ == "__main__":
    main()

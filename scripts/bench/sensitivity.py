"""How much of int8's noise the worst layers hold, and what finding them costs: `python scripts/bench/sensitivity.py`.

MiniLM, scheme of `server-cpu`. Rankings are made on calibration sentences; the SQNR is of sentences that are held out.
"""

from __future__ import annotations

import tempfile
import time
from dataclasses import replace
from itertools import islice
from pathlib import Path
from typing import Any

import numpy as np
from models import ROOT, example
from sections import table, write_section

from edgepress.backends.base import Graph
from edgepress.backends.places import Reference
from edgepress.backends.registry import tool_versions
from edgepress.exporter.capture.capture import capture
from edgepress.exporter.pipeline import axis_ranges
from edgepress.exporter.quantization.gains import worthwhile
from edgepress.exporter.quantization.gather import calibration_feeds, gather
from edgepress.exporter.quantization.judging import JudgingSamples
from edgepress.exporter.quantization.noise import Noise, decibel, literal, measure_noise
from edgepress.exporter.quantization.quantizer import Quantizer
from edgepress.exporter.quantization.relax import Requirement, relax
from edgepress.exporter.recipe import Recipe
from edgepress.exporter.sources import load_source
from edgepress.exporter.workshop import Memo
from edgepress.profiles.device.target import load_target
from edgepress.profiles.findings.parity import parity, worst
from edgepress.profiles.machine.environment import this_machine

TARGET, GAIN_DB = "server-cpu", 2.0
HELD_OUT = 10  # batches of 16 sentences
COUNTS, SEEDS = (0, 1, 2, 3, 6), 3


class Bench:
    """The model, calibrated once, and its outputs on held-out sentences."""

    def __init__(self, scratch: Path) -> None:
        self.scratch, self.recipe = scratch, Recipe()
        self.source, self.target = load_source(str(ROOT / "examples" / "minilm.py")), load_target(TARGET)
        assert self.target.scheme is not None
        self.scheme = self.target.scheme
        axes = axis_ranges(self.source, self.recipe)
        self.graph = capture(self.source, self.target.opset, scratch / "model.onnx", axes)
        placed = Quantizer.of(self.graph, self.scheme)
        self.statistics = gather(
            self.source, self.graph, placed, self.recipe, lambda samples: None, Memo(directory=scratch)
        )
        self.judging = list(islice(calibration_feeds(self.source, Recipe(), self.graph)(), 2))
        self.held_out = held_out()[:HELD_OUT]
        self.expected = self.outputs(self.graph, self.held_out)

    def outputs(self, graph: Graph, feeds: list[dict[str, Any]]) -> list[dict[str, Any]]:
        with Reference().open(Reference().runs(graph, self.target, "fp32", None)) as session:
            return [session(feed) for feed in feeds]

    def sqnr(self, left: tuple[str, ...], lifts: tuple[str, ...]) -> float:
        path = self.scratch / "int8.onnx"
        Quantizer.of(self.graph, self.scheme, literal(left), lifts=lifts).write(self.statistics, path)
        return worst(parity(self.expected, self.outputs(replace(self.graph, path=path), self.held_out))).weakest_db

    def lifts(self) -> tuple[str, ...]:
        expected = self.outputs(self.graph, self.judging)
        samples = JudgingSamples.of(self.graph, self.judging, "samples", expected)
        return worthwhile(self.graph, self.target, self.recipe, self.statistics, samples, self.scratch).lifts

    def noise(self, lifts: tuple[str, ...]) -> tuple[Noise, float]:
        start = time.perf_counter()
        quantizer = Quantizer.of(self.graph, self.scheme, lifts=lifts)
        found = measure_noise(quantizer, self.graph, self.statistics, self.judging[0], (), self.scratch)
        return found, time.perf_counter() - start


def held_out() -> list[dict[str, Any]]:
    """The feeds that `evaluate` asks for."""
    feeds: list[dict[str, Any]] = []

    def predict(feed: dict[str, Any]) -> dict[str, Any]:
        feeds.append(feed)
        return {"embedding": np.random.default_rng(len(feeds)).normal(size=(len(feed["input_ids"]), 384))}

    example("minilm").evaluate(predict)
    return feeds


def main() -> None:
    """Write the section."""
    with tempfile.TemporaryDirectory() as name:
        bench = Bench(Path(name))
        tools = ", ".join(f"{tool} {version}" for tool, version in tool_versions().items())
        lines = [
            "## Layers left in float: MiniLM",
            "",
            f"36 products with constant weights, scheme of `{TARGET}`, {bench.statistics.samples} calibration "
            "sentences;",
            f"SQNR in dB on {16 * HELD_OUT} held-out sentences.",
            f"`python scripts/bench/sensitivity.py`, {this_machine()}; {tools}.",
        ]
        for title, lifts in (("as shipped", bench.lifts()), ("without lifts", ())):
            lines += ["", *_judged(bench, title, lifts)]
    write_section("sensitivity", lines)
    print("\n".join(lines))


def _judged(bench: Bench, title: str, lifts: tuple[str, ...]) -> list[str]:
    noise, seconds = bench.noise(lifts)
    found = relax(
        noise,
        Requirement(least_db=bench.sqnr((), lifts) + GAIN_DB),
        lambda left: (bench.sqnr(left, lifts), None),
    )
    inferences = noise.samples * len(noise.places)
    return [
        _table(bench, noise, title, lifts),
        f"The ranking took {seconds:.1f} s and {inferences} inferences. The search for {GAIN_DB:g} dB more than full",
        f"int8 left {len(found.left)} of 36 in float after {len(found.trials)} evaluations: "
        f"{found.trials[0].sqnr_db:.2f} to {found.reached_db:.2f} dB.",
        "",
        *(_line(noise, layer) for layer in noise.ranking()[:3]),
    ]


def _table(bench: Bench, noise: Noise, title: str, lifts: tuple[str, ...]) -> str:
    ranking = noise.ranking()
    own = sorted(noise.layers, key=lambda layer: -noise.own(layer))
    rows = []
    for count in COUNTS:
        orders = [np.random.default_rng(seed).permutation(own).tolist() for seed in range(SEEDS if count else 1)]
        random = np.mean([bench.sqnr(tuple(order[:count]), lifts) for order in orders])
        best, local = (bench.sqnr(tuple(order[:count]), lifts) for order in (ranking, own))
        predicted = noise.predicted_db(ranking[:count])
        rows.append([f"{count} of 36", *(f"{db:.2f}" for db in (best, local, float(random), predicted))])
        print(title, *rows[-1], flush=True)
    head = f"{title} (lifts: {', '.join(lifts) or 'none'}), layers in float"
    return table(
        [head, "ranked by the model's output", "by the layer's own", f"mean of {SEEDS} random", "predicted"], rows
    )


def _line(noise: Noise, layer: str) -> str:
    alone = decibel(float(noise.of(layer)[noise.worst]))
    share, tensor = f"{noise.share(layer):.0%} of the noise", noise.tensor(layer)
    return f"- `{layer}`: {share}, {alone:.1f} dB alone, its {tensor}; {noise.why[layer]}"


if __name__ == "__main__":
    main()

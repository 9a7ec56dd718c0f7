"""Bundles with latencies that a test chooses: sealed as an export seals them, so that nothing about them is special."""

from __future__ import annotations

import shutil
from dataclasses import replace
from pathlib import Path

import numpy as np

from edgepress.exporter.bundle.manifest import load_bundle
from edgepress.exporter.bundle.seal import load_report, seal
from edgepress.profiles.findings.report import TaskMetric
from edgepress.profiles.timing.measurement import Measurement

JUDGED = """

def evaluate(predict):
    return 1.0 - float(np.mean([abs(predict({"input": batch(i)})["output"]).mean() for i in range(2)])) / 100
"""


def steady(ms: float, spread: float = 0.01, count: int = 1200, rounds: int = 20) -> Measurement:
    """A measurement of a calm machine."""
    rng = np.random.default_rng(0)
    samples = (ms * 1e6 * rng.lognormal(0, spread, count)).astype(int)
    return Measurement(
        samples=tuple(map(int, samples)), rounds=tuple(i * rounds // count for i in range(count)), stable=True
    )


def copied(
    bundle: Path,
    to: Path,
    latency: Measurement | None = None,
    task: TaskMetric | None = None,
    threads: int = 1,
) -> Path:
    """A copy of a bundle, with another latency or metric."""
    shutil.copytree(bundle, to)
    for name in ("manifest.json", "latency.npz", "report.json", "report.md", "report.html"):
        (to / name).unlink(missing_ok=True)
    report, manifest = load_report(bundle), load_bundle(bundle).manifest
    measured = {} if latency is None else {"engine": latency}
    missing = tuple(gap for gap in report.missing if gap.about != "latency" or not measured)
    found = replace(
        report,
        latency={name: one.latency() for name, one in measured.items()},
        latency_shape="input (1, 1, 8, 8)",
        threads=threads,
        task=task or report.task,
        missing=missing,
    )
    names = ("model", "target", "recipe", "engine", "minimum_sqnr_db", "fallback", "lineage", "tools")
    seal(to, to.name, {name: getattr(manifest, name) for name in names}, found, measured)
    return to

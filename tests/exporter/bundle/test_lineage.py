"""A lineage hangs together from the source to the engine, and one that does not is seen."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from edgepress.calibration.statistics import Statistics, TensorStatistics
from edgepress.calibration.storage import content_digest, load_statistics, save_statistics
from edgepress.errors import VerificationError
from edgepress.exporter.bundle.lineage import check_lineage, engine_digest, shipped_lineage
from edgepress.exporter.bundle.manifest import Bundle, FallbackEntry
from edgepress.profiles.findings.lineage import LineageStep, ancestry

from .test_bundle import filled

GIVEN, PRUNED, CAPTURED, STATISTICS, INT8, FLOAT = (letter * 64 for letter in "abcdef")
GRAPH = "1" * 64  # of `filled`


def steps(engine: str) -> tuple[LineageStep, ...]:
    return (
        LineageStep(what="prune", before=GIVEN, after=PRUNED),
        LineageStep(what="capture", before=PRUNED, after=CAPTURED),
        LineageStep(what="calibrate", before=CAPTURED, after=STATISTICS, beside={"calibration data": "9" * 64}),
        LineageStep(what="int8", before=CAPTURED, after=GRAPH, beside={"statistics": STATISTICS}),
        LineageStep(what="fp16", before=CAPTURED, after=FLOAT),
        LineageStep(what="compile", before=GRAPH, after=engine),
    )


@pytest.fixture
def bundle(tmp_path: Path) -> Bundle:
    bundle = filled(tmp_path / "bundle")
    return having(bundle, *steps(engine_digest(bundle.manifest.files)))


def having(bundle: Bundle, *lineage: LineageStep) -> Bundle:
    return replace(bundle, manifest=replace(bundle.manifest, lineage=lineage))


def test_one_that_hangs_together_passes_and_so_does_a_bundle_of_before(bundle: Bundle) -> None:
    check_lineage(bundle)
    check_lineage(having(bundle))


@pytest.mark.parametrize(
    ("number", "change", "said"),
    [
        (1, {"before": INT8}, "`capture` begins with eeeeeeeeeeee, which no step before it gave"),
        (
            3,
            {"after": INT8},
            "which no step before it gave; no step gave its graph",
        ),
        (5, {"after": INT8}, "its engine is not the one that was compiled of its graph"),
        (5, {"before": FLOAT}, "its engine is not the one that was compiled of its graph"),
    ],
)
def test_a_step_that_does_not_fit_is_named(bundle: Bundle, number: int, change: dict[str, str], said: str) -> None:
    changed = list(bundle.manifest.lineage)
    changed[number] = replace(changed[number], **change)  # type: ignore[arg-type]
    with pytest.raises(VerificationError) as raised:
        check_lineage(having(bundle, *changed))
    assert said in raised.value.message


def test_the_graph_that_goes_along_has_a_lineage_too(bundle: Bundle) -> None:
    fallback = FallbackEntry(precision="fp16", graph_digest=INT8, minimum_sqnr_db=20.0)
    with pytest.raises(VerificationError, match="no step gave the graph in fallback/"):
        check_lineage(replace(bundle, manifest=replace(bundle.manifest, fallback=fallback)))


def test_any_file_of_the_engine_counts(bundle: Bundle) -> None:
    before = engine_digest(bundle.manifest.files)
    files = dict(bundle.manifest.files)
    files["engine/model.bin"] = replace(files["engine/model.bin"], sha256="0" * 64)
    assert engine_digest(files) != before
    files = {**bundle.manifest.files, "engine/more.bin": files["engine/model.bin"]}
    assert engine_digest(files) != before


def test_what_is_not_shipped_is_no_ancestor() -> None:
    """Where a device chose the float graph, int8 and its statistics are not in the lineage of what it built."""
    chosen = (*steps("")[:5], LineageStep(what="compile", before=FLOAT, after="e" * 64))
    assert [step.what for step in shipped_lineage(chosen, FLOAT)] == ["prune", "capture", "fp16", "compile"]
    assert [step.what for step in ancestry(chosen, GRAPH)] == ["prune", "capture", "calibrate", "int8"]
    both = shipped_lineage(chosen, FLOAT, (GRAPH,))
    assert [step.what for step in both] == ["prune", "capture", "calibrate", "int8", "fp16", "compile"]


def test_the_digest_of_statistics_is_that_of_their_content(tmp_path: Path) -> None:
    state = TensorStatistics.of(np.float32([-1.0, 0.5, 1.0, 2.0]))
    statistics = Statistics(graph=GIVEN, samples=4, data=PRUNED, tensors={"x": state, "y": state})
    save_statistics(statistics, tmp_path / "s")
    assert content_digest(load_statistics(tmp_path / "s")) == content_digest(statistics)
    assert content_digest(statistics).encode() in (tmp_path / "s").read_bytes(), "it is the checksum of the file"
    more = state.histogram.copy()
    more[0] += 1
    for other in (replace(state, histogram=more), replace(state, maximum=2.5), replace(state, count=5)):
        changed = replace(statistics, tensors={"x": state, "y": other})
        assert content_digest(changed) != content_digest(statistics)

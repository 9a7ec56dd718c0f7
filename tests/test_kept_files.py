"""Files that an earlier revision wrote stay readable: see tests/kept."""

from __future__ import annotations

import json
import shutil
from pathlib import Path

import pytest

from edgepress.calibration.storage import load_statistics
from edgepress.exporter.bundle.build import _ANEW
from edgepress.exporter.bundle.manifest import check_files, load_bundle
from edgepress.exporter.bundle.reportables import load_reportable
from edgepress.exporter.bundle.seal import load_report
from edgepress.exporter.gate.against import Against, stored_outcome
from edgepress.exporter.gate.baseline import Baselines
from edgepress.exporter.recipe_file import load_recipe
from edgepress.profiles.budget.budget import Budget
from edgepress.profiles.findings.comparison import load_comparison
from edgepress.profiles.findings.figures import judge, of_profile, of_report
from edgepress.profiles.findings.gap import Gap
from edgepress.profiles.findings.history import load_history
from edgepress.profiles.findings.profile import load_profile
from edgepress.profiles.findings.report import SCHEMA
from edgepress.profiles.reporting.reportable import BundleFindings
from edgepress.profiles.timing.turns import compare_turns

KEPT = Path(__file__).parent / "kept" / "0e626fc"
CPU, JETSON = KEPT / "net-cpu", KEPT / "net-jetson-orin-nano-8gb"


def raw(file: Path) -> dict[str, object]:
    data: dict[str, object] = json.loads(file.read_text(encoding="utf-8"))
    return data


def test_reports_of_schema_1() -> None:
    report = load_report(CPU)
    assert raw(CPU / "report.json")["schema"] == 1
    assert report.schema == SCHEMA == 2
    assert [(gap.about, gap.subject) for gap in report.missing] == [
        *[("steady", arm) for arm in ("engine", "fp32", "bf16", "torch")],
        ("speed", ""),
    ]
    assert report.why_no("speed").startswith("int8 was asked for; int8 is slower")
    assert {"latency_p50", "size", "accuracy", "coverage", "speedup"} <= {
        name for name, figure in of_report(report).items() if not isinstance(figure, str)
    }
    assert [evidence.about for evidence in report.evidence] == ["engine", "engine"]
    assert [verdict.status for verdict in judge(Budget.parse({"latency_p50": "1s"}), report)] == ["met"]


def test_a_report_of_what_was_not_built() -> None:
    report = load_report(JETSON)
    assert [gap.about for gap in report.missing] == ["engine", "coverage", "latency"]
    assert list(report.missing) == [
        Gap(about=gap.about, why=str(why))
        for gap, why in zip(report.missing, raw(JETSON / "report.json")["missing"].values(), strict=True)  # type: ignore[attr-defined]
    ]
    # A device that builds the engine keeps what was said of the graph, and finds out the rest.
    assert [(e.kind, e.about) for e in report.evidence] == [
        ("absent", "engine"),
        ("emulated", "graph"),
        ("emulated", "graph"),
    ]
    assert {gap.about for gap in report.missing} <= set(_ANEW)


def test_manifests_and_whole_bundles() -> None:
    for path in (CPU, JETSON):
        manifest = load_bundle(path).manifest
        assert manifest.model.name == "net"
        assert [e.claim for e in manifest.measured.evidence] == [e.claim for e in load_report(path).evidence]
    assert load_bundle(CPU).manifest.engine.precision == "int8"
    assert check_files(load_bundle(JETSON)) == 8
    shown = load_reportable(JETSON)
    assert isinstance(shown, BundleFindings)


def test_a_baseline_for_a_new_bundle(tmp_path: Path) -> None:
    new = load_bundle(Path(shutil.copytree(JETSON, tmp_path / "new")))
    old = Baselines(path=KEPT / JETSON.name).find("jetson-orin-nano-8gb")
    assert old is not None
    verdicts = {v.what: v for v, _ in Against.of(old, new, measure=False).verdicts({})}
    assert verdicts["accuracy_regression"].status == "met"
    assert "not built here" in verdicts["size_regression"].found
    assert stored_outcome(load_report(CPU), load_report(CPU)).verdict == "no difference shown"


def test_histories() -> None:
    history = load_history(KEPT / "history.jsonl")
    assert [(run.target, run.precision) for run in history.runs] == [("cpu", "int8"), ("jetson-orin-nano-8gb", "int8")]
    assert not history.cut
    assert history.runs[0].figures["latency_p50"].unit == "ms"


def test_profiles_and_comparisons() -> None:
    profile = load_profile(KEPT / "profile.json")
    assert not isinstance(of_profile(profile)["latency_p50"], str)
    assert "energy" in profile.missing
    comparison = load_comparison(KEPT / "comparison.json")
    assert comparison.outcome.verdict == "no difference shown"
    assert compare_turns(comparison.pairs).processes == comparison.outcome.processes


@pytest.mark.parametrize("directory", [CPU, JETSON], ids=["cpu", "jetson"])
def test_recipes(directory: Path) -> None:
    recipe = load_recipe(directory / "recipe.toml")
    assert (recipe.precision, recipe.threads, recipe.training.features) == ("int8", 1, ())


def test_statistics() -> None:
    statistics = load_statistics(KEPT / "statistics.safetensors")
    assert len(statistics.tensors) == 3

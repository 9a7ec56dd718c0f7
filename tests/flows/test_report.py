"""`edgepress report` on real bundles, and on what is no bundle."""

from __future__ import annotations

import json
import shutil
from pathlib import Path

import pytest

from ._flow import Cli, contents, read

TARGETS = ("cpu", "mobile", "jetson")


def test_each_bundle_has_its_report_in_three_forms(digits: dict[str, Path]) -> None:
    for bundle in digits.values():
        measured = read(bundle, "manifest.json")["measured"]["files"]
        assert {"report.html", "report.md", "report.json"} <= measured.keys()
        page = (bundle / "report.html").read_text()
        assert page.startswith("<!doctype html>")
        assert "<script" not in page
        assert "http" not in page.replace('http-equiv="Content-Security-Policy"', "")
        assert read(bundle)["command"].replace("&", "&amp;") in page


def test_three_targets_on_one_page_under_a_megabyte(digits: dict[str, Path], cli: Cli, tmp_path: Path) -> None:
    ran = cli("report", *(digits[name] for name in TARGETS), "-o", "all.html")
    assert ran.code == 0, ran.err
    page = tmp_path / "all.html"
    assert page.stat().st_size < 1_000_000
    text = page.read_text()
    assert text.index("Side by side") < text.index("Before and after")
    for name in TARGETS:
        assert f"<code>{digits[name].name.replace('-', '-')}" in text
    assert "Nobody has measured this" in text
    assert list(tmp_path.glob("*")) == [page]


def test_the_form_follows_the_name_and_the_option(digits: dict[str, Path], cli: Cli, tmp_path: Path) -> None:
    assert cli("report", digits["cpu"], "--format", "json", "-q").out == ""
    data = json.loads((tmp_path / "report.json").read_text())
    assert data["kind"] == "edgepress report"
    assert data["reports"][0] == read(digits["cpu"])
    shown = cli("report", digits["cpu"], "--format", "md", "-o", "-")
    assert shown.out.startswith("# digits for cpu\n")
    cli("report", digits["cpu"], "-o", "x.md")
    made, printed = (tmp_path / "x.md").read_text(), shown.out
    assert made.splitlines()[:-1] == printed.splitlines()[:-1]
    assert (digits["cpu"] / "report.md").read_text().splitlines()[:-1] == printed.splitlines()[:-1]


@pytest.mark.slow
def test_a_measurement_is_a_report_too(digits: dict[str, Path], cli: Cli, tmp_path: Path) -> None:
    ran = cli("profile", digits["cpu"], "--scenario", "cold-start", "-o", "p.json", "-q")
    assert ran.code == 0, ran.err
    assert cli("report", digits["cpu"], "p.json", "-o", "both.html").code == 0
    text = (tmp_path / "both.html").read_text()
    assert "2 reports" in text
    assert "Where a cold start goes" in text
    assert "Latency was not measured." in text


def test_a_search_is_found_beside_its_bundle(digits: dict[str, Path], cli: Cli, tmp_path: Path) -> None:
    bundle = shutil.copytree(digits["cpu"], tmp_path / "digits-cpu")
    study = tmp_path / "digits-cpu.tune"
    study.mkdir()
    points = [
        {"number": n, "point": {"precision": "int8", "threads": 1 + n, "prune": 0, "ranges": "auto", "kept": 0},
         "size": 480_000 - n, "metric": None, "sqnr_db": 28.0 + n, "early": "",
         "latency": {"50": {"value": 1.0 + n, "low": 0.9, "high": 3.0}}} for n in range(2)
    ]  # fmt: skip
    (study / "results.json").write_text(json.dumps({"results": points, "front": [0, 1], "chosen": 1}))
    assert "Search: 2 of 2 points on the Pareto front" in cli("report", bundle, "-o", "-").out
    elsewhere = study.rename(tmp_path / "study")
    assert "Search: " not in cli("report", bundle, "-o", "-").out
    assert "Search: 2 of 2" in cli("report", bundle, "--tune", elsewhere, "-o", "-").out
    cli("report", bundle, "--tune", tmp_path).failed(1, "no finished search", "edgepress tune")
    cli("report", bundle, bundle, "--tune", elsewhere).failed(1, "--tune is of one bundle")
    for damaged in ([{}], [{**points[0], "size": ""}], [{**points[0], "latency": {"50": "soon"}}]):
        (elsewhere / "results.json").write_text(json.dumps({"results": damaged, "front": [0], "chosen": 0}))
        cli("report", bundle, "--tune", elsewhere).failed(1, "is not what `edgepress tune` writes")


def test_what_is_no_bundle_is_refused(digits: dict[str, Path], cli: Cli, tmp_path: Path) -> None:
    bundle = digits["cpu"]
    (tmp_path / "empty").mkdir()
    (tmp_path / "other.json").write_text('{"kind": "something else"}')
    (tmp_path / "text.json").write_text("not json")
    cli("report", "nowhere").failed(1, "nowhere does not exist")
    cli("report", "empty").failed(1, "empty is not a bundle", "manifest.json")
    cli("report", "other.json").failed(1, "neither a bundle nor a measurement", "something else")
    cli("report", "text.json").failed(1, "text.json cannot be read")
    cli("report", bundle / "report.json").failed(1, "neither a bundle nor a measurement")
    cli("report", bundle, "-o", "no/where.html").failed(1, "no is not a writable directory")
    cli("report", bundle, "-o", "empty").failed(1, "empty is a directory")
    cli("report", bundle, "-o", bundle / "new.html").failed(1, "would lie in a bundle")
    assert "new.html" not in contents(bundle)
    assert sorted(path.name for path in tmp_path.iterdir()) == ["empty", "other.json", "text.json"]


@pytest.mark.parametrize(
    ("name", "change", "words"),
    [
        ("report.json", lambda text: text[: len(text) // 2], ("report.json cannot be read",)),
        ("report.json", lambda text: text.replace('"schema": 2', '"schema": 9'), ("schema 9", "reads 1")),
        ("report.json", lambda text: text.replace('"model": "digits"', '"model": 3'), ("`model`",)),
        ("report.json", lambda text: text.replace("digits", "others"), ("report.json was changed", "again")),
        ("report.json", lambda text: "[]", ("is not the report of a bundle",)),
        ("manifest.json", lambda text: text.replace('"schema": 1', '"schema": 9'), ("schema 9", "reads 1")),
        ("manifest.json", lambda text: text[:100], ("manifest.json cannot be read",)),
    ],
)
def test_a_damaged_or_newer_bundle_is_refused(digits: dict[str, Path], cli: Cli, tmp_path: Path, name, change, words):
    bundle = shutil.copytree(digits["cpu"], tmp_path / "copy")
    text = (bundle / name).read_text()
    (bundle / name).write_text(change(text))
    assert change(text) != text
    cli("report", bundle).failed(1, *words)
    assert not (tmp_path / "report.html").exists()


def test_a_report_is_not_shown_of_files_that_it_is_not_about(digits: dict[str, Path], cli: Cli, tmp_path: Path) -> None:
    bundle = Path(shutil.copytree(digits["cpu"], tmp_path / "copy"))
    with (bundle / "engine" / "model.bin").open("ab") as file:
        file.write(b"x")
    cli("report", bundle).failed(4, "engine/model.bin was changed")
    assert not (tmp_path / "report.html").exists()
    for command in (("check", bundle), ("profile", bundle), ("build", bundle), ("verify", bundle)):
        cli(*command).failed(4, "engine/model.bin was changed")


def test_samples_that_were_changed_are_not_drawn(digits: dict[str, Path], cli: Cli, tmp_path: Path) -> None:
    bundle = shutil.copytree(digits["cpu"], tmp_path / "copy")
    manifest = read(bundle, "manifest.json")
    manifest["measured"]["files"]["latency.npz"] = {"sha256": "0" * 64, "size": 1}
    (bundle / "manifest.json").write_text(json.dumps(manifest))
    cli("report", bundle).failed(1, "latency.npz is missing")
    (bundle / "latency.npz").write_bytes(b"PK")
    cli("report", bundle).failed(1, "latency.npz")

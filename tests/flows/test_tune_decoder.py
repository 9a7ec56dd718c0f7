"""`edgepress tune` of a decoder: grids are tried, and the smallest that keeps a budget is exported."""

from __future__ import annotations

import json
import shutil
from pathlib import Path

import pytest

from ._flow import Cli, read

FIXED = """measure = false

[weights]
block = 32
symmetric = true
rounding = "nearest"
"""


@pytest.fixture
def model(tales: Path, tmp_path: Path) -> Path:
    (tmp_path / "fixed.toml").write_text(FIXED)
    return Path(shutil.copytree(tales / "tale", tmp_path / "tale"))


def test_the_smallest_grid_that_keeps_the_budget_is_exported(model: Path, cli: Cli, tmp_path: Path) -> None:
    words = ("tune", "tale", "-t", "server-cpu", "--recipe", "fixed.toml", "--trials", "9")
    ran = cli(*words, "--max-drop", "50%", "--json")
    assert ran.code == 0, ran.err
    bundle, search = tmp_path / "dist/tale-server-cpu", tmp_path / "dist/tale-server-cpu.tune"
    found = json.loads(ran.out)
    assert found["trials"] == 3, "int4, int8 and FP32 are all there is"
    results = {one["point"]["precision"]: one for one in read(search, "results.json")["results"]}
    assert results["int4"]["size"] < results["int8"]["size"] < results["fp32"]["size"]
    assert results["int4"]["loss"] > results["int8"]["loss"] > results["fp32"]["loss"] - 1e-6
    assert found["chosen"]["point"] == {"precision": "int4", "block": 32, "zero": "symmetric", "rounding": "nearest"}
    report = read(bundle)
    assert {one["what"]: one["status"] for one in report["budget"]} == {"accuracy_drop": "met"}
    assert len({layer["grid"] for layer in report["language"]["bits"]["layers"]}) == 1
    assert report["language"]["parity"]["after"] == pytest.approx(found["chosen"]["perplexity"], rel=1e-6)
    assert "Search: " in (search / "report.html").read_text()
    # What int4 loses is asked too much now: the study goes on without a trial, and ships the next one.
    share = results["int4"]["perplexity"] / results["int4"]["before"] - 1
    ran = cli(*words, "--max-drop", f"{50 * share:.6f}%", "--json", "--force")
    assert ran.code == 0, ran.err
    assert json.loads(ran.out)["chosen"]["point"]["precision"] == "int8"
    again = cli("export", "tale", "-t", "server-cpu", "--recipe", search / "recipe.toml", "-o", "again", "-q")
    assert again.code == 0, again.err
    one, two = (read(path, "manifest.json") for path in (bundle, tmp_path / "again/tale-server-cpu"))
    assert one["files"] == two["files"]


def test_what_means_nothing_for_a_decoder_is_refused(model: Path, cli: Cli) -> None:
    cli("tune", "tale", "-t", "server-cpu", "--max-latency", "5ms").failed(
        1, "says nothing of a decoder", "decode=20tok/s"
    )
    cli("tune", "tale", "-t", "rpi5", "--budget", "decode=5tok/s").failed(
        5, "decode 5tok/s", "cannot be searched for here"
    )
    cli("export", "tale", "-t", "server-cpu", "--uniform").failed(1, "`uniform`", "--precision")


@pytest.mark.slow
def test_speed_is_a_goal_where_it_can_be_measured(model: Path, cli: Cli, tmp_path: Path) -> None:
    (tmp_path / "fixed.toml").write_text(FIXED.replace("measure = false", ""))
    words = ("tune", "tale", "-t", "server-cpu", "--recipe", "fixed.toml", "--max-drop", "90%")
    ran = cli(*words, "--budget", "decode=1tok/s", "--json")
    assert ran.code == 0, ran.err
    results = read(tmp_path / "dist/tale-server-cpu.tune", "results.json")["results"]
    assert all(one["faster"]["value"] > 0 and one["figures"]["decode"] > 1 for one in results)
    cli(*words, "--budget", "decode=100000tok/s", "--force").failed(3, "misses decode by")

"""Recipes and budgets as their user meets them: a file, options over it, and exit code 3 with the bundle in place."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from ._flow import SMALL, Cli, read

EVALUATE = """
calls = 0


def evaluate(predict):
    scores = predict({"input": batch(0)})
    return 1.0 if next(iter(scores.values())).shape == (4, 3) else 0.0
"""


def test_a_bundle_carries_the_recipe_that_makes_it_again(cli: Cli, small: Path, tmp_path: Path) -> None:
    (tmp_path / "mine.toml").write_text('precision = "int8"\nranges = "mse"\nmeasure = false\nseed = 3\n')
    options = ("-t", "server-cpu", "--quiet")
    assert cli("export", small, *options, "--recipe", "mine.toml", "--seed", "4", "-o", "one").code == 0
    recipe = tmp_path / "one/small-server-cpu/recipe.toml"
    assert cli("export", small, *options, "--recipe", recipe, "-o", "two").code == 0
    one, two = (read(tmp_path / name / "small-server-cpu", "manifest.json") for name in ("one", "two"))
    assert (one["recipe"]["ranges"], one["recipe"]["seed"], one["recipe"]["measure"]) == ("mse", 4, False)
    assert one["files"] == two["files"]


def test_a_fault_in_a_recipe_ends_before_any_work(cli: Cli, small: Path, tmp_path: Path) -> None:
    (tmp_path / "mine.toml").write_text('precison = "int8"\n')
    cli("export", small, "-t", "cpu", "--recipe", "mine.toml").failed(1, "mine.toml", "`precison`", "precision?")
    cli("export", small, "-t", "cpu", "--recipe", "no.toml").failed(1, "no.toml", "No such file")
    cli("export", small, "-t", "cpu", "--max-size", "4mb").failed(1, "'mb' is unknown", "MB")
    cli("export", small, "-t", "cpu", "--max-latency", "1ms", "--no-measure").failed(1, "max_latency", "measure")
    assert not (tmp_path / "dist").exists()


@pytest.mark.parametrize(("limit", "code"), [("1MB", 0), ("1kB", 3)])
def test_a_budget_that_is_missed_is_code_3_and_the_bundle_stays(
    cli: Cli, tmp_path: Path, limit: str, code: int
) -> None:
    (tmp_path / "small.py").write_text(SMALL + EVALUATE)
    budget = ("--max-size", limit, "--max-drop", "1%")
    ran = cli("export", "small.py", "-t", "server-cpu", "--precision", "int8", "--no-measure", "--quiet", *budget)
    bundle = tmp_path / "dist/small-server-cpu"
    found = {verdict["what"]: verdict["status"] for verdict in read(bundle)["budget"]}
    assert found == {"size": "met" if code == 0 else "missed", "accuracy_drop": "met"}
    assert cli("verify", bundle).code == 0
    if code == 0:
        assert ran.code == 0
    else:
        size = read(bundle)["sizes"]["engine"]
        ran.failed(3, "small-server-cpu", f"size: {size / 1000:.3f} kB, 1kB asked", "edgepress tune")
        assert "accuracy_drop" not in ran.err


def test_what_this_machine_cannot_measure_is_said_and_not_failed(cli: Cli, small: Path, tmp_path: Path) -> None:
    ran = cli("export", small, "-t", "jetson", "--precision", "int8", "--max-latency", "1us", "--max-size", "1B")
    assert ran.code == 0
    found = read(tmp_path / "dist/small-jetson-orin-nano-8gb")["budget"]
    assert [(v["what"], v["status"]) for v in found] == [("latency_p50", "unmeasured"), ("size", "unmeasured")]
    assert "not checked" in ran.out


def test_init_writes_a_recipe_and_its_schema(cli: Cli, small: Path, tmp_path: Path) -> None:
    assert cli("init", "--recipe", "mine.toml").code == 0
    assert json.loads((tmp_path / "mine.schema.json").read_text())["properties"]["prune"]
    assert (tmp_path / "mine.toml").read_text().startswith("#:schema mine.schema.json\n")
    cli("init", "--recipe", "mine.toml").failed(1, "mine.toml exists")

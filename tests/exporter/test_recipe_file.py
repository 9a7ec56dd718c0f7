"""Recipes as TOML files: what is written reads back equal, and every fault is one message with file and key."""

from __future__ import annotations

import json
import re
from dataclasses import fields
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from edgepress.backends.base import AxisRange
from edgepress.calibration.ranges import METHODS
from edgepress.errors import InputError
from edgepress.exporter.quantization.lifts import LIFTS
from edgepress.exporter.recipe import Recipe, TrainingSettings
from edgepress.exporter.recipe_file import (
    _descriptions,
    dump_recipe,
    load_recipe,
    overridden,
    recipe_from,
    recipe_schema,
    template,
)
from edgepress.profiles.budget.budget import Budget
from edgepress.profiles.budget.limits import Drop, LatencyLimit, SizeLimit

SCHEMA = Path(__file__).parents[2] / "docs" / "recipe.schema.json"
KEY = re.compile(r"\[?(\w+)(?:]| = )")
texts = st.text(st.characters(exclude_categories=("Cs",)), max_size=20)
names = st.lists(texts, max_size=3).map(tuple)
share = st.floats(0, 1, exclude_min=True, exclude_max=True)
sizes = st.lists(st.integers(1, 10**6), min_size=3, max_size=3).map(sorted)
axes = sizes.map(lambda s: AxisRange(smallest=s[0], usual=s[1], largest=s[2]))
positive = st.floats(1e-6, 1e9)
LIMITS = {
    "accuracy_drop": st.builds(Drop, amount=st.floats(0, 1), relative=st.booleans()),
    **{f"latency_p{p}": st.builds(LatencyLimit, ms=positive, percentile=st.just(p)) for p in (50, 90)},
    "size": st.builds(SizeLimit, bytes=st.integers(1, 10**12)),
}
VALUES: dict[str, st.SearchStrategy[Any]] = {
    "precision": st.sampled_from(["auto", "int8", "fp16", "fp32"]),
    "calibration": st.none() | texts,
    "all_samples": st.booleans(),
    "workers": st.integers(1, 64),
    "ranges": st.sampled_from(["auto", *METHODS.names()]),
    "lifts": st.none() | st.lists(st.sampled_from(list(LIFTS.names())), unique=True).map(tuple),
    "exclude": names,
    "axes": st.dictionaries(texts, axes, max_size=3),
    "minimum_sqnr_db": st.none() | st.floats(0, 100),
    "budget": st.fixed_dictionaries({}, optional=LIMITS).map(lambda limits: Budget(limits=limits)),
    "prune": st.none() | share,
    "pruned": st.dictionaries(texts, st.integers(0, 4096), max_size=3),
    "keep": names,
    "sparse": st.booleans(),
    "distill": st.booleans(),
    "training": st.builds(
        TrainingSettings, epochs=st.integers(0, 99), learning_rate=positive, warmup=share, features=names
    ),
    "threads": st.none() | st.integers(1, 64),
    "seed": st.integers(0, 2**63 - 1),
}


@given(st.fixed_dictionaries({}, optional=VALUES))
def test_what_is_written_reads_back_equal(settings: dict[str, Any]) -> None:
    import tomllib

    if settings.get("distill"):
        settings.pop("prune", None)  # these contradict each other
    if settings.get("prune") is None:
        settings.pop("pruned", None)
    recipe = Recipe(**settings)
    assert recipe_from(tomllib.loads(dump_recipe(recipe)), "x") == recipe


def test_what_a_file_leaves_out_is_the_default(tmp_path: Path) -> None:
    file = tmp_path / "r.toml"
    file.write_text('precision = "int8"\nmax_drop = "1%"\nmax_size = "4MB"\n[axes]\nbatch = "1:2:3"\n')
    assert load_recipe(file) == Recipe(
        precision="int8",
        budget=Budget.parse({"accuracy_drop": "1%", "size": "4MB"}),
        axes={"batch": AxisRange(smallest=1, usual=2, largest=3)},
    )


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ('precison = "int8"', ("`precison`", "Did you mean precision?")),
        ('zzzzzz = "int8"', ("`zzzzzz`", "Known: precision, ")),
        ('precision = "int9"', ("`precision` is 'int9'", "Did you mean int8?")),
        ('ranges = "msee"', ("`ranges`", "Did you mean mse?")),
        ('lifts = ["smoth"]', ("`lifts.0`", "Did you mean smooth?")),
        ("prune = 1.4", ("`prune` is 1.4", "less than 1")),
        ("prune = 0", ("`prune` is 0", "greater than 0")),
        ("prune = nan", ("`prune`", "finite")),
        ('prune = "half"', ("`prune` is 'half'", "number")),
        ("prune = 0.5\npruned.stem = -8", ("`pruned.stem` is -8", "greater than or equal to 0")),
        ("prune = 0.5\npruned.stem = 8.5", ("`pruned.stem` is 8.5", "integer")),
        ("prune = 0.5\npruned.stem.one = 8", ("`pruned.stem` is {'one': 8}", "in quotes")),
        ("pruned.stem = 8", ("`pruned`", "`prune` is missing")),
        ('measure = "yes"', ("`measure` is 'yes'", "boolean")),
        ("threads = 2.5", ("`threads` is 2.5", "integer")),
        ("workers = 0", ("`workers` is 0", "greater than or equal to 1")),
        ("workers = 99999999999999999999", ("`workers` is 99999999999999999999", "less than or equal to 1024")),
        ("threads = 2147483648", ("`threads` is 2147483648", "less than or equal to 1024")),
        ("seed = -1", ("`seed` is -1", "greater than or equal to 0")),
        ("seed = 9223372036854775808", ("`seed` is 9223372036854775808", "less than or equal to 9223372036854775807")),
        ("exclude = [3]", ("`exclude.0` is 3", "string")),
        ('max_drop = "-1%"', ("`max_drop`", "-1%", "0 or more")),
        ('max_drop = "1pt"', ("`max_drop`", "'pt' is unknown", "%")),
        ("max_drop = true", ("`max_drop`", "'1%'")),
        ('max_latency = "5"', ("`max_latency`", "no unit", "ms")),
        ('max_latency = "p75=5ms"', ("`max_latency`", "'p75' is none of p50, p90")),
        ('max_size = "4MG"', ("`max_size`", "'MG' is unknown", "MB")),
        ('axes.batch = "1:0:3"', ("`axes.batch`", "1 <= MIN <= USUAL <= MAX")),
        ('calibration = "a"\nstatistics = "b"', ("`calibration` and `statistics`",)),
        ('measure = false\nmax_latency = "5ms"', ("`max_latency`", "`measure`")),
        ("precision = ", ("not TOML",)),
        ("limits = 5", ("`limits` is 5", "limits by name")),
        ('limits.size = "4MB"\nbudget.size = "4MB"', ("`limits` and `budget.size`", "same figure")),
        ('budget.sise = "4MB"', ("Unknown budget 'sise'", "Did you mean size?")),
        ('budget.size = "4MG"', ("Budget size", "'MG' is unknown", "MB")),
        ("budget.size = true", ("`budget`", "table of limits")),
        ('budget = "4MB"', ("`budget`", "table of limits")),
        ('budget.size_regression = "1%"', ("against a baseline", "--budget")),
        ('measure = false\nbudget.latency_p90 = "5ms"', ("latency_p90", "`measure`")),
    ],
)
def test_a_fault_is_one_message_with_file_and_key(tmp_path: Path, text: str, words: tuple[str, ...]) -> None:
    file = tmp_path / "mine.toml"
    file.write_text(text + "\n")
    with pytest.raises(InputError) as caught:
        load_recipe(file)
    for word in ("mine.toml", *words):
        assert word in str(caught.value)
    assert "pydantic" not in str(caught.value)


def test_a_missing_file_is_named(tmp_path: Path) -> None:
    with pytest.raises(InputError, match=r"nothing\.toml cannot be read: No such file"):
        load_recipe(tmp_path / "nothing.toml")


def test_the_command_line_is_stronger_than_the_file() -> None:
    file = Recipe(precision="int8", calibration="data.npz", threads=2)
    assert overridden(file, {"threads": 1}) == Recipe(precision="int8", calibration="data.npz", threads=1)
    assert overridden(file, {"statistics": "s"}) == Recipe(precision="int8", statistics="s", threads=2)
    with pytest.raises(InputError, match="`calibration` and `statistics`"):
        overridden(file, {"statistics": "s", "calibration": "c"})


def test_a_share_that_is_typed_chooses_widths_anew() -> None:
    file = Recipe(prune=0.5, pruned={"stem": 8})
    assert overridden(file, {"prune": 0.5}) == Recipe(prune=0.5)
    assert overridden(file, {"threads": 1}) == Recipe(prune=0.5, pruned={"stem": 8}, threads=1)


def test_every_field_is_explained_and_in_the_schema() -> None:
    expected = {field.name for field in fields(Recipe)}
    assert set(_descriptions()) == expected
    assert set(recipe_schema()["properties"]) == expected
    assert set(VALUES) | {"statistics", "importance", "measure"} <= expected


def test_the_committed_schema_is_fresh() -> None:
    """Write it anew with: python -m edgepress.exporter.recipe_file > docs/recipe.schema.json."""
    assert json.loads(SCHEMA.read_text()) == recipe_schema()


def test_the_template_is_a_recipe_when_its_lines_are_taken_in() -> None:
    import tomllib

    text = template("recipe.schema.json")
    assert recipe_from(tomllib.loads(text), "template") == Recipe()
    paragraphs = [block.replace("# ", "").splitlines() for block in text.split("\n\n")[1:]]
    settings = ["\n".join(lines[next(i for i, line in enumerate(lines) if KEY.match(line)) :]) for lines in paragraphs]
    for setting in settings:
        recipe_from(tomllib.loads(setting), setting)
    assert [KEY.match(setting)[1] for setting in settings] == sorted(
        (field.name for field in fields(Recipe)),
        key=lambda name: name in ("axes", "budget", "pruned", "training", "weights", "preprocess"),
    )


BEFORE = Path(__file__).parent / "kept"


def test_files_of_before_there_was_one_table_are_read_as_they_were_written() -> None:
    """A recipe, and the same as a bundle's manifest had it, written by edgepress of that time."""
    recipe = load_recipe(BEFORE / "recipe-before-budget.toml")
    assert recipe.budget.texts() == {
        "latency_p90": "5ms",
        "size": "4MB",
        "accuracy_drop": "1%",
        "latency_p99": "20ms",
        "coverage": "90%",
    }
    assert (recipe.precision, recipe.lifts, recipe.pruned, recipe.seed) == ("int8", ("smooth",), {"stem.conv1": 24}, 3)
    assert Budget.of(json.loads((BEFORE / "recipe-before-budget.json").read_text())) == recipe.budget


OLD = """
precision = "int8"
max_drop = "1%"
max_latency = "p90=5ms"
max_size = "4MB"

[limits]
coverage = "90%"
"""


def test_a_recipe_of_before_there_was_one_table_reads_as_one_of_today() -> None:
    import tomllib

    wanted = {"latency_p90": "5ms", "size": "4MB", "accuracy_drop": "1%", "coverage": "90%"}
    recipe = recipe_from(tomllib.loads(OLD), "old")
    assert recipe == Recipe(precision="int8", budget=Budget.parse(wanted))
    assert recipe_from(tomllib.loads(dump_recipe(recipe)), "new") == recipe
    assert Budget.of(tomllib.loads(OLD)) == recipe.budget  # as a manifest has it
    both = OLD + '\n[budget]\nsize = "5MB"\n'
    with pytest.raises(InputError, match=r"old: `max_size` and `budget\.size` bound the same figure"):
        recipe_from(tomllib.loads(both), "old")

"""One set of settings: what the recipe has, Python takes as keywords and the command line as options, by one name."""

from __future__ import annotations

from dataclasses import fields, replace
from pathlib import Path
from typing import Any

import click
import pytest
from click.testing import CliRunner

from edgepress.backends.base import AxisRange
from edgepress.errors import InputError
from edgepress.exporter.api import Options, RecipeSettings, _of_calibration, recipe_of, resolve
from edgepress.exporter.cli import export, names, tune
from edgepress.exporter.recipe import PreprocessSettings, Recipe, TrainingSettings, WeightSettings
from edgepress.exporter.recipe_file import choices
from edgepress.profiles.budget.budget import Budget
from edgepress.profiles.device.target import load_target

SHORT = {"max_drop", "max_latency", "max_size"}
RECIPE = {field.name for field in fields(Recipe)}
WEIGHTS = {field.name for field in fields(WeightSettings)}
TRAINING = {field.name for field in fields(TrainingSettings)}
# What an export does with its result, and how a person asks: not what is exported.
ABOUT_THE_RUN = {
    "source",
    "targets",
    "output",
    "force",
    "sign",
    "checkpoint",
    "trust_source",
    "quiet",
    "recipe_file",
    "on",
}
ONLY_TYPED = {"as_json", "if_changed", "depends", "budgets", "no_lifts", "no_rungs", "emulate"}
GATE = {"baseline", "baseline_optional", "on_unstable", "summary", "summary_file", "junit", "history", "mlflow"}
# Of the recipe, by keyword: each with a value that is not the default, and what the recipe makes of it.
GIVEN: dict[str, tuple[Any, dict[str, Any]]] = {
    "precision": ("int8", {"precision": "int8"}),
    "statistics": (Path("s.safetensors"), {"statistics": "s.safetensors"}),
    "all_samples": (True, {"all_samples": True}),
    "workers": (2, {"workers": 2}),
    "ranges": ("mse", {"ranges": "mse"}),
    "lifts": (["smooth"], {"lifts": ("smooth",)}),
    "rungs": (["rounding"], {"rungs": ("rounding",)}),
    "qat": (True, {"qat": True}),
    "exclude": (["Softmax"], {"exclude": ("Softmax",)}),
    "axes": (
        {"batch": AxisRange(smallest=1, usual=2, largest=3)},
        {"axes": {"batch": AxisRange(smallest=1, usual=2, largest=3)}},
    ),
    "minimum_sqnr_db": (20.0, {"minimum_sqnr_db": 20.0}),
    "budget": ({"coverage": "90%"}, {"budget": Budget.parse({"coverage": "90%"})}),
    "max_drop": (0.01, {"budget": Budget.parse({"accuracy_drop": "0.01"})}),
    "max_latency": ("p90=5ms", {"budget": Budget.parse({"latency_p90": "5ms"})}),
    "max_size": ("4000kB", {"budget": Budget.parse({"size": "4MB"})}),
    "prune": (0.4, {"prune": 0.4}),
    "pruned": ({"stem": 8}, {"pruned": {"stem": 8}}),
    "importance": ("taylor", {"importance": "taylor"}),
    "keep": (["head"], {"keep": ("head",)}),
    "sparse": (True, {"sparse": True}),
    "distill": (True, {"distill": True}),
    "training_settings": (TrainingSettings(epochs=2), {"training": TrainingSettings(epochs=2)}),
    "preprocess_settings": (PreprocessSettings(size=(8, 8)), {"preprocess": PreprocessSettings(size=(8, 8))}),
    "fit": ("crop", {"fit": "crop"}),
    "contact_sheet": ("sheet.png", {"contact_sheet": "sheet.png"}),
    "weight_settings": (WeightSettings(block=64), {"weights": WeightSettings(block=64)}),
    "measure": (False, {"measure": False}),
    "threads": (2, {"threads": 2}),
    "seed": (4, {"seed": 4}),
}


def asked(recipe: Recipe | None = None, calibration: object = None, **settings: Any) -> Recipe:
    return recipe_of(recipe, {**settings, **_of_calibration(calibration, settings)})


def options(command: click.Command) -> set[str]:
    return {option.name for option in command.params if option.name is not None}


def test_a_keyword_is_there_for_every_field() -> None:
    own = {"training_settings", "weight_settings", "preprocess_settings", *SHORT}
    # `training` is the training data and `calibration` data or a path, keywords of the function itself.
    assert set(RecipeSettings.__annotations__) - own == RECIPE - {"training", "weights", "preprocess", "calibration"}
    assert {"training", "calibration"} <= set(Options.__annotations__)
    assert set(GIVEN) == set(RecipeSettings.__annotations__)


def test_an_option_is_there_for_every_field_and_none_besides() -> None:
    found = options(export.command)
    limits = {*SHORT, "budgets"}
    assert found - RECIPE - TRAINING - WEIGHTS - limits == ABOUT_THE_RUN | ONLY_TYPED - {"budgets"} | GATE
    # The widths that pruning chose are long, and come from a file; so does what is rarely set of a training.
    assert RECIPE - found == {"pruned", "training", "weights", "preprocess", "budget"}
    assert TRAINING & found == {"epochs", "learning_rate", "temperature", "features"}
    assert limits <= found & options(tune.command)


def test_an_option_of_the_run_is_a_keyword_too() -> None:
    spelt = {"source": "model", "targets": "target", "recipe_file": "recipe"}
    keywords = {*Options.__annotations__, "model", "target", "recipe"}
    assert {spelt.get(option, option) for option in ABOUT_THE_RUN} <= keywords


@pytest.mark.parametrize("keyword", GIVEN)
def test_every_keyword_reaches_the_recipe(keyword: str) -> None:
    value, expected = GIVEN[keyword]
    more = {"prune": 0.5} if keyword == "pruned" else {}
    assert asked(**{keyword: value}, **more) == Recipe(**expected, **more) != Recipe(**more)


def test_a_keyword_is_stronger_than_the_recipe_and_limits_join() -> None:
    limits = Budget.parse({"size": "4MB", "latency_p90": "5ms"})
    base = Recipe(precision="int8", threads=2, budget=limits, statistics="s")
    assert asked(base) == base
    found = asked(base, threads=1, max_size="1MB", budget={"coverage": "90%"})
    assert (found.precision, found.threads, found.statistics) == ("int8", 1, "s")
    assert found.budget.texts() == {"size": "1MB", "latency_p90": "5ms", "coverage": "90%"}
    assert asked(base, "data.npz").calibration == "data.npz"
    assert asked(base, [{"x": 1}]) == asked(base, statistics=None)
    assert asked(Recipe(prune=0.5, pruned={"stem": 8}), prune=0.4) == Recipe(prune=0.4)


@pytest.mark.parametrize(
    ("settings", "words"),
    [
        ({"minimum_sqnr_db": -1.0}, ("`minimum_sqnr_db` is -1", "0 or more")),
        ({"prunee": 0.4}, ("Unknown setting 'prunee'", "Did you mean prune")),
        ({"claibration": []}, ("Did you mean calibration?",)),
        (
            {"max_drop": "1%", "budget": {"accuracy_drop": "2%"}},
            ("`max_drop`", "`accuracy_drop`", "both"),
        ),
        ({"max_latency": "p90=1ms", "budget": {"latency_p90": "2ms"}}, ("`max_latency`", "`latency_p90`")),
        ({"calibration": "c", "statistics": "s"}, ("`calibration` and `statistics`",)),
        ({"budget": {"latency_p9O": "5ms"}}, ("Did you mean latency_p90?",)),
        ({"budget": {"size_regression": "5%"}}, ("against a baseline",)),
        ({"budget": {"speedup": "2x"}, "measure": False}, ("`speedup` needs a measurement",)),
    ],
)
def test_a_fault_is_one_message(settings: dict[str, Any], words: tuple[str, ...]) -> None:
    with pytest.raises(InputError) as caught:
        asked(**settings)
    for word in words:
        assert word in str(caught.value)


def test_two_spellings_of_one_limit_are_one_recipe() -> None:
    assert Recipe(budget={"size": "4000 kB"}) == Recipe(budget=Budget.parse({"size": "4MB"}))  # type: ignore[arg-type]
    assert asked(budget={"size": "4000 kB", "latency_p90": "p90=5000us"}) == asked(
        budget={"latency_p90": "5ms", "size": "4MB"}
    )


def test_the_options_offer_what_a_recipe_may_say() -> None:
    offered = {"ranges": names.RANGES, "lifts": names.LIFTS, "rungs": names.RUNGS, "importance": names.IMPORTANCES}
    for field, option in offered.items():
        assert option.choices == choices()[field]
    assert set(names.PRECISIONS.choices) == set(choices()["precision"])
    assert "bf16" in names.PRECISIONS.choices


def typed(tmp_path: Path, *words: str, recipe: str = "") -> Recipe:
    """The recipe that `edgepress export` makes of words and a file."""
    from edgepress.exporter.cli.options import asked as of_the_command

    (tmp_path / "r.toml").write_text(recipe)
    words = ("model.py", "-t", "cpu", "--recipe", str(tmp_path / "r.toml"), *words)
    with export.command.make_context("export", list(words)):
        return of_the_command()


def test_what_is_typed_joins_the_file_by_the_name_of_the_limit(tmp_path: Path) -> None:
    file = '[budget]\nsize = "4MB"\nlatency_p90 = "5ms"\n[axes]\nbatch = "1:2:3"\n'
    assert typed(tmp_path, recipe=file).budget.texts() == {"size": "4MB", "latency_p90": "5ms"}
    found = typed(tmp_path, "--max-size", "1MB", "--budget", "coverage=90%", "--axis", "time=1:8:9", recipe=file)
    assert found.budget.texts() == {"size": "1MB", "latency_p90": "5ms", "coverage": "90%"}
    assert sorted(found.axes) == ["batch", "time"]
    before = typed(tmp_path, "--max-latency", "p90=3ms", recipe='max_latency = "p90=5ms"\nmax_drop = 0.01\n')
    assert before.budget.texts() == {"latency_p90": "3ms", "accuracy_drop": "0.01"}


@pytest.mark.parametrize(
    ("words", "option", "name"),
    [
        (("--budget", "accuracy_drop=1%", "--max-drop", "1%"), "--max-drop", "accuracy_drop"),
        (("--budget", "latency_p90=5ms", "--max-latency", "p90=5ms"), "--max-latency", "latency_p90"),
    ],
)
def test_a_limit_that_is_typed_twice_is_refused(tmp_path: Path, words: tuple[str, ...], option: str, name: str) -> None:
    with pytest.raises(InputError, match=f"--budget {name} and {option} bound the same figure"):
        typed(tmp_path, *words)


def test_targets_are_resolved_once_each_and_two_of_one_name_are_refused() -> None:
    cpu = load_target("cpu")
    assert resolve(["cpu", cpu, "rpi5"]) == [cpu, load_target("rpi5")]
    with pytest.raises(InputError, match="No target"):
        resolve([])
    other = replace(cpu, title="another")
    with pytest.raises(InputError, match="are called cpu"):
        resolve(["cpu", other])


@pytest.mark.parametrize("seed", [-1, 2**63, 2**200])
def test_a_seed_that_a_bundle_cannot_hold_is_refused_wherever_it_is_given(seed: int) -> None:
    with pytest.raises(InputError, match=rf"`seed` is {seed}; expected a whole number, 0 to {2**63 - 1}"):
        asked(seed=seed)
    for command in (export.command, tune.command):
        done = CliRunner().invoke(command, ["model.py", "-t", "cpu", "--seed", str(seed)])
        assert done.exit_code == 2
        assert f"{seed} is not in the range 0<=x<={2**63 - 1}" in done.output


def test_the_largest_seed_is_one() -> None:
    assert asked(seed=2**63 - 1).seed == 2**63 - 1

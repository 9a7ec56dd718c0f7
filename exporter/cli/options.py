"""Options that several commands share."""

from __future__ import annotations

from collections.abc import Callable
from functools import wraps
from pathlib import Path
from typing import TYPE_CHECKING, Any, TypeVar, cast

import click
from click.core import ParameterSource

from .names import IMPORTANCES, RANGES
from .option_types import THREADS, AxisOption, BudgetOption, Duration, ShortLimit, Steady

if TYPE_CHECKING:
    from ...profiles.budget.budget import Budget
    from ..recipe import Recipe

Command = TypeVar("Command", bound=Callable[..., Any])

quiet_option = click.option("-q", "--quiet", is_flag=True, help="Print nothing but errors.")
json_option = click.option("--json", "as_json", is_flag=True, help="Print the result as JSON on standard output.")


def on_option(command: Command) -> Command:
    """The place where engines run, as the argument `on`; what is done there is told."""

    @wraps(command)
    def told(*arguments: Any, on: str | None, quiet: bool, **others: Any) -> Any:
        if on is not None:
            show_notices(quiet=quiet)
        return command(*arguments, on=on, quiet=quiet, **others)

    return click.option(
        "--on",
        metavar="ADDRESS",
        help="Place where engines run instead of the nearest one, as in ssh://USER@HOST, adb://SERIAL, "
        "qemu://arm64, or devices.toml#NAME for a device that a file describes.",
    )(cast(Command, told))


def show_notices(*, quiet: bool) -> None:
    """Print what places do that takes long: copying, waiting. Quiet: only what somebody has to know."""
    import logging

    logger = logging.getLogger("edgepress")
    logger.setLevel(logging.WARNING if quiet else logging.INFO)
    if not logger.handlers:
        logger.addHandler(logging.StreamHandler())
        logger.propagate = False


def emulate_option(command: Command) -> Command:
    """An emulated processor as the place: short for an address of `on_option`, which it goes with."""

    @wraps(command)
    def placed(*arguments: Any, on: str | None, emulate: str | None, **others: Any) -> Any:
        if on is not None and emulate is not None:
            raise click.UsageError("--on and --emulate name two places: give one of them.")
        return command(*arguments, on=on if emulate is None else f"qemu://{emulate}", **others)

    return click.option(
        "--emulate",
        type=click.Choice(("arm64",)),
        help="Run engines on this processor, emulated: --on qemu://arm64. It shows what they compute, never how fast.",
    )(cast(Command, placed))


def by_name(context: click.Context, option: click.Parameter, given: tuple[tuple[str, str], ...]) -> dict[str, str]:
    """The limits by name, each once."""
    from ...errors import InputError

    names = [name for name, _ in given]
    if twice := [name for name in names if names.count(name) > 1]:
        raise InputError(f"--budget {twice[0]} was given {names.count(twice[0])} times.", hint="Give it once.")
    return dict(given)


budget_option = click.option(
    "--budget",
    "budgets",
    multiple=True,
    type=BudgetOption(),
    callback=by_name,
    metavar="NAME=LIMIT",
    help="A limit, as latency_p90=5ms, size=4MB, accuracy_drop=1%, accuracy=0.9, coverage=90%, speedup=1.5x; "
    "repeatable. One that is missed beyond its 95 % interval is code 3.",
)


recipe_option = click.option(
    "--recipe",
    "recipe_file",
    type=click.Path(dir_okay=False, path_type=Path),
    help="TOML file of settings; options that are typed are stronger. `edgepress init --recipe` writes one.",
)


def recipe_options(command: Command) -> Command:
    """A recipe file, and what the result may cost."""
    for option in (
        click.option("--max-drop", type=ShortLimit("accuracy_drop", "1%"), help="--budget accuracy_drop."),
        click.option("--max-size", type=ShortLimit("size", "4MB"), help="--budget size."),
        click.option(
            "--max-latency",
            type=ShortLimit("latency", "5ms"),
            help="--budget latency_p50, or of another percentile as p90=5ms.",
        ),
        budget_option,
        recipe_option,
    ):
        command = option(command)
    return command


def asked() -> Recipe:
    """The recipe of the running command: the file's, where one is given, under the options that were typed.

    Every option that is called as a field of `Recipe`, or of its `training`, is that field.

    Raises:
        InputError: a fault in the file, or a contradiction.
    """
    from dataclasses import fields, replace

    from ..recipe import Recipe, TrainingSettings, WeightSettings
    from ..recipe_file import load_recipe, overridden

    context = click.get_current_context()

    def given(kind: type) -> dict[str, Any]:
        names = (field.name for field in fields(kind))
        return {n: context.params[n] for n in names if context.get_parameter_source(n) is ParameterSource.COMMANDLINE}

    typed = given(Recipe)
    file = context.params.get("recipe_file")
    base = Recipe() if file is None else load_recipe(file)
    if context.params.get("no_lifts"):
        typed["lifts"] = ()
    if context.params.get("no_rungs"):
        typed["rungs"] = ()
    if "axes" in typed:
        typed["axes"] = dict(typed["axes"])
    typed["budget"] = typed_budget(context)
    if training := given(TrainingSettings):
        typed["training"] = replace(base.training, **training)
    if weights := given(WeightSettings):
        typed["weights"] = replace(base.weights, **weights)
    return overridden(base, typed)


def typed_budget(context: click.Context) -> Budget:
    """The limits of `--budget`, and of the short options for some of them.

    Raises:
        InputError: a limit was typed in two ways, or is against a baseline that the command does not have.
    """
    from ...errors import InputError
    from ...profiles.budget.budget import REGRESSION, Budget

    texts: dict[str, str] = dict(context.params.get("budgets") or {})
    relative = [name for name in texts if name.endswith(REGRESSION)]
    if relative and "baseline" not in context.params:
        raise InputError(f"Budget {relative[0]} is against a baseline, which this command does not have.")
    texts = {name: text for name, text in texts.items() if name not in relative}
    for option in ("max_latency", "max_size", "max_drop"):
        for name, text in (context.params.get(option) or {}).items():
            if name in texts:
                typed = option.replace("_", "-")
                raise InputError(f"--budget {name} and --{typed} bound the same figure.", hint="Give one of them.")
            texts[name] = text
    return Budget.parse(texts)


def pruning_options(command: Command) -> Command:
    """What is removed from a model before capture, and what stays."""
    for option in (
        click.option("--sparse", is_flag=True, help="2:4 sparse weights, for targets that run them faster."),
        click.option(
            "--keep",
            multiple=True,
            metavar="PATTERN",
            help="Module that pruning leaves alone, by name or pattern; repeatable.",
        ),
        click.option(
            "--importance",
            type=IMPORTANCES,
            default="auto",
            show_default=True,
            help="What makes a channel worth keeping; auto: taylor where there is training data, else magnitude.",
        ),
        click.option(
            "--prune",
            type=click.FloatRange(0, 1, min_open=True, max_open=True),
            metavar="SHARE",
            help="Share of the MACs to remove, as in 0.4: channels, heads and blocks that save the most time here.",
        ),
    ):
        command = option(command)
    return command


def training_options(command: Command) -> Command:
    """A student of the user's own, and how it or a pruned model is trained."""
    for option in (
        click.option(
            "--checkpoint",
            type=Steady(file_okay=False),
            metavar="DIR",
            help="Keep training runs there: a killed one goes on, a finished one is not repeated.",
        ),
        click.option(
            "--features",
            multiple=True,
            metavar="NAME",
            help="Module whose output follows the teacher's, or STUDENT=TEACHER; repeatable.",
        ),
        click.option("--temperature", type=float, help="Temperature of the soft labels; default 4."),
        click.option("--learning-rate", type=float, help="AdamW's highest learning rate; default 0.001."),
        click.option("--epochs", type=int, help="Passes over the training data at most; default 10."),
        click.option("--distill", is_flag=True, help="Ship student() of the model file, trained against model()."),
    ):
        command = option(command)
    return command


def weight_options(command: Command) -> Command:
    """How the weights of a decoder are rounded."""
    for option in (
        click.option(
            "--rounding",
            type=click.Choice(("data", "nearest")),
            default="data",
            show_default=True,
            help="Of a decoder's weights: from what layers take when they read text, or from the weights alone (fast).",
        ),
        click.option(
            "--uniform",
            is_flag=True,
            help="Of a decoder's weights: one grid for every matrix; limits then judge, and choose nothing.",
        ),
        click.option(
            "--symmetric/--asymmetric",
            default=None,
            help="Of a decoder's weights: without or with a zero point. Default: what loses least for its size.",
        ),
        click.option(
            "--block",
            type=click.Choice((16, 32, 64, 128, 256)),
            help="Of a decoder's weights: how many share a scale. Default: by layer.",
        ),
    ):
        command = option(command)
    return command


def measuring_options(command: Command) -> Command:
    """What a measuring process gets."""
    command = click.option(
        "--timeout",
        type=Duration(),
        default=120.0,
        show_default="120s",
        help="How long the engine may be silent, as in 90s; then it is stopped.",
    )(command)
    return click.option("--threads", type=THREADS, help="Threads, each on a core; default all cores.")(command)


def source_options(command: Command) -> Command:
    """How a source is read: the options `--axis` and `--trust-source`."""
    command = click.option(
        "--trust-source",
        is_flag=True,
        help="Allow sources that can run code when loaded: .pt2 and pickled weights. Python beside one is never run.",
    )(command)
    return click.option(
        "--axis",
        "axes",
        multiple=True,
        type=AxisOption(),
        metavar="NAME=MIN:USUAL:MAX",
        help="Range of a free axis; repeatable. Default 1 : the example's size : 8 times that.",
    )(command)


def calibration_options(command: Command) -> Command:
    """What is calibrated and how: data, ranges, exclusions, processes."""
    for option in (
        click.option("--workers", type=THREADS, default=1, show_default=True, help="Processes."),
        click.option("--all-samples", is_flag=True, help="Read all data, even when the ranges have settled before."),
        click.option(
            "--range",
            "ranges",
            type=RANGES,
            default="auto",
            show_default=True,
            help="auto: least squared error or min-max, as samples bear it; min-max of what a matrix product reads.",
        ),
        click.option(
            "--exclude",
            multiple=True,
            metavar="PATTERN",
            help="Node name, operator type or pattern that stays float; repeatable.",
        ),
        click.option(
            "--calibration",
            metavar="PATH",
            help="An .npz or .npy, a directory of such batches, or one of pictures, instead of calibration().",
        ),
        click.option(
            "--fit",
            type=click.Choice(("stretch", "letterbox", "crop")),
            help="What is done with pictures of another size than the engine takes; default: they are refused.",
        ),
        click.option(
            "--contact-sheet",
            metavar="FILE",
            help="Write a .png or .jpg that shows which pictures were read, and how the engine gets them.",
        ),
    ):
        command = option(command)
    return command

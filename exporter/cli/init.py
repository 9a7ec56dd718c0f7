"""`edgepress init`."""

from __future__ import annotations

from pathlib import Path

import click

TEMPLATE = '''"""A model for edgepress: `edgepress export {name} --target cpu`."""

from collections.abc import Callable, Iterable

import numpy as np
import torch


def model() -> torch.nn.Module:
    """The trained model, weights loaded."""
    torch.manual_seed(0)  # the same weights at every load; yours come from a file
    net = torch.nn.Sequential(torch.nn.Flatten(), torch.nn.Linear(3 * 32 * 32, 10))  # yours here
    # net.load_state_dict(torch.load("weights.pt", weights_only=True))
    return net


def inputs() -> dict[str, torch.Tensor]:
    """One example batch by name of the argument of forward(); at least two samples, so that the batch can stay free."""
    return {{"input": torch.rand(2, 3, 32, 32)}}


def dynamic() -> dict[str, dict[int, str]]:
    """The axes that may vary, by input."""
    return {{"input": {{0: "batch"}}}}


def calibration() -> Iterable[dict[str, np.ndarray]]:
    """Batches of real data, 100 to 500 samples, for the int8 ranges. Without this function int8 is not made."""
    generator = np.random.default_rng(0)
    for _ in range(16):
        yield {{"input": generator.random((16, 3, 32, 32), dtype=np.float32)}}  # your training data here


# def evaluate(predict: Callable[[dict[str, np.ndarray]], dict[str, np.ndarray]]) -> float:
#     """Your metric on held-out data, higher is better; predict maps {{input: array}} to {{output: array}}."""


# To take images in bytes and give what a program uses: both become part of the engine, and inputs(), calibration() and
# evaluate() speak of the whole.
#
# def preprocess(image: torch.Tensor) -> torch.Tensor:
#     """What model() takes, of the inputs by name: `image.permute(0, 3, 1, 2).float() / 255`."""
#
# def postprocess(output: torch.Tensor) -> dict[str, torch.Tensor]:
#     """What the engine gives, of what model() gives: `{{"label": output.argmax(-1)}}`."""


# To train a model that was pruned, or a student, against model():
#
# def training(epoch: int = 0) -> Iterable[tuple[dict[str, torch.Tensor], torch.Tensor]]:
#     """One pass over training data: pairs of {{input: tensor}} and targets."""
#
# def loss(outputs: torch.Tensor, targets: torch.Tensor) -> torch.Tensor:
#     """What to minimise, a scalar: `torch.nn.functional.cross_entropy(outputs, targets)`."""
#
# def student() -> torch.nn.Module:
#     """A smaller network for the same inputs and outputs, for `edgepress export {name} --distill`."""
'''


@click.command()
@click.argument("path", type=click.Path(path_type=Path), required=False)
@click.option("--recipe", is_flag=True, help="A recipe for `export --recipe`, and its JSON schema for editors.")
def command(path: Path | None, recipe: bool) -> None:
    """Write a model file to fill in, at PATH (default model.py), or a recipe (default recipe.toml)."""
    _need_suffix(path, ".toml" if recipe else ".py", "a recipe" if recipe else "a model file")
    if recipe:
        _write_recipe(path or Path("recipe.toml"))
    else:
        _write_model(path or Path("model.py"))


def _write_recipe(path: Path) -> None:
    import json

    from ...profiles.machine.writing import whole
    from ..recipe_file import recipe_schema, template

    schema = path.with_suffix(".schema.json")
    _refuse_existing(path)
    with whole(schema) as beside, whole(path) as file:
        file.write_text(template(schema.name), encoding="utf-8")
        beside.write_text(json.dumps(recipe_schema(), indent=2, sort_keys=True) + "\n", encoding="utf-8")
    click.echo(f"{path} is written, with {schema} for editors; then: edgepress export SOURCE -t cpu --recipe {path}")


def _write_model(path: Path) -> None:
    from ...profiles.machine.writing import write_whole

    _refuse_existing(path)
    write_whole(path, TEMPLATE.format(name=path.name))
    click.echo(
        f"{path} is written; fill in model(), inputs() and calibration(), then: edgepress export {path} --target cpu"
    )


def _need_suffix(path: Path | None, suffix: str, what: str) -> None:
    """`export` tells by the name what a file is."""
    from ...errors import InputError

    if path is not None and path.suffix != suffix and not path.is_dir():
        other = " --recipe goes with .toml." if path.suffix == ".toml" else ""
        raise InputError(
            f"{path} cannot be {what}: its name has to end with {suffix}.",
            hint=f"Write {path.with_suffix(suffix)}.{other}",
        )


def _refuse_existing(path: Path) -> None:
    from ...errors import InputError

    if path.exists():
        inside = f"Give a file in it, as {path / 'model.py'}." if path.is_dir() else "Choose another path."
        raise InputError(f"{path} exists.", hint=inside)

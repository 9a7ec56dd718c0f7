"""`edgepress demo`."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from .options import json_option, on_option, quiet_option

if TYPE_CHECKING:
    from ..demo.findings import Demo, DrawnAs, Shown

_PATH = click.Path(path_type=Path)


class Plane(click.ParamType[tuple[float, float]]):
    """Width and height, as in 640x480."""

    name = "WIDTHxHEIGHT"

    def convert(self, value: Any, param: click.Parameter | None, ctx: click.Context | None) -> tuple[float, float]:
        """Two numbers above 0."""
        if isinstance(value, tuple):
            return value
        words = str(value).lower().split("x")
        if len(words) != 2 or not all(word.isascii() and word.isdigit() and int(word) > 0 for word in words):
            self.fail(f"{value!r} is no width and height, as in 640x480, or 1x1 for fractions.", param, ctx)
        return float(words[0]), float(words[1])


@click.command(no_args_is_help=True)
@click.argument("bundle", type=_PATH)
@click.argument("pictures", metavar="IMAGE...", nargs=-1, required=True, type=_PATH)
@click.option(
    "--beside",
    multiple=True,
    type=_PATH,
    metavar="BUNDLE",
    help="Another bundle of the same model, drawn beside, with the differences in numbers; repeatable.",
)
@click.option(
    "-o",
    "--output",
    type=_PATH,
    default=Path("demo"),
    show_default=True,
    metavar="DIR",
    help="Directory to write: a PNG a picture, index.html and demo.json.",
)
@click.option("--force", is_flag=True, help="Replace the directory, if it is one that this command wrote.")
@click.option(
    "--as",
    "kind",
    type=click.Choice(("boxes", "classes", "masks")),
    help="What outputs are drawn as; default: what their shapes and names say.",
)
@click.option("--labels", type=_PATH, metavar="FILE", help="Names of classes, one a line, that of class 0 first.")
@click.option(
    "--score",
    type=float,
    help="Least score of a box, default 0.3, or of a pixel of a mask of one channel, default 0.5.",
)
@click.option("--top", type=click.IntRange(1, 20), default=3, show_default=True, help="Classes shown a picture.")
@click.option(
    "--fit",
    type=click.Choice(("stretch", "letterbox", "crop")),
    help="What is done with pictures of another size than the engine takes; default: what the bundle's recipe says, "
    "else they are refused.",
)
@click.option(
    "--boxes-in",
    "unit",
    type=Plane(),
    metavar="WIDTHxHEIGHT",
    help="What boxes are in, where that is not the image that the engine takes: 1x1 for fractions.",
)
@click.option("--background", type=click.IntRange(0), help="Class of a mask left clear; default that of that name.")
@click.option(
    "--most", type=click.IntRange(1, 1000), default=64, show_default=True, help="Pictures drawn; others are counted."
)
@on_option
@quiet_option
@json_option
def command(
    bundle: Path,
    pictures: tuple[Path, ...],
    beside: tuple[Path, ...],
    output: Path,
    force: bool,
    kind: DrawnAs | None,
    labels: Path | None,
    score: float | None,
    quiet: bool,
    as_json: bool,
    **settings: Any,
) -> None:
    """Draw the boxes, classes or masks that the engine of BUNDLE gives for pictures, into files and a page.

    IMAGE is a file or a directory of them. The bundle is checked by its hashes first; its engine takes images in bytes.

    \b
    Example:
      edgepress demo dist/detector-cpu photos --beside fp32/detector-cpu --labels names.txt
    """  # noqa: D301
    from ...errors import UnservedError
    from ...profiles.findings.files import json_text
    from ...profiles.machine.given import steady

    try:
        import PIL  # noqa: F401
    except ImportError as error:
        raise UnservedError("A demo draws with Pillow, which is not installed.", hint="pip install pillow") from error
    from ..demo.labels import Labels, load_labels
    from ..demo.run import make_demo
    from ..demo.settings import DemoSettings

    _check(output, score)
    names = Labels() if labels is None else load_labels(labels)
    asked = DemoSettings(kind=kind, labels=names, score=score, **settings)
    demo = make_demo(
        (bundle, *beside), pictures, steady(output), asked, force=force, step=_silent if quiet or as_json else _say
    )
    if as_json:
        click.echo(json_text(demo), nl=False)
    elif not quiet:
        for line in _closing(demo, output):
            click.echo(line)


def _check(output: Path, score: float | None) -> None:
    """Fail before anything is read.

    Raises:
        InputError: the directory would lie in a bundle, or the score is no number.
    """
    import math

    from ...errors import InputError
    from ..bundle.manifest import MANIFEST

    inside = next((parent for parent in output.absolute().parents if (parent / MANIFEST).is_file()), None)
    if inside is not None:
        raise InputError(
            f"{output} would lie in a bundle, whose files are sealed by its manifest.", hint="Choose another --output."
        )
    if score is not None and not math.isfinite(score):
        raise InputError(f"--score is {score}; expected a finite number.")


def _silent(shown: Shown, labels: tuple[str, ...]) -> None:
    """Nothing is printed."""


def _say(shown: Shown, labels: tuple[str, ...]) -> None:
    from ..demo.words import agreement_in_words, in_words

    click.echo(shown.name)
    for label, found in zip(labels, shown.found, strict=True):
        click.echo(f"  {label}: {in_words(found)}")
    for label, agreement in zip(labels[1:], shown.agreements, strict=True):
        click.echo(f"  {labels[0]} and {label}: {agreement_in_words(agreement, (labels[0], label))}")


def _closing(demo: Demo, output: Path) -> Iterator[str]:
    from ..demo.page import agreements_of, outside
    from ..demo.words import in_all

    first = demo.engines[0].label
    for other, all_of in agreements_of(demo):
        yield f"{first} and {other.label}, all pictures: {in_all(all_of, (first, other.label))}."
    for ran in demo.engines:
        where = "on its device's architecture" if ran.on_device else f"not on its device: {ran.how}"
        yield f"{ran.label}: by {ran.tool}, {where}; {', '.join(f'{r} from {n}' for r, n in ran.outputs.items())}."
    if away := outside(demo):
        yield f"{away}."
    if demo.left_out:
        yield f"{demo.left_out} more pictures were given and are not drawn; --most N draws more."
    yield f"{output / 'index.html'} is written, with {len(demo.pictures)} drawn."

"""The order of a decoder's export on one screen."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from functools import partial
from pathlib import Path

from ...backends.places import place_for
from ...errors import InputError
from ...profiles.device.target import Target
from ...profiles.machine.held import temporary
from ...profiles.machine.naming import naming
from ..bundle.directory import new_directory
from ..bundle.manifest import SIGNATURE, Bundle, load_bundle
from ..bundle.signature import write_signature
from ..bundle.signing_keys import PrivateKey
from ..language.forms import load_form
from ..progress import Advance, Progress
from ..recipe import Recipe
from ..sources.decoder import DecoderSource
from ..workshop import Memo
from .candidate import TextCandidate
from .make import made
from .pack import TextPacking
from .speed import measured
from .task import AUTO, TextTask


def export_decoder(
    source: DecoderSource,
    target: Target,
    recipe: Recipe,
    destination: Path,
    memo: Memo,
    progress: Progress,
    *,
    force: bool,
    command: str,
    sign: PrivateKey | None = None,
    on: str | None = None,
    thorough: bool = False,
) -> Bundle:
    """Export a decoder to one target; the bundle exists whole or not at all.

    Args:
        on: address of the place where engines are judged and measured.
        thorough: what text loses is judged on all windows even where nothing hangs on it.

    Raises:
        InputError: a setting has no meaning for a decoder, or the runtime cannot run this one.
        VerificationError: what was made does not agree with the model, or loses more than it may.
        UnservedError: the target has no form for decoders.
    """
    refuse_settings(recipe)
    form = load_form(target)
    destination = destination.absolute()
    seconds: dict[str, float] = {}
    with new_directory(destination, force=force) as directory, temporary() as scratch:
        place = place_for(target, on)
        task = TextTask(
            source=source,
            target=target,
            recipe=recipe,
            form=form,
            place=place,
            on=on,
            memo=memo,
            scratch=scratch,
            destination=directory,
            threads=recipe.threads or place.threads(),
            step=partial(_step, progress, target.name, seconds),
            thorough=thorough,
        )
        candidate = made(task)
        with task.step("measure") as advance:
            candidate = measured(candidate, task, advance)
        with naming(destination):
            _pack(task, candidate, seconds, command, sign)
    return load_bundle(destination)


def _pack(
    task: TextTask, candidate: TextCandidate, seconds: Mapping[str, float], command: str, sign: PrivateKey | None
) -> None:
    """Write what is beside the engine, and the signature last."""
    name = f"{task.source.name}-{task.target.name}"
    packing = TextPacking(
        source=task.source,
        target=task.target,
        recipe=task.recipe,
        candidate=candidate,
        place=task.place,
        threads=task.threads,
    )
    packing.write(task.destination, name, seconds, command)
    if sign is not None:
        write_signature(task.destination, name, sign, task.destination / SIGNATURE)


@contextmanager
def _step(progress: Progress, target: str, seconds: dict[str, float], title: str) -> Iterator[Advance]:
    """A step that may be taken several times: its times add up."""
    taken: dict[str, float] = {}
    with progress.step(title, taken, prefix=f"{target}: ") as advance:
        yield advance
    seconds[title] = seconds.get(title, 0.0) + taken[title]


# Settings that say nothing of a decoder, and the value that each has where nobody gave it.
_WITHOUT_MEANING: Mapping[str, object] = {
    "statistics": None,
    "ranges": "auto",
    "lifts": None,
    "rungs": None,
    "qat": False,
    "exclude": (),
    "axes": {},
    "minimum_sqnr_db": None,
    "prune": None,
    "keep": (),
    "sparse": False,
    "distill": False,
}


def refuse_settings(recipe: Recipe) -> None:
    """Refuse settings that would change nothing.

    Raises:
        InputError: naming them.
    """
    given = [name for name, usual in _WITHOUT_MEANING.items() if getattr(recipe, name) != usual]
    if given:
        raise InputError(
            f"{', '.join(f'`{name}`' for name in given)}: a decoder has no such setting.",
            hint="Leave it out. What decides is --precision, --max-drop, --block, --symmetric and --rounding.",
        )
    if recipe.weights.uniform and recipe.precision == AUTO:
        raise InputError(
            "`uniform` asks for one grid, and no precision was given.",
            hint="Add --precision int4 or int8, or leave it out.",
        )

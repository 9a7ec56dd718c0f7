"""Pack bundles of one model into one file."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

from ...errors import InputError
from ...profiles.machine.given import as_typed
from ..bundle.manifest import Bundle, check_files, load_bundle
from .package import Index, write_package


def pack_bundles(paths: Sequence[Path], output: Path, *, force: bool = False) -> Index:
    """Write a package of bundles; a device takes the first that fits it.

    Args:
        paths: in the order in which a device is to look at them.
        force: replace the file.

    Raises:
        InputError: the file exists, or the bundles are not of one model with one interface.
        VerificationError: a file of a bundle differs from its manifest.
    """
    if output.exists() and not force:
        raise InputError(f"{as_typed(output)} exists.", hint="Replace it with --force, or choose another --output.")
    bundles = [load_bundle(path) for path in paths]
    _need_one_model(bundles)
    for bundle in bundles:
        check_files(bundle)
    return write_package(output, bundles[0].manifest.model.name, bundles)


def _need_one_model(bundles: Sequence[Bundle]) -> None:
    """A program that opens what was installed feeds it the same whichever it is."""
    first, seen = bundles[0], set[str]()
    for bundle in bundles:
        name = bundle.path.resolve().name
        if name in seen:
            raise InputError(f"Two bundles are called {name}.", hint="Rename one: its name is what it is known by.")
        seen.add(name)
        if (told := _interface(bundle)) != (wanted := _interface(first)):
            raise InputError(
                f"{bundle.path} is of {told} and {first.path} of {wanted}: a package is of one model.",
                hint="Pack bundles of one export, or of exports of the same source.",
            )


def _interface(bundle: Bundle) -> str:
    """The model, and what goes in and comes out, without sizes, which targets may fix."""
    model = bundle.manifest.model
    taken, given = (", ".join(f"{spec.name} {spec.dtype}" for spec in specs) for specs in (model.inputs, model.outputs))
    return f"{model.name} ({taken} to {given})"

"""Calibration data: those that a recipe names, arrays or pictures as the engine takes them, or else the source's."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path

from ...backends.base import Array, TensorSpec
from ...calibration.feeds import Feeds, checked, feeds_from_object, feeds_from_path
from ...calibration.images import Pictures, holds_pictures, pictures
from ...errors import InputError
from ..recipe import Recipe, reading_of
from .base import Source


def real_feeds(source: Source, recipe: Recipe, specs: Sequence[TensorSpec]) -> Feeds | None:
    """The recipe's data if it names some, else those of the model file's function, checked as they stream.

    Args:
        specs: the inputs that they are for.

    Returns:
        None where neither gives any.

    Raises:
        InputError: a path that cannot be read; faults of single samples are raised while iterating.
    """
    if recipe.calibration is not None:
        return checked(feeds_given(recipe, specs, source.inputs), specs, recipe.calibration)
    if source.calibration is not None:
        return checked(feeds_from_object(source.calibration), specs, "calibration()")
    return None


def feeds_given(recipe: Recipe, specs: Sequence[TensorSpec], inputs: Mapping[str, Array]) -> Feeds:
    """Feeds of the recipe's `calibration`, which is there; `feeds_from_path` and `pictures` say of what.

    Args:
        specs: the model's inputs.
        inputs: one example batch of them.

    Raises:
        InputError: neither, or pictures that do not fit.
    """
    assert recipe.calibration is not None
    found = pictures_given(recipe, specs, inputs)
    return feeds_from_path(Path(recipe.calibration), specs, _batch(inputs)) if found is None else found.feeds


def pictures_given(recipe: Recipe, specs: Sequence[TensorSpec], inputs: Mapping[str, Array]) -> Pictures | None:
    """The pictures of the recipe's `calibration`; None where it is none, or of arrays.

    Raises:
        InputError: pictures that do not fit.
    """
    path = None if recipe.calibration is None else Path(recipe.calibration)
    if path is None or not holds_pictures(path):
        return None
    return pictures(path, specs, _batch(inputs), reading_of(recipe.fit, recipe.preprocess))


def show_pictures(recipe: Recipe, specs: Sequence[TensorSpec], inputs: Mapping[str, Array]) -> None:
    """Write the recipe's contact sheet, where it asks for one.

    Raises:
        InputError: there are no pictures.
    """
    if recipe.contact_sheet is None:
        return
    from ...calibration.contact_sheet import write_contact_sheet

    found = pictures_given(recipe, specs, inputs)
    if found is None:
        raise InputError(
            f"A contact sheet {recipe.contact_sheet} was asked for, and the calibration data are no pictures.",
            hint="Give --calibration a directory of pictures, or leave --contact-sheet out.",
        )
    write_contact_sheet(found, Path(recipe.contact_sheet))


def _batch(inputs: Mapping[str, Array]) -> int:
    return next((len(array) for array in inputs.values() if array.ndim), 1)

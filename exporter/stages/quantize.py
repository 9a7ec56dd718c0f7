"""Lower the captured graph to the precision that is shipped."""

from __future__ import annotations

import shutil
from collections.abc import Callable, Mapping
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING

from ...backends.base import Graph
from ...calibration.collect import collect
from ...calibration.feeds import Feeds, checked, feeds_from_object, feeds_from_path
from ...errors import InputError
from ...profiles.target import Precision
from ..draft import Draft
from ..graphs import read_graph
from ..passes.placement import Placement
from ..passes.to_float16 import to_float16
from ..progress import Advance
from ..quantizer import Quantizer

if TYPE_CHECKING:
    from ..sources import Source


def run(draft: Draft, advance: Advance) -> Draft:
    """Write `model.onnx`, in the draft's precision, into the bundle."""
    return LOWERINGS[draft.precision](draft, advance)


def _keep(draft: Draft, advance: Advance) -> Draft:
    """FP32: the captured graph itself."""
    reference = _reference(draft)
    for file in reference.path.parent.glob(f"{reference.path.name}*"):
        shutil.copyfile(file, draft.directory / file.name)
    return replace(draft, graph=read_graph(draft.directory / reference.path.name, reference.axes))


def _half(draft: Draft, advance: Advance) -> Draft:
    """FP16 weights and arithmetic; inputs and outputs keep their types."""
    path = draft.directory / "model.onnx"
    to_float16(_reference(draft).path, path)
    return replace(draft, graph=read_graph(path, draft.axes))


def _int8(draft: Draft, advance: Advance) -> Draft:
    """Explicit Q/DQ in the target's scheme, ranges from the calibration data."""
    reference, scheme = _reference(draft), draft.target.scheme
    assert scheme is not None  # choose_precision gave int8, and a target has int8 only with a scheme
    quantizer = Quantizer.of(reference, scheme, draft.recipe.exclude)
    if not quantizer.placement.weights:
        raise InputError(
            f"Nothing in {draft.source.name!r} can be int8: {_why_nothing(quantizer.placement)}.",
            hint="Export with --precision fp32, or look at --exclude.",
        )
    feeds = calibration_feeds(draft.source, draft.recipe.calibration, reference)
    observed = quantizer.placement.observed()
    statistics = collect(reference, observed, feeds, lambda samples: advance(None, f"{samples} samples"))
    notes = quantizer.write(statistics, draft.directory / "model.onnx")
    note = f"Calibrated on {statistics.samples} samples, scheme {scheme.name}."
    return replace(
        draft,
        graph=read_graph(draft.directory / "model.onnx", reference.axes),
        left=quantizer.placement.left,
        notes=(*draft.notes, note, *notes),
    )


LOWERINGS: Mapping[Precision, Callable[[Draft, Advance], Draft]] = {"fp32": _keep, "fp16": _half, "int8": _int8}


def calibration_feeds(source: Source, path: str | None, graph: Graph) -> Feeds:
    """The calibration data: the path if one is given, else the model file's function; checked as they stream.

    Raises:
        InputError: a path that cannot be read; faults of single samples are raised while iterating.
    """
    if path is not None:
        batch = next((len(array) for array in source.inputs.values() if array.ndim), 1)
        return checked(feeds_from_path(Path(path), graph.inputs, batch), graph.inputs, path)
    return checked(feeds_from_object(source.calibration), graph.inputs, "calibration()")


def _why_nothing(placement: Placement) -> str:
    reasons = sorted(set(placement.left.values()))
    return "; ".join(reasons) if reasons else "it has no convolution, matrix product or GEMM"


def _reference(draft: Draft) -> Graph:
    assert draft.reference is not None
    return draft.reference

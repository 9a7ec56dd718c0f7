"""Whether what a manifest says of its proof holds together: a part that was changed alone contradicts the others.

Who rewrites all of it consistently is seen by a signature only. Nothing here needs torch or onnx.
"""

from __future__ import annotations

import math
from collections.abc import Iterator, Mapping, Sequence

from ...backends.base import Array, TensorSpec
from ...errors import VerificationError
from ...profiles.device.precision import PrecisionName, load_precision
from ...profiles.findings.parity import worst
from ..candidates.judge import SEEN_OFF_DB, whole
from ..capture.golden import AMOUNT, Golden
from .files import AGAIN
from .manifest import Bundle, Manifest
from .text_golden import TextBounds, TextGolden, bounds_of

# Bounds are written with two digits behind the point.
_ROUNDED = 0.005
_NATS = 1e-6  # and divergences with six


def proof_of(bundle: Bundle) -> Golden:
    """The golden data of a bundle, which are those of its model, as many as were written, with bounds that hold it.

    Raises:
        VerificationError: they are not; all that is wrong is named.
    """
    golden = Golden.load(bundle.path / "golden")
    faults = [*_of_manifest(bundle.manifest, golden), *_of_golden(bundle.manifest, golden)]
    if faults:
        raise VerificationError(f"{bundle.path}: {'; '.join(faults)}.", hint=AGAIN)
    return golden


def text_proof_of(bundle: Bundle) -> tuple[TextGolden, TextBounds]:
    """The golden text of a decoder's bundle, as much as was written, and bounds that hold it.

    Raises:
        VerificationError: they are not; all that is wrong is named.
    """
    golden, entry = TextGolden.load(bundle.path / "golden"), bundle.manifest.language
    assert entry is not None
    faults = [*_of_engine(bundle.manifest)]
    if len(golden.tokens) != entry.golden:
        faults.append(f"golden/ has {len(golden.tokens)} sequences, and {entry.golden} were written")
    if golden.tokens.min() < 0 or max(golden.tokens.max(), golden.named.max()) >= entry.vocabulary:
        faults.append(f"the golden text has tokens that are none of the {entry.vocabulary}")
    written, told = bounds_of(golden), TextBounds(fp32=entry.fp32_nats, own=entry.own_nats)
    if told.fp32 > written.fp32 + _NATS or told.own > written.own + _NATS:
        faults.append("`language` lets pass more than its golden text allows")
    if faults:
        raise VerificationError(f"{bundle.path}: {'; '.join(faults)}.", hint=AGAIN)
    return golden, told


def _of_engine(manifest: Manifest) -> Iterator[str]:
    engine, target = manifest.engine, manifest.target
    if engine.backend != target.backend:
        yield f"the engine is one of {engine.backend}, and its target is for {target.backend}"
    made = {step.what for step in manifest.lineage if step.after == manifest.model.graph_digest}
    if load_precision(engine.precision).integer and made and engine.precision not in made:
        yield f"the engine is in {engine.precision}, and its graph is of {', '.join(sorted(made))}"


def _of_manifest(manifest: Manifest, golden: Golden) -> Iterator[str]:
    yield from _of_engine(manifest)
    engine, recipe = manifest.engine, manifest.recipe
    least = min(_least_db(engine.precision, recipe), _least_made_up_db(golden))
    bounds = [("minimum_sqnr_db", engine.precision, manifest.minimum_sqnr_db, least)]
    if (entry := manifest.fallback) is not None:
        least = _least_db(entry.precision, recipe)
        bounds.append(("fallback.minimum_sqnr_db", entry.precision, entry.minimum_sqnr_db, least))
    for name, precision, bound, least in bounds:
        if bound < least - _ROUNDED:
            yield f"`{name}` is {bound:g} dB, and nothing in {precision} is exported below {least:g}"


def _least_made_up_db(golden: Golden) -> float:
    """What an engine has at least where its own graph misses the FP32 outputs, as on made-up inputs, in dB."""
    if not golden.graph:
        return math.inf
    return whole(worst(golden.compare(golden.graph)).weakest_db - 2 * SEEN_OFF_DB)


def _least_db(precision: PrecisionName, recipe: Mapping[str, object]) -> float:
    """What the golden outputs of any export with the recipe reach, in dB.

    On a device the runtime's own float may have taken the place of what was asked for: it has its own limit.
    """
    known = load_precision(precision)
    own = known.least_db if known.golden_db is None else known.golden_db
    asked = recipe.get("minimum_sqnr_db")
    return min(own, float(asked)) if isinstance(asked, int | float) else own


def _of_golden(manifest: Manifest, golden: Golden) -> Iterator[str]:
    if manifest.golden is not None and manifest.golden != len(golden.feeds):
        yield f"golden/ has {len(golden.feeds)} inputs, and {manifest.golden} were written"
    if golden.graph and manifest.minimum_graph_db is None:
        yield "golden/graph.npz is there, and `minimum_graph_db` does not say what it is for"
    model = manifest.model
    for what, specs, of in (
        ("inputs", model.inputs, golden.feeds),
        ("outputs", model.outputs, golden.outputs),
        ("outputs", model.outputs, golden.graph),
    ):
        if wrong := _unlike(specs, of, widened=what == "outputs"):
            yield f"the golden {what} are not those of the model: {wrong}"


def _unlike(specs: Sequence[TensorSpec], samples: Sequence[Mapping[str, Array]], widened: bool) -> str:
    """What of the arrays is not as specified, one clause.

    Args:
        widened: integers that are amounts were written as float64, as what they are compared by.
    """
    names = {spec.name for spec in specs}
    for arrays in samples:
        if arrays.keys() != names:
            return f"they are {', '.join(sorted(arrays))}, and the model has {', '.join(sorted(names))}"
        for spec in specs:
            found = arrays[spec.name]
            if found.dtype.name not in _types(spec, widened):
                return f"{spec.name!r} is {found.dtype.name}, and the model's is {spec.dtype}"
            fixed = [(size, of) for size, of in zip(spec.shape, found.shape, strict=False) if isinstance(size, int)]
            if found.ndim != len(spec.shape) or any(size != of for size, of in fixed):
                return f"{spec.name!r} has shape {found.shape}, and the model {spec.shape}"
    return ""


def _types(spec: TensorSpec, widened: bool) -> tuple[str, ...]:
    return (spec.dtype, AMOUNT) if widened and spec.dtype.startswith(("int", "uint")) else (spec.dtype,)

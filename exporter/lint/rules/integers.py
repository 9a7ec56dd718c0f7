"""Q/DQ in integers that the target's runtime has no kernels for: type, zero point, bias."""

from __future__ import annotations

from collections.abc import Iterator

from ....profiles.device.target import Scheme
from ..examined import Examined, found_at
from ..finding import Finding, Severity
from ..qdq import Qdq, follows_inputs

# Weights of 4 bits or of floats are for kernels that turn them into floats: parsers judge those.
JUDGED = frozenset({"int8", "uint8", "int16", "uint16"})
_FLOATS = "the target computes {precisions} and has no rules for integers: what is quantized runs in float at best"


def find(examined: Examined) -> Iterator[Finding]:
    """One finding a Q/DQ pair whose integers are none of the scheme's."""
    scheme = examined.target.scheme
    first = [one for one in examined.qdq if one.first]
    if scheme is None:
        if first:
            said = _FLOATS.format(precisions=" and ".join(examined.target.precisions))
            remedy = "Give the float model, or another target."
            yield found_at(first[0].node, "warning", said, remedy=remedy, source=examined.target.toolchain.source)
        return
    for one in first:
        yield from _judged(one, scheme)


def _judged(one: Qdq, scheme: Scheme) -> Iterator[Finding]:
    severity: Severity = "error" if scheme.refuses else "warning"
    if one.dtype == "int32":  # a bias, with the scale of its products
        if scheme.bias == "float" and scheme.refuses:
            said = f"it dequantizes an int32 bias, which {scheme.name} does not take"
            remedy = "Leave the biases of quantized layers float."
            yield found_at(one.node, severity, said, remedy=remedy, source=scheme.source)
        return
    if one.scale is None and follows_inputs(one.node.inputs[1]):
        said = f"its scale is computed while the model runs, and {scheme.name} wants a constant: " + _end(scheme)
        remedy = "Quantize with scales from calibration data; `edgepress export` does."
        yield found_at(one.node, severity, said, remedy=remedy, source=scheme.source)
        return
    if one.dtype not in JUDGED and not _is_activation(one, scheme):
        return
    grids = (scheme.weight,) if one.stored else (scheme.activation, *scheme.also)
    if any(one.fits(grid) for grid in grids):
        return
    wanted = " or ".join(
        f"{grid.dtype} {'with zero point 0' if grid.symmetric else 'with any zero point'}" for grid in grids
    )
    what = "a weight" if one.stored else "an activation"
    yield found_at(
        one.node,
        severity,
        f"{what} is {one.said}, and {scheme.name} wants {wanted}: {_end(scheme)}",
        remedy=f"Quantize for the target: {wanted}; `edgepress export` does.",
        source=scheme.source,
    )


def _end(scheme: Scheme) -> str:
    return "that is rejected, or read as if it were so" if scheme.refuses else "it runs in float there, or slower"


def _is_activation(one: Qdq, scheme: Scheme) -> bool:
    """One in integers of any width, or in floats, which a runtime that refuses other integers may yet have."""
    return not one.stored and bool(one.dtype) and (one.limits is not None or not scheme.refuses)

"""Seeded synthetic inputs that look like an example without containing it."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import numpy as np
import numpy.typing as npt

from ...backends.base import Array, TensorSpec
from ...errors import InputError

_USUAL_BATCH, _USUAL_SIZE = 2, 16
# Amplitude of the pixel noise beside the smooth one, and how much coarser the smooth one's grid is.
_FINE, _COARSER = 0.3, 4


def synthesize(
    example: Mapping[str, Array],
    dynamic: Mapping[str, Mapping[int, str]],
    sizes: Mapping[str, int] | None,
    seed: int,
) -> dict[str, Array]:
    """A feed of the example's names and dtypes; the same arguments give the same feed.

    Floats have the mean, deviation and range of the example, and are smooth along the axes of images and signals,
    since independent noise drives a network's activations away from natural ones. Integers are uniform in the
    example's range. A mask of 0 and 1 whose rows never rise stays one, of random lengths of at least 1. Constants stay.

    Args:
        dynamic: name of each free axis, by input and axis.
        sizes: sizes of free axes by name; those not named keep the example's.

    Raises:
        InputError: an input that is neither a number nor a boolean.
    """
    return {
        name: _like(
            array, _resized(array, dynamic.get(name, {}), sizes or {}), np.random.default_rng([seed, index]), name
        )
        for index, (name, array) in enumerate(example.items())
    }


def synthesize_from_specs(specs: Sequence[TensorSpec], seed: int) -> dict[str, Array]:
    """A feed for inputs of which no example is known: standard normal floats, integers 0 or 1, masks all 1.

    0 and 1 are the integers that any table of embeddings has. A free axis gets 2 where it is the first, else 16.

    Raises:
        InputError: an input that is neither a number nor a boolean.
    """
    return {spec.name: _of_spec(spec, np.random.default_rng([seed, index])) for index, spec in enumerate(specs)}


def _of_spec(spec: TensorSpec, rng: np.random.Generator) -> Array:
    usual = [_USUAL_BATCH if axis == 0 else _USUAL_SIZE for axis in range(len(spec.shape))]
    shape = tuple(size if isinstance(size, int) else usual[axis] for axis, size in enumerate(spec.shape))
    dtype = _dtype(spec.dtype, spec.name)
    if "mask" in spec.name.lower() or dtype.kind == "b":
        return np.ones(shape, dtype)
    return _smooth(shape, rng).astype(dtype) if dtype.kind == "f" else rng.integers(0, 2, shape).astype(dtype)


def _dtype(name: str, tensor: str) -> np.dtype[np.generic]:
    try:
        dtype: np.dtype[np.generic] = np.dtype(name)
    except TypeError:
        dtype = np.dtype(object)
    if dtype.kind not in "fiub":
        raise InputError(f"Input {tensor!r} is {name}; expected a float, integer or boolean tensor.")
    return dtype


def _resized(array: Array, axes: Mapping[int, str], sizes: Mapping[str, int]) -> tuple[int, ...]:
    return tuple(sizes.get(axes[axis], size) if axis in axes else size for axis, size in enumerate(array.shape))


def _like(array: Array, shape: tuple[int, ...], rng: np.random.Generator, name: str) -> Array:
    dtype = _dtype(array.dtype.name, name)
    finite = array[np.isfinite(array)] if dtype.kind == "f" else array.reshape(-1)
    if finite.size == 0 or finite.min() == finite.max():
        return np.full(shape, finite.reshape(-1)[0] if finite.size else 0, dtype)
    if _is_prefix_mask(array):
        lengths = rng.integers(1, shape[1] + 1, (shape[0], 1))
        return (np.arange(shape[1]) < lengths).astype(dtype)
    if dtype.kind == "b":
        return rng.integers(0, 2, shape).astype(dtype)
    if dtype.kind == "f" or (dtype == np.uint8 and array.ndim > 2):
        return _noise_like(finite, shape, rng, dtype)
    return rng.integers(int(finite.min()), int(finite.max()), shape, dtype=_wide(dtype), endpoint=True).astype(dtype)


def _wide(dtype: np.dtype[np.generic]) -> type[np.uint64 | np.int64]:
    return np.uint64 if dtype == np.uint64 else np.int64


def _is_prefix_mask(array: Array) -> bool:
    """Two axes, only 0 and 1, each row ones and then zeros."""
    if array.ndim != 2 or not np.isin(array, (0, 1)).all():
        return False
    return bool((np.diff(array.astype(np.int8), axis=1) <= 0).all())


def _noise_like(values: Array, shape: tuple[int, ...], rng: np.random.Generator, dtype: np.dtype[np.generic]) -> Array:
    wide = values.astype(np.float64)
    noise = (wide.mean() + wide.std() * _smooth(shape, rng)).clip(wide.min(), wide.max())
    synthetic: Array = (noise.round() if dtype.kind in "iu" else noise).astype(dtype)
    return synthetic


def _smooth(shape: tuple[int, ...], rng: np.random.Generator) -> npt.NDArray[np.float64]:
    """Noise of variance about 1; from three axes on, mostly smooth along those of an image, a signal or a volume."""
    fine = rng.standard_normal(shape)
    axes = _smooth_axes(shape)
    if not axes:
        return fine
    coarse = rng.standard_normal([max(2, -(-n // _COARSER)) if axis in axes else n for axis, n in enumerate(shape)])
    for axis in axes:
        coarse = _stretch(coarse, axis, shape[axis])
    deviation = coarse.std() or 1.0
    mixed: npt.NDArray[np.float64] = (coarse / deviation + _FINE * fine) / np.hypot(1.0, _FINE)
    return mixed


def _smooth_axes(shape: tuple[int, ...]) -> tuple[int, ...]:
    """The axes behind batch and channels, or between them where the channels come last."""
    if len(shape) < 3 or 0 in shape:
        return ()
    channels_last = len(shape) > 3 and shape[-1] <= 4 < shape[1]
    return tuple(range(1, len(shape) - 1)) if channels_last else tuple(range(2, len(shape)))


def _stretch(values: npt.NDArray[np.float64], axis: int, size: int) -> npt.NDArray[np.float64]:
    """Linear interpolation along one axis to another size."""
    position = np.linspace(0, values.shape[axis] - 1, size)
    left = np.minimum(position.astype(int), values.shape[axis] - 2)
    share = (position - left).reshape([-1 if i == axis else 1 for i in range(values.ndim)])
    stretched: npt.NDArray[np.float64] = values.take(left, axis) * (1 - share) + values.take(left + 1, axis) * share
    return stretched

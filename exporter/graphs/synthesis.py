"""Seeded synthetic inputs that look like an example without containing it."""

from __future__ import annotations

import math
from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any

import numpy as np

from ...backends.base import Array, TensorSpec
from ...calibration.sample_axes import called_batch
from ...errors import InputError
from .channels import ChannelSizes
from .distinct import are_distinct, distinct_like
from .masks import FilledPart
from .rising import RisingColumns, in_order
from .texture import UNKNOWN, Texture

_USUAL_BATCH, _USUAL_SIZE = 2, 16
# Values in one feed of an input: 1 GiB of float32.
LARGEST = 1 << 28
# Whole numbers that are a code (a class, a flag) and not an amount.
_FEW = 16
# Share of the deviation by which mean and deviation of made-up floats may be off: less than what makes them of another
# kind than the samples (candidates/made_up.py). And rounds in which they get there.
_OFF, _ROUNDS = 0.4, 30


def synthesize(
    example: Mapping[str, Array],
    dynamic: Mapping[str, Mapping[int, str]],
    sizes: Mapping[str, int] | None,
    seed: int,
    held: Collection[str] = (),
    *,
    by_channel: bool = True,
) -> dict[str, Array]:
    """A feed of the example's names and dtypes; the same arguments give the same feed.

    Floats have the mean, deviation and range of the example, by channel where these are of other sizes, and are smooth
    along the axes of images and signals as the example is, or somewhat where it is all noise. Integers are uniform in
    the example's range, and not above what is largest in their column where an axis behind the first is fixed; along a
    single axis, where they may be lengths, the largest is among them. A mask of 0 and 1 whose rows turn once stays one,
    of random lengths: of at least 1 where ones come first, else with what all rows of the example begin or end with.
    Where no place occurs twice, none does; where one column is never below another, as in boxes, it is not. Constants
    stay.

    Args:
        dynamic: name of each free axis, by input and axis.
        sizes: sizes of free axes by name; those not named keep the example's.
        held: inputs that stay the example's.
        by_channel: channels of other sizes keep them; else all are of one.

    Raises:
        InputError: an input that is neither a number nor a boolean, or too large.
    """
    made = {}
    for index, (name, array) in enumerate(example.items()):
        free = dynamic.get(name, {})
        shape = _made_in(_resized(array, free, sizes or {}), name)
        rng = np.random.default_rng([seed, index])
        made[name] = np.asarray(
            _like(array, shape, rng, name, free, by_channel)
        )  # numpy's random numbers of no axis are no arrays
    made |= {name: example[name] for name in held}
    for name, array in example.items():
        if (
            name not in held
            and array.ndim == 1
            and array.size
            and array.dtype.kind in "iu"
            and array.min() < array.max()
            and not are_distinct(array)
        ):
            made[name] = _as_lengths(array, made[name], _measured(name, array, example, made))
    return made


def _measured(name: str, lengths: Array, example: Mapping[str, Array], made: Mapping[str, Array]) -> tuple[int, int]:
    """The size of the axis whose filled part such numbers may count, in the example and in what is made of it.

    The longest sample fills its axis; where no axis is as long as that, the numbers count something else.
    """
    longest = int(lengths.max())
    for other, array in example.items():
        for axis, size in enumerate(array.shape):
            if other != name and axis and size == longest:
                return size, made[other].shape[axis]
    return longest, longest


def _as_lengths(lengths: Array, made: Array, sizes: tuple[int, int]) -> Array:
    """Made-up lengths of which one is the longest, as in the example, and which fall where the example's do."""
    old, new = sizes
    fitted = np.asarray(np.clip(-(-made.astype(np.int64) * new // old), min(1, int(lengths.min())), new))
    if fitted.size:
        fitted[0] = new
    if (np.diff(lengths) <= 0).all():
        fitted = np.sort(fitted)[::-1]
    return fitted.astype(made.dtype)


@dataclass(frozen=True, slots=True, kw_only=True)
class Look:
    """What an input's data look like, without any of them: enough to make up others.

    Attributes:
        low, high: smallest and largest value.
        mean, square: of all values seen, of x and of x^2.
        count: how many were seen.
        values: the whole numbers that occur, where they are few; None where they are many or no whole ones.
        filled: how its rows turned, where it was a mask of what is filled in every batch.
        texture: how smooth the first batch was.
        channels: where the first batch had some of other sizes than the others.
        rising: which columns were in order in every row.
    """

    low: float
    high: float
    mean: float
    square: float
    count: int
    values: frozenset[int] | None = None
    filled: FilledPart | None = None
    texture: Texture = UNKNOWN
    channels: ChannelSizes | None = None
    rising: RisingColumns | None = None

    @classmethod
    def of(cls, array: Array) -> Look:
        """The look of one batch, which is not empty."""
        return replace(cls._of(array, Texture.of(array)), channels=ChannelSizes.of(array))

    @classmethod
    def _of(cls, array: Array, texture: Texture) -> Look:
        wide = array.astype(np.float64)
        whole = np.unique(array) if array.dtype.kind in "iu" else ()
        with np.errstate(over="ignore"):
            square = float((wide * wide).mean())
        return cls(
            low=float(wide.min()),
            high=float(wide.max()),
            mean=float(wide.mean()),
            square=square,
            count=array.size,
            values=frozenset(map(int, whole)) if 0 < len(whole) <= _FEW else None,
            filled=FilledPart.of(array),
            texture=texture,
            rising=RisingColumns.of(array),
        )

    @classmethod
    def between(cls, low: float, high: float) -> Look:
        """Of data of which only the range is known: in its middle, and wide."""
        mean, deviation = (low + high) / 2, (high - low) / 4
        return cls(low=low, high=high, mean=mean, square=mean**2 + deviation**2, count=1)

    def with_more(self, array: Array) -> Look:
        """The look of what was seen before and this batch."""
        new = Look._of(array, self.texture)
        count = self.count + new.count
        values = None if self.values is None or new.values is None else self.values | new.values
        return Look(
            low=min(self.low, new.low),
            high=max(self.high, new.high),
            mean=(self.mean * self.count + new.mean * new.count) / count,
            square=(self.square * self.count + new.square * new.count) / count,
            count=count,
            values=values if values is None or len(values) <= _FEW else None,
            filled=None if self.filled is None else self.filled.with_more(array),
            texture=self.texture,
            channels=None if self.channels is None else self.channels.with_more(array),
            rising=None if self.rising is None else self.rising.with_more(array),
        )

    def _deviation(self) -> float:
        """Of all values seen; where their squares are beyond float64, what a wide distribution has."""
        variance = self.square - self.mean * self.mean
        return math.sqrt(max(variance, 0.0)) if math.isfinite(variance) else self.high / 4 - self.low / 4

    def sample(self, shape: tuple[int, ...], dtype: np.dtype[np.generic], rng: np.random.Generator) -> Array:
        """Made-up data of this look."""
        if self.filled is not None:
            return self.filled.sample(shape, dtype, rng)
        if dtype.kind == "b":
            return np.asarray(rng.integers(int(self.low), int(self.high), shape, endpoint=True)).astype(dtype)
        if self.values is not None:
            return np.asarray(rng.choice(sorted(self.values), shape)).astype(dtype)
        if self.channels is not None and self.channels.fits(shape):
            made = self.channels.like(self.texture.noise(shape, rng)).clip(self.low, self.high).astype(dtype)
            return in_order(made, self.rising)
        if dtype.kind == "f" or (dtype == np.uint8 and len(shape) > 2):
            noise = _within(self.texture.noise(shape, rng), self.mean, self._deviation(), self.low, self.high)
            return in_order((noise.round() if dtype.kind in "iu" else noise).astype(dtype), self.rising)
        integers = rng.integers(int(self.low), int(self.high), shape, dtype=_wide(dtype), endpoint=True)
        return np.asarray(integers).astype(dtype)


def synthesize_from_specs(
    specs: Sequence[TensorSpec],
    seed: int,
    sizes: Mapping[str, int] | None = None,
    looks: Mapping[str, Look] | None = None,
) -> dict[str, Array]:
    """A feed for inputs of which no example is known: standard normal floats, integers 0 or 1, masks all 1.

    0 and 1 are the integers that any table of embeddings has.

    Args:
        sizes: of free axes by name; those not named get the default ones.
        looks: what the data look like, by input, where that is known.

    Raises:
        InputError: an input that is neither a number nor a boolean, or too large.
    """
    all_sizes = {**default_sizes(specs), **(sizes or {})}
    return {
        spec.name: _of_spec(spec, np.random.default_rng([seed, index]), all_sizes, (looks or {}).get(spec.name))
        for index, spec in enumerate(specs)
    }


def default_sizes(specs: Sequence[TensorSpec]) -> dict[str, int]:
    """2 for the batch, 16 for other free axes: one size a name, wherever it stands.

    The batch is what is called so, else the free first axis of any input.
    """
    free = [(axis, size) for spec in specs for axis, size in enumerate(spec.shape) if isinstance(size, str)]
    called = {name for _, name in free if called_batch(name)}
    first = called or {name for axis, name in free if axis == 0}
    return {name: _USUAL_BATCH if name in first else _USUAL_SIZE for _, name in free}


def _of_spec(spec: TensorSpec, rng: np.random.Generator, sizes: Mapping[str, int], look: Look | None) -> Array:
    shape = _made_in(tuple(size if isinstance(size, int) else sizes[size] for size in spec.shape), spec.name)
    dtype = _dtype(spec.dtype, spec.name)
    if look is not None:
        return np.asarray(look.sample(shape, dtype, rng))
    if "mask" in spec.name.lower() or dtype.kind == "b":
        return np.ones(shape, dtype)
    return np.asarray(UNKNOWN.noise(shape, rng)).astype(dtype) if dtype.kind == "f" else _bits(shape, dtype, rng)


def _bits(shape: tuple[int, ...], dtype: np.dtype[np.generic], rng: np.random.Generator) -> Array:
    return np.asarray(rng.integers(0, 2, shape)).astype(dtype)


def _dtype(name: str, tensor: str) -> np.dtype[np.generic]:
    try:
        dtype: np.dtype[np.generic] = np.dtype(name)
    except TypeError:
        dtype = np.dtype(object)
    if dtype.kind not in "fiub":
        what = "text" if name == "object" else name
        raise InputError(
            f"Input {tensor!r} is {what}; expected a float, integer or boolean tensor of 8 bits or more.",
            hint="Convert it outside of the model, and give the model numbers.",
        )
    return dtype


def _made_in(shape: tuple[int, ...], name: str) -> tuple[int, ...]:
    """The shape, which one feed must not fill the memory with."""
    if math.prod(shape) <= LARGEST:
        return shape
    raise InputError(
        f"Input {name!r} has shape {shape}: {math.prod(shape):.3g} values in one feed, of {LARGEST:.3g} at most.",
        hint="Give free axes other sizes with --axis NAME=SMALLEST:USUAL:LARGEST; a fixed one may be damaged.",
    )


def _resized(array: Array, axes: Mapping[int, str], sizes: Mapping[str, int]) -> tuple[int, ...]:
    return tuple(sizes.get(axes[axis], size) if axis in axes else size for axis, size in enumerate(array.shape))


def _like(
    array: Array,
    shape: tuple[int, ...],
    rng: np.random.Generator,
    name: str,
    free: Collection[int],
    by_channel: bool,
) -> Array:
    dtype = _dtype(array.dtype.name, name)
    finite = array[np.isfinite(array)] if dtype.kind == "f" else array.reshape(-1)
    if finite.size == 0 or finite.min() == finite.max():
        return np.full(shape, finite.reshape(-1)[0] if finite.size else 0, dtype)
    if (filled := FilledPart.of(array)) is not None:
        return filled.sample(shape, dtype, rng)
    if dtype.kind == "b":
        return rng.integers(0, 2, shape).astype(dtype)
    if by_channel and (channels := ChannelSizes.of(array)) is not None and channels.fits(shape):
        noise = channels.like(Texture.of(array).noise(shape, rng))
        return in_order(noise.clip(finite.min(), finite.max()).astype(dtype), RisingColumns.of(array))
    if dtype.kind == "f" or (dtype == np.uint8 and array.ndim > 2):
        return in_order(_noise_like(finite, Texture.of(array), shape, rng, dtype), RisingColumns.of(array))
    if are_distinct(array) and (places := distinct_like(array, shape, rng)) is not None:
        return places
    low, high = _between(array, free)
    integers = rng.integers(low, high, shape, dtype=_wide(dtype), endpoint=True)
    return np.asarray(integers).astype(dtype)


def _between(array: Array, free: Collection[int]) -> tuple[Any, Any]:
    """The least and the largest whole numbers, by column where an axis behind the first is fixed.

    Columns may be places in tables of several sizes, of which none has to hold what is largest in another. The least
    is that of all columns, so that a row is not told by both ends; below 0 it may mean something in one column alone.
    """
    over = tuple(axis for axis in range(array.ndim) if axis == 0 or axis in free)
    if len(over) == array.ndim:
        return int(array.min()), int(array.max())
    low, high = array.min(over, keepdims=True), array.max(over, keepdims=True)
    return (low if array.min() < 0 else np.minimum(low, array.min())), high


def _wide(dtype: np.dtype[np.generic]) -> type[np.uint64 | np.int64]:
    return np.uint64 if dtype == np.uint64 else np.int64


def _within(noise: Array, mean: float, deviation: float, low: float, high: float) -> Array:
    """Noise of that mean and deviation between two limits.

    What is cut off takes from both where data are skewed, as padded ones: it is moved and widened until they are near.
    """
    shift, scale = mean, deviation
    for _ in range(_ROUNDS):
        made = np.asarray((shift + scale * noise.astype(np.float64)).clip(low, high))
        if made.size == 0 or (off := made.std()) == 0 or not math.isfinite(deviation):
            break
        if abs(made.mean() - mean) <= _OFF * deviation and deviation <= (1 + _OFF) * off:
            break
        shift, scale = shift + (mean - made.mean()), scale * min(2.0, deviation / off)
    return made


def _noise_like(
    values: Array, texture: Texture, shape: tuple[int, ...], rng: np.random.Generator, dtype: np.dtype[np.generic]
) -> Array:
    wide = values.astype(np.float64)
    noise = _within(texture.noise(shape, rng), wide.mean(), wide.std(), wide.min(), wide.max())
    synthetic: Array = (noise.round() if dtype.kind in "iu" else noise).astype(dtype)
    return synthetic

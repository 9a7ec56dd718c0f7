"""Calibration data: a zero-argument callable that gives a fresh iterator of `{input: array}` batches."""

from __future__ import annotations

import itertools
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np

from ..backends.base import Array, Feed, Graph, SampleAxes, TensorSpec
from ..errors import InputError
from .arrays import read_arrays

Feeds = Callable[[], Iterator[Feed]]
_MOST_AXES = 5  # of an array whose orders are tried: those of a video
_EXPECTED = "Give an .npz or .npy of all samples, a directory of such files, one a batch, or a directory of pictures."


def feeds_from_path(path: Path, specs: Sequence[TensorSpec], batch: int) -> Feeds:
    """Feeds of an `.npz` or `.npy` file, or of a directory of such files.

    Args:
        path: an `.npz` whose arrays, by input name, hold all samples along their first axis, or an `.npy` for a model
            with a single input; or a directory in which each file is one batch.
        specs: the model's inputs.
        batch: samples a batch when a file is split; a remainder smaller than a fixed batch axis is an error.

    Raises:
        InputError: the path is neither, holds no such files, or a file cannot be read.
    """
    if path.is_dir():
        files = sorted(f for f in path.iterdir() if f.suffix in (".npz", ".npy"))
        if not files:
            raise InputError(f"Calibration directory {path} holds neither arrays nor pictures.", hint=_EXPECTED)
        return lambda: ({**_read(file, specs)} for file in files)
    if path.suffix in (".npz", ".npy") and path.is_file():
        return lambda: _split(_read(path, specs), batch, path)
    found = "does not exist" if not path.exists() else "is neither an .npz or .npy file nor a directory"
    raise InputError(f"Calibration data {path} {found}.", hint=_EXPECTED)


def feeds_from_object(data: Any) -> Feeds:
    """Feeds of a function that returns an iterable of batches, or of a collection of batches.

    Raises:
        InputError: a generator or another iterator, which could be read only once.
    """
    if callable(data):
        return lambda: iter(data())
    if isinstance(data, Iterator) or not isinstance(data, Iterable):
        raise InputError(
            f"Calibration data is a {type(data).__name__}; expected a list of batches or a function that returns them.",
            hint="Pass the function itself, so that the data can be read more than once.",
        )
    return lambda: iter(data)


def checked(feeds: Feeds, specs: Sequence[TensorSpec], origin: str) -> Feeds:
    """The same feeds, each batch checked as it streams past: names, dtypes, shapes, finite values, not empty.

    Args:
        origin: where the data come from, for messages (`calibration()` or a path).

    Raises:
        InputError: while iterating, naming the batch and the input at fault.
    """

    def stream() -> Iterator[Feed]:
        rows = dict.fromkeys((spec.name for spec in specs), 0)
        for index, batch in enumerate(_user_batches(feeds, origin)):
            where = f"{origin}, batch {index}"
            arrays = _arrays(batch, specs, where)
            for spec in specs:
                _check(arrays[spec.name], spec, where, rows[spec.name])
            _check_sizes(arrays, specs, where)
            yield arrays
            rows = {name: rows[name] + (len(array) if array.ndim else 1) for name, array in arrays.items()}
        if not any(rows.values()):
            raise InputError(
                f"{origin} is empty: int8 needs at least one sample.",
                hint="Data are read several times: a function must give them anew at each call, not an iterator that "
                "was read before."
                if origin.endswith("()")
                else None,
            )

    return stream


def first_batches(feeds: Iterator[Feed], samples: int, along: SampleAxes) -> list[Feed]:
    """Whole batches until there are this many samples."""
    taken: list[Feed] = []
    for feed in feeds:
        taken.append(feed)
        if sum(map(along.count, taken)) >= samples:
            break
    return taken


def outputs_by_sample(graph: Graph, feeds: Sequence[Feed], outputs: Sequence[Mapping[str, Array]]) -> dict[str, int]:
    """Outputs that can be parted into samples, and the axis: as long there as the feed has samples, in every feed.

    Args:
        graph: what the feeds are given to.
        outputs: what came of them.
    """
    pairs = [(graph.samples.count(feed), found) for feed, found in zip(feeds, outputs, strict=True)]
    return {
        name: axis
        for name, axis in graph.samples.outputs.items()
        if all(found[name].shape[axis : axis + 1] == (count,) for count, found in pairs)
    }


def _user_batches(feeds: Feeds, origin: str) -> Iterator[Any]:
    """Iterate the user's data; what their code raises is their fault, not ours."""
    try:
        yield from feeds()
    except (InputError, GeneratorExit, KeyboardInterrupt):
        raise
    except (Exception, SystemExit) as error:
        raise InputError(f"{origin} raised {type(error).__name__}: {error}") from error


def _arrays(batch: Any, specs: Sequence[TensorSpec], where: str) -> dict[str, Array]:
    if not isinstance(batch, Mapping):
        raise InputError(f"{where} is a {type(batch).__name__}; expected a dict of arrays by input name.")
    wanted = [spec.name for spec in specs]
    if set(batch) != set(wanted):
        raise InputError(f"{where} has {_quoted(batch)}; the model's inputs are {_quoted(wanted)}.")
    return {spec.name: _own(batch[spec.name], spec, where) for spec in specs}


def _own(given: Any, spec: TensorSpec, where: str) -> Array:
    """A copy: who fills one buffer again and again would change batches that are looked at later.

    Half precision is widened where the model takes single, as one that was trained in half does here.
    """
    name = spec.name
    try:
        array = np.array(given)
        return array.astype(np.float32) if (array.dtype.name, spec.dtype) == ("float16", "float32") else array
    except (RuntimeError, TypeError, ValueError) as error:  # a tensor with gradients or on a device, a ragged list
        raise InputError(
            f"{where}: input {name!r} is a {type(given).__name__} that makes no array: {error}",
            hint="Give numpy arrays; of a torch tensor tensor.detach().cpu().numpy().",
        ) from error


def _check(array: Array, spec: TensorSpec, where: str, rows: int) -> None:
    if fault := spec.mismatch(array):
        raise InputError(f"{where}: input {spec.name!r} {fault}.", hint=_remedy(array, spec))
    if array.dtype.kind == "f" and not np.isfinite(array).all():
        bad = tuple(map(int, np.argwhere(~np.isfinite(array))[0]))
        row = f"row {rows + bad[0]}" if bad else f"number {rows}"
        raise InputError(
            f"{where}: input {spec.name!r} holds NaN or Inf, first at index {bad}, {row} of all batches together.",
            hint="Mend the sample or leave it out. A mask of -inf has no range; -1e4 hides as much behind a softmax.",
        )


def _check_sizes(arrays: Mapping[str, Array], specs: Sequence[TensorSpec], where: str) -> None:
    """Axes of one name are of one size, as ONNX has it and runtimes rely on."""
    known: dict[str, tuple[str, int]] = {}
    for spec in specs:
        for label, size in zip(spec.shape, arrays[spec.name].shape, strict=True):
            if isinstance(label, int) or known.setdefault(label, (spec.name, size))[1] == size:
                continue
            other, before = known[label]
            raise InputError(
                f"{where}: axis {label!r} has size {before} in input {other!r} and {size} in {spec.name!r}.",
                hint="Give as many along both, or give axes that differ names of their own.",
            )


def _remedy(array: Array, spec: TensorSpec) -> str | None:
    """What to do about an array that does not fit, where it shows how it came about."""
    kind = next((kind for kind in ("float", "uint", "int") if spec.dtype.startswith(kind)), "")
    if array.dtype.name != spec.dtype and kind and array.dtype.name.startswith(kind):
        return f"Convert it: array.astype(np.{spec.dtype})."
    if array.dtype == np.uint8 and kind == "float":
        return "Give what the model was trained on: such bytes, scaled and normalised to floats as it was done there."
    if array.dtype.kind in "iub" and kind == "float":
        return f"Give what the model was trained on, as floats: array.astype(np.{spec.dtype})."
    if array.dtype.kind == "f" and spec.dtype == "uint8":
        return "The engine takes bytes, which preprocess() or [preprocess] turns into floats: give them as they are."
    if TensorSpec(name=spec.name, dtype=array.dtype.name, shape=spec.shape[1:]).mismatch(array) == "":
        return "Give it a first axis for the samples: array[None]."
    for axes in itertools.permutations(range(1, array.ndim)) if array.ndim <= _MOST_AXES else ():
        if not spec.mismatch(array.transpose(0, *axes)):
            return f"Its axes are in another order: array.transpose{(0, *axes)}."
    return None


def _read(path: Path, specs: Sequence[TensorSpec]) -> dict[str, Array]:
    """All arrays of one file by input name; pickled objects are refused."""
    found = read_arrays(path, hint="Write it with numpy.savez, one array an input.")
    return found if isinstance(found, dict) else {_only(specs, path): found}


def _only(specs: Sequence[TensorSpec], path: Path) -> str:
    if len(specs) != 1:
        raise InputError(
            f"{path.name} holds one array, but the model has the inputs {_quoted(s.name for s in specs)}.",
            hint="Save one .npz a batch, with one array an input.",
        )
    return specs[0].name


def _split(arrays: dict[str, Array], batch: int, path: Path) -> Iterator[Feed]:
    lengths = {name: len(array) if array.ndim else 0 for name, array in arrays.items()}
    if len(set(lengths.values())) > 1:
        raise InputError(f"{path}: the inputs have different numbers of samples: {lengths}.")
    for start in range(0, next(iter(lengths.values()), 0), batch):
        yield {name: array[start : start + batch] for name, array in arrays.items()}


def _quoted(names: Iterable[str]) -> str:
    return ", ".join(repr(name) for name in names) or "no arrays"

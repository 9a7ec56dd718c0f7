"""The batches a model is trained on: where they come from, checked, and each process's part of them."""

from __future__ import annotations

import random
from collections.abc import Callable, Iterable, Iterator, Mapping, Sized
from dataclasses import dataclass
from functools import partial
from hashlib import sha256
from itertools import islice
from typing import TYPE_CHECKING, Any, TypeAlias

import numpy as np

from ...backends.base import TensorSpec
from ...errors import InputError
from ..sources import Source, user_errors
from ..sources.network import prepare

if TYPE_CHECKING:
    from torch import Tensor
    from torch.utils.data import DataLoader

Batch: TypeAlias = "tuple[dict[str, Tensor], Any]"
_FORM = "({input: tensor}, targets)"


@dataclass(frozen=True, slots=True, kw_only=True)
class TrainingData:
    """Passes over the data.

    Attributes:
        origin: the function they come from, for messages and the report.
        labelled: the batches carry targets for the user's loss.
        inputs: what each batch must hold; the first axis may have any size.
        prepare: turns a batch as it is given into what the network takes.
        passes: the raw batches of an epoch.
        seed: decides, with the epoch, whatever is drawn at random while batches are made.
    """

    origin: str
    labelled: bool
    inputs: tuple[TensorSpec, ...]
    prepare: Callable[[Mapping[str, Tensor]], dict[str, Tensor]]
    passes: Callable[[int], Iterable[Any]]
    seed: int

    def batches(self, epoch: int, *, process: int = 0, processes: int = 1, skip: int = 0) -> Iterator[Batch]:
        """This process's batches of an epoch, checked; all processes get equally many.

        A `DataLoader` over a map-style dataset reads this process's part only; any other iterable is read whole by
        every process, which takes every n-th batch and drops what is left over.

        Args:
            skip: batches of this process to leave out at the start: a run that was killed has used them.

        Raises:
            InputError: the user's code raised, or a batch does not fit the model.
        """
        seed_all(self.seed, epoch)
        with user_errors(self.origin):
            given = self.passes(epoch)
            loader = _loader(given)
            if loader is not None:
                _seed_sampler(loader, processes, self.seed, epoch)
                given = loader if processes == 1 else _sharded(loader, process, processes)
        share = given if loader is not None else _every_nth(given, process, processes)
        return islice(self._checked(share, epoch), skip, None)

    def first(self) -> Batch:
        """The first batch.

        Raises:
            InputError: it does not fit, or there is none.
        """
        return next(self.batches(0))

    def _spent(self, epoch: int) -> InputError:
        return InputError(
            f"{self.origin} gives no batch for epoch {epoch + 1}.",
            hint="Give at least one, and a fresh iterable at each call; a generator can be read only once.",
        )

    def count(self, processes: int = 1) -> int:
        """Batches of a process in an epoch; an iterable without a length is read once to know it.

        Raises:
            InputError: there is none, or fewer than processes.
        """
        seed_all(self.seed, 0)
        with user_errors(self.origin):
            given = self.passes(0)
            total = len(given) if isinstance(given, Sized) else sum(1 for _ in given)
        if total == 0:
            raise InputError(f"{self.origin} gives no batch.", hint="Give at least one; see `edgepress init`.")
        if total < processes:
            raise InputError(
                f"{self.origin} gives {total} batches, fewer than the {processes} processes that share them.",
                hint="Make the batches smaller, or start fewer processes.",
            )
        return -(-total // processes) if _loader(given) is not None else total // processes

    def _checked(self, batches: Iterable[Any], epoch: int) -> Iterator[Batch]:
        iterator = iter(self._guarded(batches))
        index = 0
        while True:
            # What is drawn while a batch is made depends on its place alone, so that a run may go on anywhere.
            seed_all(self.seed, epoch, index)
            try:
                batch = next(iterator)
            except StopIteration:
                if index == 0:
                    raise self._spent(epoch) from None
                return
            yield self._check(batch, f"{self.origin}, batch {index}")
            index += 1

    def _guarded(self, batches: Iterable[Any]) -> Iterator[Any]:
        with user_errors(self.origin):
            yield from batches

    def _check(self, batch: Any, where: str) -> Batch:
        if not isinstance(batch, tuple | list) or len(batch) != 2 or not isinstance(batch[0], Mapping):
            raise InputError(f"{where} is {_described(batch)}; expected {_FORM}.")
        feed, targets = batch
        wanted = [spec.name for spec in self.inputs]
        if set(feed) != set(wanted):
            raise InputError(f"{where} has {_quoted(feed)}; the model's inputs are {_quoted(wanted)}.")
        for spec in self.inputs:
            if fault := _mismatch(spec, feed[spec.name]):
                raise InputError(
                    f"{where}: input {spec.name!r} {fault}.", hint="Prepare training data as inputs() does its example."
                )
        return self.prepare({name: feed[name] for name in wanted}), targets


def training_data(source: Source, seed: int) -> TrainingData:
    """The source's `training()`, or else its calibration data without labels, as the network takes them.

    Args:
        source: of `network_of`.

    Raises:
        InputError: it has neither.
    """
    whole = source.whole or source
    data = partial(TrainingData, inputs=input_specs(whole), prepare=prepare(source), seed=seed)
    if whole.training is not None:
        return data(origin="training()", labelled=source.loss is not None, passes=whole.training)
    if whole.calibration is None:
        raise InputError(
            f"{source.name} brings no data to train on.",
            hint="Add training() to the model file; calibration() alone allows training against the model as given.",
        )
    feeds = whole.calibration

    def passes(epoch: int) -> Iterator[Any]:
        import torch

        for feed in feeds():
            yield {name: torch.from_numpy(np.require(a, requirements=["C", "W"])) for name, a in feed.items()}, None

    return data(origin="calibration()", labelled=False, passes=passes)


def seed_all(*parts: int) -> None:
    """Seed torch, numpy and Python alike from these numbers."""
    import torch

    number = int.from_bytes(sha256(repr(parts).encode()).digest()[:4], "little")
    random.seed(number)
    np.random.seed(number)  # the old way, since users' transforms draw from the global state
    # torch.manual_seed asks for every kind of device first, half a millisecond where there is none.
    seed = torch.manual_seed if torch.accelerator.is_available() else torch.default_generator.manual_seed
    seed(number)


def input_specs(source: Source, *, any_batch: bool = True) -> tuple[TensorSpec, ...]:
    """The inputs with the axes that may vary: the free ones, and for data, which torch reads, the first."""
    return tuple(
        TensorSpec(
            name=name,
            dtype=array.dtype.name,
            shape=tuple(
                source.dynamic.get(name, {}).get(axis, size if axis or not any_batch else "batch")
                for axis, size in enumerate(array.shape)
            ),
        )
        for name, array in source.inputs.items()
    )


def _mismatch(spec: TensorSpec, value: Any) -> str:
    import torch

    if not isinstance(value, torch.Tensor):
        return f"is a {type(value).__name__}, expected a tensor"
    if value.dtype == torch.bfloat16:
        return f"has dtype bfloat16, expected {spec.dtype}"
    return spec.mismatch(value.detach().cpu().numpy())


def _loader(given: Any) -> DataLoader[Any] | None:
    """The iterable, where it is a DataLoader whose reading can be divided."""
    from torch.utils.data import DataLoader, IterableDataset

    divisible = isinstance(given, DataLoader) and not isinstance(given.dataset, IterableDataset)
    return given if divisible and given.batch_sampler is not None else None


def _seed_sampler(loader: DataLoader[Any], processes: int, *seed: int) -> None:
    """A generator of the user's own, or one that the processes have in common, starts an epoch as the epoch says."""
    import torch

    number = int.from_bytes(sha256(repr(seed).encode()).digest()[:4], "little")
    sampler: Any = loader.sampler
    if processes > 1 and getattr(sampler, "generator", 0) is None:
        sampler.generator = torch.Generator()
    for generator in (getattr(sampler, "generator", None), loader.generator):
        if generator is not None:
            generator.manual_seed(number)


def _sharded(loader: DataLoader[Any], process: int, processes: int) -> Iterable[Any]:
    from accelerate.data_loader import prepare_data_loader

    sharded: Iterable[Any] = prepare_data_loader(loader, num_processes=processes, process_index=process)
    return sharded


def _every_nth(batches: Iterable[Any], process: int, processes: int) -> Iterator[Any]:
    iterator = iter(batches)
    while len(group := list(islice(iterator, processes))) == processes:
        yield group[process]


def _described(batch: Any) -> str:
    if isinstance(batch, tuple | list):
        return f"a {type(batch).__name__} of {len(batch)}: ({', '.join(type(item).__name__ for item in batch)})"
    return f"a {type(batch).__name__}"


def _quoted(names: Iterable[Any]) -> str:
    return ", ".join(repr(name) for name in names) or "no tensors"

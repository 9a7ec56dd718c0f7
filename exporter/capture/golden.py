"""Golden data of a bundle: seeded synthetic inputs and the FP32 model's outputs for them."""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path

import numpy as np

from ...backends.base import Array, Feed
from ...calibration.arrays import read_arrays
from ...errors import UnreadableError, VerificationError
from ...profiles.findings.parity import Parity, parity
from ...profiles.findings.rows import Rows

Answers = tuple[Mapping[str, Array], ...]
# The numpy dtype that integer outputs are written in where they are amounts, judged by how far off they are.
AMOUNT = "float64"
INPUTS, OUTPUTS, GRAPH_OUTPUTS, ROWS = "inputs.npz", "outputs.npz", "graph.npz", "rows.json"


@dataclass(frozen=True, slots=True, kw_only=True)
class Golden:
    """Feeds and, for each, the outputs of the FP32 model. The first feed is a single inference.

    Attributes:
        graph: what the graph that the engine was compiled from gives, on the reference place; empty where that is not
            told.
        rows: outputs that are sets of rows, in no order.
    """

    feeds: tuple[Feed, ...]
    outputs: Answers
    graph: Answers = ()
    rows: tuple[Rows, ...] = ()

    def save(self, directory: Path) -> None:
        """Write `inputs.npz`, `outputs.npz` and, where there are such, `graph.npz` and `rows.json`.

        Arrays of feed i are named `i.NAME`.
        """
        directory.mkdir(parents=True, exist_ok=True)
        np.savez(directory / INPUTS, **_flatten(self.feeds))  # type: ignore[arg-type]
        np.savez(directory / OUTPUTS, **_flatten(self.outputs))  # type: ignore[arg-type]
        if self.graph:
            np.savez(directory / GRAPH_OUTPUTS, **_flatten(self.graph))  # type: ignore[arg-type]
        if self.rows:
            listed = [asdict(one) for one in self.rows]
            (directory / ROWS).write_text(json.dumps(listed, indent=2) + "\n", encoding="utf-8")

    @classmethod
    def load(cls, directory: Path) -> Golden:
        """Read what `save` wrote.

        Raises:
            VerificationError: a file is missing or damaged.
        """
        feeds, outputs = _read(directory / INPUTS), _read(directory / OUTPUTS)
        _need(len(outputs) == len(feeds), OUTPUTS)
        graph: tuple[dict[str, Array], ...] = ()
        if (directory / GRAPH_OUTPUTS).exists():
            graph = _read(directory / GRAPH_OUTPUTS)
            _need(len(graph) == len(feeds), GRAPH_OUTPUTS)
        return cls(feeds=feeds, outputs=outputs, graph=graph, rows=_rows(directory / ROWS, outputs[0]))

    def answers(self, run: Callable[[Feed], dict[str, Array]]) -> Answers:
        """What is answered to each feed, for whatever it is to be compared with."""
        return tuple(run(feed) for feed in self.feeds)

    def compare(self, answers: Answers) -> dict[str, Parity]:
        """Compare with the FP32 outputs, by output name.

        Raises:
            VerificationError: an output is missing, has another shape, or is not finite.
        """
        return parity(self.outputs, answers, rows=self.rows)


def _flatten(feeds: Sequence[Mapping[str, Array]]) -> dict[str, Array]:
    # In C order, in which the loaders of a bundle read them.
    named = ((index, name, array) for index, feed in enumerate(feeds) for name, array in feed.items())
    return {f"{index}.{name}": np.asarray(array, order="C") for index, name, array in named}


def _read(path: Path) -> tuple[dict[str, Array], ...]:
    feeds: dict[int, dict[str, Array]] = {}
    try:
        arrays = read_arrays(path)
        if not isinstance(arrays, dict):
            raise VerificationError(f"Golden file {path.name} holds one array without a name.")
        for key, array in arrays.items():
            index, _, name = key.partition(".")
            feeds.setdefault(int(index), {})[name] = array
    except UnreadableError as error:
        raise VerificationError(f"Golden file {path.name} cannot be read: {error.reason}.") from error
    except ValueError as error:
        raise VerificationError(f"Golden file {path.name} cannot be read: {error}.") from error
    _need(
        sorted(feeds) == list(range(len(feeds))) and len({frozenset(feed) for feed in feeds.values()}) == 1, path.name
    )
    return tuple(feeds[index] for index in sorted(feeds))


def _rows(path: Path, outputs: Mapping[str, Array]) -> tuple[Rows, ...]:
    """What is said of outputs that are sets of rows, held against them; nothing where there is no such file."""
    if not path.exists():
        return ()
    try:
        listed = json.loads(path.read_text(encoding="utf-8"))
        found = tuple(Rows(**{**one, "outputs": tuple(one["outputs"])}) for one in listed)
        axes = [(name, dict(one.axes).get(name, one.axis)) for one in found for name in one.outputs]
        fits = all(0 <= axis < outputs[name].ndim for name, axis in axes)
    except (OSError, ValueError, TypeError, KeyError) as error:
        raise VerificationError(f"Golden file {path.name} cannot be read: {error}.") from error
    _need(fits, path.name)
    return found


def _need(whole: bool, name: str) -> None:
    if not whole:
        raise VerificationError(
            f"Golden file {name} does not have the same arrays for each golden input: some are missing or renamed.",
            hint="Copy the bundle again, whole.",
        )

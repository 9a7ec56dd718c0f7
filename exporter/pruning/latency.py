"""What a narrower group saves on the target's own engine, measured beside the unpruned one."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from contextlib import ExitStack
from dataclasses import dataclass, replace
from itertools import islice
from pathlib import Path
from typing import TYPE_CHECKING

from ...backends.base import AxisRange, Engine, Feed, Graph
from ...backends.places import Place
from ...calibration.collect import collect
from ...profiles.device.precision import PrecisionName, load_precision
from ...profiles.device.target import Target
from ...profiles.machine.held import temporary
from ...profiles.timing.measure import Settings, measure
from ..capture.capture import capture
from ..graphs.files import read_graph
from ..quantization.quantizer import Quantizer
from ..quantization.rewrites.to_float16 import to_float16
from ..sources.base import Source
from .groups import Group, Removal
from .macs import Macs
from .surgery import cut

if TYPE_CHECKING:
    from torch import nn

# Short slices in many turns, so that all arms meet the machine's quiet moments alike; seconds are for each arm.
MEASURING = Settings(warmup_seconds=0.05, warmup_count=5, seconds=0.4, samples=20, slice_seconds=0.02, cap=1.0)
# An opened engine can be slow for as long as it is open, by where its threads landed; seen to cost a third.
OPENINGS = 3
# One thread waits for no other one: on a machine that is shared, two gave differences of either sign.
THREADS = 1
# The whole model runs as several arms: its one figure is in every difference, and must not be that of a bad opening.
WHOLES = tuple(f"whole {number}" for number in range(3))
# Engines open at the same time.
ARMS = 16
# Exporting to it takes a fifth of the time of the newer exporter, and the runtimes fuse both to the same kernels.
OPSET = 17


@dataclass(frozen=True, slots=True, kw_only=True)
class Bench:
    """Builds engines as the export would, in the same precision, with ranges of the example alone.

    Attributes:
        feed: what one inference is measured on.
    """

    source: Source
    target: Target
    place: Place
    precision: PrecisionName
    axes: Mapping[str, AxisRange]
    feed: Feed

    def savings(
        self,
        groups: Sequence[Group],
        order: Mapping[str, Sequence[int]],
        macs: Macs,
        multiple: int,
        tick: Callable[[float, str], None] = lambda share, note: None,
    ) -> dict[str, float]:
        """Milliseconds that one unit of each group saves; 0 where it was not seen to save any.

        A group is measured at half its width, as near as the multiple allows, and taken to be linear. Groups of equal
        layers are measured once.
        """
        module = self.source.module
        assert module is not None
        gone = {group.name: _half(group, multiple) for group in groups}
        signatures = {group.name: _signature(module, group, macs) for group in groups}
        first = {signature: name for name, signature in reversed(signatures.items())}
        candidates = {name: {name: tuple(order[name][: gone[name]])} for name in first.values()}
        saved: dict[str, float] = {}
        with temporary() as scratch:
            most = ARMS - len(WHOLES)
            for start in range(0, len(candidates), most):
                some = dict(list(candidates.items())[start : start + most])
                tick(start / len(candidates), f"{len(some)} narrower engines")
                saved.update(self._saved(groups, some, scratch / str(start)))
        by_unit = {name: milliseconds / gone[name] for name, milliseconds in saved.items()}
        return {name: by_unit[first[signature]] for name, signature in signatures.items()}

    def _saved(self, groups: Sequence[Group], candidates: Mapping[str, Removal], scratch: Path) -> dict[str, float]:
        """Milliseconds between the fastest inferences of the whole model and of each candidate, all interleaved.

        Whatever else a machine does only adds time: of differences this small the fastest samples tell, not the median.
        What is smaller than the difference between the two fastest arms of the whole model counts as none.
        """
        module = self.source.module
        assert module is not None
        scratch.mkdir()
        smaller = {name: cut(module, groups, removal) for name, removal in candidates.items()}
        whole = self._engine(module, scratch / "whole")
        engines = dict.fromkeys(WHOLES, whole)
        engines |= {
            f"-{name}": self._engine(built, scratch / str(i)) for i, (name, built) in enumerate(smaller.items())
        }
        fastest = dict.fromkeys(engines, float("inf"))
        for _ in range(OPENINGS):
            with ExitStack() as sessions:
                opened = {n: sessions.enter_context(self.place.open(engine, THREADS)) for n, engine in engines.items()}
                arms = {n: session.arm(self.feed) for n, session in opened.items()}
                found = measure(arms, MEASURING)
            fastest = {name: min(least, *found[name].samples) for name, least in fastest.items()}
        first, second, *_ = sorted(fastest[name] for name in WHOLES)
        saved = {name: first - fastest[f"-{name}"] for name in candidates}
        return {name: less / 1e6 if less > second - first else 0.0 for name, less in saved.items()}

    def _engine(self, module: nn.Module, directory: Path) -> Engine:
        directory.mkdir()
        graph = self._lowered(self._captured(module, directory), directory)
        (directory / "engine").mkdir()
        return self.place.compile(graph, self.target, directory / "engine", self.precision)

    def _captured(self, module: nn.Module, directory: Path) -> Graph:
        source = replace(self.source, module=module)
        return capture(source, min(OPSET, self.target.opset), directory / "model.onnx", self.axes)

    def _lowered(self, graph: Graph, directory: Path) -> Graph:
        path, precision = directory / "lowered.onnx", load_precision(self.precision)
        if precision.storage == "float16":
            to_float16(graph.path, path)
        elif precision.integer:
            scheme = self.target.making(self.precision).scheme
            assert scheme is not None
            quantizer = Quantizer.of(graph, scheme, lifts=())
            feeds = islice([self.source.inputs], 1)
            quantizer.write(collect(graph, quantizer.placement.observed(), lambda: feeds), path)
        else:
            return graph
        return read_graph(path, self.axes)


def _half(group: Group, multiple: int) -> int:
    """Units to remove for measuring: those of the allowed width that is nearest to half."""
    smaller = group.widths(multiple)[1:]
    return group.units - min(smaller, key=lambda kept: abs(kept - group.units / 2))


def _signature(module: nn.Module, group: Group, macs: Macs) -> object:
    """Equal for groups whose layers have the same types, shapes and MACs."""
    names = group.modules if group.kind != "block" else [n for n in macs.own if n.startswith(f"{group.name}.")]

    def layer(name: str) -> tuple[object, ...]:
        child = module.get_submodule(name)
        shapes = tuple(tuple(p.shape) for p in child.parameters(recurse=False))
        return type(child).__name__, shapes, macs.own.get(name, 0)

    sides = [(place.module, place.inputs) for place in group.cuts]
    return group.kind, group.units, tuple(sorted((layer(n), sum(s for m, s in sides if m == n)) for n in names))

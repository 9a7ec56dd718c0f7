"""The network inside a pipeline, for what changes or trains it: pruning and training see no pre- or postprocessing."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import replace
from typing import TYPE_CHECKING

import numpy as np

from ...backends.base import Array, Feed
from ..graphs.synthesis import synthesize
from .base import Dynamic, Source
from .torch_module import arrays, module_digest

if TYPE_CHECKING:
    from torch import Tensor, nn


def network_of(source: Source) -> Source:
    """The network that the source's pre- and postprocessing are around; the source itself where there are none.

    Its `module`, `inputs`, `dynamic` and `calibration` are the network's. `training` and `evaluate` stay the user's,
    who speak of `whole`: `training.data` prepares what the first gives, and the second takes a predictor of `within`.
    """
    from .pipeline import Pipeline

    if not isinstance(source.module, Pipeline):
        return source
    inputs = before_network(source, source.inputs)
    dynamic = _free(source, inputs)
    return replace(
        source,
        module=source.module.network,
        inputs=inputs,
        dynamic=dynamic,
        calibration=_feeds(source),
        digest=module_digest(source.module.network, inputs, dynamic),
        whole=source,
    )


def whole_of(network: Source) -> Source:
    """The source that `network_of` was given, with the module that is in its place now.

    The very same source where nothing was around it, or where its module is still the one that it had.
    """
    whole = network.whole
    if whole is None:
        return network
    assert network.module is not None
    module = within(whole, network.module)
    if module is whole.module:
        return whole
    return replace(whole, module=module, digest=module_digest(module, whole.inputs, whole.dynamic))


def within(whole: Source, network: nn.Module) -> nn.Module:
    """A network between the source's pre- and postprocessing; the network itself where there are none."""
    from .pipeline import Pipeline

    if not isinstance(whole.module, Pipeline):
        return network
    return whole.module if whole.module.network is network else whole.module.holding(network).eval()


def before_network(source: Source, feed: Feed) -> dict[str, Array]:
    """What the network takes for a feed of the pipeline; the feed itself where there is no pipeline."""
    return arrays(prepare(source)(_tensors(feed)), "preprocess()")


def prepare(source: Source) -> Callable[[Mapping[str, Tensor]], dict[str, Tensor]]:
    """What turns a batch of tensors as the user gives it into what the network takes.

    Args:
        source: whole, or of `network_of`.
    """
    from .pipeline import Pipeline, prepared

    module = (source.whole or source).module
    if not isinstance(module, Pipeline):
        return dict
    return lambda feed: prepared(module, feed)


def _tensors(feed: Feed) -> dict[str, Tensor]:
    import torch

    return {name: torch.from_numpy(np.require(array, requirements=["C", "W"])) for name, array in feed.items()}


def _feeds(source: Source) -> Callable[[], Iterable[Feed]] | None:
    given = source.calibration
    if given is None:
        return None

    def feeds() -> Iterator[Feed]:
        for feed in given():
            yield before_network(source, feed)

    return feeds


def _free(source: Source, inputs: Mapping[str, Array]) -> Dynamic:
    """Free axes of what the network takes: those that follow one of the pipeline's and have its size."""
    found: Dynamic = {}
    usual = {n: source.inputs[name].shape[axis] for name, free in source.dynamic.items() for axis, n in free.items()}
    for label, size in usual.items():
        other = before_network(source, synthesize(source.inputs, source.dynamic, {**usual, label: 2 * size}, seed=0))
        for name, array in inputs.items():
            for axis, (one, two) in enumerate(zip(array.shape, other[name].shape, strict=True)):
                if one == size and two == 2 * size:
                    found.setdefault(name, {}).setdefault(axis, label)
    return {name: dict(sorted(axes.items())) for name, axes in found.items()}

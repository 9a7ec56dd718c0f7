"""`[preprocess]` of a recipe in front of a model: the source then takes images in bytes."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import replace
from itertools import islice
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np

from ...backends.base import Array, Feed, TensorSpec
from ...errors import InputError
from ..graphs.names import free_name, value_names
from ..graphs.synthesis import Look
from ..recipe import PreprocessSettings, Recipe
from ..sources import Source
from ..sources.data import real_feeds
from .from_torch.torch_to_onnx import exported
from .rewrites.clean_metadata import name_nodes

if TYPE_CHECKING:
    import onnx_ir as ir
    from torch import nn

    from ..sources.images import Preprocess

# Batches whose bytes decide what made-up images look like.
LOOKED_AT = 64
_PHOTO = Look(low=0, high=255, mean=128, square=128**2 + 64**2, count=1)


def with_preprocess(source: Source, recipe: Recipe) -> Source:
    """The source behind what the recipe's `[preprocess]` says; the source itself where it says nothing.

    Its `calibration`, `evaluate` and `training` are those of the whole then, and give bytes.

    Raises:
        InputError: the model has a `preprocess()` of its own, or no input that an image could be.
    """
    settings = recipe.preprocess
    if settings is None:
        return source
    from ..sources.pipeline import Pipeline
    from ..sources.torch_module import module_digest

    if source.before is not None or (isinstance(source.module, Pipeline) and source.module.preprocess is not None):
        raise InputError(
            f"{source.name} has a preprocess() of its own, and the recipe has [preprocess].",
            hint="Take one of them out; both in a row would be one too many.",
        )
    name = _image_input(source, settings)
    before, spec = _preprocess(source, settings, name)
    # The images have one size; what is free elsewhere stays so.
    fixed = {label for axis, label in source.dynamic.get(name, {}).items() if axis > 0}
    dynamic = {n: {a: label for a, label in axes.items() if label not in fixed} for n, axes in source.dynamic.items()}
    dynamic = {n: axes for n, axes in dynamic.items() if axes}
    shape = (source.inputs[name].shape[0], *spec)
    inputs = {**source.inputs, name: _example(replace(source, dynamic=dynamic), recipe, name, shape)}
    free = {label for axes in dynamic.values() for label in axes.values()}
    taking = replace(
        source,
        inputs=inputs,
        dynamic=dynamic,
        ranges={label: reach for label, reach in source.ranges.items() if label in free},
    )
    if source.module is None:
        digest = f"{source.digest}{module_digest(before, inputs, dynamic)}"
        return replace(taking, before=before, digest=_hashed(digest))
    after = source.module.postprocess if isinstance(source.module, Pipeline) else None
    network = source.module.network if isinstance(source.module, Pipeline) else source.module
    module = Pipeline(network, list(inputs), before, after)
    # eval() of the whole would reach the module of an exported program, which refuses it; each part is in it already.
    module.training = False
    return replace(taking, module=module, program=None, digest=module_digest(module, inputs, dynamic))


def prepend(model: ir.Model, source: Source, opset: int, directory: Path) -> None:
    """Put the source's preprocessing in front of the graph of its file, in place.

    Args:
        opset: of the model.
        directory: for temporary files.
    """
    import onnx_ir as ir
    from torch import nn

    from ..sources.pipeline import Pipeline

    before = source.before
    assert before is not None
    name = before.name
    image = {name: source.inputs[name]}
    alone = replace(
        source,
        onnx=None,
        before=None,
        inputs=image,
        dynamic={name: source.dynamic[name]} if name in source.dynamic else {},
        module=Pipeline(nn.Identity(), [name], before, None).eval(),
    )
    made = exported(alone, opset, directory)
    name_nodes(made, rename=True)
    graph, inner = model.graph, next(value for value in model.graph.inputs if value.name == name)
    given, result = made.graph.inputs[0], made.graph.outputs[0]
    taken = value_names(graph)
    values = [*made.graph.initializers.values(), *(value for node in made.graph for value in node.outputs)]
    nodes, weights = list(made.graph), list(made.graph.initializers.values())
    made.graph.outputs.clear()
    made.graph.inputs.clear()
    made.graph.initializers.clear()
    made.graph.remove(nodes)
    for value in values:
        value.name = free_name(f"preprocess_{value.name}", taken)
    ir.convenience.replace_all_uses_with(inner, result)
    graph.inputs[graph.inputs.index(inner)] = given
    given.name = name
    if name in source.dynamic:
        sizes = [size if isinstance(size, int) else None for size in given.shape or ()]
        given.shape = ir.Shape([source.dynamic[name].get(axis, size) for axis, size in enumerate(sizes)])
    for weight in weights:
        graph.register_initializer(weight)
    graph.insert_before(graph[0], nodes)


def _image_input(source: Source, settings: PreprocessSettings) -> str:
    able = [name for name, array in source.inputs.items() if array.dtype.kind == "f" and _channels(array.shape)]
    if settings.input is None and len(able) == 1:
        return able[0]
    if settings.input in able:
        assert settings.input is not None
        return settings.input
    listed = ", ".join(f"{name} {array.dtype.name} {array.shape}" for name, array in source.inputs.items())
    what = "`input` is missing" if settings.input is None else f"`input` is {settings.input!r}"
    raise InputError(
        f"preprocess: {what}; the inputs of {source.name} are {listed}, of which an image of 1 or 3 channels can be "
        f"{', '.join(able) or 'none'}.",
        hint="Name it as `input` in [preprocess]." if able else "Take [preprocess] out of the recipe.",
    )


def _channels(shape: Sequence[int]) -> tuple[int, bool] | None:
    """Number of channels, and whether they come last; None where it is no image."""
    from ..sources.images import CHANNELS

    if len(shape) != 4:
        return None
    return next(((shape[axis], axis == 3) for axis in (1, 3) if shape[axis] in CHANNELS), None)


def _preprocess(source: Source, settings: PreprocessSettings, name: str) -> tuple[Preprocess, tuple[int, int, int]]:
    """The module, and the shape of one image that it takes."""
    from ..sources.images import Preprocess

    shape = source.inputs[name].shape
    found = _channels(shape)
    assert found is not None
    channels, last = found
    sides = shape[1:3] if last else shape[2:4]
    axes = (1, 2) if last else (2, 3)
    size = settings.size or (sides[0], sides[1])
    free = source.dynamic.get(name, {})
    # A network that takes any size takes the images as they are.
    network = tuple(size[i] if axis in free else sides[i] for i, axis in enumerate(axes))
    mean, std = (_by_channel(values, channels, key) for key, values in (("mean", settings.mean), ("std", settings.std)))
    std = std or (1.0,)
    module = Preprocess(
        name=name,
        image=size,
        network=(network[0], network[1]),
        channels_last=settings.layout == "NHWC",
        network_last=last,
        flip=channels > 1 and settings.colors != settings.network_colors,
        resize=settings.resize,
        interpolation=settings.interpolation,
        fill=settings.fill,
        factor=[1 / (settings.divide * value) for value in std],
        offset=[-m / s for m, s in _paired(mean or (0.0,), std)],
    ).eval()
    return module, (*size, channels) if settings.layout == "NHWC" else (channels, *size)


def _by_channel(values: tuple[float, ...], channels: int, key: str) -> tuple[float, ...]:
    if len(values) in (0, 1, channels):
        return values
    raise InputError(f"preprocess: {key} has {len(values)} values, and the network takes {channels} channel.")


def _paired(mean: tuple[float, ...], std: tuple[float, ...]) -> list[tuple[float, float]]:
    size = max(len(mean), len(std))
    return [(mean[i % len(mean)], std[i % len(std)]) for i in range(size)]


def _example(source: Source, recipe: Recipe, name: str, shape: tuple[int, ...]) -> Array:
    """A made-up image as the data look, and never one of them."""
    look: Look | None = None
    for feed in islice(_feeds(source, recipe, name, shape), LOOKED_AT):
        look = Look.of(feed[name]) if look is None else look.with_more(feed[name])
    rng = np.random.default_rng([0, list(source.inputs).index(name)])
    return np.asarray((look or _PHOTO).sample(shape, np.dtype(np.uint8), rng))


def _feeds(source: Source, recipe: Recipe, name: str, shape: tuple[int, ...]) -> Iterator[Feed]:
    specs = tuple(
        TensorSpec(
            name=n,
            dtype="uint8" if n == name else array.dtype.name,
            shape=_with_free(shape if n == name else array.shape, source.dynamic.get(n, {})),
        )
        for n, array in source.inputs.items()
    )
    feeds = real_feeds(source, recipe, specs)
    return iter(()) if feeds is None else feeds()


def _with_free(shape: Sequence[int], free: Mapping[int, str]) -> tuple[int | str, ...]:
    """A shape with the names of its free axes; batches of data may have any size."""
    return tuple(free.get(axis, "batch" if axis == 0 else size) for axis, size in enumerate(shape))


def _hashed(text: str) -> str:
    import hashlib

    return hashlib.sha256(text.encode()).hexdigest()


def before_file(before: nn.Module, feed: Feed) -> dict[str, Array]:
    """What the file behind a preprocessing takes for a feed of the whole."""
    import torch

    from ..sources.torch_module import arrays

    tensors: Mapping[str, torch.Tensor] = {
        name: torch.from_numpy(np.require(array, requirements=["C", "W"])) for name, array in feed.items()
    }
    with torch.no_grad():
        return arrays(before(**tensors), "[preprocess]")

"""Which channels go together: torch-pruning's dependency graph, turned into groups and proven by running them."""

from __future__ import annotations

import copy
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import replace
from typing import TYPE_CHECKING, Any

import numpy as np

from ..sources.base import Source
from ..sources.torch_module import by_keyword, named_outputs, output_tensors
from .attention import PRODUCTS, attention_heads, followers, nearest
from .depth import residual_blocks
from .groups import Cut, Found, Group
from .surgery import channels, cut, switched_off

if TYPE_CHECKING:
    from torch import nn

# Of the largest output: two orders of summing the same float32 products differ by far less, a wrong cut by far more.
TOLERANCE = 1e-3


def find_groups(source: Source, multiple: int) -> Found:
    """All groups of which some units can be removed without changing what the others compute.

    Each is proven on the example: the module without a few units gives what the whole one gives with these units
    switched off. Residual blocks are found too, and no two groups have one name. The source must have a module.
    """
    module = source.module
    assert module is not None
    groups, kept = [], {}
    attentions = attention_heads(module, source.inputs)
    blocks = residual_blocks(module, source.inputs)
    taken = {block.name for block in blocks}
    for name, guesses in _traced(source, attentions):
        reason = guesses if isinstance(guesses, str) else ""
        for group in () if isinstance(guesses, str) else guesses:
            reason = _refused(source, group, multiple)
            if not reason:
                groups.append(replace(group, name=name) if group.name in taken else group)
                taken.add(groups[-1].name)
                break
        if reason:
            kept[name] = reason
    return Found(groups=(*groups, *blocks), kept={**kept, **_fixed_attention(module)})


def agree(one: Mapping[str, Any], two: Mapping[str, Any]) -> bool:
    """Whether two runs gave the same tensors, up to the order of summing."""
    if one.keys() != two.keys():
        return False
    for name, a in one.items():
        x, y = a.double().numpy(), two[name].double().numpy()
        if x.shape != y.shape or not np.allclose(x, y, rtol=0, atol=TOLERANCE * max(1e-6, float(np.abs(x).max()))):
            return False
    return True


def _traced(source: Source, attentions: Mapping[str, int]) -> Iterator[tuple[str, str | list[Group]]]:
    """Each group of coupled layers by its name, as guesses at how it is cut, or the reason why it is not."""
    import torch
    import torch_pruning as tp

    module = copy.deepcopy(source.module)
    assert module is not None
    graph = tp.DependencyGraph()
    with torch.enable_grad():
        module.requires_grad_(True)
        graph.build_dependency(
            module,
            {name: torch.from_numpy(array) for name, array in source.inputs.items()},
            forward_fn=_forward,
            output_transform=lambda result: list(named_outputs(result).values()),
            verbose=False,
        )
        names = {child: name for name, child in module.named_modules()}
        for traced in graph.get_all_groups():
            name = names[traced[0].dep.target.module]
            reason = _not_cut(traced, names)
            yield name, reason or _guesses(traced, graph, names, module, attentions)


def _forward(module: nn.Module, feed: dict[str, Any]) -> Any:
    return module(**feed) if by_keyword(module, list(feed), "inputs") else module(*feed.values())


def _not_cut(traced: Any, names: Mapping[Any, str]) -> str:
    """Why these layers are never cut; empty where they may be."""
    from torch import nn

    for item in traced:
        layer = item.dep.target.module
        if isinstance(layer, nn.Parameter):
            return "its width is also that of a parameter that belongs to no layer"
        if isinstance(layer, nn.LayerNorm | nn.GroupNorm | nn.RMSNorm):
            return f"`{names[layer]}` ({type(layer).__name__}) normalizes over its width, so that no unit stands alone"
        grouped = getattr(layer, "groups", 1)
        if grouped > 1 and (grouped != layer.out_channels or grouped != layer.in_channels):
            return f"`{names[layer]}` is a grouped convolution"
        known = nn.modules.conv._ConvNd | nn.Linear | nn.modules.batchnorm._NormBase | nn.PReLU
        if layer in names and not isinstance(layer, known):
            return f"`{names[layer]}` is a {type(layer).__name__}, which is not cut"
    return ""


def _guesses(
    traced: Any, graph: Any, names: Mapping[Any, str], module: nn.Module, attentions: Mapping[str, int]
) -> list[Group] | str:
    """The group as channels, or as heads where attention runs inside of it."""
    cuts = [
        (names[item.dep.target.module], graph.is_in_channel_pruning_fn(item.dep.handler), item)
        for item in traced
        if item.dep.target.module in names
    ]
    name, total = names[traced[0].dep.target.module], len(traced[0].idxs)
    readers = [place for place, inputs, item in cuts if _reads(item)]
    if not readers:
        return "its channels are the model's output, or nothing reads them one by one"
    if not any(PRODUCTS.search(str(getattr(item.dep.target.module, "_grad_fn", ""))) for item in traced):
        return [_group(name, "channels", cuts, [(unit,) for unit in range(total)])]
    attention = nearest(name, attentions)
    if attention is None:
        return "its channels are heads of an attention that is not understood"
    return list(_as_heads(name, cuts, total, attention, attentions[attention], module))


def _reads(item: Any) -> bool:
    from torch import nn

    layer = item.dep.target.module
    reads = item.dep.handler.__name__ == "prune_in_channels"
    return reads and isinstance(layer, nn.Linear | nn.modules.conv._ConvNd)


def _as_heads(
    name: str, cuts: Sequence[Any], total: int, attention: str, heads: int, module: nn.Module
) -> Iterator[Group]:
    """Heads in each order that a layer may hold them: one layer for query, key and value, or three."""
    width = min(channels(module.get_submodule(place), inputs=True) for place, _, item in cuts if _reads(item))
    parts, size = total // width, width // heads
    if total % width or width % heads:
        return
    by_part = [[part * width + head * size + i for part in range(parts) for i in range(size)] for head in range(heads)]
    by_head = [list(range(head * parts * size, (head + 1) * parts * size)) for head in range(heads)]
    for layout in (by_part, by_head) if parts > 1 else (by_part,):
        group = _group(name, "heads", cuts, layout, read=[range(h * size, (h + 1) * size) for h in range(heads)])
        for attributes in followers(module, attention, heads, size):
            yield replace(group, name=attention or name, size=size, core=attention, attributes=attributes)


def _group(
    name: str, kind: Any, cuts: Sequence[Any], units: Sequence[Sequence[int]], read: Sequence[range] | None = None
) -> Group:
    """A group whose unit is a list of channels of the first layer; `read` overrides what the readers see of a unit."""
    places = []
    for place, _, item in cuts:
        reads = _reads(item)
        if reads and read is not None:
            indices = tuple(tuple(part) for part in read)
        else:
            at: dict[int, list[int]] = {}
            for index, root in zip(item.idxs, item.root_idxs, strict=True):
                at.setdefault(root, []).append(index)
            indices = tuple(tuple(sorted(i for root in unit for i in at.get(root, ()))) for unit in units)
        places.append(Cut(module=place, inputs=reads, indices=indices))
    return Group(name=name, kind=kind, units=len(units), cuts=tuple(places))


def _refused(source: Source, group: Group, multiple: int) -> str:
    """Why the group is left alone; empty where the cut module computes what the whole one does without the units."""
    assert source.module is not None
    widths = group.widths(multiple)
    if len(widths) < 2:
        channels = group.units * group.size
        return f"no smaller width than its {channels} channels is a multiple of {multiple}"
    removal = {group.name: tuple(range(group.units - widths[1]))}
    with switched_off(source.module, [group], removal) as whole:
        expected = output_tensors(whole, source.inputs)
    try:
        found = output_tensors(cut(source.module, [group], removal), source.inputs)
    except Exception as error:
        first = next(iter(str(error).splitlines()), type(error).__name__)
        return _written("its width", f"which fails with another: {first}") if group.kind == "channels" else _HEADS
    if agree(expected, found):
        return ""
    return _HEADS if group.kind == "heads" else "what reads it is not only layers: without units the rest changes"


def _written(what: str, consequence: str) -> str:
    return f"{what} is written into forward, {consequence}"


_HEADS = _written("its number of heads", "not kept in an attribute of the module with `head` in its name")


def _fixed_attention(module: nn.Module) -> dict[str, str]:
    from torch import nn

    return {
        name: "torch.nn.MultiheadAttention ties its heads to the model's width"
        for name, child in module.named_modules()
        if isinstance(child, nn.MultiheadAttention)
    }

from __future__ import annotations

import numpy as np
import pytest
import torch
from torch import nn

from edgepress.exporter.pruning.dependency import agree, find_groups
from edgepress.exporter.pruning.macs import count_macs
from edgepress.exporter.pruning.surgery import cut, switched_off
from edgepress.exporter.sources import source_from_object
from edgepress.exporter.sources.torch_module import output_tensors


def kinds(found):
    return {group.name: group.kind for group in found.groups}


def without_half(found):
    """Half of the units of every group of channels or heads, and the last block."""
    removal = {g.name: tuple(range(g.units - g.units // 2)) for g in found.groups if g.kind != "block"}
    blocks = [g.name for g in found.groups if g.kind == "block"]
    return {**removal, **({blocks[-1]: (0,)} if blocks else {})}


def of(module, *shape, **options):
    return source_from_object(module, torch.randn(*shape), name="net", dynamic={}, **options)


def test_digits_has_streams_insides_and_identity_blocks(groups_of):
    found = groups_of("digits")
    assert kinds(found) == {
        "stages.4.shortcut.0": "channels",
        "stages.2.shortcut.0": "channels",
        "stem.0.0": "channels",
        "stages.0.first.0": "channels",
        "stages.1.first.0": "channels",
        "stages.2.first.0": "channels",
        "stages.3.first.0": "channels",
        "stages.4.first.0": "channels",
        "stages.0": "block",
        "stages.1": "block",
        "stages.3": "block",
    }
    assert "output" in found.kept["classifier"]


def test_mobilenet_cuts_depthwise_convolutions_with_their_neighbours(groups_of):
    group = next(g for g in groups_of("mobilenet").groups if g.name == "features.6.layers.3")
    assert set(group.modules) == {f"features.6.layers.{i}" for i in (0, 1, 3, 4, 6)}
    assert group.units == 96


@pytest.mark.parametrize("name", ["digits", "mobilenet", "vit"])
def test_all_groups_together_compute_what_switching_them_off_does(name, loaded, groups_of):
    source, found = loaded(name), groups_of(name)
    before = {key: value.clone() for key, value in source.module.state_dict().items()}
    removal = without_half(found)
    with switched_off(source.module, found.groups, removal) as whole:
        expected = output_tensors(whole, source.inputs)
    smaller = cut(source.module, found.groups, removal)
    assert agree(expected, output_tensors(smaller, source.inputs))
    assert not agree(output_tensors(source.module, source.inputs), expected)
    after = source.module.state_dict()
    assert before.keys() == after.keys() and all(torch.equal(before[key], after[key]) for key in before)


@pytest.mark.parametrize("name", ["digits", "vit"])
def test_the_cut_model_has_fewer_macs_and_the_widths_said(name, loaded, groups_of):
    source, found = loaded(name), groups_of(name)
    group = next(g for g in found.groups if g.kind == "channels")
    smaller = cut(source.module, found.groups, {group.name: tuple(range(group.units - group.widths(8)[1]))})
    weight = smaller.get_submodule(group.name).weight
    assert weight.shape[0] == group.widths(8)[1] and weight.shape[0] % 8 == 0
    assert count_macs(smaller, source.inputs).total < count_macs(source.module, source.inputs).total


def test_vit_prunes_heads_and_hidden_units_but_not_its_width(groups_of):
    found = groups_of("vit")
    heads = [g for g in found.groups if g.kind == "heads"]
    assert [(g.units, g.size) for g in heads] == [(4, 16)] * 4
    assert {g.name for g in found.groups if g.kind == "channels"} == {f"blocks.{i}.layers.1" for i in range(4)}
    assert {g.name for g in found.groups if g.kind == "block"} == {f"blocks.{i}" for i in range(4)}
    assert "LayerNorm" in found.kept["blocks.3.layers.3"]


def test_bert_prunes_heads_and_hidden_units_and_its_attributes_follow(small_minilm):
    found = find_groups(small_minilm, 8)
    heads = next(g for g in found.groups if g.kind == "heads")
    assert (heads.units, heads.size) == (12, 32)
    smaller = cut(small_minilm.module, found.groups, {heads.name: (0, 5, 7)})
    attention = smaller.get_submodule(heads.name)
    assert attention.num_attention_heads == 9 and attention.all_head_size == 288
    assert attention.query.weight.shape == (288, 384)
    hidden = {g.name: g.units for g in found.groups if g.kind == "channels"}
    assert hidden == {f"bert.encoder.layer.{i}.intermediate.dense": 1536 for i in range(2)}
    assert {g.name for g in found.groups if g.kind == "block"} == {f"bert.encoder.layer.{i}" for i in range(2)}
    with switched_off(small_minilm.module, found.groups, {heads.name: (0, 5, 7)}) as whole:
        expected = output_tensors(whole, small_minilm.inputs)
    assert agree(expected, output_tensors(smaller, small_minilm.inputs))


def test_heads_that_forward_hard_codes_are_named_with_the_reason():
    class Attention(nn.Module):
        def __init__(self):
            super().__init__()
            self.qkv, self.out = nn.Linear(32, 96), nn.Linear(32, 32)

        def forward(self, x):
            q, k, v = self.qkv(x).unflatten(-1, (3, 4, -1)).permute(2, 0, 3, 1, 4)
            return self.out(((q @ k.transpose(-2, -1)).softmax(-1) @ v).transpose(1, 2).flatten(2))

    torch.manual_seed(0)
    found = find_groups(of(Attention().eval(), 2, 5, 32), 8)
    assert not found.groups
    assert "number of heads is written into forward" in found.kept["qkv"]


def test_a_width_that_forward_hard_codes_is_named_with_the_reason():
    class Net(nn.Module):
        def __init__(self):
            super().__init__()
            self.conv, self.head = nn.Conv2d(3, 16, 3, padding=1), nn.Linear(16 * 16, 5)

        def forward(self, x):
            return self.head(self.conv(x).view(-1, 16 * 16))

    found = find_groups(of(Net().eval(), 2, 3, 4, 4), 8)
    assert not found.groups
    assert "its width is written into forward" in found.kept["conv"]


def test_what_mixes_channels_otherwise_is_not_cut():
    class Net(nn.Module):
        def __init__(self):
            super().__init__()
            self.conv, self.head = nn.Conv2d(3, 16, 3), nn.Conv2d(16, 5, 3)

        def forward(self, x):
            y = self.conv(x)
            return self.head(y * torch.sigmoid(y.mean(1, keepdim=True)))

    torch.manual_seed(0)
    found = find_groups(of(Net().eval(), 2, 3, 8, 8), 8)
    assert not found.groups
    assert "without units the rest changes" in found.kept["conv"]


def test_grouped_convolutions_and_multihead_attention_are_named():
    class Net(nn.Module):
        def __init__(self):
            super().__init__()
            self.one, self.two, self.three = nn.Conv1d(3, 16, 1), nn.Conv1d(16, 16, 1, groups=4), nn.Conv1d(16, 8, 1)
            self.attention = nn.MultiheadAttention(8, 2, batch_first=True)

        def forward(self, x):
            y = self.three(self.two(self.one(x))).transpose(1, 2)
            return self.attention(y, y, y, need_weights=False)[0]

    kept = find_groups(of(Net().eval(), 2, 3, 6), 8).kept
    assert "grouped convolution" in kept["one"] and "grouped convolution" in kept["two"]
    assert "ties its heads to the model's width" in kept["attention"]


def test_concatenated_channels_are_cut_where_they_end_up():
    class Net(nn.Module):
        def __init__(self):
            super().__init__()
            self.a, self.b, self.head = nn.Conv2d(3, 16, 1), nn.Conv2d(3, 24, 1), nn.Conv2d(40, 5, 1)

        def forward(self, x):
            return self.head(torch.cat([self.a(x), self.b(x)], 1))

    torch.manual_seed(0)
    source = of(Net().eval(), 2, 3, 4, 4)
    found = find_groups(source, 8)
    assert {g.name: g.units for g in found.groups} == {"a": 16, "b": 24}
    smaller = cut(source.module, found.groups, {"a": (1, 2), "b": (0,)})
    removed = {1, 2, 16}
    expected = source.module.head.weight[:, [i for i in range(40) if i not in removed]]
    assert torch.equal(smaller.head.weight, expected)


def test_a_width_without_a_smaller_multiple_stays():
    torch.manual_seed(0)
    found = find_groups(of(nn.Sequential(nn.Linear(4, 8), nn.ReLU(), nn.Linear(8, 2)).eval(), 2, 4), 8)
    assert "no smaller width" in found.kept["0"]


def test_macs_count_attention_and_match_a_count_by_hand(loaded):
    source = loaded("vit")
    counted = count_macs(source.module, {"image": source.inputs["image"][:1]})
    tokens, width = 16, 64
    block = tokens * width * (3 * width + width + 8 * width) + 2 * tokens * tokens * width
    assert counted.total == 4 * block + tokens * width * 16 * 16 + width * 10
    assert sum(counted.own.values()) == counted.total
    assert counted.own["blocks.0.attention.1"] == 2 * tokens * tokens * width


def test_a_frozen_module_is_pruned_too_and_stays_frozen(loaded):
    import copy
    from dataclasses import replace

    source = loaded("mobilenet")
    frozen = replace(source, module=copy.deepcopy(source.module).requires_grad_(False))
    found = find_groups(frozen, 8)
    assert len(found.groups) == 12
    assert not any(p.requires_grad for p in frozen.module.parameters())
    assert np.isfinite(next(iter(output_tensors(frozen.module, frozen.inputs).values())).numpy()).all()


def test_an_attention_that_is_a_block_too_gives_two_groups_of_two_names():
    """Both were called as the module, and what one lost the other lost with it."""

    class Attention(nn.Module):
        def __init__(self):
            super().__init__()
            self.heads, self.qkv, self.out = 4, nn.Linear(32, 96), nn.Linear(32, 32)

        def forward(self, x):
            batch, length, _ = x.shape
            q, k, v = self.qkv(x).view(batch, length, 3, self.heads, -1).permute(2, 0, 3, 1, 4)
            mixed = (q @ k.transpose(-1, -2)).softmax(-1) @ v
            return x + self.out(mixed.transpose(1, 2).flatten(2))

    torch.manual_seed(0)
    source = of(nn.Sequential(nn.Linear(8, 32), Attention(), nn.LayerNorm(32), nn.Linear(32, 4)).eval(), 2, 5, 8)
    found = find_groups(source, 8)
    assert [(g.name, g.kind) for g in found.groups] == [("1.qkv", "heads"), ("1", "block")]
    smaller = cut(source.module, found.groups, {"1.qkv": (0,)})
    assert (smaller[1].heads, smaller[1].out.in_features) == (3, 24)

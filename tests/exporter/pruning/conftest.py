"""The models that pruning is tried on: the examples, loaded once."""

from __future__ import annotations

from dataclasses import replace

import pytest


@pytest.fixture(scope="session")
def loaded(examples):
    """An example by name, as a source."""
    from edgepress.exporter.sources import load_source

    known = {}

    def load(name):
        if name not in known:
            known[name] = load_source(str(examples / f"{name}.py"))
        return known[name]

    return load


@pytest.fixture(scope="session")
def groups_of(loaded):
    """The groups of an example for a target that likes multiples of 8, found once."""
    from edgepress.exporter.pruning.dependency import find_groups

    known = {}

    def find(name):
        if name not in known:
            known[name] = find_groups(loaded(name), 8)
        return known[name]

    return find


@pytest.fixture(scope="session")
def small_minilm(loaded):
    """MiniLM's code and weights, two of its six layers."""
    import copy

    from torch import nn

    source = loaded("minilm")
    module = copy.deepcopy(source.module)
    module.bert.encoder.layer = nn.ModuleList(list(module.bert.encoder.layer)[:2])
    return replace(source, module=module)

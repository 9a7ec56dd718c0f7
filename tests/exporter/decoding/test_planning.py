"""Grids chosen layer by layer: the least loss within a size, and the least size within a loss."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

import edgepress
from edgepress.errors import InputError
from edgepress.exporter.decoding import by_texts

from ..._llama import saved_llama

LESS = 20_000  # bytes: of the 54,000 that 4 bits take less than 8 here


@pytest.fixture(scope="module")
def source(tmp_path_factory) -> Path:
    return saved_llama(tmp_path_factory.mktemp("model"), intermediate_size=192)


def exported(source, output, **budget):
    return edgepress.export(source, target="server-cpu", measure=False, budget=budget, output=output)


def engine_bytes(bundle):
    return sum(file.stat().st_size for file in (bundle.path / "engine").rglob("*") if file.is_file())


def grids_in(bundle):
    report = json.loads((bundle.path / "report.json").read_text())
    return {layer["layer"]: layer["grid"] for layer in report["language"]["bits"]["layers"]}


def test_a_size_is_used_up_by_what_loses_least_and_never_exceeded(source, tmp_path):
    roomy = exported(source, tmp_path / "roomy", size="10MB")
    assert {grid.split()[0] for grid in grids_in(roomy).values()} <= {"int8", "uint8"}
    size = engine_bytes(roomy) - LESS
    small = exported(source, tmp_path / "small", size=f"{size}B")
    assert size - LESS / 2 < engine_bytes(small) <= size
    assert {grid.split()[0].lstrip("u") for grid in grids_in(small).values()} == {"int4", "int8"}


def test_a_size_that_nothing_has_is_refused_before_anything_is_rounded(source, tmp_path, monkeypatch):
    monkeypatch.setattr(by_texts, "round_with_texts", lambda *_, **__: pytest.fail("it was rounded"))
    with pytest.raises(InputError, match=r"smallest weights.*at most 40kB was asked for"):
        exported(source, tmp_path / "none", size="40kB")
    assert not (tmp_path / "none").exists()

"""The key of a bundle: what changes it, what does not, and what a bundle must be to be kept."""

from __future__ import annotations

import hashlib
import json
import subprocess
import sys
from collections.abc import Callable, Iterator
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

import edgepress
from edgepress.errors import InputError
from edgepress.exporter.bundle.key import _our_code, bundle_key, kept, note
from edgepress.exporter.recipe import Recipe
from edgepress.profiles.budget.budget import Budget

MODEL = """
import numpy as np
import torch
from torch import nn
from helper import WIDTH


def model():
    torch.manual_seed(SEED)
    return nn.Linear(4, WIDTH)


def inputs():
    return {"input": torch.zeros(2, 4)}


def calibration():
    yield {"input": np.load("data.npy")}
"""
# Each line asks a fresh process, as each run of a CI is one; torch is imported once.
ASK = """
import os, sys
from pathlib import Path
import torch
from edgepress.exporter.bundle.key import bundle_key
from edgepress.exporter.recipe import Recipe
from edgepress.exporter.sources import load_source
from edgepress.profiles.device.target import load_target
for line in sys.stdin:
    child = os.fork()
    if child == 0:
        source, more = load_source("model.py"), [Path("more")]
        found = [bundle_key(source, load_target("server-cpu"), Recipe(seed=seed), more) for seed in (0, 1)]
        print(*found, bundle_key(source, load_target("rpi5"), Recipe(), more), flush=True)
        os._exit(0)
    os.waitpid(child, 0)
"""
Ask = Callable[[], list[str]]


@pytest.fixture
def keys(directory: Path) -> Iterator[Ask]:
    pipe = subprocess.PIPE
    process = subprocess.Popen([sys.executable, "-c", ASK], cwd=directory, stdin=pipe, stdout=pipe, text=True)
    assert process.stdin is not None
    assert process.stdout is not None

    def ask() -> list[str]:
        process.stdin.write("\n")
        process.stdin.flush()
        return process.stdout.readline().split()

    yield ask
    process.stdin.close()
    process.wait(30)


@pytest.fixture
def directory(tmp_path: Path) -> Path:
    (tmp_path / "model.py").write_text(MODEL.replace("SEED", "0"))
    (tmp_path / "helper.py").write_text("WIDTH = 3\n")
    np.save(tmp_path / "data.npy", np.zeros((2, 4), np.float32))
    (tmp_path / "more").mkdir()
    (tmp_path / "more/labels.txt").write_text("a")
    return tmp_path


def test_everything_that_decides_a_bundle_is_in_its_key(directory: Path, keys: Ask) -> None:
    first = keys()
    assert len(set(first)) == 3
    (directory / "unrelated.txt").write_text("nothing")
    assert keys() == first
    seen = {first[0]}
    changes = (
        lambda: (directory / "model.py").write_text(MODEL.replace("SEED", "1")),  # weights
        lambda: (directory / "helper.py").write_text("WIDTH = 3\n# of a module that is imported\n"),
        lambda: np.save(directory / "data.npy", np.ones((2, 4), np.float32)),
        lambda: (directory / "more/labels.txt").write_text("b"),
        lambda: (directory / "more/labels.txt").rename(directory / "more/names.txt"),
    )
    for change in changes:
        change()
        (now, *_) = keys()
        assert now not in seen
        seen.add(now)


def test_our_own_code_is_in_the_key() -> None:
    assert _our_code() != hashlib.sha256().hexdigest()


def test_a_bundle_is_kept_only_whole_and_under_its_key(residual_source, tmp_path: Path) -> None:  # type: ignore[no-untyped-def]
    target, recipe = edgepress.load_target("server-cpu"), Recipe(precision="fp32", measure=False)
    key = bundle_key(residual_source, target, recipe)
    assert bundle_key(residual_source, target, replace(recipe, budget=Budget())) == key
    with pytest.raises(InputError, match="does not exist"):
        bundle_key(residual_source, target, recipe, [tmp_path / "none"])
    place = tmp_path / "residual-server-cpu"
    assert kept(place, key) is None
    bundle = edgepress.export(
        residual_source.module,
        {name: np.asarray(array) for name, array in residual_source.inputs.items()},
        target=target,
        name="residual",
        precision="fp32",
        measure=False,
        output=tmp_path,
    )
    assert kept(place, key) is None
    note(bundle, key)
    again = kept(place, key)
    assert again is not None
    assert again.path == place
    assert kept(place, "0" * 64) is None
    manifest = json.loads((place / "manifest.json").read_text())
    (place / "manifest.json").write_text(json.dumps(manifest))
    assert kept(place, key) is None
    note(bundle, key)
    (place / "model.onnx").write_bytes(b"cut")
    assert kept(place, key) is None

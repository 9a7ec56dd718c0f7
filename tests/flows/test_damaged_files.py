"""Damaged files, seeded: each is read or refused in one message, and nothing else is raised.

`scripts/attack inputs` does the same through whole commands; docs/reliability.md has its figures.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from pathlib import Path

import numpy as np
import pytest

from edgepress.errors import EdgepressError

from ._flow import Cli

ROOT = Path(__file__).resolve().parents[2]
SEEDS = range(40)


@pytest.fixture(scope="module")
def scripts() -> Iterator[None]:
    with pytest.MonkeyPatch.context() as patch:
        patch.syspath_prepend(str(ROOT / "scripts"))
        yield


def refused(sound: Path, kind: str, scratch: Path) -> int:
    """How many of the seeds were refused, each in a message that is no wall of text."""
    from _attack.readers import damaged

    return sum(is_refused(what, read) for what, read in damaged(sound, kind, SEEDS, scratch))


def is_refused(what: str, read: Callable[[], object]) -> bool:
    try:
        read()
    except EdgepressError as error:
        assert len(str(error)) < 1500, what
        return True
    except Exception as error:
        raise AssertionError(what) from error
    return False


@pytest.mark.parametrize("model", ["cnn", "control"])
def test_a_damaged_graph_is_read_or_refused(scripts: None, tmp_path: Path, model: str) -> None:
    import onnx
    from _attack import models

    onnx.save(getattr(models, model)(), tmp_path / "sound.onnx")
    assert refused(tmp_path / "sound.onnx", "model.onnx", tmp_path / "scratch") > 10


def test_a_damaged_target_is_read_or_refused(scripts: None, tmp_path: Path) -> None:
    assert refused(ROOT / "profiles/device/targets/server-cpu.toml", "target.toml", tmp_path / "scratch") > 10


def test_a_damaged_npz_is_read_or_refused(scripts: None, tmp_path: Path) -> None:
    np.savez(tmp_path / "sound.npz", image=np.zeros((16, 1, 8, 8), np.float32), ids=np.arange(5))
    assert refused(tmp_path / "sound.npz", "data.npz", tmp_path / "scratch") > 10


def test_damaged_files_of_a_bundle_are_read_or_refused(scripts: None, cli: Cli, small: Path, tmp_path: Path) -> None:
    assert cli("calibrate", small, "-t", "server-cpu", "-o", "s.safetensors").code == 0
    assert cli("export", small, "-t", "server-cpu", "--no-measure", "-q", "-o", "out").code == 0
    bundle = tmp_path / "out" / "small-server-cpu"
    assert refused(bundle / "manifest.json", "manifest.json", tmp_path / "scratch") > 10
    assert refused(bundle / "recipe.toml", "recipe.toml", tmp_path / "scratch") > 10
    assert refused(tmp_path / "s.safetensors", "statistics.safetensors", tmp_path / "scratch") > 5

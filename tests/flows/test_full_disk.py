"""A full disk, by a limit on the size of a file: one message names the file, nothing half-written stays, what was there
is as it was.
"""

from __future__ import annotations

import errno
import os
import resource
import shutil
import subprocess
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import numpy as np
import pytest
import torch

from edgepress.exporter.training.checkpoint import Checkpoint, Position, Saved
from edgepress.profiles.machine.writing import naming

from ._flow import EDGEPRESS, SMALL, Cli, contents

DIRECTORY = "made"


@pytest.fixture(scope="module")
def made(forked: Cli, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A model, a bundle of it, statistics, a key and a history."""
    directory = tmp_path_factory.mktemp(DIRECTORY)
    (directory / "small.py").write_text(SMALL)
    np.savez(directory / "d.npz", input=np.random.default_rng(0).random((8, 1, 8, 8), dtype=np.float32))
    for words in (
        ("export", "small.py", "-t", "server-cpu", "--no-measure", "-q", "-o", "out", "--history", "h.jsonl"),
        ("calibrate", "small.py", "-t", "server-cpu", "-o", "a.safetensors"),
        ("calibrate", "small.py", "-t", "server-cpu", "-o", "b.safetensors", "--calibration", "d.npz"),
    ):
        ran = forked(*words, cwd=directory, temporary=directory.with_name("temporary"))
        assert ran.code == 0, ran.err
    history = directory / "h.jsonl"
    history.write_bytes(history.read_bytes() * 4)
    key = ["openssl", "genpkey", "-algorithm", "EC", "-pkeyopt", "ec_paramgen_curve:P-256", "-out", "key.pem"]
    subprocess.run(key, cwd=directory, check=True, capture_output=True)
    return directory


@pytest.mark.parametrize(
    ("words", "size", "named"),
    [
        (("calibrate", "small.py", "-t", "server-cpu", "-o", "a.safetensors"), 9000, "a.safetensors"),
        (("calibrate", "merge", "a.safetensors", "b.safetensors", "-o", "b.safetensors"), 100, "b.safetensors"),
        (("export", "small.py", "-t", "jetson", "--no-measure", "-o", "out"), 24_000, "out/small-jetson"),
        (("report", "out/small-server-cpu", "-o", "r.html"), 4096, "r.html"),
        (("report", "--history", "h.jsonl", "-o", "r.md"), 100, "r.md"),
        (("check", "out/small-server-cpu", "--no-measure", "--history", "h.jsonl"), 2500, "h.jsonl"),
        (("check", "out/small-server-cpu", "--no-measure", "--junit", "j.xml"), 700, "j.xml"),
        (("sign", "out/small-server-cpu", "--key", "key.pem"), 1000, "out"),
        (("init", "model.py"), 100, "model.py"),
        (("init", "--recipe", "r.toml"), 4096, "r.toml"),
    ],
    ids=lambda words: " ".join(words) if isinstance(words, tuple) else "",
)
def test_a_full_disk_is_one_message_and_leaves_nothing(
    cli: Cli, made: Path, tmp_path: Path, words: tuple[str, ...], size: int, named: str
) -> None:
    shutil.copytree(made, tmp_path / DIRECTORY)
    before = {name: data for name, data in contents(tmp_path).items() if "__pycache__" not in name}
    ran = cli(*words, cwd=tmp_path / DIRECTORY, file_size=size)
    ran.failed(1, "File too large: ", named, "Check the disk's space")
    assert {name: data for name, data in contents(tmp_path).items() if "__pycache__" not in name} == before
    assert sorted(p.name for p in (tmp_path / DIRECTORY / "out").iterdir()) == ["small-server-cpu"]


def test_where_not_a_byte_can_be_written_nothing_is_left(cli: Cli, made: Path, tmp_path: Path) -> None:
    """Not even the message, where it goes into a file."""
    shutil.copytree(made, tmp_path / DIRECTORY)
    before = contents(tmp_path)
    ran = cli("sign", "out/small-server-cpu", "--key", "key.pem", cwd=tmp_path / DIRECTORY, file_size=0)
    assert ran.code == 1
    assert contents(tmp_path) == before
    assert sorted(p.name for p in (tmp_path / DIRECTORY / "out").iterdir()) == ["small-server-cpu"]


@pytest.mark.skipif(not os.path.exists("/dev/full"), reason="Linux has a device that is always full")
def test_standard_output_on_a_full_disk() -> None:
    with open("/dev/full", "w") as full:
        ran = subprocess.run([EDGEPRESS, "targets"], stdout=full, stderr=subprocess.PIPE, text=True, check=False)
    assert ran.returncode == 1
    assert ran.stderr.startswith("error: No space left on device")


@contextmanager
def files_of(most: int) -> Iterator[None]:
    """No file may grow beyond so many bytes."""
    before = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (most, before[1]))
    try:
        yield
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, before)


@pytest.mark.parametrize(("weights", "moments"), [(4000, 10), (10, 4000)])
def test_the_state_of_a_training_before_a_full_disk_is_there(tmp_path: Path, weights: int, moments: int) -> None:
    def state(step: int, weights: int, moments: int) -> Saved:
        optimizer = {"moments": torch.zeros(moments)}
        values = {"w": torch.full((weights,), float(step))}
        return Saved(position=Position(counted=9, step=step), weights=values, best=None, optimizer=optimizer)

    checkpoint = Checkpoint(tmp_path / "run")
    checkpoint.save(state(1, 4, 4))
    with files_of(6000), pytest.raises(OSError, match="File too large") as caught:
        checkpoint.save(state(2, weights, moments))
    assert caught.value.filename == str(tmp_path / "run")
    left = checkpoint.load()
    assert left is not None
    assert left.position.step == 1
    assert len(list((tmp_path / "run").iterdir())) == 1


def test_a_full_disk_names_what_was_written_and_other_errors_name_nothing() -> None:
    for number, named in ((errno.ENOSPC, "x"), (errno.EDQUOT, "x"), (errno.EFBIG, "x"), (errno.EPIPE, None)):
        with pytest.raises(OSError, match=os.strerror(number)) as caught, naming(Path("x")), naming(Path("x")):
            raise OSError(number, os.strerror(number))
        assert caught.value.filename == named

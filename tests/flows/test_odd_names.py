"""Names that are no UTF-8 text: refused in one line before anything is done, wherever they are given."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

from edgepress.errors import InputError
from edgepress.exporter.bundle.directory import check_destination
from edgepress.exporter.recipe import Recipe
from edgepress.exporter.sources import load_source

from ._flow import Cli, contents

ODD = os.fsdecode(b"n\xff")
SAID = "n\\xff"


@pytest.mark.parametrize(
    "words",
    [
        ("export", f"{ODD}.py", "-t", "cpu"),
        ("export", f"{ODD}.onnx", "-t", "cpu"),
        ("export", "small.py", "-t", f"{ODD}.toml"),
        ("export", "small.py", "-t", "cpu", "-o", ODD),
        ("export", "small.py", "-t", "cpu", "--recipe", ODD),
        ("export", "small.py", "-t", "cpu", "--calibration", f"{ODD}.npz"),
        ("export", "small.py", "-t", "cpu", "--statistics", ODD),
        ("export", "small.py", "-t", "cpu", f"--history={ODD}"),
        ("calibrate", "small.py", "-t", "server-cpu", "-o", ODD),
        ("calibrate", "merge", ODD, "-o", "s"),
        ("tune", "small.py", "-t", "cpu", "--storage", ODD),
        ("build", ODD),
        ("verify", ODD),
        ("profile", f"{ODD}/model.onnx"),
        ("compare", "a.json", f"{ODD}.json"),
        ("check", ODD),
        ("report", "--history", ODD),
        ("report", "x", "-o", f"{ODD}.html"),
        ("sign", "x", "--key", ODD),
        ("init", ODD),
        ("targets", f"{ODD}.toml"),
    ],
    ids=lambda words: " ".join(words).replace(ODD, "ODD"),
)
def test_an_odd_name_is_refused_wherever_it_is_typed(cli: Cli, small: Path, tmp_path: Path, words: tuple[str]) -> None:
    before = contents(tmp_path)
    ran = cli(*words)
    ran.failed(1, SAID, "no UTF-8 text", "Rename")
    assert len(ran.err.splitlines()) == 2
    assert contents(tmp_path) == before


def test_an_odd_name_of_this_directory_or_of_the_temporary_one(cli: Cli, tmp_path: Path) -> None:
    (tmp_path / ODD).mkdir()
    cli("targets", cwd=tmp_path / ODD).failed(1, SAID, "Rename")
    cli("targets", env={"TMPDIR": str(tmp_path / ODD)}).failed(1, SAID, "Rename")


def test_odd_names_beside_those_that_are_typed_are_no_fault(cli: Cli, small: Path, tmp_path: Path) -> None:
    """In a directory of data, beside the model, and for the step's summary of a CI system."""
    import numpy as np

    (tmp_path / "data").mkdir()
    (tmp_path / f"{ODD}.py").write_text("")
    (tmp_path / f"{ODD}.json").write_text("{")
    np.savez(tmp_path / "batch.npz", input=np.random.default_rng(0).random((4, 1, 8, 8), dtype=np.float32))
    (tmp_path / "batch.npz").rename(tmp_path / "data" / f"{ODD}.npz")
    step = {"GITHUB_STEP_SUMMARY": str(tmp_path / f"{ODD}.md")}
    words = ("--no-measure", "-q", "--calibration", "data", "--summary")
    ran = cli("export", "small.py", "-t", "server-cpu", *words, env=step)
    assert ran.code == 0, ran.err
    assert (tmp_path / f"{ODD}.md").read_text()
    (tmp_path / "data" / f"{ODD}.npz").write_bytes(b"PK")
    ran = cli("export", "small.py", "-t", "server-cpu", *words, "-o", "other", env=step)
    ran.failed(1, "cannot be read")
    cli("export", "smal.py", "-t", "cpu").failed(1, "small.py")


def test_the_python_api_refuses_odd_names_too(tmp_path: Path) -> None:
    for refused in (
        lambda: load_source(f"{ODD}.py"),
        lambda: load_source(f"{ODD}.onnx"),
        lambda: Recipe(calibration=f"{ODD}.npz"),
        lambda: check_destination(tmp_path / ODD, force=False),
    ):
        with pytest.raises(InputError, match="no UTF-8 text"):
            refused()

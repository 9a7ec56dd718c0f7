"""A model file may go to another directory: what a command writes still lands where its user asked for it."""

from __future__ import annotations

import os
from pathlib import Path

import pytest
import torch

import edgepress

from ._flow import SMALL, Cli

GOES = """
import os

{when}
    os.makedirs("elsewhere", exist_ok=True)
    os.chdir("elsewhere")
"""
AT_ONCE = GOES.format(when="if True:")
IN_EVALUATE = GOES.format(when="def evaluate(predict):") + "    return 1.0\n"


@pytest.mark.parametrize("more", [AT_ONCE, IN_EVALUATE], ids=["at once", "in evaluate"])
def test_a_bundle_lands_where_it_was_asked_for(cli: Cli, tmp_path: Path, more: str) -> None:
    (tmp_path / "goes.py").write_text(SMALL + more)
    words = ("-t", "server-cpu", "--precision", "fp32", "--no-measure", "-o", "out", "--summary-file", "said.md")
    ran = cli("export", "goes.py", *words)
    assert ran.code == 0, ran.err
    assert "out/goes-server-cpu is ready; report: out/goes-server-cpu/report.html" in ran.out
    assert (tmp_path / "out" / "goes-server-cpu" / "manifest.json").is_file()
    assert (tmp_path / "said.md").is_file()
    assert [path for path in (tmp_path / "elsewhere").rglob("*") if path.name != "elsewhere"] == []


def test_statistics_land_where_they_were_asked_for(cli: Cli, tmp_path: Path) -> None:
    (tmp_path / "goes.py").write_text(SMALL + AT_ONCE)
    ran = cli("calibrate", "goes.py", "-t", "cpu", "-o", "s.safetensors")
    assert ran.code == 0, ran.err
    assert (tmp_path / "s.safetensors").is_file()


def test_so_it_is_from_python(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    (tmp_path / "elsewhere").mkdir()

    def evaluate(predict: object) -> float:
        os.chdir(tmp_path / "elsewhere")
        return 1.0

    inputs = {"input": torch.ones(2, 4)}
    model = torch.nn.Linear(4, 2).eval()
    bundle = edgepress.export(
        model, inputs, target="server-cpu", precision="fp32", measure=False, evaluate=evaluate, output="out"
    )
    assert bundle.path == tmp_path / "out" / "linear-server-cpu"
    assert list((tmp_path / "elsewhere").iterdir()) == []

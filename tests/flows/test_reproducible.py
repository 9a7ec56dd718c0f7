"""The same inputs give the same bytes, and nothing in a bundle says where it was made."""

from __future__ import annotations

import getpass
import os
import re
import tempfile
from collections.abc import Callable
from pathlib import Path

import pytest

from ._flow import TARGETS, Ran, contents, read

TWICE = ("cpu", "server-cpu", "mobile", "jetson")
# In whole dB below what an engine gave, which is the same to some hundredths where it adds up in another order.
BOUNDS = ("minimum_sqnr_db", "minimum_graph_db")
REPOSITORY = Path(__file__).resolve().parents[2]


@pytest.fixture(scope="module")
def again(command: Callable[..., Ran], examples: Path, tmp_path_factory: pytest.TempPathFactory) -> dict[str, Path]:
    """The digits bundles once more: another process, another directory, another order of the targets."""
    output = tmp_path_factory.mktemp("again")
    targets = ",".join(reversed(TWICE))
    ran = command(
        "export", examples / "digits.py", "-t", targets, f"--output={output}", "--no-measure", "-q", cwd=output
    )
    assert ran.code == 0, ran.err
    return {typed: output / f"digits-{TARGETS[typed]}" for typed in TWICE}


def told(bundle: Path, bounds: list[float]) -> dict[str, bytes]:
    """The files of a bundle, those of its loaders without the bounds that they tell."""
    files = contents(bundle)
    for name in files:
        if name.startswith("loaders/"):
            for bound in bounds:
                files[name] = files[name].replace(str(bound).encode(), b"bound")
    return files


@pytest.mark.parametrize("target", TWICE)
def test_two_exports_differ_in_what_was_measured_only(
    digits: dict[str, Path], again: dict[str, Path], target: str
) -> None:
    first, second = read(digits[target], "manifest.json"), read(again[target], "manifest.json")
    bounds = [[(entry.pop(name) or 0.0) for name in BOUNDS] for entry in (first, second)]
    assert bounds[0] == pytest.approx(bounds[1], abs=1)
    one, two = told(digits[target], bounds[0]), told(again[target], bounds[1])
    assert one.keys() == two.keys()
    assert {name for name in one if one[name] != two[name]} <= {
        "manifest.json",
        "report.html",
        "report.json",
        "report.md",
    }
    for entry in (first, second):
        entry["files"] = {name: held for name, held in entry["files"].items() if not name.startswith("loaders/")}
    assert first.pop("measured") != second.pop("measured")  # the date, at least
    assert first == second


def test_nothing_in_a_bundle_tells_where_it_was_made(digits: dict[str, Path], again: dict[str, Path]) -> None:
    places = {str(Path.home()), str(REPOSITORY), tempfile.gettempdir(), str(digits["cpu"].parent)} - {"/"}
    names = {os.uname().nodename, getpass.getuser()} - {"localhost"}
    for bundle in (*digits.values(), *again.values()):
        for name, data in contents(bundle).items():
            found = [place for place in places if place.encode() in data]
            # In compressed bytes a name of a few letters occurs by chance.
            if not name.endswith((".npz", ".bin", ".plan", ".ort", ".onnx")):
                found += [word for word in names if re.search(rf"\b{re.escape(word)}\b", data.decode())]
            assert not found, f"{bundle.name}/{name} holds {found}"


def test_the_report_says_how_to_do_it_again(digits: dict[str, Path]) -> None:
    command = read(digits["cpu"])["command"]
    assert command.startswith("edgepress export digits.py -t cpu,server-cpu,")

"""`verify` checks no less, whatever one field of a manifest is made to say.

A bound that asks for less than was exported, and for no less than any export of the precision reaches, only a signature
shows: docs/signing.md.
"""

from __future__ import annotations

import copy
import json
import random
import shutil
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from edgepress.errors import EdgepressError
from edgepress.exporter.bundle.manifest import file_entry
from edgepress.exporter.bundle.verify import verify_bundle

from ._flow import Cli

Place = tuple[str | int, ...]
GONE = object()
# Two runs of one engine differ by roundings that fall otherwise: 0.16 dB were seen, without AVX-512.
SAME_DB = 1.0


@pytest.fixture(scope="module")
def bundle(digits: dict[str, Path], tmp_path_factory: pytest.TempPathFactory) -> Path:
    return Path(shutil.copytree(digits["cpu"], tmp_path_factory.mktemp("talked") / "digits"))


@pytest.fixture
def manifest(bundle: Path) -> Iterator[dict[str, Any]]:
    """What it says, and says again afterwards."""
    text = (bundle / "manifest.json").read_text()
    yield json.loads(text)
    (bundle / "manifest.json").write_text(text)


def places(value: Any, at: Place = ()) -> Iterator[Place]:
    """Every value that is none of others; of the files' hashes only the first."""
    items = value.items() if isinstance(value, dict) else enumerate(value) if isinstance(value, list) else ()
    for key, item in list(items)[: 1 if at[-1:] == ("files",) else None]:
        yield (*at, key)
        yield from places(item, (*at, key))


def changed(manifest: dict[str, Any], place: Place, value: Any) -> dict[str, Any]:
    made = copy.deepcopy(manifest)
    holder: Any = made
    for key in place[:-1]:
        holder = holder[key]
    if value is GONE:
        del holder[place[-1]]
    else:
        holder[place[-1]] = value
    return made


def verdict(bundle: Path, manifest: dict[str, Any]) -> Any:
    """What is found, None where it is refused."""
    (bundle / "manifest.json").write_text(json.dumps(manifest))
    try:
        return verify_bundle(bundle)
    except EdgepressError:
        return None


@pytest.mark.parametrize("share", [0.03, pytest.param(1.0, marks=pytest.mark.slow)])
def test_no_field_alone_makes_it_check_less(bundle: Path, manifest: dict[str, Any], share: float) -> None:
    whole = verdict(bundle, manifest)
    assert whole.least_graph_db is not None
    draw, less = random.Random(0), []
    for place in (place for place in places(manifest) if len(place) == 1 or draw.random() < share):
        for value in (GONE, draw.choice([None, 0, -1, 1e308, "x", "int8", "fp32", [], {}])):
            if place == ("minimum_graph_db",) and value == 0:
                continue  # an engine may be exported at that
            found = verdict(bundle, changed(manifest, place, value))
            if found is not None and (
                found.parity.keys() < whole.parity.keys()
                or found.files < whole.files
                or found.least_db < whole.least_db
                or (found.least_graph_db or 0.0) < whole.least_graph_db
                or any(abs(found.parity[name].sqnr_db - seen.sqnr_db) > SAME_DB for name, seen in whole.parity.items())
            ):
                less.append((place, value))
    assert less == []


@pytest.mark.parametrize(
    ("place", "value", "says"),
    [
        (("minimum_sqnr_db",), 2.9, "nothing in int8 is exported below 3"),
        (("minimum_graph_db",), None, "golden/graph.npz is there"),
        (("engine", "backend"), "onnxruntime", "its target is for openvino"),
        (("golden",), 1, "golden/ has 4 inputs, and 1 were written"),
        (("model", "outputs", 0, "name"), "other", "the golden outputs are not those of the model"),
        (("model", "inputs", 0, "shape"), ["batch", 3], "the golden inputs are not those of the model"),
        (("model", "inputs", 0, "dtype"), "float64", "'image' is float32, and the model's is float64"),
        (("model", "outputs", 0, "dtype"), "float16", "'output' is float32, and the model's is float16"),
        (("model", "outputs", 0, "dtype"), "int64", "'output' is float32, and the model's is int64"),
    ],
)
def test_what_does_not_hold_together_is_named(
    bundle: Path, manifest: dict[str, Any], cli: Cli, place: Place, value: Any, says: str
) -> None:
    (bundle / "manifest.json").write_text(json.dumps(changed(manifest, place, value)))
    for command in ("verify", "build"):
        cli(command, bundle).failed(4, says)


def test_golden_data_cut_short_are_seen_although_every_hash_is_right(
    digits: dict[str, Path], cli: Cli, tmp_path: Path
) -> None:
    bundle = Path(shutil.copytree(digits["cpu"], tmp_path / "digits"))
    found = json.loads((bundle / "manifest.json").read_text())
    for name in ("inputs", "outputs", "graph"):
        file = bundle / "golden" / f"{name}.npz"
        with np.load(file) as arrays:
            np.savez(file, **{key: array for key, array in arrays.items() if key.startswith("0.")})
        entry = file_entry(file)
        found["files"][f"golden/{name}.npz"] = {"sha256": entry.sha256, "size": entry.size}
    (bundle / "manifest.json").write_text(json.dumps(found))
    cli("verify", bundle).failed(4, "golden/ has 1 inputs")


def test_the_bound_is_shown(bundle: Path, cli: Cli) -> None:
    said = cli("verify", bundle).out
    assert "needed: " in said and "dB of SQNR against FP32, " in said and "against its own graph" in said

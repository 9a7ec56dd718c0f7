"""The same JPEG gives the same boxes: from torch, from the engines of three targets, and from the loader in C++."""

from __future__ import annotations

import importlib.util
import json
import os
import shutil
import subprocess
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from PIL import Image

from edgepress.backends.registry import load_backend
from edgepress.exporter.bundle.manifest import load_bundle

from ._flow import Cli
from ._spots import SPOTS, spots

# Reads bytes of one picture from its standard input, and writes the rows that hold a box: corners, score, class.
PROGRAM = """
#include <cstdio>
#include <cstdlib>
#include "loader.hpp"

int main(int, char** words) {
  const std::int64_t height = std::atoi(words[2]), width = std::atoi(words[3]);
  SPACE::Tensor<std::uint8_t> image{{1, height, width, 3}, std::vector<std::uint8_t>(height * width * 3)};
  if (std::fread(image.values.data(), 1, image.values.size(), stdin) != image.values.size()) return 2;
  const SPACE::Outputs found = SPACE::Model(words[1]).run({image});
  for (std::size_t row = 0; row < found.classes.values.size(); ++row) {
    if (found.classes.values[row] < 0) continue;
    for (int side = 0; side < 4; ++side) std::printf("%.9g ", found.boxes.values[4 * row + side]);
    std::printf("%.9g %d\\n", found.scores.values[row], static_cast<int>(found.classes.values[row]));
  }
}
"""
HEADERS = os.environ.get("ONNXRUNTIME_INCLUDE", str(Path(__file__).parent / "capi"))
TARGETS = {"cpu": "spots-cpu", "server-cpu": "spots-server-cpu", "mobile": "spots-android-arm64"}


@pytest.mark.slow
def test_the_same_jpeg_gives_the_same_boxes_everywhere(cli: Cli, tmp_path: Path) -> None:
    (tmp_path / "spots.py").write_text(SPOTS)
    words = ("-t", ",".join(TARGETS), "--precision", "fp32", "--no-measure", "-q")
    assert cli("export", "spots.py", *words).code == 0
    spots(tmp_path / "one.png", {(0, 0): "red", (1, 2): "green", (2, 3): "blue", (2, 0): "red"})
    with Image.open(tmp_path / "one.png") as image:
        image.save(tmp_path / "one.jpg", quality=80)
    with Image.open(tmp_path / "one.jpg") as image:
        pixels = np.asarray(image.convert("RGB"))
    expected = of_torch(tmp_path / "spots.py", pixels)
    assert sorted(expected[:, 5]) == [0, 0, 1, 2]
    for target, name in TARGETS.items():
        engine = load_bundle(tmp_path / "dist" / name).engine
        assert engine is not None
        with load_backend(engine.target.backend).open(engine) as session:
            found = rows(session({"image": pixels[None]}))
        np.testing.assert_allclose(found, expected, rtol=0, atol=2e-3 if target == "cpu" else 1e-5)
    native = of_native(tmp_path / "dist" / TARGETS["mobile"], tmp_path / "native", pixels)
    np.testing.assert_allclose(native, expected, rtol=0, atol=1e-5)


def rows(outputs: Mapping[str, Any]) -> np.ndarray[Any, np.dtype[np.float64]]:
    """The boxes of the first picture: corners, score, class."""
    boxes, scores, classes = (np.asarray(outputs[name])[0] for name in ("boxes", "scores", "classes"))
    table = np.concatenate([boxes, scores[:, None], classes[:, None]], axis=1).astype(np.float64)
    return ordered(table[classes >= 0])


def ordered(table: np.ndarray[Any, np.dtype[np.float64]]) -> np.ndarray[Any, np.dtype[np.float64]]:
    """By class, then by place in whole pixels: scores that are alike may come in either order."""
    return table[np.lexsort((table[:, 1].round(), table[:, 0].round(), table[:, 5]))]


def of_torch(path: Path, pixels: np.ndarray[Any, Any]) -> np.ndarray[Any, np.dtype[np.float64]]:
    """The functions of the model file, one after the other, as nobody but torch computes them."""
    spec = importlib.util.spec_from_file_location("spots_of_torch", path)
    assert spec is not None and spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    with torch.no_grad():
        return rows(module.postprocess(*module.model()(module.preprocess(torch.tensor(pixels[None])))))


def of_native(bundle: Path, place: Path, pixels: np.ndarray[Any, Any]) -> np.ndarray[Any, np.dtype[np.float64]]:
    """A program around `loaders/loader.hpp`, built against onnxruntime's C API."""
    package = Path(pytest.importorskip("onnxruntime").__file__).parent
    compiler, libraries = shutil.which("g++"), sorted((package / "capi").glob("libonnxruntime.so.*"))
    if compiler is None or not libraries:
        pytest.skip("needs g++, and a package of onnxruntime that has libonnxruntime.so")
    place.mkdir()
    for name in ("libonnxruntime.so", "libonnxruntime.so.1"):
        (place / name).symlink_to(libraries[0])
    header = (bundle / "loaders" / "loader.hpp").read_text()
    space = header.split("namespace ", 1)[1].split(" ", 1)[0]
    (place / "main.cpp").write_text(PROGRAM.replace("SPACE", space))
    includes = ["-isystem", HEADERS, "-I", str(bundle / "loaders")]
    built = [compiler, "-std=c++17", *includes, str(place / "main.cpp"), "-o", str(place / "main")]
    ran = subprocess.run(
        [*built, f"-L{place}", "-lonnxruntime", f"-Wl,-rpath,{place}:{libraries[0].parent}"],
        capture_output=True,
        text=True,
        timeout=300,
    )
    assert ran.returncode == 0, ran.stderr
    engine = json.loads((bundle / "manifest.json").read_text())["engine"]["path"]
    words = [str(place / "main"), str(bundle / engine), *map(str, pixels.shape[:2])]
    told = subprocess.run(words, input=pixels.tobytes(), capture_output=True, timeout=60)
    assert told.returncode == 0, told.stderr
    return ordered(np.array([[float(word) for word in line.split()] for line in told.stdout.decode().splitlines()]))

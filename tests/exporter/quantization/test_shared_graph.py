"""What lowerings share changes nothing: a graph that is read once, and the form in which lifts are tried."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from edgepress.backends.base import Graph
from edgepress.backends.places import Reference
from edgepress.calibration.collect import collect
from edgepress.calibration.feeds import checked
from edgepress.calibration.statistics import Statistics
from edgepress.exporter.graphs.files import BESIDE, read_whole
from edgepress.exporter.quantization import gains
from edgepress.exporter.quantization.quantizer import Quantizer
from edgepress.exporter.sources import Source
from edgepress.profiles.device.target import Scheme, load_target

ARM = load_target("rpi5")


@pytest.fixture(scope="module")
def arm() -> Scheme:
    assert ARM.scheme is not None
    return ARM.scheme


@pytest.fixture(scope="module")
def statistics(residual_graph: Graph, residual_source: Source, arm: Scheme) -> Statistics:
    feeds = checked(lambda: iter(residual_source.calibration()), residual_graph.inputs, "calibration()")  # type: ignore[misc]
    return collect(residual_graph, Quantizer.of(residual_graph, arm).placement.observed(), feeds)


def test_a_graph_that_was_read_once_gives_the_same_bytes_each_time(
    residual_graph: Graph, statistics: Statistics, arm: Scheme, tmp_path: Path
) -> None:
    Quantizer.of(residual_graph, arm).write(statistics, tmp_path / "alone.onnx")
    model = read_whole(residual_graph.path)
    for name in ("first", "second"):
        Quantizer.of(residual_graph, arm, model=model).write(statistics, tmp_path / f"{name}.onnx")
        assert (tmp_path / f"{name}.onnx").read_bytes() == (tmp_path / "alone.onnx").read_bytes()


def test_lifts_are_tried_in_a_form_that_gives_the_same_numbers(
    residual_graph: Graph, statistics: Statistics, arm: Scheme, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    machine = gains.this_machine()
    plain = tuple(flag for flag in machine.isa if "vnni" not in flag)
    forms = {}
    for isa in (plain, (*plain, "avx512_vnni")):
        monkeypatch.setattr(gains, "this_machine", lambda isa=isa: replace(machine, isa=isa))
        tried = gains.as_tried(arm)
        forms[tried.activation.dtype] = tried
    assert forms["int8"] == arm
    image = np.random.default_rng(0).normal(size=(4, 3, 16, 16)).astype(np.float32)
    found = []
    for name, scheme in forms.items():
        path = tmp_path / f"{name}.onnx"
        Quantizer.of(residual_graph, scheme).write(statistics, path, BESIDE)
        # As ONNX defines it, so that the test holds where the processor's kernels for unsigned integers saturate.
        with Reference().values(path, kernels="float") as run:
            found.append(run({"image": image}))
    assert list(forms) == ["int8", "uint8"]
    for output, values in found[0].items():
        assert np.array_equal(values, found[1][output])


def test_weights_are_tried_as_integers_that_give_the_same_numbers(
    residual_graph: Graph, residual_source: Source, tmp_path: Path
) -> None:
    scheme = load_target("jetson").scheme
    assert scheme is not None and scheme.weight_storage == "float"
    feeds = checked(lambda: iter(residual_source.calibration()), residual_graph.inputs, "calibration()")  # type: ignore[misc]
    seen = collect(residual_graph, Quantizer.of(residual_graph, scheme).placement.observed(), feeds)
    image, found = np.random.default_rng(0).normal(size=(4, 3, 16, 16)).astype(np.float32), []
    for each in (scheme, gains.as_tried(scheme)):
        path = tmp_path / f"{each.weight_storage}.onnx"
        Quantizer.of(residual_graph, each).write(seen, path)
        with Reference().values(path, kernels="float") as run:
            found.append(run({"image": image}))
    assert (tmp_path / "integer.onnx").stat().st_size < (tmp_path / "float.onnx").stat().st_size
    for output, values in found[0].items():
        assert np.array_equal(values, found[1][output])

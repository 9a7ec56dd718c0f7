"""`build.py`, run as a device runs it: by a Python of its own, without edgepress, in the directory of a bundle.

TensorRT-RTX parses and builds for real. Everything that needs a GPU meets stand-ins, which say that they are such: a
module `tensorrt` that has what a release has, and a libcuda.so.1 in host memory, written in C.
"""

from __future__ import annotations

import hashlib
import json
import re
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from edgepress.backends.tensorrt import TensorRtRtx
from edgepress.exporter.capture.golden import Golden
from edgepress.profiles.findings.parity import parity

from .._standin import RELEASES
from .._tensorrt import residual
from ._program import listed, started

RTX = TensorRtRtx().available()
needs_rtx = pytest.mark.skipif(not RTX.compile, reason=RTX.reason)


@needs_rtx
def test_tensorrt_rtx_builds_it_for_real_and_it_is_called_a_stand_in(bundle: Path) -> None:
    done = started(bundle, "--stand-in")
    assert (done.returncode, done.stderr) == (0, "")
    engine = bundle / "engine"
    assert (engine / "stand-in.model.plan").read_bytes()[:4] == b"vtrt"  # TensorRT's own mark
    assert not (engine / "model.plan").exists()
    record = json.loads((engine / "stand-in.built.json").read_text())
    assert record["stand_in"] is True
    assert record["golden"]["ran"] is False
    assert record["versions"]["tensorrt_rtx"] == RTX.version.split()[-1]
    assert record["machine"]["gpu"] is None
    assert "gpu" in record["not_told"]
    assert "has no flag INT8 or FP16" in record["notes"][0]


@needs_rtx
def test_the_real_parser_s_refusal_is_one_message(bundle: Path) -> None:
    residual(bundle / "model.onnx", True, zero=np.uint8(0))
    listed(bundle)
    done = started(bundle, "--stand-in")
    assert done.returncode == 1
    assert re.match(r"error: TensorRT-RTX \S+ refuses model\.onnx: q_r: its zero point is not INT8", done.stderr)
    assert not list((bundle / "engine").glob("*.plan"))


def test_without_tensorrt_it_says_what_to_install(bundle: Path) -> None:
    done = started(bundle)
    assert done.returncode == 5
    assert "does not import tensorrt" in done.stderr
    assert "hint: On a Jetson: sudo apt install python3-libnvinfer" in done.stderr


@pytest.mark.parametrize("name", ["model.onnx", "golden/outputs.npz"])
def test_a_file_that_is_not_the_export_s_is_refused(bundle: Path, name: str, device: Callable[..., Any]) -> None:
    (bundle / name).write_bytes((bundle / name).read_bytes()[:-1])
    done = device("10.3")
    assert done.returncode == 4
    assert f"{name} was changed" in done.stderr


@pytest.mark.parametrize("release", RELEASES)
def test_each_release_builds_proves_and_records(release: str, bundle: Path, device: Callable[..., Any]) -> None:
    done = device(release)
    assert (done.returncode, done.stderr) == (0, "")
    record = json.loads((bundle / "engine" / "built.json").read_text())
    plan = (bundle / "engine" / "model.plan").read_bytes()
    assert record["plan"] == {"sha256": hashlib.sha256(plan).hexdigest(), "bytes": len(plan)}
    assert record["golden"]["ran"]
    assert record["golden"]["outputs"]["y"]["sqnr_db"] is None  # the stand-in computes what the golden run did
    assert record["versions"]["cuda"] == "12.6"
    assert record["machine"]["gpu"]["name"] == "Stand-in, no GPU"
    assert record["machine"]["gpu"]["capability"] == "8.7"
    assert record["timing_cache"]["bytes_before"] == 0
    assert record["timing_cache"]["bytes_after"] > 0
    assert record["by_precision"] == ({} if release == "8.0" else {"int8": 2})
    assert ("no engine inspector" in done.stdout) is (release == "8.0")
    assert "Golden outputs reproduced on this device" in done.stdout
    assert str(bundle.parent) not in (bundle / "engine" / "built.json").read_text()


def test_what_happened_on_the_way_is_recorded(bundle: Path, device: Callable[..., Any]) -> None:
    """A layer without an integer kernel, a DLA that takes a part, and times that are kept."""
    world = {
        "no_kernel": {"conv_2": "conv_2_w + conv_2"},
        "dla_cores": 2,
        "dla_refuses": {"add_1": "add_1: no broadcast"},
    }
    out = bundle.parent / "else" / "where"
    for _ in range(2):
        done = device("8.5", "--dla", "1", "--workspace", "64", "--output", str(out), **world)
        assert (done.returncode, done.stderr) == (0, "")
    assert sorted(path.name for path in out.iterdir()) == ["built.json", "model.plan"]
    assert not (bundle / "engine" / "model.plan").exists()
    record = json.loads((out / "built.json").read_text())
    assert record["computed_in_float"] == [{"region": "conv_2_w + conv_2", "layers": ["conv_2"]}]
    assert record["by_precision"] == {"int8": 1, "fp16": 1}
    assert {layer["name"]: layer["precision"] for layer in record["layers"]}["conv_2"] == "fp16"
    assert record["dla"]["core"] == 1
    assert record["dla"]["taken"] == ["conv_1", "relu_1", "conv_2"]
    assert record["dla"]["fallen"]["add_1"] == "add_1: no broadcast"
    assert record["order"]["workspace"] == 64
    assert record["timing_cache"]["bytes_before"] > 0
    assert "conv_2 is computed in float: TensorRT 8.5.2.2 has no integer kernel" in done.stdout


def test_an_engine_that_does_not_agree_is_not_kept(bundle: Path, device: Callable[..., Any]) -> None:
    golden = Golden.load(bundle / "golden")
    noise = np.random.default_rng(0).normal(0, 0.2, golden.outputs[1]["y"].shape).astype(np.float32)
    far = (golden.outputs[0], {"y": golden.outputs[1]["y"] + noise})
    Golden(feeds=golden.feeds, outputs=far).save(bundle / "golden")
    listed(bundle)
    done = device("10.3")
    assert done.returncode == 4
    expected = parity(far, golden.outputs)["y"].sqnr_db
    assert "does not reach the 30 dB of agreement with the FP32 model" in done.stderr
    assert f": output 'y' {expected:.1f} dB." in done.stderr
    assert not list((bundle / "engine").glob("model.plan*"))
    assert device("10.3", "--no-verify").returncode == 0
    assert json.loads((bundle / "engine" / "built.json").read_text())["golden"] == {
        "ran": False,
        "why": "it was not asked for",
    }


def test_the_graph_s_own_outputs_are_held_to_as_well(bundle: Path, device: Callable[..., Any]) -> None:
    golden = Golden.load(bundle / "golden")
    off = tuple({"y": outputs["y"] + np.float32(1)} for outputs in golden.outputs)
    Golden(feeds=golden.feeds, outputs=golden.outputs, graph=off).save(bundle / "golden")
    listed(bundle)
    done = device("10.3")
    assert done.returncode == 4
    assert "25 dB of agreement with its own graph" in done.stderr


def test_no_gpu_and_no_memory_are_said(bundle: Path, device: Callable[..., Any]) -> None:
    done = device("10.3", environment={"STANDIN_NO_GPU": "1"})
    assert done.returncode == 5
    assert "No CUDA device (no CUDA-capable device is detected)." in done.stderr
    done = device("10.3", environment={"STANDIN_LIMIT": "1000"})
    assert done.returncode == 5
    assert "cuMemAlloc_v2 failed: out of memory" in done.stderr


def test_build_sh_takes_python_where_it_has_tensorrt_and_trtexec_elsewhere(
    bundle: Path, device: Callable[..., Any], tmp_path: Path
) -> None:
    done = device("8.5", script="build.sh", environment={"PYTHON": sys.executable})
    assert (done.returncode, done.stderr) == (0, "")
    assert (bundle / "engine" / "built.json").exists()
    (tmp_path / "bin").mkdir()
    (tool := tmp_path / "bin" / "trtexec").write_text("#!/bin/sh\necho trtexec\n")
    tool.chmod(0o755)
    done = started(bundle, script="build.sh", environment={"PATH": f"{tmp_path}/bin:/usr/bin:/bin"})
    assert (done.returncode, done.stdout) == (0, "trtexec\n")
    assert "trtexec builds, and nothing is verified" in done.stderr

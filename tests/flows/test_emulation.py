"""ARM64 without ARM: a bundle for an ARM64 device is judged by ARM's own kernels, on another processor."""

from __future__ import annotations

import json
import shutil
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import pytest

from edgepress.backends.base import Graph
from edgepress.backends.places import emulation
from edgepress.backends.registry import load_backend
from edgepress.exporter.bundle.manifest import load_bundle
from edgepress.profiles.device.target import Target, load_target

from ._flow import Cli, read
from ._planted import plant
from .test_planted_faults import renew

GRU = """
import numpy as np
import torch


class Net(torch.nn.Module):
    def __init__(self):
        super().__init__()
        self.gru = torch.nn.GRU(16, 32, batch_first=True)
        self.inner = torch.nn.Linear(32, 64)
        self.head = torch.nn.Linear(64, 5)

    def forward(self, sequence):
        return self.head(torch.relu(self.inner(self.gru(sequence)[0][:, -1])))


def model():
    torch.manual_seed(0)
    return Net().eval()


def inputs():
    return {"sequence": torch.randn(2, 12, 16, generator=torch.Generator().manual_seed(0))}


def dynamic():
    return {"sequence": {0: "batch"}}


def calibration():
    rng = np.random.default_rng(0)
    return iter([{"sequence": rng.normal(size=(4, 12, 16)).astype(np.float32)} for _ in range(6)])
"""
SOURCES = ("digits", "mobilenet", "minilm", "gru")
PAIRS = [(name, precision) for name in SOURCES for precision in ("int8", "fp32")]
# Its metric of 500 sentences takes an hour there, where floats are computed by software.
PAIRS.remove(("minilm", "fp32"))


@pytest.fixture
def source(examples: Path, tmp_path: Path) -> Callable[[str], Path]:
    def found(name: str) -> Path:
        (tmp_path / "gru.py").write_text(GRU)
        return tmp_path / "gru.py" if name == "gru" else examples / f"{name}.py"

    return found


def test_where_it_is_not_installed_the_message_says_what_to_do(
    digits: dict[str, Path], cli: Cli, tmp_path: Path
) -> None:
    nowhere = {emulation.VARIABLE: str(tmp_path / "nothing")}
    ran = cli("verify", digits["rpi5"], "--emulate", "arm64", env=nowhere)
    ran.failed(5, "files are intact, but onnxruntime cannot run under emulation", emulation.COMMAND)
    off = cli("verify", digits["rpi5"], "--on", "qemu://arm64", env={emulation.VARIABLE: "off"})
    off.failed(5, f"{emulation.VARIABLE} is off")
    assert cli("verify", digits["rpi5"], env=nowhere).code == 0  # on this processor, as nobody asked for another


def test_an_address_that_is_none_is_one_message(digits: dict[str, Path], cli: Cli) -> None:
    cli("verify", digits["rpi5"], "--on", "qemu://riscv").failed(1, "qemu://riscv", "Give qemu://arm64")
    cli("verify", digits["rpi5"], "--on", "nowhere://here").failed(1, "'nowhere://here' is no address")
    cli("verify", digits["rpi5"], "--on", "worker://").failed(1, "'worker://' is no address")
    ran = cli("verify", digits["rpi5"], "--on", "qemu://arm64", "--emulate", "arm64")
    assert (ran.code, "give one of them" in ran.err) == (2, True)


def test_an_engine_of_another_kind_is_not_emulated(digits: dict[str, Path], cli: Cli) -> None:
    ran = cli("verify", digits["cpu"], "--emulate", "arm64")
    ran.failed(5, "openvino cannot run under emulation", "only onnxruntime is emulated")


def test_verify_runs_arm_code_and_says_so(digits: dict[str, Path], cli: Cli, emulated: dict[str, str]) -> None:
    told = cli("verify", digits["rpi5"], "--emulate", "arm64", env=emulated)
    assert told.code == 0, told.err
    assert "for aarch64 under qemu-aarch64" in told.out
    assert "-cpu cortex-a76" in told.out
    assert "not on its device" in told.out


@pytest.mark.slow
@pytest.mark.parametrize(("name", "precision"), PAIRS)
def test_candidates_are_judged_there(
    source: Callable[[str], Path],
    cli: Cli,
    tmp_path: Path,
    emulated: dict[str, str],
    name: str,
    precision: str,
) -> None:
    words = ("-t", "mobile,rpi5", "--precision", precision, "--emulate", "arm64", "-q")
    ran = cli("export", source(name), *words, env=emulated)
    assert ran.code == 0, ran.err
    for target in ("android-arm64", "rpi5"):
        bundle = tmp_path / "dist" / f"{name}-{target}"
        measured = read(bundle, "manifest.json")["measured"]
        proven = [one for one in measured["evidence"] if one["kind"] != "built"]
        assert {one["kind"] for one in proven} == {"emulated"}
        (golden,) = [one for one in proven if one["claim"].startswith("Golden outputs")]
        assert "for aarch64 under qemu-aarch64" in golden["tool"]
        assert "emulated by QEMU" in golden["machine"]
        assert ("int8 coverage" in measured["metrics"]) == (precision == "int8")
        assert "-cpu cortex-a76" in golden["tool"]  # rpi5's own, and the usual one where a target names none
        assert not any("latency" in name for name in measured["metrics"])
        assert cli("verify", bundle, "--emulate", "arm64", env=emulated).code == 0


@pytest.mark.slow
def test_a_large_network_in_floats_passes_there(
    source: Callable[[str], Path], cli: Cli, tmp_path: Path, emulated: dict[str, str]
) -> None:
    """Judged on this processor, with its metric; ARM's own kernels answer its golden inputs."""
    words = ("-t", "mobile,rpi5", "--precision", "fp32", "--no-measure", "-q")
    assert cli("export", source("minilm"), *words).code == 0
    for target in ("android-arm64", "rpi5"):
        ran = cli("verify", tmp_path / "dist" / f"minilm-{target}", "--emulate", "arm64", env=emulated)
        assert ran.code == 0, ran.err
        assert "for aarch64 under qemu-aarch64" in ran.out


@pytest.fixture
def small_fp32(small: Path, cli: Cli, tmp_path: Path) -> Path:
    """A sound bundle for rpi5, judged on this processor."""
    assert cli("export", small, "-t", "rpi5", "--precision", "fp32", "--no-measure", "-q").code == 0
    return tmp_path / "dist" / "small-rpi5"


@pytest.mark.slow
def test_one_changed_weight_is_caught_there(
    small_fp32: Path, cli: Cli, tmp_path: Path, emulated: dict[str, str]
) -> None:
    graph = Path(shutil.copy(small_fp32 / "model.onnx", tmp_path / "model.onnx"))
    plant("one_weight", graph)
    engine_of(graph, small_fp32, load_target("rpi5"))
    ran = cli("verify", small_fp32, "--emulate", "arm64", env=emulated)
    ran.failed(4, "The engine does not", "'output'")


@pytest.mark.slow
def test_a_file_fused_for_x86_is_caught_there_and_passes_here(
    small_fp32: Path, cli: Cli, emulated: dict[str, str]
) -> None:
    rpi5 = load_target("rpi5")
    engine_of(small_fp32 / "model.onnx", small_fp32, replace(rpi5, options={**rpi5.options, "optimize_for": "amd64"}))
    assert cli("verify", small_fp32).code == 0
    ran = cli("verify", small_fp32, "--emulate", "arm64", env=emulated)
    ran.failed(1, "onnxruntime does not open model.ort")


def engine_of(path: Path, bundle: Path, target: Target) -> None:
    """Put the engine of a graph in the place of the bundle's, with its hash."""
    engine = load_bundle(bundle).engine
    assert engine is not None
    graph = Graph(path=path, inputs=engine.inputs, outputs=engine.outputs, opset=17, digest="")
    made = bundle.parent / "made"
    made.mkdir()
    built = load_backend("onnxruntime").compile(graph, target, made, "fp32")
    shutil.copy(built.path, bundle / "engine" / "model.ort")
    renew(bundle, "engine/model.ort")


def test_an_installation_without_a_network_is_one_message_and_leaves_nothing(cli: Cli, tmp_path: Path) -> None:
    """apt itself, with no sources at all: that is what it says of packages that it does not find."""
    if not (emulation.binary() and shutil.which("apt-get")):
        pytest.skip("qemu-aarch64-static and apt-get are needed to come this far")
    (tmp_path / "apt.conf").write_text('Dir::Etc::sourcelist "/dev/null"; Dir::Etc::sourceparts "/dev/null";\n')
    where = tmp_path / "cache" / "arm64"
    ran = cli("doctor", "--install-emulation", env={emulation.VARIABLE: str(where), "APT_CONFIG": "apt.conf"})
    ran.failed(5, "apt could not download the ARM64 Python", "Is there a network")
    assert not where.exists()
    off = cli("doctor", "--install-emulation", env={emulation.VARIABLE: "off"})
    off.failed(1, f"Unset {emulation.VARIABLE}")
    assert (
        "not installed"
        in json.loads(cli("doctor", "--json", env={emulation.VARIABLE: str(where)}).out)["emulation"]["arm64"]
    )

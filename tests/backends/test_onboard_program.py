"""`build.py`, run as a device runs it: by a Python of its own, without edgepress, in the directory of a bundle.

TensorRT-RTX parses and builds for real. Everything that needs a GPU meets stand-ins, which say that they are such: a
module `tensorrt` that has what a release has, and a libcuda.so.1 in host memory, written in C.
"""

from __future__ import annotations

import ast
import collections
import hashlib
import json
import os
import re
import shutil
import subprocess
import sys
from collections.abc import Callable, Iterator
from dataclasses import asdict
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from pydantic import TypeAdapter

from edgepress.backends.onboard.agreement import agreements, by_feed
from edgepress.backends.onboard.arrays import RawArray, read_npz, resized, write_npz
from edgepress.backends.onboard.machine import clocks, power_mode, power_note
from edgepress.backends.onboard.orders import BuildError
from edgepress.backends.onboard.source import MODULES, joined
from edgepress.backends.places.job import load_arrays, save_arrays
from edgepress.backends.tensorrt import TensorRt, TensorRtRtx
from edgepress.exporter.capture.golden import Golden
from edgepress.profiles.findings.layers import Layer
from edgepress.profiles.findings.parity import parity
from edgepress.profiles.machine.conditions import Conditions
from edgepress.profiles.machine.memory import Memory
from edgepress.profiles.timing.measure import Settings

from ._standin import RELEASES
from ._tensorrt import WEAK, jetson, residual

HERE = Path(__file__).parent
RTX = TensorRtRtx().available()
needs_rtx = pytest.mark.skipif(not RTX.compile, reason=RTX.reason)
needs_cc = pytest.mark.skipif(shutil.which("cc") is None, reason="there is no C compiler")


# --- the file


def test_its_modules_do_not_meet_in_one_file() -> None:
    tree = ast.parse(joined())
    names = [node.name for node in tree.body if isinstance(node, ast.FunctionDef | ast.ClassDef)]
    for node in tree.body:
        targets = node.targets if isinstance(node, ast.Assign) else [getattr(node, "target", None)]
        names += [target.id for target in targets if isinstance(target, ast.Name)]
    assert [name for name, count in collections.Counter(names).items() if count > 1] == []
    assert not re.search(r"^from \.", joined(), re.MULTILINE)
    here = {path.stem for path in (HERE.parents[1] / "backends" / "onboard").glob("*.py")}
    assert here == {*MODULES, "__init__", "source"}


def test_it_is_python_3_6_and_needs_the_standard_library_alone() -> None:
    tree = ast.parse(joined(), feature_version=(3, 6))
    imported = [node for node in ast.walk(tree) if isinstance(node, ast.Import | ast.ImportFrom)]
    names = {alias.name for node in imported if isinstance(node, ast.Import) for alias in node.names}
    names |= {node.module or "" for node in imported if isinstance(node, ast.ImportFrom)}
    assert names <= sys.stdlib_module_names
    assert "__future__" not in names
    # What neither `feature_version` nor vermin sees, and 3.6 and 3.7 do not read.
    values = [node.value for node in ast.walk(tree) if isinstance(node, ast.AnnAssign | ast.Return)]
    bare = [value for value in values if isinstance(value, ast.Tuple) and joined_at(value)[0] != "("]
    assert not [value for value in bare if any(isinstance(one, ast.Starred) for one in value.elts)]
    annotated = {id(node.value) for node in ast.walk(tree) if isinstance(node, ast.AnnAssign)}
    assert not [joined_at(value) for value in bare if id(value) in annotated]


def joined_at(node: ast.expr) -> str:
    return ast.get_source_segment(joined(), node) or " "


def test_nothing_in_it_came_after_python_3_6(tmp_path: Path) -> None:
    """By vermin, which knows since when each function, argument and piece of syntax is there."""
    pytest.importorskip("vermin", reason="vermin is not installed")
    (tmp_path / "build.py").write_text(joined())
    run = "import sys, vermin; sys.exit(vermin.main())"
    words = [sys.executable, "-c", run, "-t=3.6", "--no-tips", "--eval-annotations", "build.py"]
    done = subprocess.run(words, cwd=tmp_path, capture_output=True, text=True, check=False)
    assert (done.returncode, "Minimum required versions: 3.6" in done.stdout) == (0, True), done.stdout
    (tmp_path / "build.py").write_text(joined() + "\nif (n := 1):\n    pass\n")
    assert subprocess.run(words, cwd=tmp_path, capture_output=True, check=False).returncode != 0


# --- a bundle


@pytest.fixture(scope="module")
def made(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """As much of an int8 bundle as the program reads."""
    (root := tmp_path_factory.mktemp("made") / "bundle").mkdir()
    graph = residual(root / "model.onnx", True)
    rng = np.random.default_rng(3)
    feeds = tuple({"x": rng.normal(0, 0.4, (batch, 8, 16, 16)).astype(np.float32)} for batch in (1, 3))
    outputs = tuple({"y": _answer(root / "model.onnx", feed)} for feed in feeds)
    Golden(feeds=feeds, outputs=outputs, graph=outputs).save(root / "golden")
    (root / "engine").mkdir()
    for name, text in TensorRt().recipe_files(graph, jetson(flags=WEAK), "int8").items():
        (root / "engine" / name).write_text(text)
    _listed(root)
    return root


@pytest.fixture
def bundle(made: Path, tmp_path: Path) -> Path:
    """A copy of it."""
    return Path(shutil.copytree(made, tmp_path / "a bundle"))


def _answer(path: Path, feed: dict[str, np.ndarray]) -> np.ndarray:
    import onnxruntime

    return onnxruntime.InferenceSession(path, providers=["CPUExecutionProvider"]).run(["y"], feed)[0]


def _listed(root: Path, **changes: Any) -> None:
    files = [path for path in root.rglob("*") if path.is_file() and path.name != "manifest.json"]
    entries = {
        path.relative_to(root).as_posix(): {"sha256": hashlib.sha256(path.read_bytes()).hexdigest()} for path in files
    }
    manifest = {"files": entries, "minimum_sqnr_db": 30.0, "minimum_graph_db": 25.0, **changes}
    (root / "manifest.json").write_text(json.dumps(manifest))


def started(
    root: Path, *words: str, environment: dict[str, str] | None = None, script: str = "build.py", given: str = ""
) -> Any:
    """The program in a process that does not see edgepress."""
    kept = {name: value for name, value in os.environ.items() if name != "PYTHONPATH"}
    command = (
        [sys.executable, "-B", root / "engine" / script] if script.endswith(".py") else ["sh", root / "engine" / script]
    )
    return subprocess.run(
        [*map(str, command), *words],
        cwd="/",
        input=given,
        env={**kept, "XDG_CACHE_HOME": str(root.parent / "cache"), **(environment or {})},
        capture_output=True,
        text=True,
        check=False,
        timeout=120,
    )


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
    _listed(bundle)
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


# --- with stand-ins for the GPU and for TensorRT


@pytest.fixture(scope="session")
def driver(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The directory of a libcuda.so.1 that is none."""
    if shutil.which("cc") is None:
        pytest.skip("there is no C compiler")
    directory = tmp_path_factory.mktemp("driver")
    library = directory / "libcuda.so.1"
    subprocess.run(["cc", "-shared", "-fPIC", "-o", library, HERE / "standin_cuda.c"], check=True)
    return directory


@pytest.fixture
def device(bundle: Path, driver: Path, tmp_path: Path) -> Callable[..., Any]:
    """Runs the program of the bundle with the module of a release."""

    def run(
        release: str, *words: str, script: str = "build.py", environment: Any = None, given: str = "", **world: Any
    ) -> Any:
        (place := tmp_path / "python").mkdir(exist_ok=True)
        (place / "tensorrt.py").write_text(
            f"import sys; sys.path.append({str(HERE)!r}); import _standin\n"
            f"sys.modules[__name__] = _standin.module({release!r}, _standin.World(**{world!r}))\n"
        )
        found = {"LD_LIBRARY_PATH": str(driver), "PYTHONPATH": str(place), **(environment or {})}
        return started(bundle, *words, environment=found, script=script, given=given)

    return run


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
    _listed(bundle)
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
    _listed(bundle)
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


# --- as a child process of edgepress


@pytest.mark.parametrize("release", ["8.0", "8.5"])
def test_it_runs_and_times_an_engine_as_a_child(
    release: str, bundle: Path, device: Callable[..., Any], tmp_path: Path
) -> None:
    assert device(release).returncode == 0
    golden = Golden.load(bundle / "golden")
    target = {"options": {}}
    engine = {
        "path": str(bundle / "engine" / "model.plan"),
        "target": target,
        "outputs": [{"name": "y", "dtype": "float32"}],
    }
    job = {"engine": engine, "decoder": False, "logits": False, "affinity": []}
    (tmp_path / "job.json").write_text(json.dumps(job))
    save_arrays(tmp_path / "feed.npz", golden.feeds[0])
    save_arrays(tmp_path / "inputs.npz", golden.feeds[1])
    asked = [
        {"do": "run", "inputs": str(tmp_path / "inputs.npz"), "outputs": str(tmp_path / "outputs.npz")},
        {"do": "turn", "settle": 1, "count": 4},
        {"do": "slice", **asdict(Settings(slice_seconds=0.05))},
        {"do": "calls"},
        {"do": "memory"},
        {"do": "layers"},
        {"do": "conditions"},
        {"do": "waits", "tasks": "/proc/self/task"},
        {"do": "run", "inputs": "absent.npz", "outputs": "x"},
        {"do": "offline", "batch": 4, "streams": 2, "seconds": 0.2, "windows": 2},
        {"do": "write"},
    ]
    given = "".join(json.dumps(one) + "\n" for one in asked)
    done = device(release, "--serve", str(tmp_path / "job.json"), given=given)
    assert (done.returncode, done.stderr) == (0, "")
    events = [json.loads(line) for line in done.stdout.splitlines()]
    assert [event["event"] for event in events[:5]] == ["started", "imported", "opened", "first", "ready"]
    answers = [event.get("answer") for event in events[5:]]
    assert np.array_equal(load_arrays(tmp_path / "outputs.npz")["y"], golden.outputs[1]["y"])
    turn, taken, calls, memory, layers, conditions, waits = answers[1:8]
    assert len(turn) == 4
    assert min(turn) > 0
    assert 0.02e9 < sum(taken) < 5e9  # the loop itself takes a part of the slice
    assert calls == len(taken) + Settings().settle_count
    assert 0 < memory["before"] < memory["opened"] <= memory["peak"]
    assert Memory(**memory).steady > 0
    assert [Layer(**layer).integer for layer in layers if layer["compute"]] == (
        [] if release == "8.0" else [True, True]
    )
    assert TypeAdapter(Conditions).validate_python(conditions).absent.keys() == {"throttling"}
    assert all(len(pair) == 2 for pair in waits.values())
    assert "absent.npz cannot be read" in events[13]["error"]
    assert len(answers[9]) == 2
    assert all(rate > 0 for rate in answers[9])
    assert (events[15]["kind"], events[15]["hint"]) == (
        "UnservedError",
        "A program of the bundle's own runs there, since edgepress itself needs Python 3.10.",
    )


# --- old Pythons


def _old_pythons() -> Iterator[str]:
    """Those before 3.10 that are in PATH, and that run."""
    for minor in (6, 7, 8, 9):
        path = shutil.which(f"python3.{minor}")
        told = path and subprocess.run([path, "-V"], capture_output=True, text=True, check=False).stdout
        if path and (told or "").startswith(f"Python 3.{minor}."):
            yield path


OLD = [*_old_pythons()] or [pytest.param("", marks=pytest.mark.skip("no Python before 3.10 is in PATH"))]


@pytest.mark.parametrize("python", OLD)
def test_an_old_python_builds_proves_records_and_serves(
    python: str, bundle: Path, driver: Path, tmp_path: Path
) -> None:
    """From end to end, without any package: with a stand-in whose engine doubles its input."""
    feeds = tuple({"x": np.full((batch, 8, 16, 16), batch / 8, np.float32)} for batch in (1, 3))
    Golden(feeds=feeds, outputs=tuple({"y": feed["x"] * 2} for feed in feeds)).save(bundle / "golden")
    (bundle / "golden" / "graph.npz").unlink()
    _listed(bundle)
    (place := tmp_path / "python").mkdir()
    shutil.copy(HERE / "doubling_tensorrt.py", place / "tensorrt.py")
    environment = {
        **os.environ,
        "PYTHONPATH": str(place),
        "LD_LIBRARY_PATH": str(driver),
        "XDG_CACHE_HOME": str(tmp_path),
    }
    command = [python, "-B", str(bundle / "engine" / "build.py")]
    done = subprocess.run(command, env=environment, capture_output=True, text=True, check=False, timeout=120)
    assert (done.returncode, done.stderr) == (0, "")
    record = json.loads((bundle / "engine" / "built.json").read_text())
    assert record["versions"]["python"].startswith(Path(python).name.removeprefix("python"))
    assert record["golden"]["outputs"] == {"y": {"max_abs": 0.0, "sqnr_db": None}}
    assert record["flags"] == ["FP16", "INT8"]
    job = {"engine": None, "decoder": False, "logits": False, "affinity": []}
    (tmp_path / "job.json").write_text(json.dumps(job))
    asked = b"".join(json.dumps({"do": what}).encode() + b"\n" for what in ("machine", "tools", "warm"))
    served = subprocess.run(
        [*command, "--serve", tmp_path / "job.json"], env=environment, input=asked, capture_output=True, check=True
    )
    events = [json.loads(line) for line in served.stdout.splitlines()]
    assert [event["event"] for event in events[:4]] == ["started", "imported", "opened", "ready"]
    assert events[4]["answer"]["system"].endswith(f"Python {record['versions']['python']}")
    assert events[5]["answer"] == {"tensorrt": "8.0.1.6"}
    assert events[6]["kind"] == "UnservedError"


# --- the machine


def test_power_mode_and_clocks_are_those_of_the_machine(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """What nvpmodel prints on a Jetson, and two trees of sysfs."""
    (tool := tmp_path / "nvpmodel").write_text("#!/bin/sh\necho 'NV Fan Mode:quiet\nNV Power Mode: 15W\n0'\n")
    tool.chmod(0o755)
    monkeypatch.setenv("PATH", f"{tmp_path}:/usr/bin:/bin")
    assert power_mode() == {"name": "15W", "id": "0"}
    assert power_note() == "Built in power mode 15W (nvpmodel id 0)."
    tool.write_text("#!/bin/sh\nexit 1\n")
    assert power_mode() == {}
    assert power_note() == ""
    for name, text in {
        "devices/system/cpu/cpu0/cpufreq/scaling_cur_freq": "729600",
        "devices/system/cpu/cpu0/cpufreq/scaling_max_freq": "1510400",
        "class/devfreq/17000000.ga10b/cur_freq": "306000000",
        "class/devfreq/17000000.ga10b/max_freq": "624750000",
        "class/devfreq/odd/cur_freq": "none",
    }.items():
        (tmp_path / name).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / name).write_text(text + "\n")
    assert clocks(str(tmp_path)) == {
        "cpu0": {"now": 729.6, "most": 1510.4},
        "17000000.ga10b": {"now": 306.0, "most": 624.75},
    }


# --- arrays and figures without numpy


@pytest.mark.parametrize(
    "dtype", ["float16", "float32", "float64", "int8", "int16", "int32", "int64", "uint8", "uint32", "bool"]
)
@pytest.mark.parametrize("shape", [(), (0, 3), (2, 3)])
def test_arrays_come_and_go_as_numpy_has_them(tmp_path: Path, dtype: str, shape: tuple[int, ...]) -> None:
    array = np.random.default_rng(1).integers(0, 2, shape).astype(dtype)
    np.savez(tmp_path / "a.npz", x=array)
    read = read_npz(str(tmp_path / "a.npz"))["x"]
    assert (read.dtype, read.shape, read.numbers()) == (dtype, shape, array.ravel().tolist())
    write_npz(str(tmp_path / "b.npz"), {"x": read})
    with np.load(tmp_path / "b.npz") as back:
        assert np.array_equal(back["x"], array)
        assert back["x"].dtype == array.dtype


@pytest.mark.parametrize("batch", [1, 2, 3, 7])
def test_batches_are_those_of_numpy(batch: int) -> None:
    array = np.arange(6, dtype=np.int64).reshape(2, 3)
    found = resized(RawArray("int64", (2, 3), array.tobytes()), batch)
    assert np.array_equal(np.frombuffer(found.content, np.int64).reshape(found.shape), np.resize(array, (batch, 3)))


@pytest.mark.parametrize("damage", ["cut", "text", "objects"])
def test_a_damaged_file_is_a_message(tmp_path: Path, damage: str) -> None:
    path = tmp_path / "a.npz"
    np.savez(path, x=np.array(["a"]) if damage == "objects" else np.zeros(300))
    if damage != "objects":
        path.write_bytes(path.read_bytes()[:200] if damage == "cut" else b"no archive")
    with pytest.raises(BuildError, match=r"a\.npz cannot be read"):
        read_npz(str(path))


@pytest.mark.parametrize("dtype", ["float32", "float16", "int64", "bool", "int8"])
def test_the_figures_are_those_of_edgepress(dtype: str) -> None:
    rng = np.random.default_rng(7)
    references = tuple({"y": rng.normal(0, 9, (4, 5)).astype(dtype)} for _ in range(3))
    noise = [rng.normal(0, 0.4, (4, 5)) for _ in range(3)]
    answers = tuple({"y": (one["y"] + n).astype(dtype)} for one, n in zip(references, noise, strict=True))
    found = agreements(_raw(references), _raw(answers))["y"]
    expected = parity(references, answers)["y"]
    assert found.sqnr_db == pytest.approx(expected.sqnr_db, rel=1e-9)
    assert found.max_abs == pytest.approx(expected.max_abs, rel=1e-9)


@pytest.mark.parametrize(
    ("reference", "answer", "said"),
    [
        ([1.0, np.inf], [1.0, np.inf], ""),
        ([1.0, 2.0], [1.0, np.nan], "NaN or Inf where the reference is finite"),
        ([1.0, 2.0], [1.0, 2.0, 3.0], "has shape"),
    ],
)
def test_what_is_no_number_is_treated_as_edgepress_does(reference: Any, answer: Any, said: str) -> None:
    pair = [_raw(({"y": np.array(one, np.float32)},)) for one in (reference, answer)]
    if said:
        with pytest.raises(BuildError, match=said):
            agreements(*pair)
    else:
        assert agreements(*pair)["y"].sqnr_db == np.inf


def test_golden_arrays_are_told_apart_by_feed() -> None:
    one = RawArray("bool", (), b"\0")
    assert by_feed({"1.b.c": one, "0.b.c": one}) == [{"b.c": one}, {"b.c": one}]
    with pytest.raises(BuildError, match="has an array 'b'"):
        by_feed({"b": one})


def _raw(feeds: Any) -> list[dict[str, RawArray]]:
    return [{n: RawArray(a.dtype.name, a.shape, a.tobytes()) for n, a in feed.items()} for feed in feeds]

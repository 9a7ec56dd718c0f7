"""TensorRT-RTX parses and builds for real here, without a GPU; what needs a device is tested as far as it refuses."""

from __future__ import annotations

import platform
import subprocess
import sys
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from edgepress.backends import _cuda
from edgepress.backends._cuda import missing
from edgepress.backends.base import Availability, AxisRange, TensorSpec
from edgepress.backends.onboard.driver import Gpu
from edgepress.backends.onboard.parsing import creation_flags, log_of, parse
from edgepress.backends.onboard.settings import configure, weak_flags
from edgepress.backends.tensorrt import TensorRt, TensorRtRtx, order_of
from edgepress.errors import InputError, UnservedError
from edgepress.profiles.device.precision import PrecisionName

from ._standin import World
from ._standin import module as standin
from ._tensorrt import WEAK, Net, jetson, residual

RTX = TensorRtRtx().available()
needs_rtx = pytest.mark.skipif(not RTX.compile, reason=RTX.reason)
HERE_NO_GPU = pytest.mark.skipif(not missing()[0], reason="this machine has a CUDA device")

# --- check


@needs_rtx
@pytest.mark.parametrize("integer", [False, True])
def test_an_acceptable_graph_has_no_rejections(tmp_path: Path, integer: bool) -> None:
    assert TensorRtRtx().check(residual(tmp_path / "m.onnx", integer), jetson()) == ()


@needs_rtx
@pytest.mark.parametrize("zero", [np.uint8(0), np.uint8(128), np.int8(3)])
def test_a_zero_point_that_would_be_misread_is_rejected(tmp_path: Path, zero: np.ndarray) -> None:
    rejections = TensorRtRtx().check(residual(tmp_path / "m.onnx", True, zero=zero), jetson())
    assert "q_r" in {r.node for r in rejections}
    assert {r.node for r in rejections} <= {"q_r", "dq_r"}
    assert all("zero point" in r.reason.lower() for r in rejections)


@needs_rtx
def test_a_missing_zero_point_is_rejected(tmp_path: Path) -> None:
    (rejection,) = TensorRtRtx().check(residual(tmp_path / "m.onnx", True, zero=None), jetson())
    assert rejection.node == "q_r"
    assert "UINT8" in rejection.reason


@needs_rtx
def test_an_int32_bias_is_rejected_with_what_to_do(tmp_path: Path) -> None:
    (rejection,) = TensorRtRtx().check(residual(tmp_path / "m.onnx", True, bias32=True), jetson())
    assert rejection.node == "dq_conv_2_b32"
    assert "leave the biases" in rejection.reason


@needs_rtx
def test_every_unknown_operator_is_named(tmp_path: Path) -> None:
    net = Net()
    net.node("Twist", ["x"], "a", "twist_1", domain="acme")
    net.node("Relu", ["a"], "b", "relu_1")
    net.node("Fold", ["b"], "y", "fold_1", domain="acme")
    rejections = TensorRtRtx().check(net.save(tmp_path / "m.onnx"), jetson())
    assert [str(r) for r in rejections] == [
        "twist_1: TensorRT has no operator Twist",
        "fold_1: TensorRT has no operator Fold",
    ]


@needs_rtx
def test_a_node_that_an_error_does_not_name_is_named(tmp_path: Path) -> None:
    net = Net()
    at = net.constant("at", np.zeros((1, 8, 1, 1), np.int64))
    net.node("Expand", [at, net.node("Shape", ["x"], "sizes", "sizes")], "places", "places")
    net.node("ScatterElements", ["x", "places", "x"], "y", "added", axis=1, reduction="add")
    (rejection,) = TensorRtRtx().check(net.save(tmp_path / "m.onnx"), jetson())
    assert str(rejection) == "added: Unsupported reduction type"
    assert rejection.operator == "ScatterElements"


@needs_rtx
@pytest.mark.parametrize("keep", [0.0, 0.5])
def test_a_truncated_file_is_rejected(tmp_path: Path, keep: float) -> None:
    graph = residual(tmp_path / "m.onnx", True)
    data = graph.path.read_bytes()
    graph.path.write_bytes(data[: int(len(data) * keep)])
    (rejection,) = TensorRtRtx().check(graph, jetson())
    assert rejection.node == "m.onnx"
    assert rejection.reason


@needs_rtx
def test_one_check_does_not_leak_into_the_next(tmp_path: Path) -> None:
    bad = residual(tmp_path / "bad.onnx", True, zero=np.uint8(0))
    good = residual(tmp_path / "good.onnx", True)
    backend = TensorRtRtx()
    assert backend.check(bad, jetson())
    assert backend.check(good, jetson()) == ()
    assert backend.check(bad, jetson())


@needs_rtx
def test_nothing_is_printed(tmp_path: Path, capfd: pytest.CaptureFixture[str]) -> None:
    TensorRtRtx().check(residual(tmp_path / "m.onnx", True, bias32=True), jetson())
    assert capfd.readouterr() == ("", "")


# --- compile


@needs_rtx
@pytest.mark.parametrize("capability", ["8.0", "8.6", "8.9", "12.0"])
@pytest.mark.parametrize("precision", ["fp32", "int8"])
def test_builds_a_plan_for_each_gpu(tmp_path: Path, capability: str, precision: PrecisionName) -> None:
    graph = residual(tmp_path / "m.onnx", precision == "int8")
    (out := tmp_path / "engine").mkdir()
    engine = TensorRtRtx().compile(graph, jetson(options={"compute_capabilities": [capability]}), out, precision)
    assert [p.name for p in out.iterdir()] == ["model.plan"]
    assert engine.path.stat().st_size > 10_000
    assert engine.path.read_bytes()[:4] == b"vtrt"  # TensorRT's own mark
    assert engine.precision == precision
    assert f"compute capability {capability}, " in engine.notes[0]


@needs_rtx
def test_one_plan_serves_several_gpus(tmp_path: Path) -> None:
    graph = residual(tmp_path / "m.onnx", True)
    sizes = {}
    for names in (["8.6"], ["8.0", "8.6", "8.9", "12.0"]):
        (out := tmp_path / str(len(names))).mkdir()
        engine = TensorRtRtx().compile(graph, jetson(options={"compute_capabilities": names}), out, "int8")
        sizes[len(names)] = engine.path.stat().st_size
        assert ", ".join(names) in engine.notes[0]
    assert sizes[4] > sizes[1]


@needs_rtx
def test_a_static_network_needs_no_ranges(tmp_path: Path) -> None:
    (out := tmp_path / "engine").mkdir()
    engine = TensorRtRtx().compile(residual(tmp_path / "m.onnx", True, batch=2), jetson(), out, "int8")
    assert engine.path.is_file()
    assert "8.0, 8.6, 8.9, 12.0 and later" in engine.notes[0]


@needs_rtx
def test_a_free_axis_without_a_range_is_named(tmp_path: Path) -> None:
    graph = replace(residual(tmp_path / "m.onnx", True), axes={})
    with pytest.raises(InputError, match=r"'x' \(batch, 8, 16, 16\) has the free axis 'batch'"):
        TensorRtRtx().compile(graph, jetson(), tmp_path, "int8")


@needs_rtx
@pytest.mark.parametrize("ends", [(-1, 1, 8), (0, 0, 0), (2, 1, 8), (1, 9, 8)])
def test_a_range_out_of_order_is_refused(tmp_path: Path, ends: tuple[int, int, int]) -> None:
    wrong = AxisRange(smallest=ends[0], usual=ends[1], largest=ends[2])
    graph = replace(residual(tmp_path / "m.onnx", True), axes={"batch": wrong})
    with pytest.raises(InputError, match="not ordered"):
        TensorRtRtx().compile(graph, jetson(), tmp_path, "int8")


@needs_rtx
@pytest.mark.parametrize("name", ["8.7", "86", "9.9"])
def test_an_unknown_gpu_lists_those_that_are_known(tmp_path: Path, name: str) -> None:
    with pytest.raises(InputError, match=r"8\.6, 8\.9, 12\.0") as caught:
        TensorRtRtx().compile(
            residual(tmp_path / "m.onnx", True), jetson(options={"compute_capabilities": [name]}), tmp_path, "int8"
        )
    assert repr(name) in caught.value.message


@needs_rtx
def test_compile_refuses_what_check_rejects(tmp_path: Path) -> None:
    graph = residual(tmp_path / "m.onnx", True, zero=np.uint8(0))
    with pytest.raises(InputError, match=r"refuses m\.onnx: q_r: its zero point"):
        TensorRtRtx().compile(graph, jetson(), tmp_path, "int8")
    assert not (tmp_path / "model.plan").exists()


@needs_rtx
def test_the_builder_s_own_words_reach_the_user(tmp_path: Path) -> None:
    # The specs disagree with the file, which only the builder notices.
    graph = residual(tmp_path / "m.onnx", False)
    wrong = TensorSpec(name="x", dtype="float32", shape=("batch", 8, 17, 16))
    with pytest.raises(InputError, match="profile has min=17") as caught:
        TensorRtRtx().compile(replace(graph, inputs=(wrong,)), jetson(), tmp_path, "fp32")
    assert "/_src/" not in caught.value.message
    assert "cudaError" not in caught.value.message


@needs_rtx
def test_external_weights_are_found(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "in").mkdir()
    graph = residual(tmp_path / "in" / "m.onnx", False, external=True)
    assert (tmp_path / "in" / "m.onnx.data").stat().st_size > 4000
    monkeypatch.chdir(tmp_path)
    relative = replace(graph, path=Path("in/m.onnx"))
    assert TensorRtRtx().check(relative, jetson()) == ()
    assert TensorRtRtx().compile(relative, jetson(), tmp_path, "fp32").path.is_file()
    (tmp_path / "in" / "m.onnx.data").unlink()
    assert TensorRtRtx().check(relative, jetson())


@needs_rtx
def test_a_bad_workspace_is_refused(tmp_path: Path) -> None:
    with pytest.raises(InputError, match="workspace_mib"):
        TensorRtRtx().compile(
            residual(tmp_path / "m.onnx", False), jetson(options={"workspace_mib": 0}), tmp_path, "fp32"
        )


@needs_rtx
def test_a_network_can_be_built_again_elsewhere(tmp_path: Path) -> None:
    """A fresh process, so that nothing depends on state that earlier tests left in the SDK."""
    graph = residual(tmp_path / "m.onnx", True, batch=1)
    code = (
        "import sys; sys.path.insert(0, sys.argv[3]); import _tensorrt as t\n"
        "from pathlib import Path; from edgepress.backends.tensorrt import TensorRtRtx\n"
        "g = t.residual(Path(sys.argv[1]), True, batch=1)\n"
        "TensorRtRtx().compile(g, t.jetson(), Path(sys.argv[2]), 'int8')"
    )
    arguments = [str(graph.path), str(tmp_path), str(Path(__file__).parent)]
    done = subprocess.run([sys.executable, "-c", code, *arguments], capture_output=True, text=True, check=False)
    assert (done.returncode, done.stdout, done.stderr) == (0, "", "")
    assert (tmp_path / "model.plan").is_file()


# --- a machine without a GPU


@needs_rtx
@HERE_NO_GPU
def test_without_a_gpu_opening_and_inspecting_say_what_is_missing(tmp_path: Path) -> None:
    engine = TensorRtRtx().compile(residual(tmp_path / "m.onnx", True), jetson(), tmp_path, "int8")
    feed = {"x": np.zeros((1, 8, 16, 16), np.float32)}
    with pytest.raises(UnservedError, match=r"cannot run on this machine: no CUDA device") as caught:
        TensorRtRtx().open(engine)
    assert caught.value.hint
    with pytest.raises(UnservedError):
        TensorRtRtx().inspect(engine, feed)


@HERE_NO_GPU
@pytest.mark.parametrize("backend", [TensorRt(), TensorRtRtx()])
def test_availability_gives_a_reason_and_a_remedy(backend: TensorRt | TensorRtRtx) -> None:
    here = backend.available()
    assert not here.run
    assert here.reason
    assert here.remedy
    assert not (here.compile and backend.name == "tensorrt")


@HERE_NO_GPU
def test_tensorrt_itself_does_not_compile_here(tmp_path: Path) -> None:
    with pytest.raises(UnservedError, match="tensorrt cannot compile on this machine") as caught:
        TensorRt().compile(residual(tmp_path / "m.onnx", False), jetson(), tmp_path, "fp32")
    assert caught.value.hint


@pytest.mark.parametrize(("module", "backend"), [("tensorrt", TensorRt()), ("tensorrt_rtx", TensorRtRtx())])
def test_a_module_that_is_not_there(
    monkeypatch: pytest.MonkeyPatch, module: str, backend: TensorRt | TensorRtRtx
) -> None:
    monkeypatch.setitem(sys.modules, module, None)
    here = backend.available()
    assert (here.version, here.compile, here.run) == ("", False, False)
    assert here.reason == f"{backend.title} is not installed"
    assert "edgepress[" in here.remedy


# --- settings, and versions that cannot be installed here


@needs_rtx
@pytest.mark.parametrize(("precision", "tf32"), [("fp32", False), ("int8", True)])
def test_fp32_means_fp32_and_the_inspector_can_tell(tmp_path: Path, precision: PrecisionName, tf32: bool) -> None:
    import tensorrt_rtx as trt

    graph = residual(tmp_path / "m.onnx", precision == "int8")
    parsed = parse(trt, str(graph.path), log_of(trt))
    config = configure(parsed, order_of(graph, jetson(options={"workspace_mib": 512}), precision))
    assert config.get_flag(trt.BuilderFlag.TF32) is tf32
    assert config.profiling_verbosity == trt.ProfilingVerbosity.DETAILED
    assert config.get_memory_pool_limit(trt.MemoryPoolType.WORKSPACE) == 512 << 20
    assert config.num_optimization_profiles == 1
    assert parsed.network.get_flag(trt.NetworkDefinitionCreationFlag.STRONGLY_TYPED)


@needs_rtx
@pytest.mark.parametrize("sparse", [True, False])
def test_sparse_kernels_are_allowed_where_the_target_runs_them(tmp_path: Path, sparse: bool) -> None:
    import tensorrt_rtx as trt

    graph = residual(tmp_path / "m.onnx", True)
    order = order_of(graph, replace(jetson(), sparse_weights=sparse), "int8")
    config = configure(parse(trt, str(graph.path), log_of(trt)), order)
    assert config.get_flag(trt.BuilderFlag.SPARSE_WEIGHTS) is sparse


@pytest.mark.parametrize(("release", "typed_by_flags"), [("8.5", True), ("10.13", True), ("11.1", False)])
def test_typing_follows_the_toolchain_as_far_as_this_tensorrt_has_it(
    tmp_path: Path, release: str, typed_by_flags: bool
) -> None:
    trt, graph = standin(release), residual(tmp_path / "m.onnx", True)
    weak, strong = (order_of(graph, jetson(flags=flags), "int8") for flags in (WEAK, {"int8": ("--stronglyTyped",)}))
    assert weak_flags(trt, weak) == (("INT8", "FP16") if typed_by_flags else ())
    assert weak_flags(trt, strong) == ()
    assert creation_flags(trt, weak=True) == creation_flags(standin("8.5"), weak=True) * typed_by_flags


@pytest.mark.parametrize("core", [-1, True, "0", 0.5])
def test_a_dla_core_is_a_whole_number(tmp_path: Path, core: Any) -> None:
    with pytest.raises(InputError, match="dla_core is"):
        order_of(residual(tmp_path / "m.onnx", True), jetson(options={"dla_core": core}), "int8")


def test_on_a_device_times_are_kept_and_what_stays_float_is_noted(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """As `edgepress build` does it there, with stand-ins for TensorRT and for its GPU."""
    world = World(no_kernel={"conv_2": "conv_2_w + conv_2"}, dla_cores=1)
    monkeypatch.setitem(sys.modules, "tensorrt", standin("8.5", world))
    monkeypatch.setattr(_cuda, "missing", lambda: ("", ""))
    monkeypatch.setattr(_cuda, "gpu", lambda: Gpu("Orin (nvgpu)", "8.7", 8 << 30, "11.4"))
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))
    target = replace(jetson(flags=WEAK, options={"dla_core": 0}), arch="any")
    engine = TensorRt().compile(residual(tmp_path / "m.onnx", True), target, tmp_path, "int8")
    assert engine.notes[0].startswith("Built by tensorrt 8.5.2.2 on this machine")
    assert engine.notes[1].startswith("conv_2 is computed in float: TensorRT 8.5.2.2 has no integer kernel")
    assert engine.notes[2].startswith("DLA core 0 takes 4 layers; ")
    (cache,) = (tmp_path / "cache" / "edgepress" / "timing").iterdir()
    assert cache.name == "Orin-nvgpu-8.7_8.5.2.2_11.4.cache"


def test_a_plan_is_never_built_for_another_architecture(monkeypatch: pytest.MonkeyPatch) -> None:
    """On a GPU machine with TensorRT too: the plan would not run on the Jetson."""
    here = Availability(version="tensorrt 10.3", compile=True, run=True)
    monkeypatch.setattr(TensorRt, "available", lambda self: here)
    foreign = replace(jetson(), arch="aarch64" if platform.machine() == "x86_64" else "x86_64")
    assert "does not cross-build" in TensorRt().obstacle(foreign)
    assert TensorRt().obstacle(replace(jetson(), arch="any")) == ""

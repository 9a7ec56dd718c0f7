"""What a build asks of each release of TensorRT, against stand-ins that have what the release has and nothing else."""

from __future__ import annotations

import itertools
import json
import os
from pathlib import Path
from typing import Any

import pytest

from edgepress.backends.onboard.aside import region_without_kernel, set_aside
from edgepress.backends.onboard.building import Built, build
from edgepress.backends.onboard.orders import BuildError, Order, order_text, read_order
from edgepress.backends.onboard.parsing import log_of, parse
from edgepress.backends.onboard.settings import configure
from edgepress.backends.onboard.timing_cache import cache_path
from edgepress.backends.tensorrt import TensorRtRtx, order_of
from edgepress.profiles.device.precision import PrecisionName

from .._standin import RELEASES, TABLES, World, module
from .._tensorrt import WEAK, jetson, residual

RTX = TensorRtRtx().available()
needs_rtx = pytest.mark.skipif(not RTX.compile, reason=RTX.reason)
WEAKLY_TYPED = [release for release in RELEASES if not release.startswith("11")]


def ordered(path: Path, precision: PrecisionName = "int8", **changes: Any) -> Order:
    graph = residual(path / "m.onnx", precision == "int8")
    return order_of(graph, jetson(flags=WEAK), precision)._replace(**changes)


def built(release: str, path: Path, world: World | None = None, cache: str = "", **order: Any) -> Built:
    trt = module(release, world)
    return build(trt, ordered(path, **order), str(path / "m.onnx"), log_of(trt), cache)


@pytest.mark.parametrize("release", RELEASES)
def test_each_release_is_asked_for_what_it_has(release: str, tmp_path: Path) -> None:
    world = World()
    built(release, tmp_path, world, sparse=True)
    (plan,) = world.builds
    typed_by_flags = release in WEAKLY_TYPED
    assert plan["typed"] == (["EXPLICIT_BATCH"] if typed_by_flags else ["STRONGLY_TYPED"])
    assert plan["flags"] == sorted(["SPARSE_WEIGHTS", "TF32", *(("FP16", "INT8") if typed_by_flags else ())])
    assert plan["detail"] == ("VERBOSE" if release == "8.0" else "DETAILED")
    assert plan["workspace"] == 2048 << 20
    assert plan["ranges"] == {"x": [(1, 8, 16, 16), (2, 8, 16, 16), (8, 8, 16, 16)]}


@pytest.mark.parametrize("release", RELEASES)
def test_fp32_means_fp32_on_each_release(release: str, tmp_path: Path) -> None:
    world = World()
    found = built(release, tmp_path, world, precision="fp32")
    assert world.builds[0]["flags"] == []
    assert found.flags == ()
    assert found.notes == ()


def test_what_flags_would_have_made_of_the_rest_is_said_where_there_are_none(tmp_path: Path) -> None:
    (note,) = built("11.1", tmp_path).notes
    assert note.startswith("It was exported for TensorRT 10.3. TensorRT 11.1.0.106 has no flag INT8 or FP16")
    assert built("10.16", tmp_path).notes == ()


# --- layers without an integer kernel

REGION = "conv_2_w_q + dq_conv_2_w + conv_2 + PWN(act.sigmoid, act.mul)"


@pytest.mark.parametrize("release", RELEASES)
def test_a_layer_without_an_integer_kernel_is_built_in_float_and_named(release: str, tmp_path: Path) -> None:
    world = World(no_kernel={"conv_2": REGION})
    found = built(release, tmp_path, world)
    reads = {layer["name"]: layer["reads"] for layer in world.builds[-1]["layers"]}
    assert reads["conv_2"][0] == "ACTIVATION"  # past q_r and dq_r, to relu_1
    assert reads["conv_1"][0] == "DEQUANTIZE"
    assert [(one.region, one.layers) for one in found.aside] == [(REGION, ("conv_2",))]
    assert found.notes[-1] == (
        f"conv_2 is computed in float: TensorRT {module(release).__version__} has no integer kernel for {REGION}."
    )


def test_several_such_layers_are_found_one_after_the_other(tmp_path: Path) -> None:
    found = built("8.5", tmp_path, World(no_kernel={"conv_1": "w + conv_1 + relu_1", "conv_2": REGION}))
    assert [one.layers for one in found.aside] == [("conv_1",), ("conv_2",)]


@pytest.mark.parametrize("release", ["8.5", "11.1"])
def test_what_has_no_kernel_at_all_is_an_error_that_names_it(release: str, tmp_path: Path) -> None:
    world = World(no_kernel={"conv_2": REGION}, never="conv_2")
    with pytest.raises(BuildError, match=r"no kernel for conv_2_w_q \+ .* \+ conv_2 .* not in float") as caught:
        built(release, tmp_path, world)
    assert "--exclude" in caught.value.hint
    assert world.builds == []


@pytest.mark.parametrize(
    ("text", "region"),
    [
        # As they stand in NVIDIA/TensorRT, issues 3385, 3640, 4060 and 1768, and in the form of TensorRT 10.
        (
            "[optimizer.cpp::computeCosts::3728] Error Code 10: Internal Error (Could not find any implementation for "
            "node w + node_of_dqconv.dwconv + PWN(node_of_swish.sigmoid, node_of_swish.mul).)",
            "w + node_of_dqconv.dwconv + PWN(node_of_swish.sigmoid, node_of_swish.mul)",
        ),
        (
            "10: Could not find any implementation for node /model.0/conv/Conv + PWN(PWN(/model.0/act/Sigmoid), "
            "/model.0/act/Mul).",
            "/model.0/conv/Conv + PWN(PWN(/model.0/act/Sigmoid), /model.0/act/Mul)",
        ),
        (
            "Could not find any implementation for node conv1.weight + QuantizeLinear_7_quantize_scale_node + (Unnamed "
            "Layer* 14) [Shuffle] + Conv_9 + PWN(LeakyRelu_10).",
            "conv1.weight + QuantizeLinear_7_quantize_scale_node + (Unnamed Layer* 14) [Shuffle] + Conv_9 + "
            "PWN(LeakyRelu_10)",
        ),
        (
            "IBuilder::buildSerializedNetwork: Error Code 10: Internal Error (Could not find any implementation for "
            "node {ForeignNode[/a/Cast.../b/Add]}. In computeCosts at /_src/optimizer/common/optimizer.cpp:4115)",
            "{ForeignNode[/a/Cast.../b/Add]}",
        ),
        # More workspace helps, and float does not.
        ("Could not find any implementation for node conv_1 due to insufficient workspace. See verbose log.", ""),
        ("Error Code 4: Internal Error (no optimization profile)", ""),
    ],
)
def test_the_region_is_read_from_what_tensorrt_says(text: str, region: str) -> None:
    assert (
        region_without_kernel([("WARNING", "x"), ("ERROR", text), ("ERROR", "Engine could not be created")]) == region
    )


@pytest.mark.parametrize(
    ("region", "layers"),
    [
        ("w + conv_1 + relu_1", ("conv_1",)),
        ("w + conv_1 + relu_1 + q_r", ("conv_1",)),  # who reads behind the quantizer at its end stays as it is
        ("{ForeignNode[conv_1...conv_2]}", ("conv_1", "conv_2")),
        ("q_r_clone_0", ("conv_2",)),  # the quantizer itself: who reads behind it reads what is before it
        ("conv_11 + my_conv_1", None),
    ],
)
def test_the_layers_of_a_region_read_past_their_pairs(
    tmp_path: Path, region: str, layers: tuple[str, ...] | None
) -> None:
    trt, order = module("8.5"), ordered(tmp_path)
    parsed = parse(trt, str(tmp_path / "m.onnx"), log_of(trt), weak=True)
    found = set_aside(parsed, configure(parsed, order), order, region)
    assert (None if found is None else found.layers) == layers


@pytest.mark.parametrize(("release", "flag"), [("8.0", "STRICT_TYPES"), ("8.2", "OBEY_PRECISION_CONSTRAINTS")])
def test_without_a_pair_the_layer_itself_is_held_to_fp32(release: str, flag: str, tmp_path: Path) -> None:
    trt, order = module(release), ordered(tmp_path, precision="fp16")
    parsed = parse(trt, str(tmp_path / "m.onnx"), log_of(trt), weak=True)
    config = configure(parsed, order)
    found = set_aside(parsed, config, order, "conv_1 + relu_1")
    assert found is not None
    assert found.layers == ("conv_1", "relu_1")
    assert config.get_flag(trt.BuilderFlag[flag])
    assert parsed.network.get_layer(4).precision == trt.DataType.FLOAT


@needs_rtx
def test_the_real_builder_builds_what_was_set_aside(tmp_path: Path) -> None:
    """TensorRT-RTX's own network and builder: fewer layers read integers, and the plan differs."""
    import tensorrt_rtx as trt

    order, plans = ordered(tmp_path), []
    for regions in ([], ["conv_2"]):
        parsed = parse(trt, str(tmp_path / "m.onnx"), log_of(trt))
        config = configure(parsed, order)
        assert [set_aside(parsed, config, order, region) is not None for region in regions] == [True] * len(regions)
        layers = {layer.name: layer for layer in map(parsed.network.get_layer, range(parsed.network.num_layers))}
        assert layers["conv_2"].get_input(0).name == ("r" if regions else "r_d")
        plan = parsed.builder.build_serialized_network(parsed.network, config)
        assert plan is not None
        plans.append(bytes(plan))
    assert plans[0] != plans[1]


# --- DLA


def test_nobody_is_told_of_a_dla_that_was_not_asked_for(tmp_path: Path) -> None:
    assert built("8.5", tmp_path, World(dla_cores=2)).accelerated is None


@pytest.mark.parametrize("release", WEAKLY_TYPED)
def test_the_dla_takes_what_it_can_and_the_rest_is_told_with_the_reason(release: str, tmp_path: Path) -> None:
    why = "conv_2: Kernel size must be in the range [1,32]"
    world = World(dla_cores=2, dla_refuses={"conv_2": why})
    found = built(release, tmp_path, world, dla=1)
    (plan,) = world.builds
    assert plan["dla"] == 1
    constraint = "STRICT_TYPES" if release == "8.0" else "PREFER_PRECISION_CONSTRAINTS"
    assert {"GPU_FALLBACK", constraint, "INT8", "FP16"} <= set(plan["flags"])
    assert found.accelerated is not None
    assert found.accelerated.taken == ["conv_1", "relu_1", "add_1"]
    assert found.accelerated.fallen["conv_2"] == why
    assert found.accelerated.fallen["q_x"] == "the DLA takes no QuantizeLinear and no DequantizeLinear"
    assert "conv_2_b" not in found.accelerated.fallen
    assert found.notes[-1].startswith("DLA core 1 takes 3 layers; 7 fall back to the GPU: ")


@pytest.mark.parametrize("release", ["8.0", "10.13", "11.1"])
def test_a_module_without_a_dla_builds_for_the_gpu_and_says_so(release: str, tmp_path: Path) -> None:
    world = World()
    found = built(release, tmp_path, world, dla=0)
    assert world.builds[0]["dla"] is None
    assert found.notes[-1].startswith("Built for the GPU alone: this module has no DLA that TensorRT ")


def test_a_core_that_the_module_has_not_is_refused(tmp_path: Path) -> None:
    with pytest.raises(BuildError, match="DLA core 2 is asked for, and this module has 2"):
        built("8.5", tmp_path, World(dla_cores=2), dla=2)


def test_fp32_stays_on_the_gpu(tmp_path: Path) -> None:
    found = built("8.5", tmp_path, World(dla_cores=2), precision="fp32", dla=0)
    assert "computes in FP16 and INT8" in found.notes[-1]


# --- timing cache


def test_a_cache_is_of_one_gpu_one_tensorrt_and_one_driver(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path))
    keys = itertools.product(["Orin 8.7", "NVIDIA Tegra X1 5.3"], ["8.5.2", "8.5.3"], ["11.4", "12.6"])
    paths = [cache_path(*key) for key in keys]
    assert len(set(paths)) == 8
    assert all(Path(path).parent == tmp_path / "edgepress" / "timing" for path in paths)


@pytest.mark.parametrize("release", RELEASES)
def test_the_second_build_begins_with_what_the_first_has_learned(release: str, tmp_path: Path) -> None:
    cache = str(tmp_path / "new" / "times.cache")
    first, second = (built(release, tmp_path, cache=cache).cache for _ in range(2))
    assert first is not None
    assert second is not None
    assert (first.before, first.after) == (0, Path(cache).stat().st_size - 1)
    assert second.before == first.after
    assert os.listdir(tmp_path / "new") == ["times.cache"]


def test_a_cache_that_this_tensorrt_does_not_take_is_replaced(tmp_path: Path) -> None:
    (cache := tmp_path / "times.cache").write_bytes(b"times of another: xxx")
    found = built("10.3", tmp_path, cache=str(cache)).cache
    assert found is not None
    assert found.before == 0
    assert cache.read_bytes() == b"times of 10.3.0.26:x"


def test_a_cache_that_cannot_be_written_costs_nothing(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    found = built("10.3", tmp_path, cache=str(tmp_path / "file" / "times.cache")).cache
    assert found is not None
    assert found.after is None


# --- the order


def test_an_order_comes_back_as_it_was(tmp_path: Path) -> None:
    order = ordered(tmp_path, dla=1, capabilities=("8.7",))
    assert read_order(order_text(order)) == order


@pytest.mark.parametrize("text", ["", "[]", "{}", '{"ranges": {"x": {}}}', '{"ranges": {}, "colour": 1}'])
def test_what_is_no_order_is_refused(text: str) -> None:
    with pytest.raises(BuildError, match=r"build\.json is no order"):
        read_order(text)


def test_the_stand_in_lacks_what_the_release_lacks() -> None:
    """The tests above can fail: a name of a later or an earlier release is not there."""
    old, new = module("8.0"), module("11.1")
    config = old.Builder(None).create_builder_config()
    with pytest.raises(AttributeError):
        config.set_memory_pool_limit(0, 1)
    with pytest.raises(AttributeError):
        new.Builder(None).create_builder_config().max_workspace_size = 1
    assert not hasattr(old.ProfilingVerbosity, "DETAILED")
    assert not hasattr(new.BuilderFlag, "INT8")
    with pytest.raises(TypeError):
        config.set_flag()


@needs_rtx
def test_the_tables_have_what_a_real_module_has() -> None:
    """TensorRT-RTX 1.7 is a descendant of 11: what its classes have, the table of 11.1 has, but for what is its own.

    A name that the recording missed would make the stand-in poorer than the release, one that it made up richer.
    """
    import tensorrt_rtx

    table = json.loads((TABLES / "11.1.json").read_text())
    own = {
        *("num_compute_capabilities", "get_compute_capability", "set_compute_capability", "is_stream_capturable"),
        *("create_weights_manager", "weights_loaded", "load_weights", "load_weights_async", "unload_weights"),
        *("profile_stream", "defer_weights_loading", "engine_header_size", "get_engine_validity"),
        "dla_workspace_allocation_strategy",
    }
    for kind, members in table["classes"].items():
        real = {name for name in vars(getattr(tensorrt_rtx, kind)) if not name.startswith("_")}
        assert real - set(members) <= own, kind
    names = [(kind, name) for kind, members in table["classes"].items() for name in members]
    names += [(kind, name) for kind, members in table["enums"].items() for name in members]
    there = sum(hasattr(getattr(tensorrt_rtx, kind), name) for kind, name in names)
    assert there > 0.95 * len(names) > 300

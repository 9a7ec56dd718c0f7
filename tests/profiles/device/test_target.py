"""Targets are data: every shipped file loads, says where its figures come from, and a wrong file names its key."""

from __future__ import annotations

import dataclasses
import json
from pathlib import Path

import pytest

from edgepress.errors import InputError
from edgepress.profiles.device import target as module
from edgepress.profiles.device.files import validate
from edgepress.profiles.device.target import (
    Scheme,
    Target,
    Toolchain,
    load_target,
    target_aliases,
    target_names,
)

ROOT = Path(module.__file__).parent
SCHEMES = sorted(path.stem for path in (ROOT / "schemes").glob("*.toml"))
TOOLCHAINS = sorted(path.stem for path in (ROOT / "toolchains").glob("*.toml"))
JETSONS = [name for name in target_names() if name.startswith("jetson-")]

MINE = """
name = "mine"
title = "My board"
arch = "aarch64"
backend = "onnxruntime"
precisions = ["int8", "fp32"]
scheme = "onnxruntime-arm"
toolchain = "onnxruntime-1.31"

[options]
format = "ort"

[figures]
memory = { value = 2, unit = "GB", mark = "measured", source = "free -b on the board" }
"""


def _scheme(name: str) -> Scheme:
    return module._named(Scheme, "schemes", "scheme", name)


def _toolchain(name: str) -> Toolchain:
    return module._named(Toolchain, "toolchains", "toolchain", name)


def _write(folder: Path, text: str) -> str:
    path = folder / "mine.toml"
    path.write_text(text, encoding="utf-8")
    return str(path)


def _refusal(name: str) -> str:
    with pytest.raises(InputError) as caught:
        load_target(name)
    return str(caught.value)


# What is shipped


def test_every_folder_is_listed_whole() -> None:
    assert set(target_names()) == {path.stem for path in (ROOT / "targets").glob("*.toml")}
    assert len(target_names()) == 20
    assert len(SCHEMES) == 4
    assert len(TOOLCHAINS) == 11


@pytest.mark.parametrize("name", target_names())
def test_a_shipped_target_is_named_as_its_file_and_cites_every_figure(name: str) -> None:
    target = load_target(name)
    assert target.name == name
    assert target.figures
    for key, figure in target.figures.items():
        assert figure.source.strip(), f"{name}: {key}"
        assert figure.value != ""
    assert ("int8" in target.precisions) == (target.scheme is not None)
    assert len(set(target.precisions)) == len(target.precisions)


@pytest.mark.parametrize("name", SCHEMES)
def test_a_shipped_scheme_is_consistent(name: str) -> None:
    scheme = _scheme(name)
    assert scheme.name == name
    assert scheme.source.strip()
    assert set(scheme.outputs) <= set(scheme.weighted)
    assert (scheme.activation.bits, str(scheme.weight)) == (8, "int8 per channel")
    roles = [*scheme.weighted, *scheme.fused, *scheme.keep_scale, *scheme.around, *scheme.shared]
    assert len(set(roles)) == len(roles), "an operator has one role"


@pytest.mark.parametrize("name", TOOLCHAINS)
def test_a_shipped_toolchain_is_consistent(name: str) -> None:
    toolchain = _toolchain(name)
    assert toolchain.name == name
    assert toolchain.source.strip()
    assert toolchain.versions
    assert 13 <= toolchain.opset <= 20
    assert all(flag.startswith("--") for flags in toolchain.build_flags.values() for flag in flags)


def test_every_scheme_and_toolchain_can_be_reached() -> None:
    targets = [load_target(name) for name in target_names()]
    assert {t.scheme.name for t in targets if t.scheme} == set(SCHEMES)
    # The others are given by hand: NAME@jetpack-6.0.
    by_hand = {"jetpack-4.6.0", "jetpack-6.0", "jetpack-7.2"}
    assert set(TOOLCHAINS) - {t.toolchain.name for t in targets} == by_hand


def test_aliases_resolve_and_shadow_nothing() -> None:
    assert target_aliases() == {"jetson": "jetson-orin-nano-8gb", "mobile": "android-arm64"}
    assert not set(target_aliases()) & set(target_names())
    for alias, name in target_aliases().items():
        assert load_target(alias) == load_target(name)


def test_an_alias_belongs_to_one_target() -> None:
    aliases = [alias for name in target_names() for alias in load_target(name).aliases]
    assert sorted(aliases) == sorted(target_aliases())


@pytest.mark.parametrize("name", target_names())
def test_a_target_survives_the_manifest(name: str) -> None:
    target = load_target(name)
    assert validate(Target, json.loads(json.dumps(dataclasses.asdict(target))), name) == target


# Facts that decide what is exported


def test_jetson_is_the_orin_nano_8gb_with_jetpack_6_2() -> None:
    target = load_target("jetson")
    assert (target.name, target.arch, target.backend) == ("jetson-orin-nano-8gb", "aarch64", "tensorrt")
    assert (target.toolchain.versions["jetpack"], target.toolchain.versions["tensorrt"]) == ("6.2", "10.3")
    assert target.opset == 20
    assert target.precisions == ("int8", "fp16", "fp32")
    assert target.options["compute_capabilities"] == ["8.7"]
    assert (target.figures["int8_dense"].value, target.figures["int8_sparse"].value) == (20, 40)


def test_tensorrt_is_symmetric_and_quantizes_the_skip_branch_only() -> None:
    scheme = _scheme("tensorrt")
    assert (scheme.activation.dtype, scheme.activation.symmetric, scheme.residual) == ("int8", True, "skip")
    assert (scheme.bias, scheme.weight_storage, scheme.outputs) == ("float", "float", ())
    # They become a Reduce layer, which has no integer arithmetic to gain from Q/DQ.
    assert not {"GlobalAveragePool", "ReduceMean"} & set(scheme.around)


def test_cpu_schemes_are_asymmetric_and_quantize_both_branches() -> None:
    types = {"openvino": "uint8", "onnxruntime-x86": "uint8", "onnxruntime-arm": "int8"}
    for name, activation in types.items():
        scheme = _scheme(name)
        assert (scheme.activation.dtype, scheme.activation.symmetric) == (activation, False), name
        assert scheme.residual == "both"
        assert scheme.weight_storage == "integer"
        assert "Conv" in scheme.outputs


def test_onnxruntime_lists_only_what_has_an_integer_kernel() -> None:
    for scheme in (_scheme("onnxruntime-x86"), _scheme("onnxruntime-arm")):
        assert scheme.bias == "int32"
        assert "ConvTranspose" not in scheme.weighted
        assert set(scheme.fused) == {"Relu", "Clip"}
        assert "ReduceMean" not in scheme.around


def test_gpus_without_int8_and_core_ml_have_no_scheme() -> None:
    for name in ("jetson-nano", "jetson-tx2-nx", "ios"):
        assert load_target(name).precisions == ("fp16", "fp32"), name
        assert load_target(name).scheme is None


def test_safe_opsets_follow_the_parser_of_each_jetpack() -> None:
    opsets = {"jetpack-4.6": 13, "jetpack-5.1": 16, "jetpack-6.0": 17, "jetpack-6.2": 20, "jetpack-7.1": 20}
    assert {name: _toolchain(name).opset for name in opsets} == opsets
    defaults = {"jetson-nano": "jetpack-4.6", "jetson-agx-xavier": "jetpack-5.1", "jetson-thor-t5000": "jetpack-7.1"}
    assert {name: load_target(name).toolchain.name for name in defaults} == defaults


@pytest.mark.parametrize("name", JETSONS)
def test_a_jetson_is_built_on_the_device_and_checked_by_the_stand_in(name: str) -> None:
    target = load_target(name)
    assert (target.arch, target.backend, target.toolchain.stand_in) == ("aarch64", "tensorrt", "tensorrt-rtx")
    assert any("cross-build" in note for note in target.notes)
    assert set(target.precisions) <= set(target.toolchain.build_flags)


def test_build_flags_follow_the_typing_of_the_tensorrt_version() -> None:
    for name in TOOLCHAINS:
        toolchain = _toolchain(name)
        if "tensorrt" not in toolchain.versions:
            assert not toolchain.build_flags
            continue
        major, minor = (int(part) for part in toolchain.versions["tensorrt"].split(".")[:2])
        strong = (major, minor) >= (10, 12)
        for precision in ("int8", "fp16"):
            assert ("--stronglyTyped" in toolchain.build_flags[precision]) == strong, name
            assert ("--fp16" in toolchain.build_flags[precision]) != strong, name


def test_thor_says_that_its_int8_is_unverified() -> None:
    for name in ("jetson-thor-t5000", "jetson-thor-t4000"):
        assert load_target(name).figures["int8"].mark == "unverified"


# Selection


def test_a_toolchain_after_the_at_sign_replaces_the_default() -> None:
    target = load_target("jetson@jetpack-5.1")
    assert (target.name, target.toolchain.name, target.opset) == ("jetson-orin-nano-8gb", "jetpack-5.1", 16)
    assert dataclasses.replace(target, toolchain=load_target("jetson").toolchain) == load_target("jetson")


def test_a_target_of_ones_own_is_a_path(tmp_path: Path) -> None:
    target = load_target(_write(tmp_path, MINE))
    assert (target.name, target.opset, target.options) == ("mine", 20, {"format": "ort"})
    assert target.scheme == _scheme("onnxruntime-arm")
    assert target.figures["memory"].value == 2


def test_a_path_takes_a_toolchain_too_and_may_hold_an_at_sign(tmp_path: Path) -> None:
    folder = tmp_path / "me@work"
    folder.mkdir()
    path = _write(folder, MINE)
    assert load_target(path).toolchain.name == "onnxruntime-1.31"
    assert load_target(f"{path}@openvino-2026.4").toolchain.name == "openvino-2026.4"


def test_a_file_may_name_a_scheme_and_a_toolchain_of_its_own_beside_it(tmp_path: Path) -> None:
    scheme = (ROOT / "schemes" / "openvino.toml").read_text().replace('name = "openvino"', 'name = "ours"')
    (tmp_path / "ours.toml").write_text(scheme)
    toolchain = (ROOT / "toolchains" / "openvino-2026.4.toml").read_text()
    (tmp_path / "software.toml").write_text(toolchain.replace('name = "openvino-2026.4"', 'name = "software"'))
    text = (ROOT / "targets" / "cpu.toml").read_text()
    text = text.replace('scheme = "openvino"', 'scheme = "ours.toml"')
    (tmp_path / "mine.toml").write_text(text.replace('toolchain = "openvino-2026.4"', 'toolchain = "software.toml"'))
    target = load_target(str(tmp_path / "mine.toml"))
    assert target.scheme is not None
    assert (target.scheme.name, target.toolchain.name) == ("ours", "software")
    (tmp_path / "ours.toml").write_text(scheme.replace("weighted", "wieghted"))
    with pytest.raises(InputError, match=r"ours\.toml: `wieghted`: unknown key"):
        load_target(str(tmp_path / "mine.toml"))


def test_a_file_may_spell_out_its_toolchain(tmp_path: Path) -> None:
    own = '\n[toolchain]\nname = "mine"\nopset = 18\nversions = { onnxruntime = "1.22" }\nsource = "built by us"\n'
    target = load_target(_write(tmp_path, MINE.replace('toolchain = "onnxruntime-1.31"\n', "") + own))
    assert (target.toolchain.name, target.opset, target.toolchain.stand_in) == ("mine", 18, None)


# Refusals: one message, which names the key or the near names


@pytest.mark.parametrize(
    ("name", "near"),
    [
        ("jetsn", "jetson"),
        ("orin-nano-8gb", "jetson-orin-nano-8gb"),
        ("mobil", "mobile"),
        ("rpi", "rpi5"),
        ("jetson@jetpack-6.3", "jetpack-6.2"),
        ("jetson@", "jetpack-6.2"),
    ],
)
def test_an_unknown_name_lists_near_ones(name: str, near: str) -> None:
    message = _refusal(name)
    assert "Unknown" in message
    assert near in message


def test_a_name_like_none_lists_all() -> None:
    message = _refusal("quantum")
    assert all(name in message for name in (*target_names(), *target_aliases()))


@pytest.mark.parametrize(
    ("old", "new", "expected"),
    [
        ('title = "My board"', 'titel = "My board"', "`titel`: unknown key. Did you mean title?"),
        ('title = "My board"', "", "title"),
        ('arch = "aarch64"', 'arch = "arm"', "`arch`: Input should be 'x86_64', 'aarch64' or 'any'"),
        ('["int8", "fp32"]', '["int5"]', "precisions"),
        ('["int8", "fp32"]', "[]", "`precisions` is empty"),
        ('["int8", "fp32"]', '["fp32"]', "int8 and `scheme` go together"),
        ('scheme = "onnxruntime-arm"', "", "int8 and `scheme` go together"),
        ('scheme = "onnxruntime-arm"', 'scheme = "onnxruntime-amr"', "Did you mean onnxruntime-arm"),
        ('toolchain = "onnxruntime-1.31"', 'toolchain = "onnxruntime-1.3"', "Did you mean onnxruntime-1.31"),
        ('toolchain = "onnxruntime-1.31"', "toolchain = 3", "`toolchain`"),
        ('format = "ort"', "format = 1.5", "options.format"),
        ('mark = "measured"', 'mark = "guessed"', "figures.memory.mark"),
        (', source = "free -b on the board"', "", "figures.memory.source"),
    ],
)
def test_a_wrong_file_names_the_key(tmp_path: Path, old: str, new: str, expected: str) -> None:
    assert old in MINE
    message = _refusal(_write(tmp_path, MINE.replace(old, new)))
    assert expected in message
    assert len(message.splitlines()) <= 2


def test_broken_toml_says_where(tmp_path: Path) -> None:
    message = _refusal(_write(tmp_path, MINE + "\nhalf = "))
    assert "mine.toml is not TOML" in message


def test_unreadable_files_say_why(tmp_path: Path) -> None:
    (tmp_path / "bytes.toml").write_bytes(b"\xff\xfe")
    (tmp_path / "folder.toml").mkdir()
    assert "is not TOML" in _refusal(str(tmp_path / "bytes.toml"))
    assert "cannot be read: Is a directory" in _refusal(str(tmp_path / "folder.toml"))
    assert "cannot be read: No such file" in _refusal(str(tmp_path / "none.toml"))


@pytest.mark.parametrize(
    ("name", "isa", "largest"),
    [
        ("server-cpu", ("avx2",), 63),
        ("server-cpu", ("avx2", "avx_vnni"), 127),
        ("server-cpu", ("avx2", "avx512f", "avx512_vnni"), 127),
        ("mobile", ("avx2",), 127),
        ("jetson", (), 127),
    ],
)
def test_weights_are_of_seven_bits_where_sums_would_saturate(name, isa, largest):
    assert load_target(name).on(isa).scheme.weight.largest == largest

"""Texts of a target that a stranger wrote: each is a word, a flag or a line, and refused where it is more."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import pytest
from pydantic_core import to_jsonable_python

from edgepress.errors import InputError
from edgepress.profiles.device.files import validate
from edgepress.profiles.device.target import Target, load_target

EVIL = "x\ntouch ran"


def changed(data: Mapping[str, Any], path: tuple[Any, ...], value: object) -> dict[str, Any]:
    copy = dict(data)
    copy[path[0]] = value if len(path) == 1 else changed(copy[path[0]], path[1:], value)
    return copy


@pytest.mark.parametrize(
    "path",
    [
        ("name",), ("title",), ("backend",), ("toolchain", "name"), ("toolchain", "versions", "tensorrt"),
        ("toolchain", "versions", EVIL), ("scheme", "name"), ("options", "x"),
    ],
)  # fmt: skip
@pytest.mark.parametrize("text", [EVIL, "x\r", "x\x1b[2J", "x\u2028y", "x\0"])
def test_a_text_is_one_line(path: tuple[str, ...], text: str) -> None:
    data = to_jsonable_python(load_target("jetson"))
    with pytest.raises(InputError, match=r"visible letters|letters, digits"):
        validate(Target, changed(data, path, text), "a manifest")


@pytest.mark.parametrize("flag", ["--plugins=/tmp/evil.so", "touch ran", "--fp16 --x", "--a=$(x)", "-rf", EVIL])
def test_a_flag_loads_no_library(flag: str) -> None:
    data = to_jsonable_python(load_target("jetson"))
    with pytest.raises(InputError, match="is not a flag"):
        validate(Target, changed(data, ("toolchain", "build_flags"), {"int8": [flag]}), "a manifest")


def test_a_users_file_is_held_to_it(tmp_path: Path) -> None:
    (tmp_path / "mine.toml").write_text(
        'name = "mine"\ntitle = "Mine"\narch = "aarch64"\nbackend = "tensorrt"\nprecisions = ["fp32"]\n'
        '[toolchain]\nname = """6\ntouch ran"""\nopset = 17\nsource = "x"\n[toolchain.versions]\ntensorrt = "10.3"\n'
    )
    with pytest.raises(InputError, match=r"mine.toml: `toolchain.name`: the name .* is not letters"):
        load_target(str(tmp_path / "mine.toml"))

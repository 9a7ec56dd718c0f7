"""JSON and TOML of others: whatever lies there, one message names the file, and nothing is waited for or read whole."""

from __future__ import annotations

import os
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from edgepress.errors import EdgepressError, InputError, UnreadableError
from edgepress.exporter.bundle.manifest import load_bundle
from edgepress.exporter.bundle.reportables import load_reportable, load_search
from edgepress.exporter.recipe_file import load_recipe
from edgepress.exporter.sources.huggingface import load as load_directory
from edgepress.exporter.training.checkpoint import Position
from edgepress.profiles.budget.budget import Budget
from edgepress.profiles.device.target import load_target
from edgepress.profiles.findings.history import LONGEST, load_history
from edgepress.profiles.findings.profile import load_profile
from edgepress.profiles.reading import json_file, toml_file
from edgepress.profiles.reading.json_file import read_as, read_json

# Each reader, and the name that its file has.
READERS: dict[str, tuple[str, Callable[[Path], Any]]] = {
    "target": ("t.toml", lambda path: load_target(str(path))),
    "recipe": ("r.toml", load_recipe),
    "manifest": ("manifest.json", lambda path: load_bundle(path.parent)),
    "profile": ("p.json", load_profile),
    "report": ("r.json", load_reportable),
    "search": ("results.json", lambda path: load_search(path.parent, Budget())),
    "history": ("h.jsonl", load_history),
    "state": ("position.json", lambda path: read_as(path, Position, hint="")),
    "configuration": ("config.json", lambda path: load_directory(str(path.parent), trust=False)),
}
JSON = {
    "empty": b"",
    "cut": b'{"schema": 1, "kind"',
    "deep": b'{"schema":' + b"[" * 100_000,
    "deep-but-closed": b'{"a":' + b"[" * 985 + b"]" * 985 + b"}",
    "digits": b'{"schema": 1' + b"0" * 5000 + b"}",
    "latin": '{"schema": "é"}'.encode("latin-1"),
    "surrogate": b'{"architectures": ["\\ud800"], "schema": 1, "kind": "\\ud800"}',
}
TOML = {
    "cut": b'name = "mine',
    "deep": b"name = " + b"[" * 100_000,
    "digits": b"opset = 1" + b"0" * 5000,
    "long-key": b"a." * 2000 + b"a = 1",
    "longer-key": b"a." * 900 + b"a = 1",
    "endless-key": b"a." * 200_000 + b"a = 1",
    "latin": 'name = "é"'.encode("latin-1"),
}
CASES = [
    pytest.param(reader, data, id=f"{reader}-{fault}")
    for reader, (name, _) in READERS.items()
    for fault, data in (TOML if name.endswith("toml") else JSON).items()
    if (reader, fault) != ("history", "empty")  # a history of no runs yet
]


def refusal(reader: str, path: Path) -> str:
    with pytest.raises(EdgepressError) as caught:
        READERS[reader][1](path)
    message = str(caught.value)
    assert len(message) < 600, message
    assert message.isprintable() or all(line.isprintable() for line in message.splitlines()), message
    return message


@pytest.mark.parametrize(("reader", "data"), CASES)
def test_nonsense_is_one_message(tmp_path: Path, reader: str, data: bytes) -> None:
    path = tmp_path / READERS[reader][0]
    path.write_bytes(data)
    assert path.name in refusal(reader, path) or tmp_path.name in refusal(reader, path)


@pytest.mark.parametrize("reader", sorted(READERS.keys() - {"manifest", "search", "configuration"}))
@pytest.mark.parametrize("kind", ["pipe", "device", "folder"])
def test_what_is_no_regular_file_is_not_waited_for(tmp_path: Path, reader: str, kind: str) -> None:
    path = tmp_path / READERS[reader][0]
    if kind == "pipe":
        os.mkfifo(path)
    elif kind == "device":
        path.symlink_to("/dev/zero")
    else:
        path.mkdir()
    message = refusal(reader, path)
    assert path.name in message
    assert kind == "folder" or "no regular file" in message


@pytest.mark.parametrize(
    ("read", "most"), [(read_json, json_file.MOST), (toml_file.read_toml, toml_file.MOST)], ids=["json", "toml"]
)
def test_a_file_beyond_its_formats_size_is_not_read(tmp_path: Path, read: Callable[[Path], Any], most: int) -> None:
    with (tmp_path / "large").open("wb") as file:
        file.truncate(most + 1)
    with pytest.raises(UnreadableError, match=r"large cannot be read: it has \d+ MB"):
        read(tmp_path / "large")


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ('{"a": [1, {"b": NaN}]}', "`a.1.b` is nan, which is no finite number"),
        ('{"a": [1, -1e999]}', "`a.1` is -inf, which is no finite number"),
        ("Infinity", "it is inf"),
        (f'{{"a": [1, {1 << 64}]}}', "`a.1` is a whole number beyond 64 bits"),
        (f"[{-(1 << 63) - 1}]", "`0` is a whole number beyond 64 bits"),
        ('{"a\\udfff": 1}', "half of a character"),
    ],
)
def test_numbers_and_texts_that_nothing_can_be_done_with(tmp_path: Path, text: str, words: str) -> None:
    (tmp_path / "a.json").write_text(text)
    with pytest.raises(UnreadableError) as caught:
        read_json(tmp_path / "a.json")
    assert words in caught.value.message


def test_numbers_at_the_ends_of_their_ranges_are_read(tmp_path: Path) -> None:
    (tmp_path / "a.json").write_text(f"[{(1 << 64) - 1}, {-(1 << 63)}, 1.7976931348623157e308, true, null]")
    assert read_json(tmp_path / "a.json")[:2] == [(1 << 64) - 1, -(1 << 63)]


def test_a_number_in_a_target_that_is_not_finite_is_named(tmp_path: Path) -> None:
    (tmp_path / "t.toml").write_text('name = "mine"\n[figures.size]\nvalue = nan\n')
    with pytest.raises(InputError, match=r"`figures\.size\.value` is nan"):
        load_target(str(tmp_path / "t.toml"))


def test_a_configuration_of_another_program_may_say_infinity(tmp_path: Path) -> None:
    """Those of Mamba have `"time_step_limit": [0.0, Infinity]`."""
    (tmp_path / "config.json").write_text('{"time_step_limit": [0.0, Infinity], "architectures": []}')
    with pytest.raises(InputError, match="names no `architectures`"):
        load_directory(str(tmp_path), trust=False)


@pytest.mark.parametrize(
    ("line", "words"),
    [
        (b"[" * 5000, "nested too deeply"),
        (b'{"figures": 1e999}', "`figures` is inf"),
        (b'"' + b"x" * LONGEST + b'"', "more than 1 MB"),
    ],
    ids=["deep", "infinite", "long"],
)
def test_a_line_of_a_history_that_is_no_run_costs_that_line(tmp_path: Path, line: bytes, words: str) -> None:
    (tmp_path / "h.jsonl").write_bytes(line + b"\n")
    with pytest.raises(InputError, match=f"line 1: .*{words}"):
        load_history(tmp_path / "h.jsonl")


def test_what_a_device_reads_needs_no_host_tools() -> None:
    """In a fresh process: the readers of text come without torch, onnx or safetensors."""
    code = (
        "import sys, edgepress.profiles.reading.json_file, edgepress.profiles.reading.toml_file\n"
        "sys.exit(bool({'torch', 'onnx', 'safetensors', 'numpy'} & set(sys.modules)))"
    )
    assert subprocess.run([sys.executable, "-c", code], check=False).returncode == 0


def test_the_mark_that_some_editors_begin_a_file_with_is_no_part_of_it(tmp_path: Path) -> None:
    path = tmp_path / "r.toml"
    path.write_bytes(b'\xef\xbb\xbfprecision = "fp32"\r\n')
    assert load_recipe(path).precision == "fp32"

"""What a small file of another's may take: the worst that is read stays below 2 GB, and what would not is refused.

Each is read in a process of its own, whose largest memory is asked for at its end.
"""

from __future__ import annotations

import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import pytest

from edgepress.errors import UnreadableError
from edgepress.exporter.bundle.signature import LARGEST, SIGNATURE
from edgepress.profiles.findings import history
from edgepress.profiles.findings.history import load_history
from edgepress.profiles.reading import json_file
from edgepress.profiles.reading.json_file import MOST_MEMORY, decoded, read_json, reckoned
from edgepress.profiles.reading.toml_file import read_toml
from edgepress.profiles.reading.validator import validator

MOST_MB = 2000
BESIDE_MB = 100  # Python and what a reader imports
READ = """
import sys
from pathlib import Path
from edgepress.errors import EdgepressError
from edgepress.exporter.bundle.manifest import load_bundle
from edgepress.exporter.bundle.reportables import load_reportable
from edgepress.exporter.bundle.signature import check_signature
from edgepress.profiles.findings.history import load_history
from edgepress.profiles.reading.toml_file import read_toml

def unsigned(path):
    check_signature(path.parent, object())

kind, file = sys.argv[1], Path(sys.argv[2])
readers = {"manifest": lambda path: load_bundle(path.parent), "report": load_reportable, "history": load_history,
           "signature": unsigned, "toml": read_toml}
try:
    readers[kind](file)
except EdgepressError as error:
    print(error.message)
status = Path("/proc/self/status").read_text()  # getrusage has what was before exec, too
print(int(status.partition("VmHWM:")[2].split()[0]) // 1024)
"""
# Values that take many times their text, with what keeps them apart.
UNITS = ('[],', '{"":0},', '"ab",', '[[]],', '1.5,', '300,')  # fmt: skip
SLOW = pytest.mark.slow


def megabytes(kind: str, file: Path) -> tuple[int, str]:
    """The largest memory of a process that reads it, and what it says of it."""
    words = [sys.executable, "-c", READ, kind, str(file)]
    *said, peak = subprocess.run(words, capture_output=True, text=True, check=True, timeout=300).stdout.splitlines()
    return int(peak), "\n".join(said)


def worst(unit: str, most: int) -> bytes:
    """A list of as many of them as are still read from so many bytes."""
    head, tail = b'{"schema": 1, "kind": "edgepress profile", "model": [', b"0]}"
    count = min((most - len(head) - len(tail)) // len(unit), (MOST_MEMORY - 2000) // reckoned(unit.encode()))
    return head + unit.encode() * count + tail


@pytest.mark.parametrize(
    ("kind", "name", "unit"),
    [
        ("manifest", "manifest.json", "[],"),
        pytest.param("manifest", "manifest.json", '{"":0},', marks=SLOW),
        *(pytest.param("report", "p.json", unit, marks=SLOW) for unit in UNITS),
    ],
)
def test_the_worst_that_is_read(tmp_path: Path, kind: str, name: str, unit: str) -> None:
    file = tmp_path / name
    text = worst(unit, json_file.MOST if kind == "manifest" else json_file.MOST_SAMPLES)
    file.write_bytes(text)
    peak, said = megabytes(kind, file)
    assert "memory" not in said and file.name in said, "it is read, and then found to be no such file"
    assert peak < BESIDE_MB + (2 * len(text) + reckoned(text)) / 1e6, "what is reckoned is the most"
    assert peak < MOST_MB


@pytest.mark.parametrize("unit", UNITS[:2])
def test_what_would_take_more_is_refused_before_it_is_parsed(tmp_path: Path, unit: str) -> None:
    file = tmp_path / "a.json"
    file.write_bytes(b"[" + unit.encode() * (MOST_MEMORY // reckoned(unit.encode()) + 1) + b"0]")
    with pytest.raises(UnreadableError, match=r"its values may take 1\.1 GB of memory"):
        read_json(file)


def test_what_a_long_measurement_holds_is_read() -> None:
    """Two minutes of a model of ten microseconds, a sample each."""
    assert reckoned(b"[" + b"10234," * 12_000_000 + b"10234]") < MOST_MEMORY


@pytest.mark.parametrize("unit", ["[],", pytest.param('{"a":1},', marks=SLOW), pytest.param("0,", marks=SLOW)])
def test_the_worst_signature(tmp_path: Path, unit: str) -> None:
    """It is parsed before anybody knows whose it is."""
    text = ('{"mediaType":[' + unit * ((LARGEST - 20) // len(unit)) + "0]}").encode()
    assert LARGEST - 40 < len(text) <= LARGEST
    (tmp_path / SIGNATURE).write_bytes(text)
    peak, said = megabytes("signature", tmp_path / SIGNATURE)
    assert "is not a model signature by a key: `mediaType`" in said
    assert peak < MOST_MB // 2


def test_a_list_of_wrong_items_has_one_fault() -> None:
    from pydantic import ValidationError

    for kind, data in (
        (list[int], [[]] * 9),
        (tuple[int, ...], [[]] * 9),
        (dict[str, int], {"a": [], "b": [], "c": []}),
        (dict[str, list[list[int]]], {"a": [[1], [[], []]], "b": [1]}),
    ):
        with pytest.raises(ValidationError) as caught:
            validator(kind).validate_python(data)
        assert caught.value.error_count() == 1
    assert validator(dict[str, tuple[int, ...]]).validate_python({"a": [1, 2]}) == {"a": (1, 2)}


@pytest.mark.parametrize(
    ("line", "says"),
    [
        pytest.param(b"11\n", "line 1", id="numbers"),
        pytest.param(b'"' + b"x" * 90_000 + b'"\n', "line 1", id="texts", marks=SLOW),
        pytest.param(b"[" + b"[]," * 300_000 + b"0]\n", "memory", id="lists", marks=SLOW),
    ],
)
def test_a_history_of_nothing_but_cut_lines(tmp_path: Path, line: bytes, says: str) -> None:
    file = tmp_path / "h.jsonl"
    file.write_bytes(line * (history.MOST // len(line)))
    peak, said = megabytes("history", file)
    assert says in said
    assert peak < 500


def test_a_history_tells_of_the_lines_that_a_full_disk_cut(tmp_path: Path) -> None:
    (tmp_path / "h.jsonl").write_bytes(b"{\n" * (history.MOST_CUT + 1))
    with pytest.raises(Exception, match=r"h\.jsonl is no history: line 1: "):
        load_history(tmp_path / "h.jsonl")


TOML: dict[str, Callable[[int], bytes]] = {
    "key": lambda most: b"a." * (most // 2) + b"a = 1",
    "table": lambda most: b"[" + b"a." * (most // 2) + b"a]\n",
    "keys below a table": lambda most: b"[" + b"a." * 1000 + b"a]\n" + b"a.b = 1\n" * (most // 8),
    "many keys": lambda most: (b"a." * 500 + b"a = 1\n") * (most // 1007),
}


@pytest.mark.parametrize("shape", TOML)
def test_keys_of_thousands_of_parts_are_refused(tmp_path: Path, shape: str) -> None:
    """Python's reader takes 4 GB for the 64 kB of one."""
    file = tmp_path / "t.toml"
    file.write_bytes(TOML[shape](1 << 19))
    with pytest.raises(UnreadableError, match=r"t\.toml is not TOML: a line of it has \d+ dots"):
        read_toml(file)


def test_the_worst_key_that_is_read(tmp_path: Path) -> None:
    file = tmp_path / "t.toml"
    file.write_bytes(b"a." * 4094 + b"a = 1")
    peak, said = megabytes("toml", file)
    assert "nested too deeply" in said
    assert peak < 300


def test_a_line_of_numbers_is_read(tmp_path: Path) -> None:
    (tmp_path / "t.toml").write_text("scales = [" + "0.5, " * 4000 + "0.5]\n")
    assert len(read_toml(tmp_path / "t.toml")["scales"]) == 4001


def test_brackets_in_texts_are_texts() -> None:
    text = b'{"names": ["' + b"[{,:" * 1000 + b'"]}'
    assert len(decoded(text)["names"][0]) == 4000

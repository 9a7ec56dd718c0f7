"""A bundle exists whole or not at all, and its manifest says what lies in it."""

from __future__ import annotations

import itertools
import json
import math
import os
from collections.abc import Callable
from pathlib import Path
from threading import Event, Thread
from typing import Any

import numpy as np
import pytest

from edgepress.backends.base import AxisRange, TensorSpec
from edgepress.errors import InputError, VerificationError
from edgepress.exporter.bundle import directory
from edgepress.exporter.bundle.directory import check_destination, new_directory
from edgepress.exporter.bundle.manifest import (
    MANIFEST,
    Bundle,
    EngineEntry,
    Manifest,
    MeasuredEntry,
    ModelEntry,
    check_files,
    hash_files,
    load_bundle,
    sha256,
    write_manifest,
)
from edgepress.exporter.capture.golden import Golden
from edgepress.profiles.device.target import load_target
from edgepress.profiles.findings.evidence import Evidence

ENGINE = EngineEntry(backend="openvino", precision="int8", path="engine/model.bin")


@pytest.fixture
def bundle(tmp_path: Path) -> Bundle:
    """A directory with a few files and their manifest; no runtime is needed to check them."""
    return filled(tmp_path / "bundle")


def filled(path: Path, **changes: Any) -> Bundle:
    for name in ("model.onnx", "engine/model.bin", "report.md", "latency.npz"):
        (path / name).parent.mkdir(parents=True, exist_ok=True)
        (path / name).write_bytes(name.encode())
    spec = TensorSpec(name="image", dtype="float32", shape=("batch", 3))
    model = ModelEntry(
        name="net",
        source_kind="python",
        source_digest="0" * 64,
        graph_digest="1" * 64,
        opset=20,
        inputs=(spec,),
        outputs=(spec,),
        axes={"batch": AxisRange(smallest=1, usual=2, largest=32)},
    )
    files, measured_files = hash_files(path)
    evidence = Evidence(about="engine", claim="It ran", kind="measured", tool="a tool 1.0", machine="a machine")
    fields: dict[str, Any] = {
        "model": model,
        "target": load_target("cpu"),
        "recipe": {"seed": 0},
        "engine": ENGINE,
        "minimum_sqnr_db": 19.5,
        "files": files,
        "tools": {"numpy": "2"},
        "measured": MeasuredEntry(date="now", evidence=(evidence,), metrics={}, environment={}, files=measured_files),
    }
    write_manifest(path, Manifest(**{**fields, **changes}))
    return load_bundle(path)


def test_a_manifest_comes_back_as_it_was_written(bundle: Bundle, tmp_path: Path) -> None:
    text = (bundle.path / MANIFEST).read_bytes()
    write_manifest(tmp_path, bundle.manifest)
    assert (tmp_path / MANIFEST).read_bytes() == text
    assert load_bundle(tmp_path).manifest == bundle.manifest
    assert bundle.graph.inputs[0].shape == ("batch", 3)
    assert bundle.graph.axes["batch"].largest == 32
    assert bundle.engine is not None
    assert bundle.engine.path == bundle.path / "engine/model.bin"


def test_what_was_measured_is_hashed_apart_from_what_is_reproduced(bundle: Bundle) -> None:
    assert set(bundle.manifest.files) == {"model.onnx", "engine/model.bin"}
    assert set(bundle.manifest.measured.files) == {"report.md", "latency.npz"}
    assert check_files(bundle) == 4


def test_every_fault_is_named_at_once(bundle: Bundle) -> None:
    (bundle.path / "model.onnx").write_bytes(b"MODEL.ONNX")
    (bundle.path / "report.md").unlink()
    (bundle.path / "engine" / MANIFEST).write_text("{}")
    with pytest.raises(VerificationError) as caught:
        check_files(bundle)
    for fault in ("model.onnx was changed", "report.md is missing", f"engine/{MANIFEST} is not in the manifest"):
        assert fault in str(caught.value)


@pytest.mark.parametrize("path", ["/etc/hostname", "../other/engine.bin", "engine/other.bin"])
def test_an_engine_that_the_manifest_does_not_vouch_for(tmp_path: Path, path: str) -> None:
    engine = EngineEntry(backend="openvino", precision="int8", path=path)
    with pytest.raises(VerificationError, match="not among the manifest's files"):
        check_files(filled(tmp_path / "bundle", engine=engine))


def test_an_engine_that_is_not_built_yet_has_no_path(tmp_path: Path) -> None:
    engine = EngineEntry(backend="tensorrt", precision="int8", path=None, why="not built here, because of x")
    found = filled(tmp_path / "bundle", engine=engine)
    assert found.engine is None
    assert check_files(found) == 4


def test_a_number_that_is_none_is_not_written(tmp_path: Path) -> None:
    with pytest.raises(ValueError, match="JSON"):
        filled(tmp_path / "bundle", minimum_sqnr_db=math.nan)


@pytest.mark.parametrize(
    ("text", "says"),
    [
        ("", "cannot be read"),
        ("[]", "schema None"),
        ('{"schema": 2}', "schema 2"),
        ('{"schema": 1}', "`model`"),
        ("\xff", "cannot be read"),
    ],
)
def test_what_is_no_manifest(tmp_path: Path, text: str, says: str) -> None:
    (tmp_path / MANIFEST).write_text(text, encoding="latin-1")
    with pytest.raises(InputError, match=says):
        load_bundle(tmp_path)


def test_a_hash_does_not_depend_on_the_block_it_is_read_in(tmp_path: Path) -> None:
    import hashlib

    data = os.urandom((1 << 20) + 7)
    (tmp_path / "file").write_bytes(data)
    assert sha256(tmp_path / "file") == hashlib.sha256(data).hexdigest()


# Whole or not at all


def listed(directory: Path) -> list[str]:
    return sorted(str(path.relative_to(directory)) for path in directory.rglob("*"))


def test_a_directory_appears_when_it_is_whole(tmp_path: Path) -> None:
    destination = tmp_path / "out" / "net-cpu"
    with new_directory(destination, force=False) as work:
        (work / "file").write_text("new")
        assert not destination.exists()
    assert listed(tmp_path) == ["out", "out/net-cpu", "out/net-cpu/file"]


@pytest.mark.parametrize("error", [ValueError, KeyboardInterrupt, SystemExit])
def test_a_directory_that_fails_leaves_nothing_not_even_its_parents(tmp_path: Path, error: type[BaseException]) -> None:
    with pytest.raises(error), new_directory(tmp_path / "a" / "b" / "net-cpu", force=False) as work:
        (work / "file").write_text("half")
        raise error
    assert listed(tmp_path) == []


def test_parents_that_others_use_stay(tmp_path: Path) -> None:
    with pytest.raises(ValueError, match="x"), new_directory(tmp_path / "out" / "net-cpu", force=False):
        (tmp_path / "out" / "of-another-process").write_text("")
        raise ValueError("x")
    assert listed(tmp_path) == ["out", "out/of-another-process"]


@pytest.fixture
def replaced(bundle: Bundle) -> Callable[[], None]:
    """Replaces the bundle by a new directory."""

    def replace() -> None:
        with new_directory(bundle.path, force=True) as work:
            (work / "file").write_text("new")

    return replace


def test_a_replaced_bundle_keeps_nothing_of_the_old_one(bundle: Bundle, replaced: Callable[[], None]) -> None:
    replaced()
    assert listed(bundle.path.parent) == ["bundle", "bundle/file"]


def test_at_no_moment_is_there_no_bundle(bundle: Bundle) -> None:
    missed, ended = [], Event()

    def look() -> None:
        while not ended.is_set():
            missed.extend([] if bundle.path.exists() else [1])

    looking = Thread(target=look)
    looking.start()
    for _ in range(200):
        with new_directory(bundle.path, force=True) as work:
            (work / "manifest.json").write_text("{}")
    ended.set()
    looking.join()
    assert missed == []


def test_what_came_meanwhile_is_not_replaced_unasked(tmp_path: Path) -> None:
    destination = tmp_path / "net-cpu"
    with pytest.raises(InputError, match="came while"), new_directory(destination, force=False) as work:
        (work / "file").write_text("second")
        destination.mkdir()
        (destination / "file").write_text("first")
    assert (destination / "file").read_text() == "first"
    assert listed(tmp_path) == ["net-cpu", "net-cpu/file"]


def test_of_two_that_write_to_one_place_the_second_is_refused_unless_forced(tmp_path: Path) -> None:
    destination = tmp_path / "net-cpu"
    with new_directory(destination, force=False) as first:
        with pytest.raises(InputError, match="Another process is writing"), new_directory(destination, force=False):
            pass
        with new_directory(tmp_path / "net-rtx", force=False):
            pass
        (first / "manifest.json").write_text("first")
    with new_directory(destination, force=True) as first, new_directory(destination, force=True) as second:
        for work in (first, second):
            (work / "manifest.json").write_text(work.parent.name)
        last = first.parent.name
    assert (destination / "manifest.json").read_text() == last
    assert listed(tmp_path) == ["net-cpu", "net-cpu/manifest.json", "net-rtx"]


@pytest.mark.parametrize("mask", [0o022, 0o027, 0o077])
def test_a_directory_is_as_open_as_the_umask_says(tmp_path: Path, mask: int) -> None:
    before = os.umask(mask)
    try:
        with new_directory(tmp_path / "net-cpu", force=False):
            pass
    finally:
        os.umask(before)
    assert (tmp_path / "net-cpu").stat().st_mode & 0o777 == 0o777 & ~mask


@pytest.mark.parametrize("error", [OSError, KeyboardInterrupt])
@pytest.mark.parametrize("at", [1, 2])
def test_the_old_bundle_is_back_whatever_rename_fails(
    bundle: Bundle, replaced: Callable[[], None], monkeypatch: pytest.MonkeyPatch, error: type[BaseException], at: int
) -> None:
    """Where the file system cannot let two directories change places."""
    monkeypatch.setattr(directory, "exchanged", lambda first, second: False)
    calls, rename = [], Path.rename

    def failing(self: Path, target: Path) -> Path:
        calls.append(target)
        if len(calls) == at:
            raise error("at the worst moment")
        return rename(self, target)

    before = listed(bundle.path.parent)
    monkeypatch.setattr(Path, "rename", failing)
    with pytest.raises(error, match="at the worst moment"):
        replaced()
    assert listed(bundle.path.parent) == before
    assert check_files(bundle) == 4


def test_what_is_no_bundle_is_not_said_to_be_replaced_by_force(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    with pytest.raises(InputError, match="is not a bundle; --force replaces bundles only") as caught:
        check_destination(tmp_path / "file", force=False)
    assert caught.value.hint == "Move it away, or choose another --output."


def test_what_exists_is_replaced_only_when_asked_and_only_if_it_is_a_bundle(bundle: Bundle, tmp_path: Path) -> None:
    with pytest.raises(InputError, match="exists"), new_directory(bundle.path, force=False):
        pass
    (tmp_path / "thesis").mkdir()
    (tmp_path / "thesis" / "text").write_text("years")
    for precious in (tmp_path / "thesis", tmp_path / "thesis" / "text"):
        with pytest.raises(InputError, match="not a bundle"), new_directory(precious, force=True):
            pass
    (tmp_path / "dangling").symlink_to(tmp_path / "nowhere")
    with pytest.raises(InputError, match="not a bundle"), new_directory(tmp_path / "dangling", force=True):
        pass
    with pytest.raises(InputError, match=r"dangling is not a writable directory"):
        check_destination(tmp_path / "dangling" / "net-cpu", force=False)
    (tmp_path / "empty").mkdir()
    with new_directory(tmp_path / "empty", force=True) as work:
        (work / "file").write_text("new")
    assert (tmp_path / "empty" / "file").exists()


def test_a_parent_that_is_a_file(bundle: Bundle) -> None:
    below = bundle.path / "model.onnx" / "deep" / "net"
    with pytest.raises(InputError, match="not a writable directory"), new_directory(below, force=False):
        pass


# Golden data


def test_golden_data_come_back_in_order_and_give_the_same_bytes(tmp_path: Path) -> None:
    rng = np.random.default_rng(0)
    feeds = tuple({"a.b": rng.random((2, 3), np.float32), "ids": rng.integers(0, 9, (2,))} for _ in range(11))
    outputs = tuple({"out": feed["a.b"] * 2} for feed in feeds)
    golden = Golden(feeds=feeds, outputs=outputs)
    for name in ("one", "two"):
        golden.save(tmp_path / name)
    for file in ("inputs.npz", "outputs.npz"):
        assert (tmp_path / "one" / file).read_bytes() == (tmp_path / "two" / file).read_bytes()
    back = Golden.load(tmp_path / "one")
    for one, two in zip((*feeds, *outputs), (*back.feeds, *back.outputs), strict=True):
        assert one.keys() == two.keys()
        assert all(np.array_equal(one[n], two[n]) and one[n].dtype == two[n].dtype for n in one)
    assert golden.compare(golden.answers(lambda feed: {"out": feed["a.b"] * 2}))["out"].max_abs == 0


@pytest.mark.parametrize("text", [None, b"", b"PK\x03\x04", b"not a zip"])
def test_golden_data_that_cannot_be_read(tmp_path: Path, text: bytes | None) -> None:
    Golden(feeds=({"a": np.zeros(1)},), outputs=({"a": np.zeros(1)},)).save(tmp_path)
    (tmp_path / "outputs.npz").unlink()
    if text is not None:
        (tmp_path / "outputs.npz").write_bytes(text)
    with pytest.raises(VerificationError, match=r"outputs\.npz cannot be read"):
        Golden.load(tmp_path)


@pytest.mark.parametrize("name", ["inputs.npz", "outputs.npz", "graph.npz"])
@pytest.mark.parametrize("at", [0, 2])
@pytest.mark.parametrize("other", [None, "1.x", "7.a"])
def test_golden_data_of_which_an_array_is_lost_or_renamed(
    tmp_path: Path, name: str, at: int, other: str | None
) -> None:
    each = tuple({"a": np.zeros(1), "b": np.ones(1)} for _ in range(3))
    Golden(feeds=each, outputs=each, graph=each).save(tmp_path)
    with np.load(tmp_path / name) as file:
        arrays = dict(file)
    lost = arrays.pop(f"{at}.a")
    np.savez(tmp_path / name, **arrays, **({} if other is None else {other: lost}))
    with pytest.raises(VerificationError, match=name):
        Golden.load(tmp_path)


@pytest.mark.parametrize("name", ["inputs.npz", "outputs.npz", "graph.npz"])
def test_golden_data_of_which_a_whole_feed_is_lost(tmp_path: Path, name: str) -> None:
    each = tuple({"a": np.zeros(1)} for _ in range(3))
    Golden(feeds=each, outputs=each, graph=each).save(tmp_path)
    np.savez(tmp_path / name, **{"0.a": np.zeros(1), "1.a": np.zeros(1)})
    with pytest.raises(VerificationError, match="some are missing"):
        Golden.load(tmp_path)


# What else may lie in a bundle, or stand in its manifest


def planted(kind: str, place: Path, elsewhere: Path) -> None:
    if kind == "fifo":
        os.mkfifo(place)
    else:
        elsewhere.mkdir()
        (elsewhere / "model.onnx").write_bytes(b"x")
        place.symlink_to(elsewhere if kind == "linked directory" else elsewhere / "model.onnx")


@pytest.mark.parametrize("kind", ["fifo", "link", "linked directory"])
def test_only_files_and_directories_lie_in_a_bundle(bundle: Bundle, tmp_path: Path, kind: str) -> None:
    planted(kind, bundle.path / "extra", tmp_path / "elsewhere")
    with pytest.raises(VerificationError, match=r"extra is (a link|no regular file)"):
        check_files(bundle)


@pytest.mark.parametrize(
    ("key", "bound"),
    [
        *itertools.product(["minimum_sqnr_db", "minimum_graph_db"], ["NaN", "-Infinity", "Infinity", "-1e300", "true"]),
        ("minimum_graph_db", "-1"),
    ],
)
def test_a_bound_is_a_number_that_can_be_missed(bundle: Bundle, key: str, bound: str) -> None:
    path = bundle.path / "manifest.json"
    data = json.loads(path.read_text())
    data[key] = "BOUND"
    path.write_text(json.dumps(data).replace('"BOUND"', bound))
    with pytest.raises(InputError, match=f"`{key}`"):
        load_bundle(bundle.path)


def test_its_target_is_held_to_the_rules_of_a_target_s_file(bundle: Bundle) -> None:
    path = bundle.path / MANIFEST
    data = json.loads(path.read_text())
    data["target"]["scheme"] = None
    path.write_text(json.dumps(data))
    with pytest.raises(InputError, match=r"Target of .*manifest\.json: int8 and `scheme` go together"):
        load_bundle(bundle.path)

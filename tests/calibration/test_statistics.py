import json
import os
import random
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from safetensors import safe_open
from safetensors.numpy import save_file

from edgepress.calibration import exact, loggrid
from edgepress.calibration.statistics import NO_DATA, Channels, Statistics, TensorStatistics, add_digests, digest
from edgepress.calibration.storage import load_statistics, save_statistics
from edgepress.errors import InputError

LAST = Channels(axis=-1, spread=True)
finite = st.floats(-(2.0**100), 2.0**100, width=32)


def bits(state):
    """Every number of a state, so that equality means the same to the last bit."""
    c = state.channels
    return (
        state.count,
        state.minimum,
        state.maximum,
        state.histogram.tobytes(),
        c and (c.axis, c.count, c.minimum.tobytes(), c.maximum.tobytes(), c.total.tobytes(), c.square.tobytes()),
    )


def statistics(tensors, samples=1, graph="model", data=NO_DATA):
    return Statistics(graph=graph, samples=samples, data=data, tensors=tensors)


@given(
    st.lists(st.lists(st.lists(finite, min_size=3, max_size=3), min_size=1, max_size=4), min_size=2, max_size=6),
    st.randoms(),
)
def test_any_order_and_grouping_of_batches_gives_the_same_state(batches, rng):
    states = [TensorStatistics.of(np.asarray(batch, np.float32), LAST) for batch in batches]
    left = states[0]
    for state in states[1:]:
        left = left.merge(state)
    pool = list(states)
    while len(pool) > 1:  # a random tree of merges
        rng.shuffle(pool)
        pool.append(pool.pop().merge(pool.pop()))
    assert bits(pool[0]) == bits(left)


@given(st.lists(st.floats(-(2.0**126), 2.0**126, width=32), min_size=1, max_size=50))
def test_exact_sums_are_the_correctly_rounded_sum(values):
    import math

    parts = sum(exact.limbs(np.asarray([[v]], np.float32)) for v in values)
    # what is below 2**-120 is dropped, which is nothing beside any activation
    assert exact.value(parts)[0] == pytest.approx(math.fsum(values), rel=1e-15, abs=len(values) * 2.0**-119)


def counts(*values):
    return TensorStatistics.of(np.asarray(values, np.float32)).histogram


def test_the_log_grid_puts_each_value_into_a_bin_within_a_sixteenth():
    values = np.concatenate([np.geomspace(1e-30, 1e30, 999), -np.geomspace(1e-30, 1e30, 999)]).astype(np.float32)
    for value in values:
        (bin_,) = np.flatnonzero(counts(value))
        assert abs(loggrid.centers()[bin_] - value) <= abs(value) / 16
    assert counts(*values).sum() == len(values)
    assert loggrid.centers()[np.flatnonzero(counts(0.0, -0.0))].tolist() == [0, 0]


def test_channels_hold_what_numpy_says():
    array = np.random.default_rng(0).normal(size=(4, 3, 5, 5)).astype(np.float32)
    found = TensorStatistics.of(array, Channels(axis=1, spread=True)).channels
    flat = np.moveaxis(array, 1, 0).reshape(3, -1).astype(np.float64)
    np.testing.assert_array_equal(found.minimum, flat.min(1))
    np.testing.assert_array_equal(found.largest(), np.abs(flat).max(1))
    np.testing.assert_allclose(found.mean(), flat.mean(1), rtol=1e-5)
    np.testing.assert_allclose(found.mean_square(), (flat**2).mean(1), rtol=1e-6)


def test_a_file_gives_back_every_bit_and_holds_no_sample(tmp_path):
    array = np.random.default_rng(1).normal(size=(64, 8)).astype(np.float32)
    before = statistics(
        {"a": TensorStatistics.of(array, LAST), "b/c": TensorStatistics.of(array)}, 64, data=digest({"x": array})
    )
    save_statistics(before, tmp_path / "site.stats")
    after = load_statistics(tmp_path / "site.stats")
    assert (after.graph, after.samples, after.data) == (before.graph, before.samples, before.data)
    assert {n: bits(s) for n, s in after.tensors.items()} == {n: bits(s) for n, s in before.tensors.items()}
    content = (tmp_path / "site.stats").read_bytes()
    assert not any(row.tobytes() in content for row in array)


EDITS = {
    "its checksum is of other content": lambda arrays, tensors: arrays["0.extremes"].__imul__(2),
    "its values reach from nan": lambda arrays, tensors: arrays["0.extremes"].fill(np.nan),
    "its values reach from 1 to -1": lambda arrays, tensors: arrays["0.extremes"].__setitem__(slice(None), (1, -1)),
    "counts 0 elements, it has 512": lambda arrays, tensors: arrays["0.histogram"].fill(0),
    "is empty where its extremes are": lambda arrays, tensors: arrays["0.extremes"].__imul__(1000),
    "it counts 0 elements": lambda arrays, tensors: tensors["a"].update(count=0),
    "it counts '512' elements": lambda arrays, tensors: tensors["a"].update(count="512"),
    "its channels are of axis '1'": lambda arrays, tensors: tensors["a"].update(axis="1"),
    "its 8 channels of 3 elements": lambda arrays, tensors: tensors["a"].update(channel_count=3),
    "the extremes of its channels": lambda arrays, tensors: arrays["0.channel_extremes"].__imul__(0),
    "KeyError": lambda arrays, tensors: arrays.pop("0.channel_total"),
}


@pytest.mark.parametrize("said", EDITS)
def test_what_no_array_leaves_is_not_read(tmp_path, said):
    path = tmp_path / "x.stats"
    array = np.random.default_rng(1).normal(size=(64, 8)).astype(np.float32)
    save_statistics(statistics({"a": TensorStatistics.of(array, LAST)}, 64), path)
    with safe_open(path, framework="numpy") as file:
        header, arrays = file.metadata(), {name: file.get_tensor(name).copy() for name in file.keys()}  # noqa: SIM118
    tensors = json.loads(header["tensors"])
    EDITS[said](arrays, tensors)
    header["tensors"] = json.dumps(tensors)
    if "checksum" not in said:
        del header["checksum"]  # as an earlier version wrote it, or somebody who means it
    save_file(arrays, path, metadata=header)
    with pytest.raises(InputError, match=said):
        load_statistics(path)


def test_zeros_of_either_sign_are_sound(tmp_path):
    for index, value in enumerate((0.0, -0.0)):
        path = tmp_path / f"{index}.stats"
        save_statistics(statistics({"a": TensorStatistics.of(np.full((4, 2), value, np.float32), LAST)}), path)
        load_statistics(path)


def test_what_does_not_belong_together_does_not_merge():
    one = statistics({"x": TensorStatistics.of(np.ones(3))})
    with pytest.raises(InputError, match="different models"):
        one.merge(statistics(one.tensors, graph="other"))
    with pytest.raises(InputError, match="different tensors"):
        one.merge(statistics({"y": one.tensors["x"]}))
    with pytest.raises(InputError, match="different channels"):
        one.merge(statistics({"x": TensorStatistics.of(np.ones((3, 1)), LAST)}))


def test_the_data_digest_does_not_depend_on_order():
    feeds = [{"x": np.full(2, i)} for i in range(5)]
    sums = []
    for seed in (0, 1):
        random.Random(seed).shuffle(feeds)
        total = NO_DATA
        for feed in feeds:
            total = add_digests(total, digest(feed))
        sums.append(total)
    assert sums[0] == sums[1] != add_digests(sums[0], digest(feeds[0]))


@pytest.mark.parametrize("content", [b"", b"not statistics", b"\x08\x00\x00\x00\x00\x00\x00\x00{}      "])
def test_a_file_that_is_something_else_is_one_clear_error(tmp_path, content):
    (tmp_path / "x.stats").write_bytes(content)
    with pytest.raises(InputError, match=r"x\.stats is"):
        load_statistics(tmp_path / "x.stats")


def test_a_truncated_file_and_another_version_are_refused(tmp_path):
    path = tmp_path / "x.stats"
    save_statistics(statistics({"x": TensorStatistics.of(np.ones(3))}), path)
    whole = path.read_bytes()
    path.write_bytes(whole[:-10])
    with pytest.raises(InputError, match="truncated"):
        load_statistics(path)
    path.write_bytes(whole.replace(b'"version":"1"', b'"version":"9"'))
    with pytest.raises(InputError, match="version 9; this edgepress reads edgepress-statistics version 1"):
        load_statistics(path)
    with pytest.raises(InputError, match="does not exist"):
        load_statistics(tmp_path / "y.stats")


def with_header(path: Path, change: Callable[[dict[str, Any]], None], data: bytes = b"") -> Path:
    """A safetensors file whose header was changed."""
    save_statistics(statistics({"x": TensorStatistics.of(np.ones(3))}), path)
    whole = path.read_bytes()
    end = 8 + int.from_bytes(whole[:8], "little")
    header = json.loads(whole[8:end])
    change(header)
    text = json.dumps(header).encode()
    path.write_bytes(len(text).to_bytes(8, "little") + text + whole[end:] + data)
    return path


def with_tensors(text: str) -> Callable[[dict[str, Any]], None]:
    """Another list of tensors, and no checksum, as files of earlier versions have none."""

    def change(header: dict[str, Any]) -> None:
        del header["__metadata__"]["checksum"]
        header["__metadata__"]["tensors"] = text

    return change


@pytest.mark.parametrize(
    "text",
    [
        "[" * 100_000,
        "[]",
        '{"x": 3}',
        '{"x": {"index": 0, "count": 1' + "0" * 5000 + "}}",
        '{"x": {"index": 0, "count": 1' + "0" * 400 + "}}",
        '{"x": {"index": 0, "count": NaN}}',
        '{"x": {"index": [], "count": 3}}',
        '{"x": {"index": 0, "count": 3, "axis": 0, "channel_count": 1}}',
    ],
    ids=lambda text: text[:40],
)
def test_a_list_of_tensors_that_is_nonsense_is_one_clear_error(tmp_path: Path, text: str) -> None:
    with pytest.raises(InputError, match=r"x\.stats") as caught:
        load_statistics(with_header(tmp_path / "x.stats", with_tensors(text)))
    assert len(str(caught.value)) < 500


@pytest.mark.parametrize(
    ("kind", "shape", "end"), [("F64", [1 << 50], 1 << 53), ("F64", [2], 1 << 53), ("BF16", [8], 16), ("F4", [32], 16)]
)
def test_a_header_of_safetensors_that_lies_takes_no_memory(
    tmp_path: Path, kind: str, shape: list[int], end: int
) -> None:
    def change(header: dict[str, Any]) -> None:
        header["0.extremes"].update(dtype=kind, shape=shape, data_offsets=[0, end])

    with pytest.raises(InputError, match=r"x\.stats"):
        load_statistics(with_header(tmp_path / "x.stats", change))


def test_statistics_are_not_waited_for(tmp_path: Path) -> None:
    os.mkfifo(tmp_path / "x.stats")
    with pytest.raises(InputError, match="no regular file"):
        load_statistics(tmp_path / "x.stats")

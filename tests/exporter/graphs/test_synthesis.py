from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import numpy as np
import onnx
import pytest
from onnx import TensorProto, helper, numpy_helper

from edgepress.backends.base import TensorSpec
from edgepress.errors import InputError
from edgepress.exporter.graphs.masks import FilledPart
from edgepress.exporter.graphs.synthesis import Look, synthesize, synthesize_from_specs
from edgepress.exporter.sources import load_source

RNG = np.random.default_rng(1)
EXAMPLE = {
    "image": RNG.uniform(0.2, 0.9, (2, 3, 32, 32)).astype(np.float32),
    "ids": RNG.integers(3, 40, (2, 12)),
    "mask": np.array([[1] * 12, [1] * 5 + [0] * 7]),
    "kind": np.zeros((2, 12), np.int64),
    "flags": np.array([[True, False, True]] * 2),
    "pixels": RNG.integers(0, 256, (2, 8, 8, 3), dtype=np.uint8),
}
DYNAMIC = {"image": {0: "batch"}, "ids": {0: "batch", 1: "length"}, "mask": {0: "batch", 1: "length"}}


def test_the_same_seed_gives_the_same_feed_and_another_seed_another() -> None:
    one, same, other = (synthesize(EXAMPLE, DYNAMIC, None, seed) for seed in (3, 3, 4))
    assert all(np.array_equal(one[name], same[name]) for name in EXAMPLE)
    assert not np.array_equal(one["image"], other["image"])


def test_form_and_range_are_the_examples_and_its_data_are_not() -> None:
    made = synthesize(EXAMPLE, DYNAMIC, {"batch": 50, "length": 20}, 0)
    assert made["image"].shape == (50, 3, 32, 32)
    assert made["ids"].shape == made["mask"].shape == (50, 20)
    assert made["flags"].shape == (2, 3)
    for name, array in EXAMPLE.items():
        assert made[name].dtype == array.dtype
        assert made[name].min() >= array.min()
        assert made[name].max() <= array.max()
    assert abs(made["image"].mean() - EXAMPLE["image"].mean()) < 0.05
    inside = made["image"][(made["image"] > EXAMPLE["image"].min()) & (made["image"] < EXAMPLE["image"].max())]
    assert np.isin(inside, EXAMPLE["image"]).mean() < 0.01


def test_images_are_smooth_and_features_are_not() -> None:
    image = synthesize(EXAMPLE, DYNAMIC, {"batch": 8}, 0)["image"]
    assert np.corrcoef(image[..., :-1].reshape(-1), image[..., 1:].reshape(-1))[0, 1] > 0.6
    flat = synthesize({"x": np.linspace(0, 1, 2000, dtype=np.float32).reshape(2, 1000)}, {}, None, 0)["x"]
    assert abs(np.corrcoef(flat[:, :-1].reshape(-1), flat[:, 1:].reshape(-1))[0, 1]) < 0.15


def test_a_padding_mask_stays_one_and_constants_stay() -> None:
    made = synthesize(EXAMPLE, DYNAMIC, {"batch": 40, "length": 9}, 0)
    lengths = made["mask"].sum(axis=1)
    assert (np.diff(made["mask"], axis=1) <= 0).all()
    assert lengths.min() >= 1
    assert len(set(lengths.tolist())) > 4
    assert not made["kind"].any()


@pytest.mark.parametrize("places", [1, 2, 9])
@pytest.mark.parametrize(
    ("rows", "dtype", "kept"),
    [
        ([[0, 0, 0], [0, 0, 1]], bool, 0),  # what to leave out, at the end
        ([[0, 1, 1], [0, 0, 1]], bool, 0),
        ([[1, 1, 1], [0, 0, 1]], np.int64, 1),  # what is filled, at the end
        ([[0, 1, 1], [0, 0, 1]], np.float32, 1),
        ([[1, 1, 1], [1, 0, 0]], np.int64, 1),
    ],
)
def test_a_mask_leaves_something_of_every_sample(rows, dtype, kept, places) -> None:
    """A softmax over nothing is no number, so that the model itself would be refused for it."""
    example, axes = {"mask": np.array(rows).astype(dtype)}, {"mask": {0: "batch", 1: "length"}}
    made = synthesize(example, axes, {"batch": 40, "length": places}, 0)["mask"]
    assert made.dtype == dtype and (made == kept).any(axis=1).all()
    assert (np.diff(made.astype(int), axis=1) != 0).sum(axis=1).max(initial=0) <= 1
    if places == 9:
        assert len(set(made.sum(axis=1).tolist())) > 4
    looked = (
        Look.of(example["mask"])
        .with_more(example["mask"])
        .sample((40, places), np.dtype(dtype), np.random.default_rng(2))
    )
    assert (looked == kept).any(axis=1).all()


@pytest.mark.parametrize("free", [{0: "batch"}, {0: "batch", 2: "length"}, {}])
def test_places_in_tables_of_several_sizes_stay_within_each(free) -> None:
    """As in recommenders, whose columns are looked up in one table each."""
    ids = np.stack([RNG.integers(0, size, (2, 4)) for size in (5, 900, 30)], axis=1)
    made = synthesize({"ids": ids}, {"ids": free}, {"batch": 200, "length": 9}, 0)["ids"]
    top = ids.max(axis=(0, 2) if 2 in free else 0)
    assert (made <= (top[:, None] if 2 in free else top)).all() and made.min() >= ids.min()
    if free:
        assert made[:, 1].max() > 0.9 * top[1].min() and len(np.unique(made[:, 1])) > 50
    below = synthesize({"ids": ids - [[[0], [1], [0]]]}, {"ids": free}, {"batch": 200}, 0)["ids"]
    assert below[:, [0, 2]].min() >= 0


def test_a_free_axis_has_one_range() -> None:
    ids = np.array([[1, 2, 900], [3, 4, 5]])
    made = synthesize({"ids": ids}, {"ids": {0: "batch", 1: "length"}}, {"batch": 50}, 0)["ids"]
    assert made[:, 0].max() > 500


@pytest.mark.parametrize("rows", [[[0, 1, 0], [0, 0, 1]], [[0, 0, 0], [0, 0, 0]]])
def test_what_only_looks_like_a_mask_is_no_filled_part(rows) -> None:
    assert FilledPart.of(np.array(rows)) is None
    assert FilledPart.of(np.array([[0, 1, 1], [0, 0, 1]])).with_more(np.array([[0, 1, 0]])) is None


def test_a_full_batch_does_not_hide_where_masks_begin() -> None:
    full, padded = np.ones((2, 4)), np.array([[0, 0, 1, 1], [1, 1, 1, 1]])
    found = FilledPart.of(full).with_more(padded)
    assert found is not None and found.rising and not found.falling and found.last


def test_values_that_are_not_finite_or_nothing_at_all_do_not_break_it() -> None:
    odd = {"x": np.array([[np.nan, 1.0, 3.0, -np.inf]], np.float16), "none": np.zeros((0, 3), np.float32)}
    made = synthesize(odd, {}, None, 0)
    assert np.isfinite(made["x"]).all()
    assert made["none"].shape == (0, 3)


def test_specs_alone_give_ids_that_any_table_has() -> None:
    specs = [
        TensorSpec(name="input_ids", dtype="int64", shape=("b", "s")),
        TensorSpec(name="attention_mask", dtype="int64", shape=("b", "s")),
        TensorSpec(name="x", dtype="float32", shape=(1, 3, "h", 8)),
    ]
    made = synthesize_from_specs(specs, seed=0)
    assert set(np.unique(made["input_ids"])) == {0, 1}
    assert made["attention_mask"].shape == (2, 16)
    assert made["attention_mask"].all()
    assert made["x"].shape == (1, 3, 16, 8)


def test_strings_are_refused() -> None:
    with pytest.raises(InputError, match="'text' is"):
        synthesize({"text": np.array(["a"])}, {}, None, 0)
    with pytest.raises(InputError, match="'text' is text; expected a float"):
        synthesize_from_specs([TensorSpec(name="text", dtype="object", shape=(1,))], 0)


@pytest.mark.parametrize("size", [2**31, 2**40, 2**63 - 1])
def test_a_feed_that_would_fill_the_memory_is_refused(size: int) -> None:
    spec = TensorSpec(name="image", dtype="float32", shape=("batch", size))
    with pytest.raises(InputError, match=r"'image' has shape \(2, \d+\): .* values in one feed"):
        synthesize_from_specs([spec], 0)
    with pytest.raises(InputError, match="values in one feed"):
        synthesize({"image": np.zeros((2, 2), np.float32)}, {"image": {1: "width"}}, {"width": size}, 0)


@pytest.mark.parametrize("shape", [(2, 8), (2, 5, 8), (2, 8, 4, 4)])
def test_columns_of_a_table_keep_their_sizes(shape) -> None:
    sizes = np.array([1, 1, 1, 500, 1, 1, 0.02, 1])
    axis = 1 if len(shape) in (2, 4) else 2
    along = [-1 if place == axis else 1 for place in range(len(shape))]
    noise = np.random.default_rng(5).standard_normal((16, *shape))
    data = (noise * sizes.reshape(along) + (1e4 * (sizes == 500)).reshape(along)).astype(np.float32)
    specs = [TensorSpec(name="x", dtype="float32", shape=shape)]
    look = Look.of(data[0])
    for batch in data[1:]:
        look = look.with_more(batch)
    many = {"batch": 64}
    for made, seen in (
        (synthesize({"x": data[0]}, {"x": {0: "batch"}}, many, 0)["x"], data[0]),
        (synthesize_from_specs([replace(specs[0], shape=("batch", *shape[1:]))], 0, many, {"x": look})["x"], data),
    ):
        rows = np.moveaxis(made, axis, 0).reshape(8, -1)
        right = np.moveaxis(data, axis + 1, 0).reshape(8, -1)
        assert (np.abs(rows.mean(1) - right.mean(1)) < 2 * right.std(1) + 0.02 * np.abs(right.mean(1))).all()
        assert ((rows.std(1) < 4 * right.std(1) + 0.02 * np.abs(right.mean(1))) & (rows.std(1) > 0)).all()
        inside = made[(made > seen.min()) & (made < seen.max())]
        assert np.isin(inside, data).mean() < 0.01


def test_columns_of_one_size_and_axes_of_other_lengths_are_as_ever() -> None:
    even = {"x": np.random.default_rng(0).standard_normal((4, 8)).astype(np.float32)}
    assert np.abs(synthesize(even, {}, None, 0)["x"]).max() <= np.abs(even["x"]).max()
    rising = {"x": (np.ones((2, 6, 3)) * 10.0 ** np.arange(6)[:, None] + np.arange(3)).astype(np.float32)}
    assert synthesize(rising, {"x": {1: "time"}}, {"time": 9}, 0)["x"].shape == (2, 9, 3)


def test_places_of_which_none_occurs_twice_stay_so():
    """As the cells of a canvas that pillars of points are written to: of two in one cell either may win."""
    rng = np.random.default_rng(0)
    cells = rng.permutation(32 * 40)[:200]
    example = {"coords": np.stack((cells // 40, cells % 40), 1), "cells": cells[:150] + 7, "order": np.arange(64)}
    for seed in range(3):
        made = synthesize(example, {"coords": {0: "pillars"}}, {"pillars": 300}, seed)
        assert len(np.unique(made["coords"], axis=0)) == 300 and made["coords"].dtype == np.int64
        assert made["coords"].min() >= 0 and (made["coords"].max(axis=0) <= (31, 39)).all()
        assert len(set(made["cells"].tolist())) == 150 and made["cells"].min() >= 7
        assert sorted(made["order"].tolist()) == list(range(64))
        assert not np.array_equal(made["coords"][:200], example["coords"])
    more = synthesize(example, {"coords": {0: "pillars"}}, {"pillars": 2000}, 0)["coords"]
    assert more.shape == (2000, 2)  # there are not so many places


def test_labels_that_differ_by_chance_may_be_alike():
    example = {"labels": np.array([3, 9, 4]), "tokens": np.array([[5, 2, 900, 7], [1, 8, 3, 30]])}
    made = [synthesize(example, {"labels": {0: "b"}}, {"b": 6}, seed)["labels"] for seed in range(5)]
    assert any(len(set(one.tolist())) < 6 for one in made)


@pytest.mark.parametrize("filled", [0.05, 0.2, 0.9])
def test_padded_data_keep_their_mean_and_deviation(filled) -> None:
    """Points of pillars, most of them zeros: noise cut off at the range would have two thirds of their deviation."""
    rng = np.random.default_rng(0)
    points = rng.uniform(0, 32, (200, 16, 4)) * (rng.random((200, 16, 1)) < filled)
    example = {"points": points.astype(np.float32)}
    look = Look.of(example["points"])
    for made in (
        synthesize(example, {}, None, seed=0)["points"],
        look.sample((200, 16, 4), np.dtype(np.float32), np.random.default_rng(1)),
    ):
        assert abs(made.mean() - points.mean()) < 0.42 * points.std()
        assert 0.7 < made.std() / points.std() < 1.42
        assert made.min() >= 0 and made.max() <= 32


def boxes(count: int) -> np.ndarray[tuple[int, ...], np.dtype[np.float32]]:
    """Left, top, right, bottom."""
    rng = np.random.default_rng(4)
    start = rng.uniform(0, 6, (count, 2))
    return np.concatenate([start, start + rng.uniform(0.1, 2, (count, 2))], axis=1).astype(np.float32)


@pytest.mark.parametrize("known", ["an example", "data"])
def test_corners_of_boxes_stay_in_order(known: str) -> None:
    if known == "data":
        look = Look.of(boxes(20)).with_more(boxes(30))
        made = look.sample((200, 4), np.dtype(np.float32), np.random.default_rng(0))
    else:
        made = synthesize({"x": boxes(20)}, {"x": {0: "n"}}, {"n": 200}, 0)["x"]
    left, top, right, bottom = made.T
    assert (left <= right).all()
    assert (top <= bottom).all()
    assert (left > top).any()
    assert (left < top).any()


def test_columns_without_an_order_are_given_none() -> None:
    table = np.random.default_rng(0).normal(size=(30, 4)).astype(np.float32)
    made = synthesize({"x": table}, {"x": {0: "n"}}, {"n": 200}, 0)["x"]
    assert 60 < (made[:, 0] <= made[:, 1]).sum() < 140


@pytest.mark.parametrize(("columns", "left"), [(4, 0), (5, 1), (5, 0)])
def test_corners_show_in_a_few_rows(columns: int, left: int) -> None:
    """Two rows of a file's example: RoiAlign of onnxruntime ends with an error where a corner is behind the other."""
    example = np.zeros((2, columns), np.float32)
    example[:, left : left + 4] = boxes(2)
    made = synthesize({"x": example}, {"x": {0: "n"}}, {"n": 200}, 0)["x"][:, left : left + 4]
    assert (made[:, :2] <= made[:, 2:]).all()
    assert (made[:, 0] > made[:, 1]).any() and (made[:, 0] < made[:, 1]).any()


def test_few_rows_of_another_order_show_none() -> None:
    example = np.array([[1, 5, 0, 9], [2, 4, 1, 8]], np.float32)  # no corners: the third column is below the first
    made = synthesize({"x": example}, {"x": {0: "n"}}, {"n": 200}, 0)["x"]
    assert (made[:, 0] > made[:, 1]).any() and (made[:, 1] > made[:, 3]).any()


@pytest.mark.parametrize("by", ["itself", "slice"])
def test_a_file_without_data_says_what_corners_are(by: str, tmp_path: Path) -> None:
    columns = 4 if by == "itself" else 5
    picked = [] if by == "itself" else [helper.make_node("Slice", ["rois", "from", "to", "along"], ["boxes"])]
    read = "rois" if by == "itself" else "boxes"
    constants = {"from": [1], "to": [2**63 - 1], "along": [1]} if picked else {}
    graph = helper.make_graph(
        [*picked, helper.make_node("RoiAlign", ["x", read, "of"], ["y"], output_height=2, output_width=2)],
        "g",
        [
            helper.make_tensor_value_info("x", TensorProto.FLOAT, [1, 3, 16, 16]),
            helper.make_tensor_value_info("rois", TensorProto.FLOAT, ["k", columns]),
            helper.make_tensor_value_info("of", TensorProto.INT64, ["k"]),
        ],
        [helper.make_tensor_value_info("y", TensorProto.FLOAT, ["k", 3, 2, 2])],
        [numpy_helper.from_array(np.array(value, np.int64), name) for name, value in constants.items()],
    )
    opsets = [helper.make_opsetid("", 18)]
    onnx.save(helper.make_model(graph, opset_imports=opsets, ir_version=9), tmp_path / "rois.onnx")
    source = load_source(str(tmp_path / "rois.onnx"))
    for seed in range(3):
        rois = synthesize(source.inputs, source.dynamic, {"k": 12}, seed)["rois"][:, -4:]
        assert (rois[:, :2] <= rois[:, 2:]).all()

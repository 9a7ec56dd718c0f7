from pathlib import Path

import numpy as np
import pytest

from edgepress.backends.base import Graph, TensorSpec
from edgepress.calibration.feeds import checked, feeds_from_object, feeds_from_path, outputs_by_sample
from edgepress.calibration.sample_axes import declared
from edgepress.errors import InputError

IMAGE = (TensorSpec(name="image", dtype="float32", shape=("batch", 2)),)
PAIR = (
    TensorSpec(name="ids", dtype="int64", shape=("batch", "length")),
    TensorSpec(name="mask", dtype="int64", shape=("batch", "length")),
)


def image(*rows):
    return {"image": np.asarray(rows, np.float32)}


def read(feeds, specs=IMAGE):
    return list(checked(feeds, specs, "data")())


def test_a_function_is_called_anew_for_each_pass():
    feeds = checked(feeds_from_object(lambda: (image([i, i]) for i in range(3))), IMAGE, "data")
    assert [f["image"][0, 0] for f in feeds()] == [f["image"][0, 0] for f in feeds()] == [0, 1, 2]


def test_a_generator_is_refused_because_it_can_be_read_once():
    with pytest.raises(InputError, match="generator"):
        feeds_from_object(image([1, 2]) for _ in range(3))


def test_an_npz_is_split_into_batches_with_the_rest_last(tmp_path):
    np.savez(tmp_path / "data.npz", image=np.arange(14, dtype=np.float32).reshape(7, 2))
    batches = read(feeds_from_path(tmp_path / "data.npz", IMAGE, batch=3))
    assert [len(b["image"]) for b in batches] == [3, 3, 1]
    assert np.concatenate([b["image"] for b in batches]).ravel().tolist() == list(range(14))


def test_an_npy_is_all_samples_of_a_single_input(tmp_path):
    np.save(tmp_path / "data.npy", np.arange(14, dtype=np.float32).reshape(7, 2))
    assert [len(b["image"]) for b in read(feeds_from_path(tmp_path / "data.npy", IMAGE, batch=3))] == [3, 3, 1]


@pytest.mark.parametrize(
    ("array", "shape", "dtype", "remedy"),
    [
        (np.zeros((1, 2)), ("batch", 2), "float32", "array.astype(np.float32)"),
        (np.zeros((1, 2), np.int32), ("batch", 2), "int64", "array.astype(np.int64)"),
        (np.zeros((1, 8, 8, 3), np.float32), ("batch", 3, 8, 8), "float32", "array.transpose(0, 3, 1, 2)"),
        (np.zeros((3, 8, 8), np.float32), ("batch", 3, 8, 8), "float32", "array[None]"),
        (np.zeros((1, 3, 8, 8), np.uint8), ("batch", 3, 8, 8), "float32", "scaled and normalised"),
        (np.zeros((1, 3, 8, 8), np.float32), ("batch", 3, 8, 8), "uint8", "[preprocess]"),
        (np.zeros((1, 3, 9, 9), np.float32), ("batch", 3, 8, 8), "float32", ""),  # nothing tells what was meant
    ],
)
def test_an_array_that_does_not_fit_comes_with_what_makes_it_fit(array, shape, dtype, remedy):
    spec = TensorSpec(name="x", dtype=dtype, shape=shape)
    with pytest.raises(InputError) as caught:
        read(feeds_from_object([{"x": array}]), (spec,))
    assert remedy in (caught.value.hint or ""), caught.value.hint
    assert bool(caught.value.hint) == bool(remedy)


def test_a_directory_gives_its_files_in_order_of_name(tmp_path):
    for i in (2, 0, 1):
        np.save(tmp_path / f"{i}.npy", np.full((1, 2), i, np.float32))
    (tmp_path / "readme.txt").write_text("not data")
    assert [b["image"][0, 0] for b in read(feeds_from_path(tmp_path, IMAGE, batch=1))] == [0, 1, 2]


def test_a_directory_of_npz_serves_several_inputs(tmp_path):
    ids = np.ones((2, 5), np.int64)
    np.savez(tmp_path / "a.npz", ids=ids, mask=ids)
    assert set(read(feeds_from_path(tmp_path, PAIR, batch=2), PAIR)[0]) == {"ids", "mask"}


@pytest.mark.parametrize(
    ("batch", "message"),
    [
        ({"picture": np.zeros((1, 2), np.float32)}, r"batch 0 has 'picture'; the model's inputs are 'image'"),
        ({"image": np.zeros((1, 3), np.float32)}, r"'image' has shape \(1, 3\), expected \(batch, 2\)"),
        ({"image": np.zeros((1, 2), np.float64)}, "dtype float64, expected float32"),
        ({"image": np.zeros((1, 2, 1), np.float32)}, r"shape \(1, 2, 1\)"),
        ([np.zeros((1, 2), np.float32)], "is a list; expected a dict"),
    ],
)
def test_a_wrong_batch_is_named(batch, message):
    with pytest.raises(InputError, match=message):
        read(feeds_from_object([batch]))


@pytest.mark.parametrize("bad", [np.nan, np.inf, -np.inf])
def test_the_sample_that_is_not_finite_is_named(bad):
    with pytest.raises(
        InputError, match=r"batch 1: input 'image' holds NaN or Inf, first at index \(1, 1\), row 4 of all"
    ) as caught:
        read(feeds_from_object([image([1, 2], [3, 4], [5, 6]), image([7, 8], [9, bad])]))
    assert "-1e4" in caught.value.hint


def test_half_precision_is_widened_and_nothing_else():
    given = [{"image": np.array([[0.1, 2]], np.float16)}]
    (found,) = read(feeds_from_object(given))
    assert found["image"].dtype == np.float32
    np.testing.assert_array_equal(found["image"], given[0]["image"])
    with pytest.raises(InputError, match="dtype int64, expected float32") as caught:
        read(feeds_from_object([{"image": np.array([[1, 2]])}]))
    assert "as floats" in caught.value.hint


def test_data_that_were_read_before_are_told_of():
    data = iter([image([1, 2])])
    feeds = checked(feeds_from_object(lambda: data), IMAGE, "calibration()")
    assert len(list(feeds())) == 1
    with pytest.raises(InputError, match="is empty") as caught:
        list(feeds())
    assert "anew at each call" in caught.value.hint


def test_no_data_is_an_error():
    with pytest.raises(InputError, match="is empty"):
        read(feeds_from_object([]))


def test_an_error_of_the_users_own_code_is_reported_as_theirs():
    def data():
        yield image([1, 2])
        raise FileNotFoundError("images/7.png")

    with pytest.raises(InputError, match=r"data raised FileNotFoundError: images/7.png"):
        read(feeds_from_object(data))


@pytest.mark.parametrize(
    ("write", "message"),
    [
        (lambda d: None, "does not exist"),
        (lambda d: (d / "x.npz").write_bytes(b"PK\x03\x04 cut off"), "cannot be read"),
        (lambda d: np.savez(d / "x.npz", image=np.asarray([{}], object)), "cannot be read"),
        (lambda d: np.savez(d / "x.npz", ids=np.zeros((3, 1)), mask=np.zeros((2, 1))), "different numbers of samples"),
    ],
)
def test_a_broken_npz_is_one_clear_error(tmp_path, write, message):
    write(tmp_path)
    with pytest.raises(InputError, match=message):
        read(feeds_from_path(tmp_path / "x.npz", PAIR, batch=1), PAIR)


def test_one_array_does_not_serve_two_inputs(tmp_path):
    np.save(tmp_path / "0.npy", np.zeros((1, 2), np.int64))
    with pytest.raises(InputError, match="holds one array, but the model has the inputs 'ids', 'mask'"):
        read(feeds_from_path(tmp_path, PAIR, batch=1), PAIR)


def test_an_empty_directory_is_an_error(tmp_path):
    with pytest.raises(InputError, match="holds neither arrays nor pictures"):
        feeds_from_path(tmp_path, IMAGE, batch=1)


def graph(inputs, output):
    tensors = [TensorSpec(name=name, dtype="float32", shape=shape) for name, shape in {**inputs, "y": output}.items()]
    given, gives = tuple(tensors[:-1]), (tensors[-1],)
    path = Path("model.onnx")
    return Graph(path=path, inputs=given, outputs=gives, opset=20, digest="", samples=declared(given, gives))


@pytest.mark.parametrize(
    ("inputs", "output", "lengths", "axis"),
    [
        ({"x": ("n", 4)}, ("n", 2), (3, 3), 0),
        ({"x": ("n", 4)}, ("y_axis0", 2), (3, 3), 0),  # what a capture calls an axis that it does not follow
        ({"x": ("n", 4)}, ("y_axis0", 2), (3, 9), None),  # rows of rows
        ({"x": ("n", 4)}, (3, 2), (3, 3), None),  # as long by chance
        ({"x": ("n", "t", 4)}, ("t", "n", 2), (3, 3), 1),  # time first in what comes out
        ({"x": (3, "n", 4)}, (3, "n", 2), (3, 3), 1),
        ({"x": (100,)}, (100,), (100, 100), None),  # a vector
        ({"x": ("n", 4), "scale": ()}, ("n", 2), (3, 3), 0),
        ({"x": ("n", 4)}, (), (3, None), None),
    ],
)
def test_what_comes_out_is_parted_along_the_axis_that_its_sizes_name(inputs, output, lengths, axis):
    given, found = lengths
    feed = {name: np.zeros([given, given, 4][: len(shape)], np.float32) for name, shape in inputs.items()}
    answers = {"y": np.zeros(() if found is None else [found, found, 2][: len(output)], np.float32)}
    known = outputs_by_sample(graph(inputs, output), [feed] * 2, [answers] * 2)
    assert known == ({} if axis is None else {"y": axis})


@pytest.mark.parametrize(
    ("inputs", "output", "shapes", "samples"),
    [
        ({"x": ("n", 4)}, ("n", 2), [(9, 4)], 9),
        ({"x": ("n", 4)}, ("boxes", 6), [(9, 4)], 9),  # of how many samples the boxes are is not told
        ({"x": ("n", "t", 4), "state": (2, "n", 8)}, ("n", 2), [(9, 5, 4), (2, 9, 8)], 9),
        ({"x": ("t", "n", 4), "state": (2, "n", 8)}, ("t", "n", 2), [(9, 5, 4), (2, 5, 8)], 5),
        ({"x": ("steps", "batch", 4)}, ("steps", "batch", 2), [(9, 5, 4)], 5),
        ({"x": ("n", 4), "z": ("m", 4)}, ("n", 2), [(9, 4), (9, 4)], 9),  # two names of one axis
        ({"x": ("n", 4), "z": ("m", 4)}, ("n", 2), [(9, 4), (100, 4)], 1),  # each with each
        ({"x": ("n", 4), "table": (3, 4)}, ("n", 2), [(9, 4), (3, 4)], 9),
        ({"table": (3, 4), "x": ("n", 4)}, ("n", 2), [(3, 4), (9, 4)], 9),
        ({"nodes": ("n", 4), "edges": (2, "e")}, ("n", 2), [(9, 4), (2, 30)], 1),
        ({"nodes": ("n", 4), "edges": ("e", 2)}, ("n", 2), [(9, 4), (30, 2)], 1),
        ({"picture": (1, 3, 32, 32), "boxes": ("k", 4)}, ("k", 2), [(1, 3, 32, 32), (9, 4)], 1),
        ({"x": ("t", 4)}, (10,), [(9, 4)], 1),  # one answer to all rows
        ({"x": (9, 4)}, (9, 2), [(9, 4)], 9),
        ({"x": (9, 4), "scale": ()}, (9, 2), [(9, 4), ()], 9),
        ({"x": ()}, (2,), [()], 1),
    ],
)
def test_samples_are_counted_by_what_the_shapes_say(inputs, output, shapes, samples):
    feed = {name: np.zeros(shape, np.float32) for name, shape in zip(inputs, shapes, strict=True)}
    assert graph(inputs, output).samples.count(feed) == samples


def test_a_buffer_that_is_filled_again_and_again_gives_batches_of_its_own():
    """They were all the last: what int8 is judged on, and now and then what was counted."""

    def data():
        buffer = np.empty((1, 2), np.float32)
        for value in range(3):
            buffer[:] = value
            yield {"image": buffer}

    assert [batch["image"][0, 0] for batch in read(feeds_from_object(data))] == [0, 1, 2]


def test_an_array_that_cannot_be_made_is_named():
    class OnDevice:
        def __array__(self, *_, **__):
            raise TypeError("can't convert cuda:0 device type tensor to numpy")

    with pytest.raises(
        InputError, match=r"data, batch 0: input 'image' is a OnDevice that makes no array: .*cuda:0"
    ) as caught:
        read(feeds_from_object([{"image": OnDevice()}]))
    assert "tensor.detach().cpu().numpy()" in caught.value.hint


def test_inputs_of_unequal_length_along_one_axis_are_named():
    """onnxruntime failed to reuse a buffer, or a model broadcast one row to all."""
    batch = {"ids": np.ones((4, 5), np.int64), "mask": np.ones((1, 5), np.int64)}
    with pytest.raises(InputError, match="batch 0: axis 'batch' has size 4 in input 'ids' and 1 in 'mask'"):
        read(feeds_from_object([batch]), PAIR)

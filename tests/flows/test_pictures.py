"""The examples on Fashion-MNIST: how they find its files, and what their scenes hold. The files are made up here."""

import gzip
import importlib
import sys

import numpy as np
import pytest

from edgepress.errors import InputError


@pytest.fixture
def modules(examples, tmp_path, monkeypatch):
    """`_fashion` and `_scenes`, on made-up files: of each class a rectangle of ink of its own size."""
    rng = np.random.default_rng(0)
    for part, count in (("train", 60), ("t10k", 30)):
        images, labels = np.zeros((count, 28, 28), np.uint8), (np.arange(count) % 10).astype(np.uint8)
        for image, label in zip(images, labels, strict=True):
            image[3 : 12 + label, 5 : 24 - label] = rng.integers(100, 256)
        for kind, magic, array in (("images-idx3", 0x803, images), ("labels-idx1", 0x801, labels)):
            head = magic.to_bytes(4, "big") + b"".join(size.to_bytes(4, "big") for size in array.shape)
            (tmp_path / f"{part}-{kind}-ubyte.gz").write_bytes(gzip.compress(head + array.tobytes()))
    monkeypatch.setenv("FASHION_MNIST", str(tmp_path))
    monkeypatch.syspath_prepend(str(examples))
    for name in ("_fashion", "_scenes"):
        monkeypatch.delitem(sys.modules, name, raising=False)
    return importlib.import_module("_fashion"), importlib.import_module("_scenes")


def test_files_that_are_missing_are_asked_for_by_name(modules, tmp_path, monkeypatch):
    monkeypatch.setenv("FASHION_MNIST", str(tmp_path / "elsewhere"))
    with pytest.raises(InputError, match=r"not in .*elsewhere") as caught:
        modules[0].fashion("image")
    assert "dataset-fashion-mnist" in str(caught.value.hint)


def test_pictures_and_their_classes_are_read(modules, tmp_path):
    task = modules[0].fashion("image")
    assert task.train.x.shape == (60, 1, 28, 28) and task.held_out.x.shape == (30, 1, 28, 28)
    assert task.train.x.dtype == np.float32 and 0.39 < task.train.x.max() <= 1
    rows = (task.held_out.x[:, 0] > 0).any(axis=2).sum(axis=1)
    assert np.array_equal(rows, task.held_out.y + 9)
    (tmp_path / "t10k-labels-idx1-ubyte.gz").write_bytes(gzip.compress(b"no labels"))
    with pytest.raises(InputError, match="no file of labels"):
        modules[0].pictures("t10k")


def test_boxes_and_masks_of_scenes_are_those_of_what_was_put_there(modules):
    scenes = modules[1]
    (batch,) = scenes.scenes(40, batch=40, seed=3)
    (again,) = scenes.scenes(40, batch=40, seed=3)
    assert np.array_equal(batch.images, again.images)
    assert batch.images.dtype == np.uint8 and batch.images.shape == (40, 96, 96, 3)
    held = batch.classes >= 0
    assert held.any(axis=1).all() and 1.5 < held.sum(axis=1).mean() < 5
    for boxes, classes, mask in zip(batch.boxes, batch.classes, batch.masks, strict=True):
        for box, kind in zip(boxes[classes >= 0].astype(int), classes[classes >= 0], strict=True):
            x1, y1, x2, y2 = box
            assert 0 <= x1 < x2 <= 96 and 0 <= y1 < y2 <= 96
            # Others cover at most three tenths of it, each.
            assert (mask[y1:y2, x1:x2] == kind + 1).mean() > 0.3
        inside = np.zeros(mask.shape, bool)
        for x1, y1, x2, y2 in boxes.astype(int):
            inside[y1:y2, x1:x2] = True
        assert not mask[~inside].any()
    (other,) = scenes.scenes(40, batch=40, seed=3, held_out=True)
    assert not np.array_equal(batch.images, other.images)


def test_kept_weights_depend_on_what_an_example_imports(modules, monkeypatch, tmp_path):
    training = importlib.import_module("_training")
    directory = tmp_path / "examples"
    directory.mkdir()
    for name, text in {
        "_training.py": "",
        "_data.py": "SIZE = 1\n",
        "_other.py": "",
        "one.py": "from _data import SIZE\n",
    }.items():
        (directory / name).write_text(text)
    monkeypatch.setattr(training, "__file__", str(directory / "_training.py"))
    before = training.cache_file(str(directory / "one.py"))
    (directory / "_other.py").write_text("SIZE = 2\n")
    assert training.cache_file(str(directory / "one.py")) == before
    (directory / "_data.py").write_text("SIZE = 2\n")
    assert training.cache_file(str(directory / "one.py")) != before

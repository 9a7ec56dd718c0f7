"""What an engine's outputs are drawn as, by their names and shapes."""

import pytest

from edgepress.backends.base import TensorSpec
from edgepress.errors import InputError
from edgepress.exporter.demo.outputs import roles_of


def spec(name, dtype, *shape):
    return TensorSpec(name=name, dtype=dtype, shape=shape)


SELECT = (spec("a", "float32", "n", 20, 4), spec("b", "float32", "n", 20), spec("c", "int64", "n", 20))
PROTOTYPES = spec("protos", "float32", "n", 32, 24, 24)
LOGITS = spec("d", "float32", "n", 10)


@pytest.mark.parametrize(
    ("outputs", "told", "kind", "names"),
    [
        (SELECT, None, "boxes", {"boxes": "a", "scores": "b", "classes": "c"}),
        (SELECT[::-1], None, "boxes", {"boxes": "a", "scores": "b", "classes": "c"}),
        (SELECT[:2], None, "boxes", {"boxes": "a", "scores": "b"}),
        # Classes as floats, which TensorRT's plugins give, are told from scores by their name.
        (
            (*SELECT[:2], spec("labels", "float32", "n", 20)),
            None,
            "boxes",
            {"boxes": "a", "scores": "b", "classes": "labels"},
        ),
        ((*SELECT, PROTOTYPES), None, "boxes", {"boxes": "a", "scores": "b", "classes": "c"}),
        ((*SELECT, PROTOTYPES), "masks", "masks", {"mask": "protos"}),
        ((*SELECT, LOGITS), "classes", "classes", {"scores": "d"}),
        ((LOGITS,), None, "classes", {"scores": "d"}),
        ((LOGITS, spec("mask", "int64", "n", 96, 96)), None, "masks", {"mask": "mask"}),
        ((spec("x", "uint8", 1, 1, 96, 96),), None, "masks", {"mask": "x"}),
        ((spec("x", "float32", 1, 64), spec("scores", "float32", 1, 10)), None, "classes", {"scores": "scores"}),
    ],
)
def test_kind_and_roles(outputs, told, kind, names):
    found = roles_of(outputs, outputs[0].shape[0], told, "it")
    assert (found.kind, found.names) == (kind, names)
    assert set(found.unread) == {one.name for one in outputs} - set(names.values())


@pytest.mark.parametrize(
    ("outputs", "told", "said"),
    [
        (
            (spec("x", "float32", 1, 64), spec("y", "float32", 1, 10)),
            None,
            "each of which may be its scores of classes",
        ),
        (SELECT, "masks", "nothing there can be drawn as masks"),
        (SELECT, "classes", "nothing there can be drawn as classes"),
        ((spec("x", "float32", 1, 20, 4),), None, "nothing there can be drawn"),
        ((spec("x", "float32", 1, 20, 4), spec("y", "float32", 1, 30)), "boxes", "can be drawn as boxes"),
    ],
)
def test_what_is_none_of_them_is_refused(outputs, told, said):
    with pytest.raises(InputError, match=said) as caught:
        roles_of(outputs, outputs[0].shape[0], told, "it")
    assert "postprocess()" in str(caught.value)


@pytest.mark.parametrize("batch", [1, "n"])
def test_boxes_of_no_picture_are_not_taken_for_scores_of_four_classes(batch):
    with pytest.raises(InputError, match="nothing there can be drawn"):
        roles_of((spec("x", "float32", 100, 4), spec("y", "float32", 100)), batch, None, "it")

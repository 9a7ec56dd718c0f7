"""Metrics for `evaluate`, on cases that can be counted by hand."""

import subprocess
import sys

import numpy as np
import pytest

from edgepress.errors import InputError
from edgepress.metrics import MeanAveragePrecision, MeanIoU, TopK, WordAccuracy


def found(boxes, scores, classes):
    return {
        "boxes": np.array([boxes], np.float32),
        "scores": np.array([scores], np.float32),
        "classes": np.array([classes]),
    }


BOXES, CLASSES = np.array([[[0, 0, 10, 10], [20, 20, 40, 30], [0, 0, 0, 0]]], np.float32), np.array([[0, 1, -1]])


def test_boxes_that_are_all_right_are_1_and_one_of_two_classes_is_half():
    precision = MeanAveragePrecision()
    precision.add(found(BOXES[0], [0.9, 0.8, 0], [0, 1, -1]), boxes=BOXES, classes=CLASSES)
    assert precision.value == pytest.approx(1.0)
    half = MeanAveragePrecision()
    half.add(found(BOXES[0], [0.9, 0.8, 0], [0, 0, -1]), boxes=BOXES, classes=CLASSES)
    assert half.value == pytest.approx(0.5)


def test_a_box_that_is_off_counts_up_to_its_overlap():
    shifted = BOXES[0] + [[1, 0, 1, 0], [0, 0, 0, 0], [0, 0, 0, 0]]  # 9 of 11: right up to 0.8
    precision, at_half = MeanAveragePrecision(), MeanAveragePrecision(iou=0.5)
    for one in (precision, at_half):
        one.add(found(shifted, [0.9, 0.8, 0], [0, 1, -1]), boxes=BOXES, classes=CLASSES)
    assert precision.value == pytest.approx((0.7 + 1) / 2)
    assert at_half.value == pytest.approx(1.0)


def test_a_worse_box_before_a_better_one_costs_precision_and_pictures_are_apart():
    precision = MeanAveragePrecision(iou=0.5)
    elsewhere = np.array([[50, 50, 60, 60], [0, 0, 10, 10]])
    precision.add(found(elsewhere, [0.9, 0.8], [0, 0]), boxes=BOXES[:, :1], classes=CLASSES[:, :1])
    assert precision.value == pytest.approx(0.5)
    # The box of one picture does not answer for another's.
    precision.add(found(elsewhere, [0.0, 0.0], [0, 0]), boxes=BOXES[:, :1], classes=CLASSES[:, :1])
    assert precision.value == pytest.approx(0.5 * 51 / 101)


def test_nothing_found_is_0_and_nothing_given_is_an_error():
    precision = MeanAveragePrecision()
    with pytest.raises(InputError, match="Nothing was given"):
        _ = precision.value
    precision.add(found(BOXES[0], [0, 0, 0], [0, 0, 0]), boxes=BOXES, classes=CLASSES)
    assert precision.value == 0
    with pytest.raises(InputError, match=r"no output 'boxes'; it has logits"):
        precision.add({"logits": BOXES}, boxes=BOXES, classes=CLASSES)
    with pytest.raises(InputError, match=r"shapes of boxes"):
        precision.add(found(BOXES[0], [0, 0, 0], [0, 0, 0]), boxes=BOXES[0], classes=CLASSES)


def test_top_k():
    scores = np.array([[3, 2, 1], [1, 3, 2], [1, 2, 3], [3, 1, 2.0]])
    for k, share in ((1, 0.5), (2, 0.75)):
        top = TopK(k)
        top.add({"scores": scores[:2]}, np.array([0, 2]))
        top.add(scores[2:], np.array([2, 1]))
        assert top.value == share


def test_mean_iou_of_scores_and_of_classes():
    masks = np.array([[[0, 0, 1], [1, 1, 9]]])
    iou, of_scores = MeanIoU(3, ignored=9), MeanIoU(3, "mask", ignored=9)
    given = np.array([[[0, 1, 1], [1, 1, 2]]])
    iou.add(given, masks)
    of_scores.add({"other": masks, "mask": np.eye(3)[given].transpose(0, 3, 1, 2)}, masks)
    assert iou.value == of_scores.value == pytest.approx((1 / 2 + 3 / 4) / 2)


@pytest.mark.parametrize(
    ("given", "masks", "said"),
    [
        (np.ones((1, 1, 2, 3)), np.ones((1, 2, 3), int), r"\(1, 1, 2, 3\).*scores of \(B, 2, H, W\)"),
        (np.ones((1, 2, 1, 3)), np.ones((1, 2, 3), int), "of as many pixels"),
        (np.full((1, 2, 3), 7), np.ones((1, 2, 3), int), "The model gives pixels of 7; expected classes of 0 to 1"),
        (np.ones((1, 2, 3), int), np.full((1, 2, 3), 255), "To be found are pixels of 255"),
    ],
)
def test_pixels_that_count_on_no_side_are_refused(given, masks, said):
    with pytest.raises(InputError, match=said):
        MeanIoU(2).add({"mask": given}, masks)


def test_what_is_no_scores_of_as_many_samples_is_refused():
    for scores, classes in ((np.array([1, 2]), np.array([1, 2])), (np.ones((2, 3)), np.array([[1], [2]]))):
        with pytest.raises(InputError, match=r"expected scores of \(B, C\) and classes of \(B,\)"):
            TopK().add({"label": scores}, classes)


def test_two_classes_and_one_that_nobody_shows_are_counted():
    top = TopK(2)
    top.add(np.array([[3, 2], [1, 3.0]]), np.array([0, 0]))
    with pytest.raises(InputError, match="2 best of 2 classes"):  # whatever the model gives, that is 1
        _ = top.value
    top = TopK(2)
    top.add(np.array([[3, 2, 1], [1, 2, 3.0], [3, 1, 2]]), np.array([1, 0, 0]))
    assert top.value == pytest.approx(2 / 3)


@pytest.mark.parametrize("classes", [[1, 3], [-1, 0], [0.5, 1]])
def test_classes_that_no_score_is_of_are_refused(classes):
    with pytest.raises(InputError, match=r"expected whole numbers of 0 to 2"):
        TopK().add(np.ones((2, 3)), np.array(classes))


@pytest.mark.parametrize("k", [0, -1])
def test_a_share_of_no_best_scores_is_refused(k):
    with pytest.raises(InputError, match=f"{k} best"):
        TopK(k)


def test_an_output_of_nan_is_never_counted_as_right():
    nan = np.full((1, 3, 4), np.nan, np.float32)
    with pytest.raises(InputError, match=r"scores' holds NaN"):
        TopK(output="scores").add({"scores": nan[0]}, np.zeros(3, int))
    with pytest.raises(InputError, match="holds NaN"):
        MeanIoU(3).add(nan[..., None], np.zeros((1, 4, 1), int))
    with pytest.raises(InputError, match=r"boxes' holds NaN"):
        MeanAveragePrecision().add(found(nan[0], [0.9, 0.8, 0.7], [0, 1, 0]), boxes=BOXES, classes=CLASSES)


def test_boxes_that_could_not_be_found_and_scores_below_0_are_refused():
    precision = MeanAveragePrecision()
    for boxes, said in ((BOXES[..., [2, 3, 0, 1]], r"\[10.*0.*\] of picture 1"), (BOXES * 1e9, "expected corners")):
        with pytest.raises(InputError, match=said):
            precision.add(found(BOXES[0], [0.9, 0.8, 0], [0, 1, -1]), boxes=boxes, classes=CLASSES)
    with pytest.raises(InputError, match="score of -3"):
        precision.add(found(BOXES[0], [2, -3, 0], [0, 1, -1]), boxes=BOXES, classes=CLASSES)
    with pytest.raises(InputError, match=r"iou=2; expected 0 to 1"):
        MeanAveragePrecision(iou=2)


def test_a_batch_of_pixels_that_do_not_count_adds_nothing():
    iou = MeanIoU(2, ignored=255)
    iou.add(np.ones((1, 2, 2), int), np.full((1, 2, 2), 255))
    iou.add(np.ones((1, 1, 2), int), np.array([[[1, 0]]]))
    assert iou.value == pytest.approx((0 + 1 / 2) / 2)


def test_word_accuracy():
    words = WordAccuracy()
    words.add(["no left turn"], ["no right turn"])
    words.add(["stop"], ["stop"])
    assert words.value == pytest.approx(3 / 4)
    for texts, wanted, said in ((["a"], ["a", "b"], "1 texts read and 2 texts"), ("ab", ["ab"], "One text read")):
        with pytest.raises(InputError, match=said):
            words.add(texts, wanted)


def test_libraries_are_imported_when_a_metric_is_made():
    code = (
        "import sys, edgepress.metrics as m; m.MeanAveragePrecision; "
        "print(sorted({'sklearn', 'pycocotools', 'jiwer', 'torch'} & set(sys.modules)))"
    )
    assert subprocess.run([sys.executable, "-c", code], capture_output=True, text=True).stdout.strip() == "[]"


def test_a_library_that_is_missing_is_asked_for(monkeypatch):
    monkeypatch.setitem(sys.modules, "jiwer", None)
    with pytest.raises(InputError, match="jiwer is not installed") as caught:
        WordAccuracy()
    assert "edgepress[metrics]" in str(caught.value.hint)

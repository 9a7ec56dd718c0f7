"""Agreement of outputs that are no plain finite floats."""

from __future__ import annotations

import math

import numpy as np
import pytest

from edgepress.errors import VerificationError
from edgepress.profiles.findings.parity import Array, Parity, figure, parity


def of(reference: Array, output: Array) -> Parity:
    return parity([{"y": reference}], [{"y": output}])["y"]


def test_places_are_judged_by_how_many_are_the_same() -> None:
    places = np.arange(100).reshape(2, 50)
    other = places.copy()
    other[0, :10] = 10_000
    assert of(places, places).sqnr_db == math.inf
    assert of(places, other).sqnr_db == pytest.approx(10)
    assert of(places > 50, places > 50).sqnr_db == math.inf
    assert of(places > 50, places > 60).sqnr_db == pytest.approx(10)


def test_pixels_are_amounts() -> None:
    pixels = np.full((1, 8, 8, 3), 200, np.uint8)
    assert of(pixels, pixels + np.uint8(1)).sqnr_db == pytest.approx(46.02, abs=0.01)


def test_equal_infinities_agree() -> None:
    scores = np.array([[1.0, -np.inf, 3.0]], np.float32)
    assert of(scores, scores).sqnr_db == math.inf
    assert of(scores, scores + np.float32(0.001)).sqnr_db > 60
    with pytest.raises(VerificationError, match="NaN or Inf"):
        of(scores, np.array([[-np.inf, -np.inf, 3.0]], np.float32))
    assert of(scores, np.array([[1.0, 2.0, 3.0]], np.float32)).max_abs == math.inf


def test_rows_that_depend_on_data_are_called_so() -> None:
    with pytest.raises(VerificationError, match="select outside of the model"):
        of(np.zeros((33, 5)), np.zeros((32, 5)))


def test_another_number_of_axes_is_no_matter_of_rows() -> None:
    with pytest.raises(VerificationError, match="has shape") as refused:
        of(np.zeros((3, 5)), np.zeros((3, 5, 1)))
    assert "reads an operator near that output in another way" in str(refused.value)


@pytest.mark.parametrize("shape", [(2,), (2, 2)])
def test_complex_numbers_are_refused(shape: tuple[int, ...]) -> None:
    """Also where the real and the imaginary part came out as two columns."""
    with pytest.raises(VerificationError, match="only real numbers can be compared") as refused:
        of(np.zeros(2, np.complex64), np.zeros(shape))
    assert "view_as_real" in str(refused.value)


def test_text_is_refused_as_text() -> None:
    with pytest.raises(VerificationError, match="is text") as refused:
        of(np.array(["a"], object), np.array(["a"], object))
    assert "imaginary" not in str(refused.value)


def test_infinities_at_other_places_are_told_with_a_way_out() -> None:
    scores = np.array([[1.0, -np.inf, 3.0]], np.float32)
    with pytest.raises(VerificationError, match="large finite number"):
        of(scores, np.array([[-np.inf, -np.inf, 3.0]], np.float32))
    with pytest.raises(VerificationError) as refused:
        of(scores, np.array([[np.nan, -np.inf, 3.0]], np.float32))
    assert "large finite number" not in str(refused.value)


def test_what_is_all_but_zero_has_a_floor() -> None:
    tiny = np.full((1, 4), 1e-7, np.float32)
    assert of(tiny, tiny * 2).reaches(60)
    assert not of(tiny * 100, tiny * 200).reaches(60)


def test_a_figure_says_what_it_is() -> None:
    assert figure(10, np.zeros(3, np.int64)) == "90.0% agreement"
    assert figure(float("inf"), np.zeros(3, np.bool_)) == "100.0% agreement"
    assert figure(10, np.zeros(3, np.float32)) == figure(10, np.zeros(3, np.uint8)) == "10.0 dB of SQNR"


def test_with_a_reference_that_is_no_number_nothing_agrees() -> None:
    """Golden outputs of NaN would accept any engine."""
    nothing = np.full((1, 3), np.nan, np.float32)
    for output in (nothing, np.ones((1, 3), np.float32)):
        assert not of(nothing, output).reaches(0)


def test_a_row_that_is_nothing_on_one_side_has_no_direction() -> None:
    """onnxruntime's Sigmoid is 0 from -18 down, where torch's is 1e-8, also where nothing in the feed is large."""
    right = np.array([[0.9], [0.8], [1e-9]], np.float32)
    found = np.array([[0.9], [0.8], [0]], np.float32)
    assert of(right, found).cosine == 1
    alone = parity([{"y": right[:2]}, {"y": right[2:]}], [{"y": found[:2]}, {"y": found[2:]}])["y"]
    assert alone.cosine == 1
    assert of(right * 1e-4, found * 1e-4 + np.float32([[0], [0], [-1e-12]])).cosine == 1


def test_a_row_that_is_missing_on_one_side_is_none_of_the_same_direction() -> None:
    right = np.array([[0.9], [0.8], [0.1]], np.float32)
    assert of(right, right * [[1], [1], [0]]).cosine == pytest.approx(2 / 3)
    assert of(right * 1e-9, right * 0).cosine == 0
    assert of(np.array([[900], [1]]), np.array([[900], [0]])).cosine == 0.5  # classes, which are the same or not


@pytest.mark.parametrize(
    "array", [np.ones((4, 1), np.float32), np.ones(4, np.float32), np.float32(1.0), np.ones((4, 6), np.int64)]
)
def test_what_can_be_no_scores_of_classes_has_no_argmax(array: Array) -> None:
    found = of(np.asarray(array), np.asarray(array))
    assert found.argmax is None and "argmax" not in str(found)
    assert of(np.eye(4), np.eye(4)).argmax == 1

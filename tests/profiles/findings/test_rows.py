"""Sets of rows are compared row by row, wherever a row's like lies."""

from dataclasses import replace

import numpy as np
import pytest

from edgepress.errors import VerificationError
from edgepress.profiles.findings.decided import least_of_codes_db
from edgepress.profiles.findings.parity import least_in_all_db, parity
from edgepress.profiles.findings.rows import Rows

SET = Rows(outputs=("boxes", "scores", "classes"), axis=1, scores="scores")


def detections(seed=0, pictures=4, rows=12, held=8):
    rng = np.random.default_rng(seed)
    boxes = rng.uniform(0, 100, (pictures, rows, 4)).astype(np.float32)
    scores = -np.sort(-rng.uniform(0.1, 1, (pictures, rows)).astype(np.float32))
    classes = rng.integers(0, 3, (pictures, rows))
    boxes[:, held:], scores[:, held:], classes[:, held:] = 0, 0, -1
    return {"boxes": boxes, "scores": scores, "classes": classes}


def compared(right, found, rows=SET):
    return parity([right], [found], rows=(rows,))


def test_the_order_of_rows_says_nothing():
    right = detections()
    found = {name: array[:, ::-1] for name, array in right.items()}
    assert all(one.max_abs == 0 and one.sqnr_db == np.inf for one in compared(right, found).values())
    assert parity([right], [found])["boxes"].sqnr_db < 3


def test_noise_is_that_of_the_pairs():
    right = detections()
    found = {**right, "boxes": right["boxes"] + np.float32(0.5) * (right["boxes"] > 0)}
    (weights,) = (right["scores"][right["scores"] > 0],)
    boxes = right["boxes"][right["scores"] > 0]
    expected = 10 * np.log10(((boxes * weights[:, None]) ** 2).sum() / (0.25 * 4 * (weights**2).sum()))
    assert compared(right, found)["boxes"].sqnr_db == pytest.approx(expected, abs=0.05)


def test_a_row_that_is_missing_counts_by_its_score():
    right = detections()
    best, last = ({n: a.copy() for n, a in right.items()} for _ in range(2))
    for found, row in ((best, 0), (last, 7)):
        found["boxes"][:, row], found["scores"][:, row], found["classes"][:, row] = 0, 0, -1
    without_best, without_last = (compared(right, found)["boxes"].sqnr_db for found in (best, last))
    assert without_best < 8 < 11 < without_last
    assert compared(best, right)["boxes"].sqnr_db < 8  # as one that is too much
    unweighed = replace(SET, scores="")
    assert compared(right, last, unweighed)["boxes"].sqnr_db < 10


def test_what_is_hardly_beyond_the_threshold_comes_and_goes():
    right = detections()
    found = {n: a.copy() for n, a in right.items()}
    found["boxes"][:, 7], found["scores"][:, 7], found["classes"][:, 7] = 0, 0, -1  # the least of each picture
    at_the_edge = replace(SET, threshold=float(right["scores"][:, 7].min()) - 0.01)
    assert compared(right, found, at_the_edge)["scores"].sqnr_db > compared(right, found)["scores"].sqnr_db + 2
    # What both have counts in full.
    moved = {**right, "scores": right["scores"] * np.float32(0.9)}
    assert compared(right, moved, at_the_edge)["scores"].sqnr_db == pytest.approx(20, abs=0.01)


def test_another_class_is_another_row():
    right = detections()
    found = {**right, "classes": np.where(right["classes"] >= 0, (right["classes"] + 1) % 3, -1)}
    seen = compared(right, found)
    assert seen["boxes"].sqnr_db < 0 and seen["scores"].sqnr_db < 0


def test_numbers_of_rows_may_differ_along_an_axis_that_depends_on_data():
    right = {"boxes": np.arange(40, dtype=np.float32).reshape(10, 4), "classes": np.arange(10)}
    rows = Rows(outputs=("boxes", "classes"), axis=0)
    fewer = {name: array[[2, 1, 0, 5, 4, 3, 9, 8]] for name, array in right.items()}
    seen = compared(right, fewer, rows)
    lost = (right["boxes"][6:8] ** 2).sum()
    assert seen["boxes"].sqnr_db == pytest.approx(10 * np.log10((right["boxes"] ** 2).sum() / lost))
    none = {name: array[:0] for name, array in right.items()}
    assert compared(none, none, rows)["boxes"].sqnr_db == np.inf
    assert compared(right, none, rows)["boxes"].sqnr_db == pytest.approx(0)
    with pytest.raises(VerificationError, match="number of rows depends on data"):
        parity([right], [fewer])


def test_outputs_that_are_missing_or_of_other_axes_are_told_as_ever():
    right = detections()
    with pytest.raises(VerificationError, match="missing"):
        compared(right, {name: right[name] for name in ("boxes", "scores")})
    with pytest.raises(VerificationError, match="has shape"):
        compared(right, {**right, "boxes": right["boxes"][..., :3]})


def test_rows_that_hardly_count_do_not_make_a_few_of_the_others():
    """They are no samples, and weigh little because they should: it is no reason to look for larger ones."""
    right = detections(pictures=32, rows=20, held=20)
    right["scores"][:, 1:] = 0.02
    found = {**right, "boxes": right["boxes"] + np.random.default_rng(1).normal(0, 2, right["boxes"].shape)}
    seen = parity([right], [found], by_sample={"boxes": 0}, rows=(SET,))["boxes"]
    assert seen.few is None and seen.sqnr_db < 40


def without(right, rows):
    """The same without these rows of the first picture."""
    found = {name: array.copy() for name, array in right.items()}
    found["boxes"][0, rows], found["scores"][0, rows], found["classes"][0, rows] = 0, 0, -1
    return found


def test_one_row_of_few_that_comes_or_goes_is_no_rate():
    """A tie in a max-pool of peaks: 12 dB for 30 that float16 is asked, of a set that is right but for it."""
    right = detections()
    one = compared(right, without(right, [6]))["boxes"]
    assert one.weakest_db < 25 and one.reaches(30.0) and not one.assures(30.0)
    assert "rows without a like" in str(one) and 0.5 < one.decided.differ < 1
    assert one.decided.of == pytest.approx(right["scores"].sum() ** 2 / (right["scores"] ** 2).sum())
    assert not compared(right, without(right, [1, 2]))["boxes"].reaches(30.0)
    few = {name: array[:1, :6] for name, array in right.items()}
    assert not compared(few, without(few, [5]))["boxes"].reaches(30.0)


def test_the_other_rows_are_asked_what_amounts_are():
    right = detections()
    found = without(right, [6])
    found["boxes"] = found["boxes"] * np.float32(1.05)
    seen = compared(right, found)["boxes"]
    assert seen.decided.others_db == pytest.approx(26.0, abs=0.1)
    assert seen.reaches(25.0) and not seen.reaches(30.0)


def places(count, differ):
    right = np.arange(count, dtype=np.int64)
    return parity([{"y": right}], [{"y": np.where(right < differ, -1, right)}])["y"]


def test_of_places_as_many_agree_as_amounts_of_that_agreement_decide():
    assert [least_of_codes_db(db) for db in (3.0, 10.0, 30.0, 60.0)] == [3.0, 10.0, 20.0, 35.0]
    assert places(1000, 10).reaches(30.0) and places(1000, 10).assures(30.0)
    assert not places(1000, 11).reaches(30.0)
    assert not places(1000, 101).reaches(10.0) and places(1000, 100).reaches(10.0)


def test_one_place_of_few_that_differs_is_no_rate():
    assert places(32, 1).reaches(30.0) and not places(32, 1).assures(30.0)
    assert not places(32, 2).reaches(30.0) and not places(7, 1).reaches(30.0)
    assert not places(32, 1).reaches(60.0) and places(200, 1).reaches(60.0)  # float32 decides otherwise once in 3,000
    assert places(32, 1).decided.is_one_more(None, 34.0) and not places(32, 2).decided.is_one_more(None, 34.0)
    assert places(32, 2).decided.is_one_more(places(32, 1).decided, 34.0)


@pytest.mark.parametrize(
    ("count", "differ", "least_db"), [(32, 1, 30.0), (1000, 10, 30.0), (64, 6, 10.0), (200, 1, 60.0)]
)
def test_what_a_whole_output_is_asked_is_what_it_reaches(count, differ, least_db):
    """A loader has one number for each output; `edgepress verify` judges the same."""
    asked = least_in_all_db(least_db, "int64", count)
    assert places(count, differ).sqnr_db >= asked - 1e-9 and places(count, differ).reaches(least_db)
    assert places(count, differ + 1).sqnr_db < asked and not places(count, differ + 1).reaches(least_db)
    assert least_in_all_db(least_db, "float32", count) == least_db

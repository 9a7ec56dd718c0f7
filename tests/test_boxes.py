"""Boxes from heads, in torch: what `edgepress.boxes` keeps, against a plain search."""

import numpy as np
import pytest
import torch

from edgepress.boxes import NO_CLASS, from_centres, from_distances, from_offsets, grid_points, select, suppress
from edgepress.errors import InputError


def scene(seed=0, pictures=2, classes=3, boxes=60):
    rng = np.random.default_rng(seed)
    corner, size = rng.uniform(0, 80, (pictures, boxes, 2)), rng.uniform(5, 40, (pictures, boxes, 2))
    scores = torch.from_numpy(rng.uniform(0, 1, (pictures, classes, boxes)).astype(np.float32))
    return torch.from_numpy(np.concatenate((corner, corner + size), -1).astype(np.float32)), scores


def overlap(a, b):
    width, height = min(a[2], b[2]) - max(a[0], b[0]), min(a[3], b[3]) - max(a[1], b[1])
    shared = max(width, 0) * max(height, 0)
    return shared / ((a[2] - a[0]) * (a[3] - a[1]) + (b[2] - b[0]) * (b[3] - b[1]) - shared)


def search(boxes, scores, iou, score):
    """(score, class, box) of what stays in one picture, by the definition."""
    kept = []
    for number, of_class in enumerate(scores):
        stays = []
        for index in sorted(np.nonzero(of_class > score)[0], key=lambda i: -of_class[i]):
            if all(overlap(boxes[index], boxes[other]) <= iou for other in stays):
                stays.append(index)
        kept += [(of_class[index], number, index) for index in stays]
    return sorted(kept, reverse=True)


@pytest.mark.parametrize("agnostic", [False, True])
def test_the_best_boxes_are_those_of_a_plain_search(agnostic):
    boxes, scores = scene()
    found = select(boxes, scores, iou=0.4, score=0.3, rows=50, agnostic=agnostic)
    for picture in range(len(boxes)):
        given, corners = scores[picture].numpy(), boxes[picture].numpy()
        classes = given.argmax(axis=0)
        wanted = search(corners, given.max(axis=0)[None] if agnostic else given, 0.4, 0.3)[:50]
        wanted = [(s, classes[i] if agnostic else c, i) for s, c, i in wanted]
        count = len(wanted)
        assert count > 5
        assert found[1][picture, :count].tolist() == [s for s, _, _ in wanted]
        assert found[2][picture, :count].tolist() == [c for _, c, _ in wanted]
        assert np.array_equal(found[0][picture, :count], corners[[i for *_, i in wanted]])
        assert not found[0][picture, count:].any() and not found[1][picture, count:].any()
        assert (found[2][picture, count:] == NO_CLASS).all()


def test_of_equals_the_first_stays_and_empty_boxes_cover_nothing():
    boxes = torch.tensor([[[0, 0, 10, 10], [0, 0, 10, 10], [5, 5, 5, 5], [5, 5, 5, 5.0]]])
    kept = suppress(boxes, torch.full((1, 1, 4), 0.5), iou=0.5, score=0.1)
    assert kept.tolist() == [[[0.5, 0.0, 0.5, 0.5]]]
    assert suppress(boxes, torch.full((1, 1, 4), 0.5), iou=0.5, score=0.1, most=2).count_nonzero() == 2


@pytest.mark.parametrize("rows", [1, 7, 40])
def test_of_equal_scores_at_the_end_the_first_are_in(rows):
    boxes = torch.arange(120.0).reshape(1, 120, 1) * torch.tensor([2.0, 2, 2, 2]) + torch.tensor([0.0, 0, 1, 1])
    scores = torch.from_numpy(np.random.default_rng(0).integers(1, 5, (1, 3, 120)) / 5).float()  # four scores in all
    found, values, classes = select(boxes, scores, rows=rows)
    flat = scores.flatten().numpy()
    wanted = np.argsort(-flat, kind="stable")[:rows]
    assert values[0].tolist() == flat[wanted].tolist()
    assert sorted(zip(classes[0].tolist(), (found[0, :, 0] / 2).tolist(), strict=True)) == sorted(
        zip((wanted // 120).tolist(), (wanted % 120).tolist(), strict=True)
    )


def test_what_heads_give_becomes_corners():
    points = grid_points([(2, 3)], [8])
    assert points.tolist() == [[4, 4], [12, 4], [20, 4], [4, 12], [12, 12], [20, 12]]
    assert from_distances(points[:1], torch.tensor([[[1.0, 2, 3, 4]]])).tolist() == [[[3, 2, 7, 8]]]
    anchor = torch.tensor([[0.0, 0, 10, 20]])
    assert from_offsets(anchor, torch.zeros(1, 1, 4)).tolist() == [[[0, 0, 10, 20]]]
    moved = from_offsets(anchor, torch.tensor([[[1.0, 0, 0, 5 * float(np.log(2))]]]), scales=(10, 10, 5, 5))
    assert torch.allclose(moved, torch.tensor([[[1.0, -10, 11, 30]]]), atol=1e-5)
    assert from_centres(torch.tensor([5.0, 5]), torch.tensor([4.0, 2])).tolist() == [3, 4, 7, 6]


def test_fewer_boxes_than_rows_are_filled_up_too():
    apart, scores = torch.tensor([[[0.0, 0, 1, 1], [5, 5, 6, 6]]]), torch.tensor([[[0.2, 0.9]]])
    boxes, values, classes = select(apart, scores, rows=4)
    assert boxes.tolist() == [[[5, 5, 6, 6], [0, 0, 1, 1], [0, 0, 0, 0], [0, 0, 0, 0]]]
    assert values.tolist() == [pytest.approx([0.9, 0.2, 0, 0])]
    assert classes.tolist() == [[0, 0, -1, -1]]


@pytest.mark.parametrize(
    ("change", "said"),
    [
        ({"scores": torch.zeros(2, 60, 3)}, r"\(B, C, N\)"),
        ({"boxes": torch.zeros(60, 4)}, r"\(B, N, 4\)"),
        ({"iou": 1.5}, "iou=1.5"),
        ({"score": -0.1}, "score=-0.1"),
        ({"rows": 0}, "0 rows"),
    ],
)
def test_what_does_not_fit_is_refused(change, said):
    boxes, scores = scene()
    with pytest.raises(InputError, match=said):
        select(**{"boxes": boxes, "scores": scores, **change})

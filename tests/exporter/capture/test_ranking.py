"""Models that end in the best of a ranking, as detectors without suppression: rows in an order that says nothing."""

import numpy as np
import pytest
import torch
from torch import nn

from edgepress.exporter.capture.capture import capture
from edgepress.exporter.graphs.selection import selected_rows
from edgepress.exporter.sources import source_from_object
from edgepress.profiles.findings.parity import parity
from edgepress.profiles.findings.rows import Rows


class Peaks(nn.Module):
    """The best places of a heat map of three classes, and what another map says there."""

    def __init__(self, scored: str = "sigmoid") -> None:
        super().__init__()
        torch.manual_seed(0)
        self.features, self.heat, self.size = nn.Conv2d(3, 8, 3, 2, 1), nn.Conv2d(8, 3, 1), nn.Conv2d(8, 2, 1)
        self.scored = scored

    def score(self, heat: torch.Tensor) -> torch.Tensor:
        if self.scored == "logits":
            return heat
        if self.scored == "logarithms":
            return heat.log_softmax(1)
        heat = heat.sigmoid()
        return heat * (torch.nn.functional.max_pool2d(heat, 3, 1, 1) == heat).float()

    def forward(self, image):
        features = self.features(image).relu()
        heat = self.score(4 * self.heat(features))
        height, width = heat.shape[2:]
        scores, places = heat.flatten(1).topk(12)
        classes, places = places // (height * width), places % (height * width)
        sizes = self.size(features).flatten(2).transpose(1, 2).gather(1, places[..., None].expand(-1, -1, 2))
        centres = torch.stack((places % width, places // width), -1).float()
        found = {"boxes": torch.cat((centres - sizes, centres + sizes), -1), "scores": scores, "classes": classes}
        if self.scored == "filled":  # what is no find has the score -1, and other rows are the best of those
            scores, order = scores.masked_fill(sizes[..., 0] < 0, -1.0).topk(8)
            found = {"boxes": found["boxes"].gather(1, order[..., None].expand(-1, -1, 4)), "scores": scores}
        return found


class Points(nn.Module):
    """Key points and their descriptors, whose rows stand behind the channels, as in SuperPoint."""

    def __init__(self) -> None:
        super().__init__()
        torch.manual_seed(0)
        self.heat, self.describe = nn.Conv2d(3, 1, 3, 1, 1), nn.Conv2d(3, 24, 3, 1, 1)

    def forward(self, image):
        heat, described = (4 * self.heat(image)).sigmoid(), self.describe(image).flatten(2)
        scores, places = heat.flatten(1).topk(12)
        points = torch.stack((places % image.shape[3], places // image.shape[3]), -1).float()
        descriptors = described.gather(2, places[:, None].expand(-1, 24, -1))
        return {"points": points, "scores": scores, "descriptors": descriptors}


class Classes(nn.Module):
    """A classifier that gives the places of its five best classes, and the logits of these."""

    def forward(self, image):
        scores, classes = image.mean((2, 3)).topk(2)
        return {"scores": scores, "classes": classes}


def graph_of(module, path):
    images = torch.rand(2, 3, 32, 32, generator=torch.Generator().manual_seed(1))
    source = source_from_object(module.eval(), {"image": images}, name="peaks", dynamic={"image": {0: "batch"}})
    return capture(source, 20, path / "model.onnx", {})


@pytest.mark.parametrize("scored", ["sigmoid", "filled"])
def test_the_best_of_a_ranking_are_a_set_of_rows(scored, tmp_path):
    (rows,) = selected_rows(graph_of(Peaks(scored), tmp_path))
    outputs = ("boxes", "scores") if scored == "filled" else ("boxes", "scores", "classes")
    assert rows == Rows(outputs=outputs, axis=1, scores="scores")


def test_rows_may_stand_on_another_axis(tmp_path):
    """Descriptors were compared place by place: int8 kept 10 of 12 layers of a SuperPoint in float for it."""
    (rows,) = selected_rows(graph_of(Points(), tmp_path))
    axes = {"descriptors": 2}
    assert rows == Rows(outputs=("points", "scores", "descriptors"), axis=1, scores="scores", axes=axes)


def test_rows_on_another_axis_find_their_likes():
    drawn = np.random.default_rng(0)
    right = {"points": drawn.normal(size=(2, 5, 2)), "scores": drawn.uniform(0.5, 1, (2, 5))}
    right["descriptors"] = drawn.normal(size=(2, 3, 5))
    order = [4, 2, 0, 1, 3]
    found = {name: array.take(order, axis=2 if name == "descriptors" else 1) for name, array in right.items()}
    rows = Rows(outputs=tuple(right), axis=1, scores="scores", axes={"descriptors": 2})
    assert all(one.sqnr_db == np.inf for one in parity([right], [found], rows=(rows,)).values())
    apart = Rows(outputs=("points", "scores"), axis=1, scores="scores")
    assert parity([right], [found], rows=(apart,))["descriptors"].sqnr_db < 3


@pytest.mark.parametrize("module", [Peaks("logits"), Peaks("logarithms"), Classes()])
def test_scores_that_may_be_negative_weigh_nothing(module, tmp_path):
    assert selected_rows(graph_of(module, tmp_path)) == ()


def test_a_score_below_zero_is_that_of_no_row():
    """It stands for none: what the row holds beside it is of no account."""
    right = {"boxes": np.array([[[1.0, 2.0], [5.0, 5.0]]]), "scores": np.array([[0.9, -1.0]])}
    found = {"boxes": np.array([[[1.0, 2.0], [5.5, 4.5]]]), "scores": np.array([[0.9, -1.0]])}
    rows = Rows(outputs=("boxes", "scores"), axis=1, scores="scores")
    assert parity([right], [found], rows=(rows,))["boxes"].sqnr_db == np.inf

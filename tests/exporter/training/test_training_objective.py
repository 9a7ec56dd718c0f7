from __future__ import annotations

from typing import Any

import pytest
import torch
from torch import Tensor
from torch.nn import functional

from edgepress.errors import InputError
from edgepress.exporter.training.objective import Output, outputs_to_follow, relative_error


def found(tensor: Tensor, targets: Any = None, name: str = "output") -> tuple[str, int]:
    (output,) = outputs_to_follow({name: tensor}, targets)
    return output.kind, output.axis


SCORES = torch.tensor([[3.0, -1.0, 0.5], [-2.0, 4.0, 0.0]])


@pytest.mark.parametrize(
    ("tensor", "targets", "expected"),
    [
        (SCORES, torch.tensor([0, 2]), ("scores", 1)),
        (SCORES, {"boxes": torch.rand(2, 4), "label": [torch.tensor([0, 2])]}, ("scores", 1)),
        (SCORES, None, ("values", -1)),
        (SCORES, torch.tensor([0, 3]), ("values", -1)),
        (SCORES, torch.tensor([0.0, 2.0]), ("values", -1)),
        (torch.randn(2, 5, 8, 8), torch.randint(0, 5, (2, 8, 8)), ("scores", 1)),
        (torch.randn(2, 7, 30), torch.randint(0, 30, (2, 7)), ("scores", 2)),
        (torch.randn(2, 5, 8, 8), torch.randint(0, 5, (2, 8, 9)), ("values", -1)),
        (SCORES.softmax(1), None, ("probabilities", -1)),
        (functional.normalize(SCORES, dim=-1), None, ("directions", -1)),
        (torch.ones(4, 1), None, ("values", -1)),
        (torch.randn(4), None, ("values", -1)),
    ],
)
def test_what_an_output_holds(tensor: Tensor, targets: Any, expected: tuple[str, int]) -> None:
    assert found(tensor, targets) == expected


def test_an_output_called_logits_is_class_scores() -> None:
    assert found(SCORES, name="logits") == found(SCORES, name="head_logits") == ("scores", -1)


def test_integers_are_not_followed_and_nothing_else_is_an_error() -> None:
    both = {"output_0": SCORES, "output_1": SCORES.argmax(1)}
    assert [output.name for output in outputs_to_follow(both, None)] == ["output_0"]
    with pytest.raises(InputError, match="no float output"):
        outputs_to_follow({"output": SCORES.argmax(1)}, None)


@pytest.mark.parametrize("kind", ["scores", "probabilities", "directions", "values"])
def test_the_distance_is_nothing_from_itself_and_falls_on_the_way(kind: Any) -> None:
    output = Output(name="output", kind=kind, axis=-1)
    theirs, ours = (x.softmax(-1) if kind == "probabilities" else x for x in (SCORES, SCORES.flip(0)))
    distances = [output.distance(ours + share * (theirs - ours), theirs, 4.0).item() for share in (0, 0.5, 0.9, 1)]
    assert distances == sorted(distances, reverse=True)
    assert distances[0] > 0.1
    assert distances[-1] == pytest.approx(0, abs=1e-6)


def test_soft_labels_are_the_divergence_of_the_softened_distributions_with_the_gradient_of_the_hard_ones() -> None:
    output, theirs = Output(name="output", kind="scores", axis=1), SCORES
    ours = SCORES.flip(0).requires_grad_()
    soft, mine = (x.div(2).softmax(1) for x in (theirs, ours))
    value = output.distance(ours, theirs, 2.0)
    assert value.item() == pytest.approx(4 * (soft * (soft.log() - mine.log())).sum(1).mean().item(), rel=1e-5)
    (gradient,) = torch.autograd.grad(value, ours)
    assert torch.allclose(gradient, 2 * (mine - soft) / 2, atol=1e-6)  # T (q - p), over two samples


def test_probabilities_are_softened_like_the_scores_they_came_from() -> None:
    scores, probabilities = (Output(name="o", kind=kind, axis=1) for kind in ("scores", "probabilities"))
    ours, theirs = SCORES.flip(0), SCORES
    expected = scores.distance(ours, theirs, 3.0)
    assert torch.allclose(probabilities.distance(ours.softmax(1), theirs.softmax(1), 3.0), expected, rtol=1e-4)


def test_the_relative_error_does_not_depend_on_the_scale() -> None:
    ours, theirs = torch.randn(8, 4), torch.randn(8, 4)
    assert torch.allclose(relative_error(ours, theirs), relative_error(1000 * ours, 1000 * theirs))
    assert relative_error(theirs.mean().expand(8, 4), theirs).item() == pytest.approx(1)

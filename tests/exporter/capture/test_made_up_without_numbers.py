"""A model that has no answer to made-up inputs is told apart from one that has none to its own example."""

from pathlib import Path

import pytest
import torch

import edgepress
from edgepress.errors import VerificationError


class Attention(torch.nn.Module):
    """Shares of places that a mask of any form leaves."""

    def forward(self, scores: torch.Tensor, mask: torch.Tensor) -> torch.Tensor:
        return torch.softmax(scores.masked_fill(mask, float("-inf")), -1)


@pytest.mark.parametrize(
    ("masked", "what", "hint"),
    [
        (
            [[True, False], [False, True]],
            "made up to look like the example, which itself gives numbers",
            "instead of -inf",
        ),
        ([[True, True], [False, True]], "the proof's inputs", "its example inputs"),
    ],
)
def test_whose_inputs_give_no_numbers_is_said(masked: list[list[bool]], what: str, hint: str, tmp_path: Path) -> None:
    example = {"scores": torch.randn(2, 2, 2), "mask": torch.tensor([masked, masked])}
    with pytest.raises(VerificationError) as error:
        edgepress.export(Attention(), example, target="server-cpu", measure=False, output=tmp_path)
    assert what in error.value.message
    assert hint in str(error.value.hint)

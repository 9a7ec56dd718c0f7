"""A refusal of int8 says whether the model itself amplifies what is rounded."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import torch
from torch import nn

import edgepress
from edgepress.errors import VerificationError


class Edge(nn.Module):
    """A sine of many periods, of which the rounding of the input alone leaves nothing; or a plain line."""

    def __init__(self, factor: float) -> None:
        super().__init__()
        torch.manual_seed(0)
        self.first, self.second, self.factor = nn.Linear(16, 16), nn.Linear(16, 16), factor

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        y = self.first(x)
        return self.second(torch.sin(self.factor * y) if self.factor else y)


@pytest.mark.parametrize(("factor", "least_db", "amplifies"), [(60.0, 40.0, True), (0.0, 90.0, False)])
def test_why_int8_collapses(tmp_path: Path, factor: float, least_db: float, amplifies: bool) -> None:
    rng = np.random.default_rng(0)
    with pytest.raises(VerificationError, match="int8 collapses") as caught:
        edgepress.export(
            Edge(factor).eval(),
            {"x": torch.rand(4, 16)},
            target="server-cpu",
            name="edge",
            dynamic={"x": {0: "n"}},
            calibration=[{"x": rng.normal(size=(16, 16)).astype(np.float32)} for _ in range(4)],
            precision="int8",
            minimum_sqnr_db=least_db,
            rungs=[],
            measure=False,
            output=tmp_path,
        )
    said = f"{caught.value.message} {caught.value.hint}"
    assert ("The model amplifies what is rounded: of nothing but its inputs in 8 bits" in said) == amplifies
    assert ("Load trained weights where these are random" in said) == amplifies
    assert "--exclude" in said

from __future__ import annotations

import pytest
from torch import nn

from edgepress.exporter.recipe import TrainingSettings
from edgepress.exporter.training.loop import train

from ._toy import net, toy


@pytest.fixture(scope="session")
def teacher() -> nn.Module:
    return train(net(64), None, toy(), TrainingSettings(epochs=8, learning_rate=0.02)).module

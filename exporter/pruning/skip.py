"""What stands where a removed block was. Imported by those who have torch loaded already."""

from __future__ import annotations

from typing import Any

from torch import nn


class Skip(nn.Module):
    """Gives back its first argument."""

    def forward(self, x: Any, *_: Any, **__: Any) -> Any:
        """Return `x` itself."""
        return x

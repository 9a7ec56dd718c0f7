"""What torch's fast path of a transformer encoder does otherwise than its modules say.

With `src_key_padding_mask`, in `eval()` and without gradients, nn.TransformerEncoder drops the padding before its first
layer and puts zeros in its place behind the last (torch.nn.TransformerEncoder, `enable_nested_tensor`). Exporters, and
training, take the other path, whose values at the padding are those of any other place.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager

import numpy as np

from ....backends.base import Array, Feed
from ...sources import Source, torch_predict

# Rounding of one against another order of the same sums, beside the largest value.
_ALIKE = 1e-3


def is_padding(source: Source, feeds: Sequence[Feed], answers: Sequence[Mapping[str, Array]], name: str) -> bool:
    """Whether an output of a graph is what the module gives without its fast path.

    Args:
        answers: the graph's, to the feeds.
    """
    with without_fast_path():
        predict = torch_predict(source)
        return all(_alike(predict(feed)[name], answer[name]) for feed, answer in zip(feeds, answers, strict=True))


def _alike(one: Array, other: Array) -> bool:
    return one.shape == other.shape and np.allclose(one, other, rtol=0, atol=_ALIKE * float(np.abs(one).max(initial=0)))


@contextmanager
def without_fast_path() -> Iterator[None]:
    """Inside, an encoder computes as its modules say."""
    import torch

    before = torch.backends.mha.get_fastpath_enabled()
    torch.backends.mha.set_fastpath_enabled(False)
    try:
        yield
    finally:
        torch.backends.mha.set_fastpath_enabled(before)

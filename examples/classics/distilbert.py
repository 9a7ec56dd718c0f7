"""DistilBERT for two-class sentiment, built from its default configuration at full size.

The encoder keeps its seeded random weights; only the two linear layers of the head are trained, on generated token
sequences that hold more of sixteen "positive" or of sixteen "negative" tokens. It has the shape and the cost of the
real model, and its scores mean something, but it knows no language.

Inputs ``input_ids`` and ``attention_mask``: int64 (N, L), both axes free, L at most 512. Output: float32 (N, 2).
"""

from __future__ import annotations

import functools
from collections.abc import Iterable, Iterator
from typing import Any

import numpy as np
import torch
import transformers
from _shared import Batch, Predict, seeded, trained
from numpy.typing import NDArray
from torch import Tensor, nn
from torch.nn import functional
from transformers import DistilBertConfig, DistilBertForSequenceClassification

_CLASSIFY, _SEPARATE = 101, 102  # the ids of [CLS] and [SEP]
_SENTIMENT = np.array([np.arange(2000, 2016), np.arange(3000, 3016)])  # of class 0 and class 1
_NEUTRAL = np.arange(4000, 4064)
_BATCH = 16


class Sentiment(nn.Module):
    """The classifier of transformers, giving its logits alone."""

    def __init__(self) -> None:
        super().__init__()
        # Eager attention exports to plain MatMul and Softmax.
        config = DistilBertConfig(num_labels=2, attn_implementation="eager")
        self.network = DistilBertForSequenceClassification(config)

    def forward(self, input_ids: Tensor, attention_mask: Tensor) -> Tensor:
        """Logits, float32 (N, 2)."""
        logits: Tensor = self.network(input_ids=input_ids, attention_mask=attention_mask).logits
        return logits

    def first_states(self, input_ids: Tensor, attention_mask: Tensor) -> Tensor:
        """What the head sees: the encoder's last state of each sequence's first token, float32 (N, 768)."""
        states: Tensor = self.network.distilbert(input_ids, attention_mask=attention_mask).last_hidden_state
        return states[:, 0]


def model() -> nn.Module:
    """The encoder is drawn anew each time; the head is trained at the first call and kept in the user's cache."""
    with seeded():
        net = Sentiment().eval()
    states = functools.cache(lambda: _states(net))
    head = trained(__file__, _head, lambda _: states(), _loss, epochs=20, rate=1e-3, key=transformers.__version__)
    net.network.pre_classifier, _, net.network.classifier = head.children()
    return net


def inputs() -> dict[str, Tensor]:
    """One batch of 16 sequences, padded to the longest."""
    return _tensors(next(_generated(_BATCH, seed=0))[0])


def dynamic() -> dict[str, dict[int, str]]:
    """Any number of sequences of any length."""
    axes = {0: "batch", 1: "sequence"}
    return {"input_ids": axes, "attention_mask": axes}


def calibration() -> Iterable[dict[str, NDArray[Any]]]:
    """The first 128 training sequences in batches of 16, each padded to its longest."""
    return (feed for feed, _ in _generated(128, seed=0))


def evaluate(predict: Predict) -> float:
    """Share of 256 sequences, drawn apart from those trained on, whose class is right."""
    right = [next(iter(predict(feed).values())).argmax(axis=1) == labels for feed, labels in _generated(256, seed=1)]
    return float(np.concatenate(right).mean())


def _head() -> nn.Sequential:
    """The layers between the encoder and the logits, as DistilBertForSequenceClassification has them."""
    return nn.Sequential(nn.Linear(768, 768), nn.ReLU(), nn.Linear(768, 2))


def _loss(logits: Tensor, labels: Tensor) -> Tensor:
    return functional.cross_entropy(logits, labels)


def _states(net: Sentiment) -> list[Batch]:
    """The head's training batches."""
    with torch.no_grad():
        return [
            ({"input": net.first_states(**_tensors(feed))}, torch.from_numpy(labels))
            for feed, labels in _generated(512, seed=0)
        ]


def _generated(count: int, *, seed: int) -> Iterator[tuple[dict[str, NDArray[np.int64]], NDArray[np.int64]]]:
    """Batches of sequences of 8 to 24 tokens and their classes; the seed decides all of them."""
    rng = np.random.default_rng(seed)
    for _ in range(count // _BATCH):
        labels = rng.integers(0, 2, _BATCH)
        yield _padded([_sequence(rng, label) for label in labels]), labels


def _sequence(rng: np.random.Generator, label: int) -> list[int]:
    """A third of the tokens speak for the label's class, the rest for none, in random order."""
    length = int(rng.integers(6, 23))
    telling = rng.choice(_SENTIMENT[label], length // 3)
    body = np.concatenate([telling, rng.choice(_NEUTRAL, length - len(telling))])
    return [_CLASSIFY, *rng.permutation(body).tolist(), _SEPARATE]


def _padded(sequences: list[list[int]]) -> dict[str, NDArray[np.int64]]:
    ids = np.zeros((len(sequences), max(map(len, sequences))), np.int64)
    mask = np.zeros_like(ids)
    for row, sequence in enumerate(sequences):
        ids[row, : len(sequence)] = sequence
        mask[row, : len(sequence)] = 1
    return {"input_ids": ids, "attention_mask": mask}


def _tensors(feed: dict[str, NDArray[np.int64]]) -> dict[str, Tensor]:
    return {name: torch.from_numpy(array) for name, array in feed.items()}

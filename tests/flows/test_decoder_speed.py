"""`edgepress profile`, `compare` and `generate` of decoders, with a runtime whose speed is known."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import time
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path

import pytest

from edgepress.backends.decoding import Generation, Sampling
from edgepress.backends.places.text_runs import Prompts
from edgepress.exporter.bundle.generate import Asked, tokens_of
from edgepress.exporter.bundle.manifest import LanguageEntry
from edgepress.profiles.findings.language import Footprint
from edgepress.profiles.findings.profile import load_profile

from ..exporter.measuring._decoders import decoder_bundle, install_spoken, spoken_target
from ._flow import EDGEPRESS, Cli, Ran

FILES = {"model.txt": b"weights" * 100}
MEMORY = Footprint(weights=700, read=600, context=2048, cache=4096, how="Computed.")
Run = Callable[..., Ran]


@pytest.fixture(scope="module")
def work(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with bundles that read a token in 50 us and write one in 1 ms, and some that do not."""
    path = tmp_path_factory.mktemp("work")
    install_spoken(path)
    usual = spoken_target(path, read_us=50, write_us=1000)
    decoder_bundle(path / "story", usual, FILES, "model.txt", memory=MEMORY)
    decoder_bundle(path / "mute", usual, FILES, "model.txt", tokenizer=False)
    decoder_bundle(path / "brief", usual, FILES, "model.txt", context=16)
    slow = spoken_target(path, read_us=50, write_us=3000)
    decoder_bundle(path / "slow", slow, FILES, "model.txt")
    for then in ("short", "crash", "not-installed", "no-template", "endless"):
        target = spoken_target(path, read_us=50, write_us=1000, then=then, after=8)
        decoder_bundle(path / then, target, FILES, "model.txt")
    return path


@pytest.fixture
def run(work: Path, forked: Cli) -> Run:
    """Run a command line in that folder, where the runtime is installed."""

    def command(*words: object) -> Ran:
        ran = forked(*words, cwd=work, temporary=work.with_name(f"{work.name}-tmp"), env=python_path(work))
        assert "Traceback" not in ran.err, ran.err
        return ran

    return command


def python_path(work: Path) -> dict[str, str]:
    return {"PYTHONPATH": os.pathsep.join([str(work / "site"), os.environ.get("PYTHONPATH", "")])}


def environment(work: Path) -> dict[str, str]:
    return {**os.environ, **python_path(work), "NO_COLOR": "1"}


@pytest.fixture(scope="module")
def measured(work: Path) -> Path:
    """The measurement of a decoder, taken once."""
    words = [str(EDGEPRESS), "profile", "story", "-q", "-o", "story.json"]
    subprocess.run(words, cwd=work, env=environment(work), check=True, timeout=120)
    return work / "story.json"


def test_prefill_counts_the_prompt_and_decode_leaves_out_the_first_token(run: Run, work: Path, measured: Path) -> None:
    """A library that remembers prompts is not faster for it: every run has a new one."""
    found = load_profile(measured)
    assert found.language is not None and found.language.speed is not None
    for one in found.language.speed.depths:
        # A sleep is longer than it was asked for, never shorter; counting wrongly is off by the length of the prompt.
        assert 0.5 * 20_000 < one.prefill.value <= 20_000
        assert 0.5 * 1000 < one.decode.value <= 1000
        assert one.first_token.value == pytest.approx(1e3 * one.depth / one.prefill.value, rel=0.01)
        assert one.prefill.low <= one.prefill.value <= one.prefill.high
        assert one.decode.count >= 9
    assert [one.depth for one in found.language.speed.depths] == [128, 1024]
    assert found.language.memory is not None and found.language.memory.peak == found.memory.peak > 1e6  # type: ignore[union-attr]
    bandwidth = found.language.bandwidth
    assert bandwidth is not None and bandwidth.machine > 1e8
    assert bandwidth.token == 600 + 2 * (128 + 16)
    assert run("check", "story.json", "--budget", "decode=100tok/s", "--budget", "prefill=1000tok/s").code == 0
    missed = run("check", "story.json", "--budget", "decode=2000tok/s", "--on-unstable", "fail")
    assert missed.code == 3 and "decode" in missed.err
    assert run("report", "story.json", "-o", "page.md", "--format", "md").code == 0
    page = (work / "page.md").read_text()
    assert "tok/s" in page and "first token" in page and "How far from the limit" in page


def test_a_comparison_tells_reading_from_writing(run: Run) -> None:
    ran = run("compare", "story", "slow", "--seconds", "1", "--json")
    assert ran.code == 0, ran.err
    found = json.loads(ran.out)
    assert found["verdict"] == "slower"
    decode = found["speeds"]["decode behind 128 tokens"]["ratio"]
    assert 0.2 < decode["value"] < 0.6 and decode["high"] < 1
    assert found["speeds"]["prefill of 1,024 tokens"]["ratio"]["value"] == pytest.approx(1, abs=0.25)


def test_a_library_that_writes_too_little_has_no_speed(run: Run) -> None:
    ran = run("profile", "short", "-q")
    assert ran.code == 4
    assert "wrote 32 tokens where 33 were asked for" in ran.err


def test_what_was_measured_before_a_crash_is_kept(run: Run, work: Path) -> None:
    ran = run("profile", "crash", "-q", "-o", "crash.json")
    assert ran.code == 4 and "unfinished" in ran.err
    found = load_profile(work / "crash.json")
    assert not found.stable and found.language is not None and found.language.speed is not None


@pytest.mark.parametrize(
    ("words", "told"),
    [
        (("profile", "story", "--scenario", "offline"), "--scenario would change nothing"),
        (("profile", "story", "--batches", "1,4"), "--batches would change nothing"),
        (("compare", "story", "story.json"), "compare as bundles only"),
    ],
)
def test_what_has_no_meaning_for_a_decoder_is_refused(
    run: Run, measured: Path, words: tuple[str, ...], told: str
) -> None:
    ran = run(*words)
    assert ran.code == 1 and told in ran.err


def test_prompts_stay_within_a_short_context() -> None:
    for context in (2, 4, 16, 160, 161, 1056, 1057, 4096):
        prompts = Prompts.within(context, 100)
        assert all(depth >= 1 and depth + prompts.written <= context + (context < 3) for depth in prompts.depths)
    assert Prompts.within(1057, 100).depths == (128, 1024)
    assert Prompts.within(1056, 100).depths == (128,)
    drawn = [prompts.draw(64, number) for number in range(3)]
    assert len({tuple(one) for one in drawn}) == 3 and max(map(max, drawn)) < 100


def test_text_comes_on_standard_output_and_its_speed_beside_it(run: Run) -> None:
    ran = run("generate", "story", "hello")
    assert (ran.code, ran.out) == (0, "one two three four \n"), ran.err
    assert "11 tokens read, 4 written" in ran.err and "tok/s" in ran.err
    assert run("generate", "story", "hello", "-q").err == ""


def test_a_prompt_comes_on_standard_input(work: Path) -> None:
    words = [EDGEPRESS, "generate", "story", "-", "--json", "--raw", "--tokens", "2"]
    read = subprocess.run(words, cwd=work, env=environment(work), input="hello", capture_output=True, text=True)
    assert read.returncode == 0, read.stderr
    told = json.loads(read.stdout)
    assert (told["text"], told["tokens"], told["prompt_tokens"], told["ended"]) == ("one two ", 2, 5, "tokens")
    assert told["tokens_per_second"] > 0 and told["first_token_ms"] > 0


@pytest.mark.parametrize(
    ("words", "code", "told"),
    [
        (("story", ""), 1, "The prompt is empty"),
        (("story", "  \n"), 1, "The prompt is empty"),
        (("brief", "a long prompt for it"), 1, "the model reads at most 15"),
        (("mute", "hello"), 1, "no tokenizer"),
        (("not-installed", "hello"), 5, "pip install spoken-genai"),
        (("no-template", "hello", "--system", "be brief"), 1, "--system has no place"),
        (("story", "hello", "--system", "be brief", "--raw"), 2, "give one of them"),
        (("story", "hello", "--top-k", "4"), 2, "add --temperature"),
        (("story", "hello", "--tokens", "0"), 2, "--tokens"),
        (("nowhere", "hello"), 1, "is not a bundle"),
    ],
)
def test_a_prompt_that_cannot_be_written_behind_is_refused(
    run: Run, words: tuple[str, ...], code: int, told: str
) -> None:
    ran = run("generate", *words)
    assert ran.code == code and told in ran.err and ran.out == ""


class Beginning(Generation):
    """A tokenizer that begins every text with the token 1, and a template that writes it, too."""

    def encode(self, text: str) -> list[int]:
        return [1, *(1 if letter == "^" else ord(letter) for letter in text)]

    def prompt(self, messages: Sequence[Mapping[str, str]]) -> str:
        return "^" + messages[-1]["content"]

    def run(self, prompt: Sequence[int], most: int, each: Callable[[int], None]) -> None:
        raise AssertionError

    def write(self, prompt: Sequence[int], most: int, each: Callable[[str], None], sampling: Sampling) -> int:
        raise AssertionError


def test_a_conversation_begins_once() -> None:
    entry = LanguageEntry(context=64, vocabulary=128, tokenizer=True, golden=1, fp32_nats=0.1, own_nats=0.1)
    assert tokens_of(Asked(text="hi"), Beginning(), entry) == [1, ord("h"), ord("i")]
    # What a person writes is left as it is.
    assert tokens_of(Asked(text="^hi", raw=True), Beginning(), entry) == [1, 1, ord("h"), ord("i")]


def test_a_changed_bundle_writes_nothing(run: Run, work: Path) -> None:
    target = spoken_target(work, read_us=1, write_us=1)
    bundle = decoder_bundle(work / "changed", target, FILES, "model.txt")
    (bundle.path / "engine" / "model.txt").write_bytes(b"others")
    ran = run("generate", "changed", "hello")
    assert ran.code == 4 and "model.txt was changed" in ran.err


def test_an_interrupt_ends_the_text_and_says_so(work: Path) -> None:
    process = subprocess.Popen(
        [str(EDGEPRESS), "generate", "endless", "hello"], cwd=work, env=environment(work), stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
    )  # fmt: skip
    assert process.stdout is not None
    assert process.stdout.read(4) == b"one "
    time.sleep(0.1)
    process.send_signal(signal.SIGINT)
    out, err = process.communicate(timeout=30)
    assert process.returncode == 130 and out == b"\n" and b"Interrupted" in err and b"Traceback" not in err

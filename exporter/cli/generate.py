"""`edgepress generate`."""

from __future__ import annotations

import sys
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from .option_types import SEED, THREADS
from .options import json_option, quiet_option

if TYPE_CHECKING:
    from ...backends.decoding import Sampling
    from ..bundle.generate import GeneratedText


@click.command(no_args_is_help=True)
@click.argument("bundle", type=click.Path(path_type=Path))
@click.argument("prompt")
@click.option("--tokens", type=click.IntRange(min=1), default=256, show_default=True, help="Tokens to write at most.")
@click.option(
    "--temperature",
    type=click.FloatRange(min=0),
    default=0.0,
    show_default=True,
    help="How freely the next token is chosen; 0 takes the most likely one.",
)
@click.option("--top-k", type=click.IntRange(min=1), help="Choose among so many most likely tokens.")
@click.option(
    "--top-p", type=click.FloatRange(0, 1, min_open=True), help="Choose from the most likely tokens of this share."
)
@click.option("--seed", type=SEED, help="Seed of the choice; default 0.")
@click.option("--system", default="", metavar="TEXT", help="What is said before the prompt, as the system.")
@click.option("--raw", is_flag=True, help="Go on with the prompt as it is, not as a turn of a conversation.")
@click.option("--threads", type=THREADS, help="Threads; default the runtime's own choice.")
@quiet_option
@json_option
def command(
    bundle: Path,
    prompt: str,
    tokens: int,
    system: str,
    raw: bool,
    threads: int | None,
    quiet: bool,
    as_json: bool,
    **choice: Any,
) -> None:
    """Write text behind PROMPT with the decoder in BUNDLE, as it comes, through the runtime's own library.

    A PROMPT of - is read from standard input. The text goes to standard output; how fast it came, to standard error.

    \b
    Example:
      edgepress generate dist/story-cpu "Once upon a time" --tokens 100
    """  # noqa: D301
    from ..bundle.generate import Asked, generate, need_decoder, opened

    if system and raw:
        raise click.UsageError("--system is a turn of a conversation, and --raw has none; give one of them.")
    sampling = _sampling(**choice)
    found, entry = need_decoder(bundle)
    asked = Asked(text=_text(prompt), system=system, raw=raw, most=tokens, sampling=sampling)
    with opened(found, threads) as generation:
        try:
            written = generate(asked, generation, entry, (lambda piece: None) if as_json else _print)
        except KeyboardInterrupt:
            click.echo()  # what is said of it begins on a line of its own
            raise
    if as_json:
        _print_json(written)
        return
    click.echo()
    if not quiet:
        click.secho(_speed(written), dim=True, err=True)


def _sampling(temperature: float, top_k: int | None, top_p: float | None, seed: int | None) -> Sampling:
    """How tokens are chosen.

    Raises:
        UsageError: an option that changes nothing.
    """
    from ...backends.decoding import Sampling

    given = {"--top-k": top_k, "--top-p": top_p, "--seed": seed}
    if not temperature and (idle := [name for name, value in given.items() if value is not None]):
        raise click.UsageError(
            f"{idle[0]} chooses among tokens, and a temperature of 0 never does; add --temperature 0.7."
        )
    return Sampling(temperature=temperature, top_k=top_k or 0, top_p=top_p or 1.0, seed=seed or 0)


def _text(prompt: str) -> str:
    """The prompt itself, or standard input."""
    from ...errors import InputError

    if prompt != "-":
        return prompt
    try:
        return sys.stdin.buffer.read().decode()
    except UnicodeDecodeError as error:
        raise InputError(f"Standard input is no text in UTF-8: byte {error.start} is none of it.") from error


def _print(piece: str) -> None:
    click.echo(piece, nl=False)
    sys.stdout.flush()


def _print_json(written: GeneratedText) -> None:
    import json
    from dataclasses import asdict

    click.echo(json.dumps(asdict(written), indent=2, ensure_ascii=False))


def _speed(written: GeneratedText) -> str:
    said = [f"{written.prompt_tokens} tokens read, {written.tokens} written"]
    if written.first_token_ms is not None:
        said.append(f"the first after {written.first_token_ms:.0f} ms")
    if written.tokens_per_second is not None:
        said.append(f"then {written.tokens_per_second:.1f} tok/s")
    if written.ended == "context":
        said.append("the context is full")
    return f"[{', '.join(said)}]"

"""The command line. This module answers `--help`; a command's own file is imported when it is called."""

from __future__ import annotations

import importlib
import os
import signal
import sys
from contextlib import suppress
from pathlib import Path
from typing import NoReturn

import click

from ...errors import EdgepressError
from ...profiles.machine import held, interrupts
from ...profiles.reading.names import need_text

INTERRUPTED = 128  # and the signal's number, as shells report it

# Command to its one-line help; the file of the same name in this folder holds `command`.
COMMANDS = {
    "export": "Capture, compress, compile, verify, measure and bundle a model.",
    "tune": "Search for the recipe that keeps a budget, and export it.",
    "lint": "Say what will fail, be wrong or be slow on a target, before anything is compiled.",
    "calibrate": "Collect calibration statistics into a file, or merge such files.",
    "generate": "Write text with the decoder in a bundle, as it comes.",
    "profile": "Measure an engine: latency, throughput, cold start, memory, size, layers.",
    "compare": "Say whether B is faster than A, by how much, and how sure that is.",
    "demo": "Draw what an engine gives for pictures: boxes, classes or masks, FP32 beside int8.",
    "report": "Write one page on bundles and measurements: HTML, Markdown or JSON.",
    "check": "Judge bundles by a budget or against a baseline, for CI.",
    "sign": "Sign a bundle, so that a changed one is told from yours.",
    "verify": "Check a bundle's signature, hashes and golden outputs.",
    "pack": "Put bundles for several devices into one file.",
    "install": "Take the bundle that fits this device out of such a file, or go back.",
    "build": "Finish on the device what only the device can build.",
    "targets": "List the targets, or show one.",
    "doctor": "Say what this machine can compile and run.",
    "init": "Write a model file to fill in.",
}


class LazyGroup(click.Group):
    """A group that knows its commands' names and help without importing them."""

    def list_commands(self, ctx: click.Context) -> list[str]:
        """All commands, in the order of use."""
        return list(COMMANDS)

    def get_command(self, ctx: click.Context, name: str) -> click.Command:
        """Import one command's file."""
        if name not in COMMANDS:
            from ...profiles.reading.near import did_you_mean

            listed = did_you_mean(name, COMMANDS, otherwise="`edgepress --help` lists them.")
            ctx.fail(f"No such command {name!r}. {listed}")
        command = importlib.import_module(f".{name}", __package__).command
        assert isinstance(command, click.Command)
        return command

    def format_commands(self, ctx: click.Context, formatter: click.HelpFormatter) -> None:
        """List the commands from the table above."""
        with formatter.section("Commands"):
            formatter.write_dl(list(COMMANDS.items()))


@click.group(cls=LazyGroup, context_settings={"help_option_names": ["-h", "--help"]})
@click.version_option(package_name="edgepress", message="%(prog)s %(version)s")
def cli() -> None:
    """Turn a trained PyTorch model into a bundle that an edge device runs, and that proves it.

    Exit codes: 0 done, 1 a fault in the input, 2 usage, 3 a budget was not met, 4 verification failed, 5 the target
    cannot be served on this machine. Of several targets the worst: 4, else 1, 5, 3.
    """


def main() -> NoReturn:
    """Entry point: run the command and turn expected errors into one message and an exit code."""
    interrupts.listen()
    try:
        _need_text()
        sys.exit(cli(prog_name="edgepress", standalone_mode=False) or 0)
    except (Exception, KeyboardInterrupt) as error:
        sys.exit(_told(error))


def _need_text() -> None:
    """Refuse names that reports and runtimes cannot hold, before anything is done; a runtime may end the process."""
    with suppress(FileNotFoundError):  # where this directory was deleted, its name matters to nobody
        need_text(os.getcwd())
    for word in (*sys.argv[1:], os.environ.get("TMPDIR", "")):
        need_text(word)


def _told(error: BaseException) -> int:
    """Say what ended the command; returns the exit code. A bug is raised again, with its traceback."""
    if interrupts.heard() or isinstance(error, (click.Abort, KeyboardInterrupt)):
        interrupts.ignore()
        held.abandon()
        _fail("Interrupted; nothing half-written is left behind.", None)
        return INTERRUPTED + (interrupts.heard() or signal.SIGINT)
    if isinstance(error, EdgepressError):
        _fail(error.message, error.hint)
        return error.exit_code
    if isinstance(error, click.ClickException):
        error.show()
        return error.exit_code
    if isinstance(error, BrokenPipeError):
        sys.stderr.close()
    elif isinstance(error, MemoryError):
        said = str(error) or "an allocation failed"
        _fail(f"This machine has not enough memory: {said}.", "Give smaller inputs or batches.")
    elif isinstance(error, OSError) and (error.filename or error.errno) is not None:
        _fail(f"{error.strerror}: {error.filename or 'while writing'}.", _what_to_do(error))
    else:
        raise error
    return 1


def _what_to_do(error: OSError) -> str:
    """About what the system refused."""
    parent = Path(error.filename).parent if isinstance(error.filename, str) else None
    if isinstance(error, FileNotFoundError) and parent is not None and not parent.is_dir():
        return f"There is no directory {parent}: make it, or choose another place."
    if isinstance(error, FileExistsError | NotADirectoryError):
        return "Something else has this name, or one above it: a file, or a link that leads nowhere. Choose another."
    return "Check the disk's space and permissions."


def _fail(message: str, hint: str | None) -> None:
    click.secho("error: ", fg="red", bold=True, err=True, nl=False)
    click.echo(message, err=True)
    if hint:
        click.secho(hint, fg="cyan", err=True)

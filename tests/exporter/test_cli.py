"""The command line in this process: options, tables, JSON and exit codes; what needs a model is in `flows`."""

from __future__ import annotations

import json
import shlex
import signal
import sys
from collections.abc import Callable
from pathlib import Path

import pytest

from edgepress.backends.registry import backend_names
from edgepress.exporter import cli
from edgepress.exporter.cli.summary import command_line
from edgepress.profiles.device.target import target_aliases, target_names

Run = Callable[..., tuple[int, str, str]]


@pytest.fixture
def run(monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str], tmp_path: Path) -> Run:
    """Exit code, standard output and standard error of a command line, in an empty directory."""
    monkeypatch.chdir(tmp_path)
    before = signal.getsignal(signal.SIGTERM)

    def main(*arguments: str) -> tuple[int, str, str]:
        monkeypatch.setattr(sys, "argv", ["edgepress", *arguments])
        try:
            with pytest.raises(SystemExit) as end:
                cli.main()
        finally:
            signal.signal(signal.SIGTERM, before)
        return int(end.value.code or 0), *capsys.readouterr()

    return main


def test_help_lists_every_command_and_each_has_its_own(run: Run) -> None:
    code, out, _ = run("--help")
    assert code == 0
    assert "Exit codes: 0 done" in out
    for name, text in cli.COMMANDS.items():
        assert name in out
        code, own, _ = run(name, "--help")
        assert code == 0
        assert own.startswith(f"Usage: edgepress {name}")
        assert text


def test_the_version(run: Run) -> None:
    from importlib.metadata import version

    assert run("--version")[1].strip() == f"edgepress {version('edgepress')}"


@pytest.mark.parametrize("arguments", [("nothing",), ("export",), ("export", "x.py"), ("targets", "--nothing")])
def test_misuse_is_code_2(run: Run, arguments: tuple[str, ...]) -> None:
    code, _, err = run(*arguments)
    assert code == 2
    assert "Usage: edgepress" in err


def test_the_targets_are_listed_with_their_aliases(run: Run) -> None:
    code, out, _ = run("targets")
    assert code == 0
    lines = out.splitlines()
    assert [line.split()[0] for line in lines] == list(target_names())
    for alias, name in target_aliases().items():
        assert any(line.startswith(f"{name} = ") and alias in line for line in lines)
    assert {t["name"] for t in json.loads(run("targets", "--json")[1])} == set(target_names())


@pytest.mark.parametrize("name", [*target_names(), *target_aliases()])
def test_a_target_is_shown_with_the_source_of_every_figure(run: Run, name: str) -> None:
    code, out, _ = run("targets", name)
    assert code == 0
    data = json.loads(run("targets", name, "--json")[1])
    shown = " ".join(out.split())
    for text in (data["title"], data["toolchain"]["source"], *(f["source"] for f in data["figures"].values())):
        assert " ".join(text.split()) in shown
    for figure in data["figures"].values():
        assert f"[{figure['mark']}; " in shown


def test_an_unknown_target_is_an_error_with_near_ones(run: Run) -> None:
    code, _, err = run("targets", "jetsn")
    assert code == 1
    assert err == "error: Unknown target 'jetsn'. Did you mean jetson or jetson-nano or jetson-tx2-nx?\n"


def test_doctor_judges_every_backend_and_says_what_to_do(run: Run) -> None:
    code, out, _ = run("doctor")
    assert code == 0
    data = json.loads(run("doctor", "--json")[1])
    assert set(data["backends"]) == set(backend_names())
    for name, here in data["backends"].items():
        assert name in out
        assert (here["compile"] and here["run"]) or here["reason"] in out
    assert data["tools"]["edgepress"]


def test_init_writes_a_file_once(run: Run) -> None:
    code, out, _ = run("init", "mine.py")
    assert code == 0
    assert "edgepress export mine.py --target cpu" in out
    compile(Path("mine.py").read_text(), "mine.py", "exec")
    code, _, err = run("init", "mine.py")
    assert (code, "mine.py exists" in err) == (1, True)
    code, _, err = run("init", "no/such/directory.py")
    assert (code, "There is no directory no/such: make it" in err) == (1, True)
    code, _, err = run("init", ".")
    assert (code, "Give a file in it, as model.py" in err) == (1, True)


def test_init_keeps_to_the_names_that_export_tells_files_by(run: Run) -> None:
    for words, said in (
        (("mine.toml",), "Write mine.py. --recipe goes with .toml."),
        (("--recipe", "mine.py"), "Write mine.toml."),
    ):
        code, _, err = run("init", *words)
        assert (code, said in err) == (1, True)
    assert not list(Path().glob("mine*"))


def test_an_unknown_command_is_a_usage_error_with_the_near_ones(run: Run) -> None:
    for typed, meant in (
        ("exprot", "Did you mean export or report?"),
        ("zzz", "No such command 'zzz'. `edgepress --help` lists them."),
    ):
        code, _, err = run(typed)
        assert (code, meant in err) == (2, True), err


@pytest.mark.parametrize(
    ("typed", "kept"),
    [
        ("export model.py --target cpu", "export model.py --target cpu"),
        ("export examples/digits.py -t cpu,jetson", "export examples/digits.py -t cpu,jetson"),
        ("export /home/alice/net.py -t /srv/alice/kiosk.toml", "export net.py -t kiosk.toml"),
        ("export net.py -t cpu,/srv/alice/kiosk.toml", "export net.py -t cpu,kiosk.toml"),
        ("export net.py --output=/home/alice/out", "export net.py --output=out"),
        ("export net.py -o/home/alice/out", "export net.py -oout"),
        ("export net.py -o /home/alice/out/", "export net.py -o out"),
        ("export ../alice/net.py --calibration ./data.npz", "export net.py --calibration data.npz"),
        ("export net.py --axis batch=1:2:3 --exclude '*/head'", "export net.py --axis batch=1:2:3 --exclude '*/head'"),
    ],
)
def test_a_report_repeats_the_command_without_places_of_this_machine(
    monkeypatch: pytest.MonkeyPatch, typed: str, kept: str
) -> None:
    monkeypatch.setattr(sys, "argv", ["/opt/bin/edgepress", *shlex.split(typed)])
    assert command_line() == f"edgepress {kept}"


def test_a_bug_keeps_its_traceback(run: Run, monkeypatch: pytest.MonkeyPatch) -> None:
    from edgepress.profiles.device import target

    def broken(name: str) -> None:
        raise RuntimeError("a bug")

    monkeypatch.setattr(target, "load_target", broken)
    monkeypatch.setattr(sys, "argv", ["edgepress", "targets"])
    with pytest.raises(RuntimeError, match="a bug"):
        cli.main()

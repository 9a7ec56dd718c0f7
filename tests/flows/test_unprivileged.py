"""As a user without rights: their own directory is all that it takes, and what is root's is refused in one line.

Root runs commands as `nobody`, with an interpreter that `nobody` can read; whoever is no root is such a user already.
"""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
import sysconfig
import tempfile
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from ._flow import SMALL, Ran, contents
from ._pages import ROOT

NOBODY = 65534
DROP = ("setpriv", f"--reuid={NOBODY}", f"--regid={NOBODY}", "--clear-groups")
COMMAND = "from edgepress.exporter.cli import main; main()"
User = Callable[..., Ran]


@pytest.fixture(scope="module")
def place() -> Iterator[Path]:
    """A directory that everybody can reach, which pytest's own are not."""
    with tempfile.TemporaryDirectory(prefix="unprivileged-", ignore_cleanup_errors=True) as made:
        Path(made).chmod(0o755)
        yield Path(made)


@pytest.fixture(scope="module")
def interpreter(place: Path) -> Path:
    """Python with this tree and what is installed here, in an environment that `nobody` can read."""
    if os.geteuid() == 0 and shutil.which("setpriv") is None:
        pytest.skip("root needs setpriv to run a command as nobody")
    version = f"python{sys.version_info.major}.{sys.version_info.minor}"
    (place / "tree").mkdir()
    (place / "tree/edgepress").symlink_to(ROOT)
    said = ""
    for base in dict.fromkeys((os.path.realpath(sys.executable), f"/usr/bin/{version}", f"/usr/local/bin/{version}")):
        shutil.rmtree(place / "venv", ignore_errors=True)
        words = [base, "-m", "venv", "--without-pip", place / "venv"]
        if not Path(base).exists() or subprocess.run(words, capture_output=True, check=False).returncode:
            continue
        site = place / f"venv/lib/{version}/site-packages"
        (site / "here.pth").write_text(f"{place / 'tree'}\n{sysconfig.get_path('purelib')}\n")
        program = place / "venv/bin/python"
        tried = run(program, place, "-c", "import edgepress.exporter.pipeline, torch, onnxruntime")
        if tried.code == 0:
            return program
        said = tried.err.strip().splitlines()[-1] if tried.err.strip() else f"code {tried.code}"
    pytest.skip(f"no {version} here that nobody can run with what is installed: {said}")


@pytest.fixture
def own(place: Path) -> Path:
    """An empty directory of the user's."""
    made = Path(tempfile.mkdtemp(dir=place))
    (made / "tmp").mkdir()
    if os.geteuid() == 0:
        os.chown(made, NOBODY, NOBODY)
        os.chown(made / "tmp", NOBODY, NOBODY)
    return made


@pytest.fixture
def user(interpreter: Path, own: Path) -> User:
    """A command of edgepress as that user, in their directory; they have no home."""

    def command(*words: object, **more: str) -> Ran:
        return run(interpreter, own, "-c", COMMAND, *words, **more)

    return command


@pytest.fixture
def of_others(place: Path, digits: dict[str, Path]) -> Path:
    """A directory that everybody may read and nobody but its owner write, with a bundle in it."""
    made = Path(tempfile.mkdtemp(dir=place))
    shutil.copytree(digits["server-cpu"], made / "digits-server-cpu")
    made.chmod(0o755)
    if os.geteuid() != 0:
        for path in (made, *made.rglob("*")):
            path.chmod(0o555 if path.is_dir() else 0o444)
    return made


def run(program: Path, where: Path, *words: object, **more: str) -> Ran:
    kept = {name: value for name, value in os.environ.items() if not name.startswith(("PYTHON", "XDG", "EDGEPRESS"))}
    environment = {**kept, "HOME": "/nonexistent", "TMPDIR": str(where / "tmp"), "OMP_NUM_THREADS": "1", **more}
    drop = DROP if os.geteuid() == 0 else ()
    done = subprocess.run(
        [*drop, program, *map(str, words)], cwd=where, env=environment, capture_output=True, text=True, timeout=600,
        check=False,
    )  # fmt: skip
    return Ran(code=done.returncode, out=done.stdout, err=done.stderr)


@pytest.mark.slow
def test_a_directory_of_ones_own_is_all_that_it_takes(user: User, own: Path) -> None:
    assert user("init").code == 0
    (own / "model.py").unlink()
    (own / "small.py").write_text(SMALL)
    bundle = "dist/small-server-cpu"
    for words in (
        ("export", "small.py", "-t", "server-cpu", "--no-measure", "-q"),
        ("verify", bundle),
        ("report", bundle, "-o", "page.html"),
        ("check", bundle, "--budget", "size=1MB", "--history", "history.jsonl"),
    ):
        ran = user(*words)
        assert ran.code == 0, ran.err
    made = [path for path in own.rglob("*") if not path.is_symlink() and path.name != "small.py"]
    assert {path.owner() for path in made} == ({"nobody"} if os.geteuid() == 0 else {own.owner()})
    assert [path for path in made if path.stat().st_mode & 0o002] == [], "others may write there"
    assert [path.name for path in (own / "tmp").iterdir() if not path.name.startswith("torchinductor_")] == []


@pytest.mark.slow
def test_what_others_have_is_read_and_not_touched(user: User, own: Path, of_others: Path) -> None:
    bundle, before = of_others / "digits-server-cpu", contents(of_others)
    for words in (("verify", bundle), ("report", bundle, "-o", "page.html")):
        ran = user(*words)
        assert ran.code == 0, ran.err
    (own / "small.py").write_text(SMALL)
    export = ("export", "small.py", "-t", "server-cpu", "--precision", "fp32", "--no-measure", "-q")
    for words in (
        (*export, "-o", of_others),
        ("report", bundle, "-o", of_others / "page.html"),
        ("check", bundle, "--budget", "size=1MB", "--history", of_others / "history.jsonl"),
    ):
        user(*words).failed(1, str(of_others))
    assert contents(of_others) == before


@pytest.mark.slow
def test_an_example_whose_weights_cannot_be_kept_says_so_before_it_trains(user: User, of_others: Path) -> None:
    words = ("export", ROOT / "examples/digits.py", "-t", "server-cpu", "--precision", "fp32", "--no-measure", "-q")
    user(*words, EDGEPRESS_CACHE=str(of_others)).failed(1, "cannot be kept in", "Set EDGEPRESS_CACHE to")
    user(*words).failed(1, "cannot be kept in /nonexistent")

"""`--mlflow` against a real server on this machine, with a database; skipped where MLflow is not installed."""

from __future__ import annotations

import socket
import subprocess
import sys
import time
import urllib.request
from collections.abc import Iterator
from importlib.util import find_spec
from pathlib import Path

import pytest

from ._flow import SMALL, Cli
from ._judged import JUDGED

WORDS = ("-t", "server-cpu", "--precision", "int8", "--no-measure", "-q")


def free_port() -> int:
    with socket.socket() as one:
        one.bind(("127.0.0.1", 0))
        return int(one.getsockname()[1])


@pytest.fixture
def server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    """A tracking server with SQLite and its own artifact store."""
    if find_spec("mlflow") is None or find_spec("flask") is None:
        pytest.skip("needs the whole of MLflow, 850 MB, for its server: pip install mlflow")
    directory, port = tmp_path_factory.mktemp("mlflow"), free_port()
    uri = f"http://127.0.0.1:{port}"
    words = [sys.executable, "-m", "mlflow", "server", "--host", "127.0.0.1", "--port", str(port), "--workers", "1"]
    words += ["--backend-store-uri", f"sqlite:///{directory}/mlflow.db", "--artifacts-destination", f"{directory}/kept"]
    log = (directory / "log").open("wb")
    process = subprocess.Popen(words, cwd=directory, stdout=log, stderr=log, start_new_session=True)
    try:
        for _ in range(240):
            try:
                urllib.request.urlopen(f"{uri}/health", timeout=1).read()
                break
            except OSError:
                assert process.poll() is None, (directory / "log").read_text()
                time.sleep(0.5)
        else:
            pytest.fail(f"no answer: {(directory / 'log').read_text()}")
        yield uri
    finally:
        import os
        import signal

        os.killpg(process.pid, signal.SIGTERM)
        process.wait(30)


@pytest.fixture
def judged(tmp_path: Path) -> Path:
    path = tmp_path / "judged.py"
    path.write_text(SMALL + JUDGED)
    return path


@pytest.mark.slow
def test_a_run_with_parameters_figures_verdicts_and_report(cli: Cli, server: str, judged: Path) -> None:
    ran = cli("export", judged, *WORDS, "--budget", "size=1kB", "--budget", "coverage=10%", "--mlflow", server)
    ran.failed(3, "size")
    from mlflow import MlflowClient

    client = MlflowClient(tracking_uri=server)
    experiment = client.get_experiment_by_name("edgepress")
    (run,) = client.search_runs([experiment.experiment_id])
    assert run.info.run_name == "judged-server-cpu"
    assert run.info.status == "FAILED"
    assert run.data.params["target"] == "server-cpu"
    assert run.data.params["recipe.precision"] == "int8"
    assert run.data.params["recipe.budget.size"] == "1kB"
    assert run.data.metrics["size"] > 1000
    assert run.data.metrics["coverage"] == 1.0
    assert run.data.tags["verdict.size"] == "missed"
    assert run.data.tags["verdict.coverage"] == "met"
    kept = {file.path for file in client.list_artifacts(run.info.run_id)}
    assert {"report.html", "report.md", "report.json", "recipe.toml"} <= kept


@pytest.mark.slow
def test_a_server_that_is_not_there_is_one_message_and_the_bundle_stays(cli: Cli, judged: Path, tmp_path: Path) -> None:
    if find_spec("mlflow") is None:
        pytest.skip("needs MLflow's client: pip install 'edgepress[mlflow]'")
    uri = f"http://127.0.0.1:{free_port()}"
    ran = cli("export", judged, *WORDS, "--mlflow", uri, "--summary-file", "s.md")
    assert ran.code == 1
    assert "does not take the run" in ran.err
    assert (tmp_path / "dist/judged-server-cpu/manifest.json").is_file()
    assert "**passed**" in (tmp_path / "s.md").read_text()
    # A miss is not hidden by it.
    assert cli("export", judged, *WORDS, "--force", "--mlflow", uri, "--budget", "size=1B").code == 3


def test_without_the_client_it_is_said_before_anything_runs(cli: Cli, judged: Path, tmp_path: Path) -> None:
    if find_spec("mlflow") is not None:
        pytest.skip("MLflow's client is installed")
    cli("export", judged, *WORDS, "--mlflow", "http://127.0.0.1:1").failed(5, "edgepress[mlflow]")
    assert not (tmp_path / "dist").exists()

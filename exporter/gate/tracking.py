"""MLflow: a run for each bundle, with its parameters, figures, verdicts and report. The client is imported lazily."""

from __future__ import annotations

import os
from collections.abc import Iterator, Mapping
from importlib.util import find_spec
from pathlib import Path
from typing import TYPE_CHECKING, Any

from ...errors import InputError, UnservedError
from ...profiles.budget.figure import Figure
from ...profiles.findings.figures import of_report
from ..bundle.manifest import load_bundle
from .recording import commit

if TYPE_CHECKING:
    from .outcome import Outcome

EXPERIMENT = "edgepress"
# MLflow refuses longer parameters and tags.
LONGEST = 500
REPORTS = ("report.html", "report.md", "report.json", "recipe.toml")


def require_client() -> None:
    """Fail before minutes are spent.

    Raises:
        UnservedError: MLflow's client is not installed.
    """
    if find_spec("mlflow") is None:
        raise UnservedError("--mlflow needs MLflow's client.", hint="Install it: pip install 'edgepress[mlflow]'")


def log(uri: str, outcome: Outcome) -> str:
    """Log one bundle to the tracking server; returns the run's id.

    Raises:
        InputError: the server does not answer, or refuses.
    """
    require_client()
    # A server that is not there is known after seconds; the client would try for minutes.
    os.environ.setdefault("MLFLOW_HTTP_REQUEST_MAX_RETRIES", "2")
    from mlflow import MlflowClient
    from mlflow.exceptions import MlflowException

    try:
        client = MlflowClient(tracking_uri=uri)
        return _logged(client, outcome)
    except (MlflowException, OSError) as error:
        raise InputError(
            f"MLflow at {uri} does not take the run: {str(error).splitlines()[0]}",
            hint="Check the URI and that the server runs; the bundle is there all the same.",
        ) from error


def _logged(client: Any, outcome: Outcome) -> str:
    from mlflow.entities import RunStatus

    assert outcome.report is not None and outcome.path is not None
    experiment = client.get_experiment_by_name(EXPERIMENT)
    number = client.create_experiment(EXPERIMENT) if experiment is None else experiment.experiment_id
    name = f"{outcome.report.model}-{outcome.report.target}"
    run = client.create_run(number, run_name=name, tags=_tags(outcome)).info.run_id
    for key, value in _parameters(outcome).items():
        client.log_param(run, key, value[:LONGEST])
    for key, figure in _metrics(outcome):
        client.log_metric(run, key, figure)
    for file in REPORTS:
        if (outcome.path / file).is_file():
            client.log_artifact(run, str(outcome.path / file))
    missed = any(one.status == "missed" for one in outcome.verdicts)
    client.set_terminated(run, RunStatus.to_string(RunStatus.FAILED if missed else RunStatus.FINISHED))
    return str(run)


def _tags(outcome: Outcome) -> dict[str, str]:
    """Verdicts, and what a run is looked up by."""
    assert outcome.report is not None
    verdicts = {f"verdict.{one.what}": one.status for one in outcome.verdicts}
    named = {"edgepress.command": outcome.report.command, "mlflow.source.git.commit": commit().removesuffix("-dirty")}
    return {key: value[:LONGEST] for key, value in {**verdicts, **named}.items() if value}


def _parameters(outcome: Outcome) -> dict[str, str]:
    """The recipe, flat, with model, target, machine and tools."""
    report = outcome.report
    assert report is not None and outcome.path is not None
    manifest = load_bundle(Path(outcome.path)).manifest
    known = {
        "model": report.model,
        "target": report.target,
        "shipped": report.precision,
        "backend": report.backend,
        "machine": str(report.machine),
        "source_digest": manifest.model.source_digest,
        **{f"tool.{name}": version for name, version in report.tools.items()},
    }
    return {**dict(_flat(manifest.recipe, "recipe")), **known}


def _flat(values: Mapping[str, Any], prefix: str) -> Iterator[tuple[str, str]]:
    for key, value in values.items():
        if isinstance(value, Mapping):
            yield from _flat(value, f"{prefix}.{key}")
        else:
            yield f"{prefix}.{key}", str(value)


def _metrics(outcome: Outcome) -> Iterator[tuple[str, float]]:
    """Figures, and the ends of their intervals where they have one."""
    assert outcome.report is not None
    for name, one in of_report(outcome.report).items():
        if isinstance(one, Figure):
            yield name, one.value
            if one.low != one.high:
                yield f"{name}.low", one.low
                yield f"{name}.high", one.high

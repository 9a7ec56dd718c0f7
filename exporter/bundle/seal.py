"""Close a bundle directory: reports in every form, loaders, then the manifest with the hash of each file."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import asdict, replace
from pathlib import Path
from typing import Any

from ...errors import InputError
from ...profiles.budget.budget import Budget
from ...profiles.findings.figures import judge
from ...profiles.findings.files import json_text, parsed, read_json
from ...profiles.findings.report import OLDEST, SCHEMA, Report, rows
from ...profiles.reporting.html import html
from ...profiles.reporting.markdown import markdown
from ...profiles.reporting.page import page_of
from ...profiles.reporting.reportable import BundleFindings
from ...profiles.timing.measurement import Measurement
from .bom import write_bom
from .loaders import write_loaders
from .manifest import BOM, Manifest, MeasuredEntry, file_entry, hash_files, write_manifest
from .samples import save_samples


def seal(
    directory: Path, name: str, fields: Mapping[str, Any], report: Report, latency: Mapping[str, Measurement]
) -> Manifest:
    """Judge the budget, and write the reports, the raw latency samples, the loaders and `manifest.json`.

    Args:
        name: that the directory will have.
        fields: the manifest's fields but `files` and `measured`, which are read off the directory and the report.
        latency: the raw samples.
    """
    report = replace(report, budget=judge(Budget.of(fields["recipe"]), report), lineage=fields["lineage"])
    page = page_of([BundleFindings(name=name, report=report, samples=latency)], report.date)
    for file, text in (("report.json", json_text(report)), ("report.md", markdown(page)), ("report.html", html(page))):
        (directory / file).write_text(text, encoding="utf-8")
    save_samples(directory, latency)
    write_loaders(directory, fields)
    reproducible, measured_files = hash_files(directory)
    write_bom(directory, name, fields, reproducible)
    reproducible[BOM] = file_entry(directory / BOM)
    measured = MeasuredEntry(
        date=report.date,
        evidence=report.evidence,
        metrics={what: {"fp32": before, "shipped": after} for what, before, after in rows(report)},
        environment={"machine": asdict(report.machine)},
        files=measured_files,
    )
    manifest = Manifest(**fields, files=reproducible, measured=measured)
    write_manifest(directory, manifest)
    return manifest


def load_report(directory: Path) -> Report:
    """The report of a bundle, from its `report.json`.

    Raises:
        InputError: it is missing, damaged or of another schema.
    """
    file = directory / "report.json"
    data = read_json(file, "edgepress export")
    if not isinstance(data, dict):
        raise InputError(f"{file} is not the report of a bundle.")
    return replace(parsed(file, data, SCHEMA, Report, oldest=OLDEST), schema=SCHEMA)

"""What a report is about, read from where it lies: bundles, measurements, comparisons, and what a search tried."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from pydantic import TypeAdapter

from ...errors import InputError
from ...profiles.budget.budget import Budget
from ...profiles.findings import comparison, profile
from ...profiles.findings.files import read_json
from ...profiles.findings.history import load_history
from ...profiles.findings.point import in_words
from ...profiles.reading.json_file import MOST_SAMPLES
from ...profiles.reporting.reportable import BundleFindings, Reportable, Search, Trends, Tried
from .manifest import LATENCY, Bundle, check_files, load_bundle, sha256
from .samples import load_samples
from .seal import load_report

# What a point's quality is, the first that it has.
QUALITIES = {"metric": "task metric", "perplexity": "perplexity", "sqnr_db": "SQNR against FP32, dB"}
STUDY = ".tune"  # what `edgepress tune` appends to the name of a bundle
RESULTS = "results.json"


def load_reportable(path: Path, study: Path | None = None) -> Reportable:
    """A bundle, or the file of a measurement or a comparison.

    Args:
        study: the directory of the search that a bundle came from; by default the one beside it, if there is one.

    Raises:
        InputError: it is none of these, damaged, or of another version.
        VerificationError: another file of the bundle is not the one that the report is about.
    """
    if not path.exists():
        raise InputError(
            f"{path} does not exist.", hint="Give a bundle, or a file of `edgepress profile` or `compare`."
        )
    if path.is_dir():
        return _bundle(path, study)
    if path.suffix.lower() == ".jsonl":
        return load_trends(path)
    kind = _kind(path)
    if kind == profile.KIND:
        return profile.load_profile(path)
    if kind == comparison.KIND:
        return comparison.load_comparison(path)
    raise InputError(
        f"{path} is neither a bundle nor a measurement: its kind is {kind!r}.",
        hint="Give a bundle's directory, or what `edgepress profile` or `edgepress compare` wrote with --output.",
    )


def _kind(path: Path) -> object:
    """What a file says that it is; its data, which may fill half of the memory, are read again by who knows them."""
    data = read_json(path, profile.MADE_BY, MOST_SAMPLES)
    return data.get("kind") if isinstance(data, dict) else None


def load_trends(path: Path) -> Trends:
    """A history file.

    Raises:
        InputError: it cannot be read, or holds no run.
    """
    return Trends(name=path.name, history=load_history(path))


def _bundle(path: Path, study: Path | None) -> BundleFindings:
    bundle = load_bundle(path)
    report = load_report(path)
    _check_unchanged(bundle)
    check_files(bundle)
    name = path.resolve().name
    beside = path.resolve().with_name(f"{name}{STUDY}")
    where = study or (beside if (beside / RESULTS).is_file() else None)
    search = None if where is None else load_search(where, Budget.of(bundle.manifest.recipe))
    return BundleFindings(name=name, report=report, samples=load_samples(path, report.latency), search=search)


def _check_unchanged(bundle: Bundle) -> None:
    """What is shown is what the export wrote: a report that was changed is a fault of the input."""
    for name, entry in bundle.manifest.measured.files.items():
        file = bundle.path / name
        if name in ("report.json", LATENCY) and (not file.is_file() or sha256(file) != entry.sha256):
            what = "was changed" if file.is_file() else "is missing"
            raise InputError(f"{bundle.path}: {name} {what}.", hint="Copy the bundle again, whole, or export it again.")


def load_search(directory: Path, budget: Budget) -> Search:
    """What `edgepress tune` left in its directory.

    Raises:
        InputError: it is no such directory, or damaged.
    """
    file = directory / RESULTS
    if not file.is_file():
        hint = "Give the directory MODEL-TARGET.tune that `edgepress tune` wrote."
        raise InputError(f"{directory} holds no finished search: it has no {RESULTS}.", hint=hint)
    data = read_json(file, "edgepress tune")
    try:
        front, chosen = set(data["front"]), data["chosen"]
        tried = tuple(_tried(one, one["number"] in front, one["number"] == chosen) for one in data["results"])
    except (KeyError, TypeError, ValueError) as error:
        raise InputError(f"{file} is not what `edgepress tune` writes.", hint="Search again.") from error
    timed = any(one.latency is not None for one in tried)
    return Search(
        tried=tried,
        quality=_quality(data["results"]),
        how="Each point was measured in turn with FP32; its latency is that ratio times FP32's median over all points, "
        "so that a point of a busy moment compares with one of a calm moment."
        if timed
        else "",
        most_ms=next((limit.ms for limit in budget.latencies if limit.percentile == 50), None),
        most_bytes=None if budget.size is None else budget.size.bytes,
    )


def _quality(results: list[dict[str, Any]]) -> str:
    """What the points of a search are judged by, in words; of networks whose trials were all given up that is SQNR."""
    known = (words for name, words in QUALITIES.items() if any(one.get(name) is not None for one in results))
    return next(known, QUALITIES["sqnr_db"])


def _tried(result: dict[str, Any], front: bool, chosen: bool) -> Tried:
    p50 = (result["latency"] or {}).get("50")
    quality = next((result[name] for name in QUALITIES if result.get(name) is not None), None)
    return _TRIED.validate_python(
        {
            "name": _words(result["point"]),
            "latency": p50,
            "size": result["size"],
            "quality": quality,
            "front": front,
            "chosen": chosen,
            "early": result["early"],
        }
    )


def _words(point: dict[str, Any]) -> str:
    return in_words(point)


_TRIED: TypeAdapter[Tried] = TypeAdapter(Tried)

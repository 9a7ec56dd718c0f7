"""Statistics as files: collected at two sites, merged, and exported from without any data."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import pytest

from edgepress.calibration.statistics import Statistics, TensorStatistics
from edgepress.calibration.storage import load_statistics, save_statistics

from ._flow import SMALL, Cli, read


def with_data(first: int, last: int) -> str:
    """The small model file with other calibration batches, four samples each."""
    return SMALL.replace("range(4)", f"range({first}, {last})")


@pytest.fixture
def sites(tmp_path: Path) -> list[Path]:
    """One model with its data in one place, and with the halves of them at two sites."""
    written = []
    for name, first, last in (("all", 0, 40), ("north", 0, 20), ("south", 20, 40)):
        written.append(tmp_path / name / "small.py")
        written[-1].parent.mkdir()
        written[-1].write_text(with_data(first, last))
    return written


def calibrate(cli: Cli, source: Path, output: Path, *options: object) -> Statistics:
    ran = cli("calibrate", source, "--target", "server-cpu", "-o", output, "--all-samples", *options)
    assert ran.code == 0, ran.err
    return load_statistics(output)


def same(one: Statistics, other: Statistics) -> bool:
    return all(
        state.minimum == other.tensors[name].minimum
        and state.maximum == other.tensors[name].maximum
        and (state.histogram == other.tensors[name].histogram).all()
        and (
            state.channels is None or (state.channels.mean() == other.tensors[name].channels.mean()).all()  # type: ignore[union-attr]
        )
        for name, state in one.tensors.items()
    )


def test_two_sites_merge_to_what_one_pass_gives_and_export_without_data(
    cli: Cli, sites: list[Path], tmp_path: Path
) -> None:
    whole, north, south = (calibrate(cli, source, tmp_path / f"{source.parent.name}.stats") for source in sites)
    assert cli("calibrate", "merge", "south.stats", "north.stats", "-o", "both.stats").code == 0
    both = load_statistics(tmp_path / "both.stats")
    assert both.samples == whole.samples == north.samples + south.samples == 160
    assert both.data == whole.data
    assert same(both, whole)

    without_data = tmp_path / "small.py"
    without_data.write_text(SMALL.partition("def batch")[0])
    for name in ("all", "both"):
        ran = cli(
            "export", without_data, "-t", "server-cpu", "--statistics", f"{name}.stats", "--no-measure", "-o", name
        )
        assert ran.code == 0, ran.err
    one, other = (tmp_path / name / "small-server-cpu" for name in ("all", "both"))
    assert (one / "model.onnx").read_bytes() == (other / "model.onnx").read_bytes()
    assert read(one)["precision"] == "int8"


def test_worker_processes_find_the_same(cli: Cli, sites: list[Path], tmp_path: Path) -> None:
    one = calibrate(cli, sites[0], tmp_path / "one.stats")
    two = calibrate(cli, sites[0], tmp_path / "two.stats", "--workers", 2)
    assert (one.samples, one.data) == (two.samples, two.data)
    assert same(one, two)


def along(axis: int, state: TensorStatistics) -> TensorStatistics:
    return state if state.channels is None else replace(state, channels=replace(state.channels, axis=axis))


def test_what_does_not_belong_together_is_refused(cli: Cli, sites: list[Path], tmp_path: Path) -> None:
    calibrate(cli, sites[0], tmp_path / "a.stats")
    cli("calibrate", "merge", "a.stats", "a.stats", "-o", "b.stats").failed(1, "same data")
    other = tmp_path / "other.py"
    other.write_text(SMALL.replace("manual_seed(0)", "manual_seed(1)"))
    calibrate(cli, other, tmp_path / "other.stats")
    cli("calibrate", "merge", "a.stats", "other.stats", "-o", "b.stats").failed(1, "different models")
    cli("export", other, "-t", "server-cpu", "--statistics", "a.stats").failed(1, "another model")
    cli("calibrate", sites[0], "-t", "ios", "-o", "b.stats").failed(1, "no int8")
    found = load_statistics(tmp_path / "a.stats")
    save_statistics(replace(found, tensors={n: along(99, state) for n, state in found.tensors.items()}), tmp_path / "c")
    cli("export", sites[0], "-t", "server-cpu", "--statistics", "c").failed(1, "does not tell apart the channels of")
    assert not (tmp_path / "b.stats").exists()
    assert not (tmp_path / "dist").exists()


def test_calibration_stops_when_the_ranges_have_settled_and_says_so(cli: Cli, tmp_path: Path) -> None:
    source = tmp_path / "small.py"
    source.write_text(with_data(0, 400))
    ran = cli("export", source, "-t", "server-cpu", "--no-measure")
    assert ran.code == 0, ran.err
    (settled,) = [note for note in read(tmp_path / "dist" / "small-server-cpu")["notes"] if "settled" in note]
    assert 256 <= int(settled.split()[2]) < 1600
    ran = cli("export", source, "-t", "server-cpu", "--no-measure", "--all-samples", "--force")
    assert ran.code == 0, ran.err
    assert any("1600 samples" in note for note in read(tmp_path / "dist" / "small-server-cpu")["notes"])


def test_the_report_says_what_each_lift_is_worth(cli: Cli, small: Path, tmp_path: Path) -> None:
    assert cli("export", small, "-t", "server-cpu", "--no-measure").code == 0
    notes = read(tmp_path / "dist" / "small-server-cpu")["notes"]
    assert any(note.startswith("Lift correct-bias (2 layers): ") for note in notes)
    assert cli("export", small, "-t", "server-cpu", "--no-measure", "--no-lifts", "--force").code == 0
    notes = read(tmp_path / "dist" / "small-server-cpu")["notes"]
    assert not any(note.startswith("Lift") for note in notes)

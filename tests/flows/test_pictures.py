"""Bytes in, results out: a model whose preprocessing is part of the engine, calibrated on pictures."""

from __future__ import annotations

import importlib.util
from pathlib import Path

import numpy as np
from PIL import Image

from edgepress.exporter.sources import load_source, torch_predict

from ._flow import Cli, read
from ._pictures import PHOTO_OPTIONS, photo_project


def test_bytes_in_and_results_out(cli: Cli, tmp_path: Path) -> None:
    photo = photo_project(tmp_path)
    ran = cli("export", "photo.py", "-t", "mobile", *PHOTO_OPTIONS, "--contact-sheet", "sheet.png")
    assert ran.code == 0, ran.err
    bundle = photo / "dist" / "photo-android-arm64"
    manifest, report = read(bundle, "manifest.json"), (bundle / "report.md").read_text()
    assert [(i["name"], i["dtype"]) for i in manifest["model"]["inputs"]] == [("image", "uint8")]
    with np.load(bundle / "golden" / "inputs.npz") as golden:
        assert {array.dtype.name for array in golden.values()} == {"uint8"}
    assert "48 pictures were read (48 JPEG); 12 of another size were cropped to 48x40." in report
    assert "48x40 to 32x32 (stretch)" in report
    assert "3 of 3 (100%)" in report
    # What was read is shown beside the bundle, and is no part of it.
    assert (photo / "sheet.png").exists()
    assert not any("sheet" in name for name in manifest["files"])
    assert "contact_sheet" not in (bundle / "recipe.toml").read_text()

    # The same JPEG, by the loader that lies in the bundle, and by torch.
    picture = np.asarray(Image.open(photo / "photos" / "class1" / "001.jpg"))[None]
    spec = importlib.util.spec_from_file_location("photo_loader", bundle / "loaders" / "loader.py")
    assert spec is not None and spec.loader is not None
    loader = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(loader)
    found = loader.Model(bundle / "engine" / "model.ort").run(picture)
    expected = torch_predict(load_source(str(photo / "photo.py")))({"image": picture})
    assert found.label == expected["label"]
    assert np.abs(found.scores - expected["scores"]).max() < 0.01


def test_pictures_that_do_not_fit_are_refused_with_what_to_do(cli: Cli, tmp_path: Path) -> None:
    photo_project(tmp_path)
    words = [word for word in PHOTO_OPTIONS if word not in ("--fit", "crop")]
    cli("export", "photo.py", "-t", "cpu", *words).failed(1, "12 of 48 pictures in photos are not 48x40", "--fit")

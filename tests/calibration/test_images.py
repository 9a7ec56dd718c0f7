"""Directories of pictures as calibration data."""

import struct
import zlib

import numpy as np
import pytest
from PIL import Image

from edgepress.backends.base import TensorSpec
from edgepress.calibration.contact_sheet import write_contact_sheet
from edgepress.calibration.images import Reading, holds_pictures, pictures, scaled_size
from edgepress.errors import InputError

SPEC = TensorSpec(name="image", dtype="uint8", shape=("batch", 20, 30, 3))


def gradient(height, width):
    """Red grows to the right, green downwards, blue is 7."""
    y, x = np.mgrid[0:height, 0:width]
    return np.stack([x * 255 // (width - 1), y * 255 // (height - 1), np.full_like(x, 7)], -1).astype(np.uint8)


def save(path, array, **how):
    path.parent.mkdir(parents=True, exist_ok=True)
    Image.fromarray(array).save(path, **how)


def read(path, spec=SPEC, batch=4, **reading):
    found = pictures(path, [spec], batch, Reading(**reading))
    return found, [feed["image"] for feed in found.feeds()]


def test_pictures_are_read_as_they_are_to_be_seen(tmp_path):
    whole = gradient(20, 30)
    save(tmp_path / "plain" / "a.png", whole)
    exif = Image.Exif()
    exif[0x0112] = 6  # the camera was turned: a quarter turn clockwise puts it right
    save(tmp_path / "turned" / "b.png", np.rot90(whole).copy(), exif=exif)
    save(tmp_path / "grey" / "c.JPG", np.full((20, 30), 90, np.uint8))
    Image.fromarray(whole).convert("RGBA").save(tmp_path / "d.png")
    assert holds_pictures(tmp_path)
    found, batches = read(tmp_path)
    assert [batch.shape for batch in batches] == [(4, 20, 30, 3)]
    by_name = dict(zip((picture.path.name for picture in found.files), batches[0], strict=True))
    assert all(np.array_equal(by_name[name], whole) for name in ("a.png", "b.png", "d.png"))
    assert np.abs(by_name["c.JPG"].astype(int) - 90).max() <= 1
    assert str(found) == "4 pictures were read (3 PNG, 1 JPEG); 1 were turned upright as their EXIF data say."

    _, (planes,) = read(tmp_path, TensorSpec(name="image", dtype="uint8", shape=("batch", 3, 20, 30)), bgr=True)
    index = [picture.path.name for picture in found.files].index("a.png")
    assert np.array_equal(planes[index], whole[:, :, ::-1].transpose(2, 0, 1))


@pytest.mark.parametrize("fit", ["stretch", "letterbox", "crop"])
def test_another_size_is_fitted_as_the_reference_says(tmp_path, fit):
    given = gradient(40, 40)
    save(tmp_path / "a.png", given)
    found, (batch,) = read(tmp_path, fit=fit, fill=9)
    image, (height, width) = Image.fromarray(given), scaled_size((40, 40), (20, 30), fit)
    assert (height, width) == {"stretch": (20, 30), "letterbox": (20, 20), "crop": (30, 30)}[fit]
    scaled = np.asarray(image.resize((width, height), Image.Resampling.BILINEAR))
    expected = {"stretch": scaled, "crop": scaled[5:25], "letterbox": np.full((20, 30, 3), 9, np.uint8)}[fit]
    if fit == "letterbox":
        expected[:, 5:25] = scaled
    assert np.array_equal(batch[0], expected)
    assert "1 of another size were" in str(found)


def test_faults_are_told_by_name(tmp_path):
    save(tmp_path / "good.png", gradient(20, 30))
    save(tmp_path / "large.png", gradient(40, 60))
    with pytest.raises(InputError, match=r"1 of 2 pictures .* are not 30x20.*: large.png 60x40") as error:
        read(tmp_path)
    assert "--fit" in error.value.hint
    (tmp_path / "broken.jpg").write_bytes(b"no picture")
    (tmp_path / "empty.png").write_bytes(b"")
    with pytest.raises(InputError, match=r"2 pictures cannot be read:\n.*(broken.jpg|empty.png).*\n.*") as error:
        read(tmp_path, fit="crop")
    assert {"broken.jpg", "empty.png"} <= {name for name in ("broken.jpg", "empty.png") if name in error.value.message}
    (tmp_path / "broken.jpg").unlink()
    (tmp_path / "empty.png").unlink()
    Image.fromarray(gradient(64, 64)).save(tmp_path / "cut.jpg")
    whole = (tmp_path / "cut.jpg").read_bytes()
    (tmp_path / "cut.jpg").write_bytes(whole[: len(whole) * 2 // 3])
    with pytest.raises(InputError, match=r"cut.jpg: .*truncated"):
        read(tmp_path, fit="crop")
    (tmp_path / "cut.jpg").unlink()


def test_more_than_bytes_is_told_from_the_header(tmp_path):
    """Pillow would clip grey values of 16 bits, and drop the lower ones of colours."""
    save(tmp_path / "good.png", gradient(20, 30))
    Image.fromarray(np.full((20, 30), 40000, np.uint16)).save(tmp_path / "deep.png")
    rows = b"".join(b"\0" + b"\x9c\x40" * 3 * 30 for _ in range(20))
    parts = (b"IHDR", struct.pack(">IIBBBBB", 30, 20, 16, 2, 0, 0, 0)), (b"IDAT", zlib.compress(rows)), (b"IEND", b"")
    chunks = (
        struct.pack(">I", len(data)) + kind + data + struct.pack(">I", zlib.crc32(kind + data)) for kind, data in parts
    )
    (tmp_path / "colours.png").write_bytes(b"\x89PNG\r\n\x1a\n" + b"".join(chunks))
    with pytest.raises(InputError, match=r"2 pictures cannot be read") as error:
        pictures(tmp_path, [SPEC], 4, Reading())
    for name in ("deep.png", "colours.png"):
        assert f"{name} has more than 8 bits a channel" in error.value.message


def test_inks_and_palettes_are_colours_and_what_is_see_through_is_not(tmp_path):
    patches = np.zeros((20, 30, 3), np.uint8)
    patches[:, :15], patches[:, 15:] = (200, 40, 90), (10, 160, 70)
    image = Image.fromarray(patches)
    image.convert("CMYK").save(tmp_path / "inks.jpg", quality=95)
    image.quantize(8).save(tmp_path / "palette.png", transparency=0)
    _, (batch,) = read(tmp_path, batch=2)
    assert np.abs(batch[:, :, [3, 26]].astype(int) - patches[:, [3, 26]]).max() <= 6


def test_a_png_that_was_cut_is_told_by_name(tmp_path):
    """Pillow reads such a file to its end for the EXIF data, before anybody asks for pixels."""
    save(tmp_path / "a.png", gradient(20, 30))
    (tmp_path / "a.png").write_bytes((tmp_path / "a.png").read_bytes()[:-40])
    with pytest.raises(InputError, match=r"a\.png"):
        read(tmp_path)


@pytest.mark.parametrize(
    "spec",
    [
        TensorSpec(name="x", dtype="float32", shape=("batch", 3, 20, 30)),
        TensorSpec(name="x", dtype="uint8", shape=("batch", 20, 30)),
    ],
)
def test_a_model_without_an_image_in_bytes_takes_none(tmp_path, spec):
    save(tmp_path / "a.png", gradient(20, 30))
    with pytest.raises(InputError, match="holds pictures; the model takes x") as error:
        read(tmp_path, spec)
    assert "preprocess" in error.value.hint


def test_batches_of_a_fixed_size_leave_the_rest_and_say_so(tmp_path):
    for index in range(5):
        save(tmp_path / f"{index}.png", gradient(20, 30))
    found, batches = read(tmp_path, TensorSpec(name="image", dtype="uint8", shape=(2, 20, 30, 3)))
    assert [len(batch) for batch in batches] == [2, 2]
    assert "1 were left out, as the batch is fixed to 2" in str(found)
    free = TensorSpec(name="image", dtype="uint8", shape=("batch", "height", "width", 3))
    save(tmp_path / "other.png", gradient(8, 9))
    _, batches = read(tmp_path, free)
    assert sorted(batch.shape for batch in batches) == [(1, 8, 9, 3), *[(1, 20, 30, 3)] * 5]


def test_contact_sheet_shows_what_the_engine_gets(tmp_path):
    save(tmp_path / "data" / "red.png", np.full((20, 30, 3), (255, 0, 0), np.uint8))
    found, _ = read(tmp_path / "data", bgr=True)
    write_contact_sheet(found, tmp_path / "sheet.png")
    with Image.open(tmp_path / "sheet.png") as sheet:
        assert sheet.getpixel((10, 10)) == (255, 0, 0)

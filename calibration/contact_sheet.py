"""What was read, as one picture for a person: outside of the bundle, which holds no samples of the data."""

from __future__ import annotations

import math
from pathlib import Path

from ..profiles.machine.writing import whole
from .images import Pictures

SHOWN, ACROSS, SIDE, TEXT = 48, 8, 160, 14


def write_contact_sheet(found: Pictures, path: Path) -> None:
    """The first pictures as the engine gets them, each with its file's name and size.

    Args:
        path: a `.png` or `.jpg` to write.

    Raises:
        InputError: a picture that is damaged.
    """
    import io

    from PIL import Image, ImageDraw

    shown = found.files[:SHOWN]
    down = math.ceil(len(shown) / ACROSS)
    sheet = Image.new("RGB", (ACROSS * SIDE, down * (SIDE + TEXT)), "white")
    draw = ImageDraw.Draw(sheet)
    for index, picture in enumerate(shown):
        pixels = found.array(picture)
        pixels = pixels if found.last else pixels.transpose(1, 2, 0)
        pixels = pixels[:, :, ::-1] if found.reading.bgr else pixels
        image = Image.fromarray(pixels.squeeze(-1) if found.channels == 1 else pixels.copy())
        image.thumbnail((SIDE - 4, SIDE - 4))
        left, top = index % ACROSS * SIDE, index // ACROSS * (SIDE + TEXT)
        sheet.paste(image, (left + 2, top + 2))
        said = f"{picture.path.name[-16:]} {picture.size[1]}x{picture.size[0]}"
        draw.text((left + 2, top + image.height + 3), said, fill="black")
    data = io.BytesIO()
    sheet.save(data, "JPEG" if path.suffix.lower() in (".jpg", ".jpeg") else "PNG")
    with whole(path) as scratch:
        scratch.write_bytes(data.getvalue())

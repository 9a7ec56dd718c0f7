"""The text that every Python has, and the user's own."""

import pydoc_data.topics

import pytest

from edgepress.errors import InputError
from edgepress.exporter.language import text
from edgepress.exporter.language.text import calibration_text, held_out_text, text_of


def test_the_own_text_is_long_the_same_each_time_and_not_what_it_is_judged_by():
    fitted, held_out = calibration_text(), held_out_text()
    assert len(fitted) > 200_000 and len(held_out) > 50_000 and fitted == calibration_text()
    paragraphs = {part for part in fitted.split("\n\n") if len(part) > 200}
    others = [part for part in held_out.split("\n\n") if len(part) > 200]
    assert sum(part in paragraphs for part in others) < 0.02 * len(others)
    topics = "\n\n".join(pydoc_data.topics.topics.values())
    assert sum(part in topics for part in paragraphs) < 0.02 * len(paragraphs)


def test_a_brief_text_is_long_enough_and_of_many_modules():
    brief, whole = held_out_text(brief=True), held_out_text()
    assert brief == held_out_text(brief=True) and 10_000 < len(brief) < len(whole) / 2
    assert len(text._docstrings(text.SOME)) > 80


def test_text_of_a_directory_is_that_of_its_files_in_order(tmp_path):
    (tmp_path / "b.txt").write_text("second", encoding="utf-8")
    (tmp_path / "a.txt").write_text("first", encoding="utf-8")
    (tmp_path / "a.json").write_text("{}", encoding="utf-8")
    assert text_of(tmp_path) == "first\n\nsecond" and text_of(tmp_path / "b.txt") == "second"


def test_what_is_no_text_is_refused(tmp_path):
    (tmp_path / "x.txt").write_bytes(b"\xff\xfe\x00abc")
    with pytest.raises(InputError, match="UTF-8"):
        text_of(tmp_path)
    (tmp_path / "x.txt").write_text("  \n")
    with pytest.raises(InputError, match="no text"):
        text_of(tmp_path)
    with pytest.raises(InputError, match="missing does not exist"):
        text_of(tmp_path / "missing")


def test_a_file_without_end_is_no_text(tmp_path, monkeypatch):
    (tmp_path / "a.txt").symlink_to("/dev/zero")
    with pytest.raises(InputError, match="no regular file"):
        text_of(tmp_path)
    monkeypatch.setattr(text, "LARGEST", 1000)
    (tmp_path / "a.txt").unlink()
    for name in ("a.txt", "b.txt"):
        (tmp_path / name).write_text("word " * 120)
    with pytest.raises(InputError, match=r"b\.txt cannot be read: it has 1 kB, where 0 kB are the most"):
        text_of(tmp_path)

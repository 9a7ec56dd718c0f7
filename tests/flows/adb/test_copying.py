"""Files on their way to a phone: cut, changed, oddly named, on a full disk, or with somebody else's job there."""

from __future__ import annotations

import hashlib
import subprocess
from pathlib import Path

import numpy as np
import pytest

from edgepress.backends.places.adb.place import Adb
from edgepress.backends.places.files import CHUNK
from edgepress.errors import UnservedError

from .._said import one_message, waits
from ._adbd import Phone


def test_a_copy_that_was_cut_goes_on_where_it_ended(lasting: Phone, place: Adb, tmp_path: Path) -> None:
    file, parts = tmp_path / "weights.bin", 4
    file.write_bytes(np.random.default_rng(0).bytes(parts * CHUNK + 1))
    digest = hashlib.sha256(file.read_bytes()).hexdigest()
    assert place.host.files.directory
    lasting.received, lasting.cut_after = 0, 2 * CHUNK + CHUNK // 2
    with pytest.raises(UnservedError) as error:
        place.host.files.keep([(file, digest)])
    one_message(error.value, "was lost", "it goes on from there")
    place.close()
    lasting.received = 0
    place.host.files.keep([(file, digest)])
    assert lasting.received == file.stat().st_size - 2 * CHUNK
    assert hashlib.sha256((lasting.device / "files" / digest).read_bytes()).hexdigest() == digest


def test_a_directory_that_others_may_write_to_is_refused(lasting: Phone, place: Adb, tmp_path: Path) -> None:
    """What is kept there is run."""
    assert place.host.files.directory
    place.close()
    before = lasting.device.stat().st_mode
    lasting.device.chmod(0o777)
    try:
        with pytest.raises(UnservedError) as error:
            assert place.host.files.directory
        one_message(error.value, f"others there may write to {lasting.device}", f"adb shell rm -r {lasting.device}")
    finally:
        lasting.device.chmod(before)
    assert place.host.files.directory


def test_what_was_there_of_another_file_is_not_taken(lasting: Phone, place: Adb, tmp_path: Path) -> None:
    file = tmp_path / "weights.bin"
    file.write_bytes(b"right" * 1000)
    digest = hashlib.sha256(file.read_bytes()).hexdigest()
    assert place.host.files.directory
    (lasting.device / "files" / f"{digest}.part").write_bytes(b"wrong")
    place.host.files.keep([(file, digest)])
    assert (lasting.device / "files" / digest).read_bytes() == file.read_bytes()


def test_a_name_with_the_signs_of_a_shell_is_only_a_name(lasting: Phone, place: Adb, tmp_path: Path) -> None:
    odd = tmp_path / "$(touch oops) `x`; '\"\n&.bin"
    odd.write_bytes(b"1")
    there = place.host.send(odd)
    assert Path(there).read_bytes() == b"1"
    assert Path(there).name == odd.name
    assert not [*lasting.directory.rglob("oops")]


@pytest.mark.slow
def test_a_second_job_waits_for_the_first_and_says_so(
    lasting: Phone, place: Adb, bundle: Path, environment: dict[str, str], user: dict[str, str]
) -> None:
    assert place.host.files.directory
    words = ("verify", str(bundle), "--on", lasting.address)
    waits(words, {**environment, **user}, f"adb://{lasting.serial} works for somebody else; waiting.", place.close)


@pytest.mark.slow
def test_a_full_disk_is_one_message_before_and_while_a_file_goes_there(phone: Phone, tmp_path: Path) -> None:
    small = tmp_path / "disk"
    small.mkdir()
    mounted = subprocess.run(["mount", "-t", "tmpfs", "-o", "size=90m", "none", str(small)], capture_output=True)
    if mounted.returncode:
        pytest.skip("needs to mount a small disk, which takes root")
    place = Adb.at(f"{phone.serial}?directory={small}/edgepress")
    try:
        file = tmp_path / "large.bin"
        file.write_bytes(bytes(40 << 20))
        with pytest.raises(UnservedError) as before:
            place.host.files.send(file, "0/large", lasting=True)
        one_message(before.value, "is full", "are to be copied there", "Make room there")
        assert not [*(small / "edgepress/files").iterdir()], "nothing was begun"
        (small / "other").write_bytes(bytes(80 << 20))
        with pytest.raises(UnservedError) as within:
            place.host.files.send(file, "0/large")
        one_message(within.value, "is full", "could not be written")
    finally:
        place.close()
        subprocess.run(["umount", "-l", str(small)], check=True)

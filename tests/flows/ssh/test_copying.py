"""Files that go to a device: as they are, once, and on from where a copy was cut."""

from __future__ import annotations

import hashlib
import subprocess
import time
from pathlib import Path

import numpy as np
import pytest

from edgepress.backends.places.files import CHUNK
from edgepress.backends.places.ssh.place import Ssh
from edgepress.errors import UnservedError
from edgepress.profiles.device.target import Target

from .._said import one_message, waits
from .._sshd import Sshd

pytest.importorskip("fabric", reason="needs fabric: pip install 'edgepress[ssh]'")


def test_a_name_with_the_signs_of_a_shell_is_only_a_name(place: Ssh, tmp_path: Path) -> None:
    odd = tmp_path / "$(touch oops) `x`; '\"\n&.bin"
    odd.write_bytes(b"1")
    there = place.host.send(odd)
    assert Path(there).read_bytes() == b"1"
    assert Path(there).name == odd.name
    assert not [*Path(place.host.files.directory).rglob("oops")]


def copied(place: Ssh) -> list[int]:
    """Bytes of each part of a file that goes to the store from now on."""
    sizes: list[int] = []
    ask = place.host.files.helper.ask

    def counting(what: str, data: bytes = b"", **arguments: object) -> object:
        if what == "put":
            sizes.append(len(data))
        return ask(what, data, **arguments)

    place.host.files.helper.ask = counting  # type: ignore[method-assign, assignment]
    return sizes


def test_a_copy_that_was_cut_goes_on_where_it_ended(server: Sshd, place: Ssh, tmp_path: Path) -> None:
    file, parts = tmp_path / "weights.bin", 5
    file.write_bytes(np.random.default_rng(0).bytes(parts * CHUNK + 1))
    digest = hashlib.sha256(file.read_bytes()).hexdigest()
    sizes = copied(place)
    counting, done = place.host.files.helper.ask, 0

    def cutting(what: str, data: bytes = b"", **arguments: object) -> object:
        nonlocal done
        done += what == "put"
        if done == 3:
            server.cut()
        return counting(what, data, **arguments)

    place.host.files.helper.ask = cutting  # type: ignore[method-assign, assignment]
    with pytest.raises(UnservedError) as error:
        place.host.files.keep([(file, digest)])
    one_message(error.value, "was lost", "it goes on from there")
    assert sum(sizes) <= 3 * CHUNK
    place.close()
    sizes = copied(place)
    place.host.files.keep([(file, digest)])
    assert sum(sizes) == file.stat().st_size - 2 * CHUNK
    assert hashlib.sha256((server.device / "files" / digest).read_bytes()).hexdigest() == digest


def test_what_was_there_of_another_file_is_not_taken(server: Sshd, place: Ssh, tmp_path: Path) -> None:
    file = tmp_path / "weights.bin"
    file.write_bytes(b"right" * 1000)
    digest = hashlib.sha256(file.read_bytes()).hexdigest()
    part = Path(place.host.files.directory).parents[1] / "files" / f"{digest}.part"
    part.write_bytes(b"wrong")
    place.host.files.keep([(file, digest)])
    assert part.with_suffix("").read_bytes() == file.read_bytes()


@pytest.mark.slow
def test_a_second_job_waits_for_the_first_and_says_so(
    server: Sshd, place: Ssh, bundle: Path, environment: dict[str, str]
) -> None:
    assert place.host.files.directory
    words = ("verify", str(bundle), "--on", server.address)
    waits(words, {**environment, **server.environment}, "ssh://board works for somebody else; waiting.", place.close)


@pytest.mark.slow
def test_a_full_disk_is_one_message_before_and_while_a_file_goes_there(
    server: Sshd, board: str, bundle: Path, target: Target, tmp_path: Path
) -> None:
    small = tmp_path / "disk"
    small.mkdir()
    mounted = subprocess.run(["mount", "-t", "tmpfs", "-o", "size=90m", "none", str(small)], capture_output=True)
    if mounted.returncode:
        pytest.skip("needs to mount a small disk, which takes root")
    place = Ssh.at(board.removeprefix("ssh://").replace(str(server.device), str(small)))
    try:
        file = tmp_path / "large.bin"
        file.write_bytes(bytes(40 << 20))
        with pytest.raises(UnservedError) as before:
            place.host.files.send(file, "0/large", lasting=True)
        one_message(before.value, "is full", "are to be copied there", "Make room there")
        assert not [*(small / "files").iterdir()], "nothing was begun"
        (small / "other").write_bytes(bytes(80 << 20))
        with pytest.raises(UnservedError) as within:
            place.host.files.send(file, "0/large")
        one_message(within.value, "is full", "could not be written")
    finally:
        place.close()
        time.sleep(1)
        subprocess.run(["umount", "-l", str(small)], check=True)

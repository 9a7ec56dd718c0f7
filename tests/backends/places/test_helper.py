"""What keeps files on a device: it removes what is its own alone, and trusts no file that was cut off."""

from __future__ import annotations

import hashlib
import os
import tempfile
from collections.abc import Iterator
from pathlib import Path

import pytest

from edgepress.backends.places.ssh.helper.owned import need_own
from edgepress.backends.places.ssh.helper.packages import older_packages
from edgepress.backends.places.ssh.helper.serving import answered
from edgepress.backends.places.ssh.helper.store import Device

ROOMS = ("files", "packages", "jobs")


@pytest.fixture
def device(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Device]:
    """One in a directory that others use as well, with what is old enough to go."""
    monkeypatch.setattr(tempfile, "tempdir", str(tmp_path))  # the lock
    for room in ROOMS:
        (tmp_path / room / "mine").mkdir(parents=True)
        os.utime(tmp_path / room / "mine", (0, 0))
    (tmp_path / "files" / "notes.txt").touch()
    (tmp_path / "jobs" / "edgepress-dead").mkdir()
    for room, name in (
        ("files", "a" * 64),
        ("files", f"{'b' * 64}.part"),
        ("files", "notes.txt"),
        ("packages", "c" * 64),
    ):
        (tmp_path / room / name).touch()
        os.utime(tmp_path / room / name, (0, 0))
    found = Device(str(tmp_path))
    while not found.lock(b""):
        pass
    yield found
    found.close()


def test_what_is_somebody_elses_stays(device: Device, tmp_path: Path) -> None:
    device.close()
    left = {room: sorted(path.name for path in (tmp_path / room).iterdir()) for room in ROOMS}
    assert left == {"files": ["mine", "notes.txt"], "packages": ["mine"], "jobs": ["mine"]}


def test_a_file_that_lost_its_end_is_asked_for_again(device: Device, tmp_path: Path) -> None:
    data = b"weights"
    digest = hashlib.sha256(data).hexdigest()
    assert device.put(digest, 0, True, data)
    assert device.have([(digest, len(data))], b"") == [len(data)]
    os.truncate(tmp_path / "files" / digest, 0)
    assert device.have([(digest, len(data))], b"") == [0]
    assert device.put(digest, 0, True, data)


def test_an_old_python_tells_its_packages_too(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """As JetPack 4 has them, whose Python 3.6 has no importlib.metadata."""
    said = "Metadata-Version: 2.1\nName: {}\nVersion: {}\n\nName: no field\n"
    (tmp_path / "tensorrt-8.2.1.8.dist-info").mkdir()
    (tmp_path / "tensorrt-8.2.1.8.dist-info" / "METADATA").write_text(said.format("tensorrt", "8.2.1.8"))
    (tmp_path / "numpy-1.13.3.egg-info").write_text(said.format("numpy", "1.13.3"))
    (tmp_path / "Odd.egg-info").mkdir()
    (tmp_path / "Odd.egg-info" / "PKG-INFO").write_text("Name: Odd\n")
    monkeypatch.setattr("sys.path", [str(tmp_path / "absent"), str(tmp_path)])
    assert older_packages() == {"numpy": ("1.13.3", []), "tensorrt": ("8.2.1.8", [])}


def test_a_directory_that_others_may_write_to_is_refused_with_what_to_do(tmp_path: Path) -> None:
    """What is kept there is run, so that who may put a file in the place of another may run it as this user."""
    shared = tmp_path / "shared"
    shared.mkdir()
    shared.chmod(0o777)
    for root in (shared, shared / "mine" / "edgepress"):
        answer, _ = answered(Device(str(root)), {"do": "lock"}, b"")
        assert (answer["error"], answer["file"]) == ("all users there may write to it", str(shared))
        assert answer["hint"].endswith(f"chmod o-w {shared}")
    assert [*shared.iterdir()] == [], "nothing was written"
    shared.chmod(0o1777)  # as /tmp: nobody removes what is another's
    need_own(str(shared))


@pytest.mark.skipif(os.getuid() != 0, reason="only root can make what is another user's")
def test_a_directory_of_another_user_is_refused(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(tempfile, "tempdir", str(tmp_path))
    theirs, sticky = tmp_path / "theirs", tmp_path / "sticky"
    theirs.mkdir()
    os.chown(theirs, 12345, 12345)
    answer, _ = answered(Device(str(theirs / "edgepress")), {"do": "lock"}, b"")
    assert "belongs to another user, 12345" in answer["error"]
    (sticky / "files").mkdir(parents=True)
    sticky.chmod(0o1777)
    os.chown(sticky / "files", 12345, 12345)
    device = Device(str(sticky))
    answer, _ = answered(device, {"do": "lock"}, b"")
    device.close()
    assert answer["error"] == "it was there already, and is another user's"

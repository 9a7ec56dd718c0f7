"""What a device is reached by, and what is refused before anything is sent there.

It is this machine, over a real OpenSSH server on loopback.
"""

from __future__ import annotations

import re
from dataclasses import replace
from pathlib import Path

import pytest

import edgepress
from edgepress.backends.places import place_at
from edgepress.backends.places.ssh.address import Address
from edgepress.backends.places.ssh.place import Ssh
from edgepress.errors import InputError, UnservedError
from edgepress.profiles.device.target import Target, load_target

from .. import _sshd
from .._said import one_message
from .._sshd import Sshd

pytest.importorskip("fabric", reason="needs fabric: pip install 'edgepress[ssh]'")


@pytest.mark.parametrize(
    ("address", "said"),
    [
        ("ssh://", "names no machine"),
        ("ssh://-oProxyCommand=x", "names no machine"),
        ("ssh://user:secret@host", "ssh://user@host names no machine"),
        ("ssh://host/path", "names no machine"),
        ("ssh://host?shell=x", "names no machine"),
        ("ssh://host:port", "names no machine"),
        ("telnet://host", "is no address"),
    ],
)
def test_what_names_no_machine_is_refused(address: str, said: str) -> None:
    with pytest.raises(InputError, match=re.escape(said)) as error:
        place_at(address)
    assert "secret" not in str(error.value)


def test_a_device_has_a_name_in_a_file(tmp_path: Path) -> None:
    file = tmp_path / "devices.toml"
    file.write_text('[lab]\naddress = "ssh://ci@board:22"\npython = "/opt/a b"\n[bad]\nadress = "x"\n')
    found = place_at(f"{file}#lab")
    assert isinstance(found, Ssh)
    assert found.host.address == Address(host="board", user="ci", port=22, python="/opt/a b")
    with pytest.raises(InputError, match=r"Unknown device .lap.\. Did you mean lab"):
        place_at(f"{file}#lap")
    with pytest.raises(InputError, match=r"device bad: `adress`: unknown key\. Did you mean address"):
        place_at(f"{file}#bad")
    with pytest.raises(InputError, match=r"no\.toml"):
        place_at(f"{tmp_path}/no.toml#lab")


def test_another_host_key_is_refused_and_nothing_is_sent(
    tmp_path: Path, bundle: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    server = _sshd.start(tmp_path / "sshd")
    try:
        for name, value in server.environment.items():
            monkeypatch.setenv(name, value)
        server.new_host_key()
        with pytest.raises(UnservedError) as changed:
            edgepress.verify_bundle(bundle, on=server.address)
        one_message(changed.value, "is not the machine it was", "Nothing was sent")
        (server.directory / "home" / ".ssh" / "known_hosts").write_text("")
        with pytest.raises(UnservedError) as unknown:
            edgepress.verify_bundle(bundle, on=server.address)
        one_message(unknown.value, "is not in your known_hosts", "Nothing was sent")
        (server.directory / "authorized_keys").write_text("")
        kind, key, *_ = (server.directory / "host_key.pub").read_text().split()
        known = server.directory / "home" / ".ssh" / "known_hosts"
        known.write_text(f"[127.0.0.1]:{server.port} {kind} {key}\n")
        with pytest.raises(UnservedError) as outside:
            edgepress.verify_bundle(bundle, on=server.address)
        one_message(outside.value, "does not let you in")
    finally:
        server.stop()
    with pytest.raises(UnservedError) as gone:
        edgepress.verify_bundle(bundle, on=server.address)
    one_message(gone.value, "cannot be reached", "nothing takes connections there")
    assert not server.device.exists()


def test_what_the_device_is_is_asked_before_anything_is_copied(server: Sshd, place: Ssh, target: Target) -> None:
    before = sorted(server.device.rglob("*")) if server.device.exists() else []
    other = "aarch64" if place.host.python.arch == "x86_64" else "x86_64"
    why = place.why_not(replace(target, name="other", arch=other))
    assert why == f"it is {place.host.python.arch}, other is {other}"
    jetson = load_target("jetson")
    assert "aarch64" in place.why_not(jetson) or "comes with the device's own software" in place.why_not(jetson)
    assert set(server.device.rglob("*")) <= set(before)
    with pytest.raises(UnservedError) as error:
        Ssh.at("board?python=no-such-python").why_not(target)
    one_message(error.value, "does not run no-such-python", "Python 3.10")

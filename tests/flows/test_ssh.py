"""A device of one's own, over a real OpenSSH server on loopback: the commands, and what goes wrong on the way.

What the device is, is this machine; that is enough for a connection, a copy, a process and a measurement. Nothing is
downloaded: the device's Python is this one, which has all that an engine needs.
"""

from __future__ import annotations

import hashlib
import json
import os
import re
import shutil
import signal
import subprocess
import threading
import time
from collections.abc import Callable, Iterator
from dataclasses import replace
from importlib.metadata import version
from pathlib import Path

import numpy as np
import onnx
import pytest
from onnx import TensorProto, helper

import edgepress
from edgepress.backends.places import Local, place_at
from edgepress.backends.places.files import CHUNK
from edgepress.backends.places.remote import EngineFailedError
from edgepress.backends.places.ssh.address import Address
from edgepress.backends.places.ssh.place import Ssh
from edgepress.errors import EdgepressError, InputError, UnservedError
from edgepress.exporter.capture.golden import Golden
from edgepress.profiles.device.target import Target, load_target

from . import _sshd
from ._flow import EDGEPRESS, SMALL, Cli, Ran, contents, read
from ._sshd import Sshd

pytest.importorskip("fabric", reason="needs fabric: pip install 'edgepress[ssh]'")


@pytest.fixture(scope="module")
def server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Sshd]:
    started = _sshd.start(tmp_path_factory.mktemp("sshd"))
    yield started
    started.stop()


@pytest.fixture
def board(server: Sshd, monkeypatch: pytest.MonkeyPatch) -> Iterator[str]:
    """The address of the device, for this process; given back at the end."""
    for name, value in server.environment.items():
        monkeypatch.setenv(name, value)
    yield server.address
    place_at(server.address).close()


@pytest.fixture
def place(board: str) -> Iterator[Ssh]:
    """The device, connected anew and given back at the end."""
    found = Ssh.at(board.removeprefix("ssh://"))
    yield found
    found.close()


@pytest.fixture(scope="module")
def made(forked: Cli, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A small int8 bundle for onnxruntime, with the float graph that a device measures it against."""
    directory = tmp_path_factory.mktemp("small")
    (directory / "small.py").write_text(SMALL)
    words = ("export", "small.py", "-t", "server-cpu", "--no-measure", "-q", "-o", "out")
    ran = forked(*words, cwd=directory, temporary=directory.with_name("temporary"))
    assert ran.code == 0, ran.err
    return directory / "out" / "small-server-cpu"


@pytest.fixture
def bundle(made: Path, tmp_path: Path) -> Path:
    """A copy of it."""
    return Path(shutil.copytree(made, tmp_path / "small"))


@pytest.fixture
def target(bundle: Path) -> Target:
    return edgepress.load_bundle(bundle).manifest.target


def one_message(error: EdgepressError, *parts: str) -> None:
    """What went wrong is said once, with what to do about it."""
    assert error.hint
    for part in parts:
        assert part in str(error), str(error)
    assert "Traceback" not in str(error)


def test_a_bundle_is_proven_on_the_device_with_what_runs_there(board: str, server: Sshd, bundle: Path) -> None:
    found = edgepress.verify_bundle(bundle, on=board)
    assert found.on_device
    assert found.tool.startswith("onnxruntime ")
    assert all(parity.weakest_db > 20 for parity in found.parity.values())
    place = place_at(board)
    assert isinstance(place, Ssh)
    place.close()
    time.sleep(0.5)
    assert not [*(server.device / "jobs").iterdir()], "what was of this run alone is gone"
    kept = {file.name for file in (server.device / "files").iterdir()}
    engine = edgepress.load_bundle(bundle).engine
    assert engine is not None
    assert hashlib.sha256(engine.path.read_bytes()).hexdigest() in kept


def test_lint_asks_the_parser_of_the_device(server: Sshd, cli: Cli, tmp_path: Path) -> None:
    """Which has no operator of a package that nobody registered there."""
    x, y = (helper.make_tensor_value_info(name, TensorProto.FLOAT, ["batch", 4]) for name in "xy")
    nodes = [helper.make_node("Fancy", ["x"], ["y"], "fancy", domain="of.nobody")]
    domains = [helper.make_opsetid("", 13), helper.make_opsetid("of.nobody", 1)]
    made = helper.make_model(helper.make_graph(nodes, "g", [x], [y]), opset_imports=domains, ir_version=8)
    onnx.save(made, tmp_path / "fancy.onnx")
    ran = cli("lint", "fancy.onnx", "-t", "server-cpu", "--on", server.address, env=server.environment)
    assert ran.code == 1
    assert "error [parser] fancy: onnxruntime has no operator of.nobody:Fancy." in ran.out
    said = f"The parser of onnxruntime {version('onnxruntime')}, asked on ssh://board."
    assert f"source: {said}" in ran.out
    ran = cli("lint", "fancy.onnx", "-t", "cuda", "--on", server.address, env=server.environment)
    ran.failed(5, "tensorrt cannot run on ")


def test_what_goes_there_and_comes_back_is_what_it_is_here(place: Ssh, bundle: Path, target: Target) -> None:
    engine, feed = edgepress.load_bundle(bundle).engine, Golden.load(bundle / "golden").feeds[0]
    assert engine is not None
    place.need(target)
    assert place.machine == Local().machine
    with place.open(engine, 1) as there, Local().open(engine, 1) as here:
        for shift in (0, 1, 2):
            shifted = {name: (array + shift).astype(array.dtype) for name, array in feed.items()}
            found, wanted = there(shifted), here(shifted)
            assert found.keys() == wanted.keys()
            assert all(np.array_equal(found[name], wanted[name]) for name in wanted)


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


def test_a_name_with_the_signs_of_a_shell_is_only_a_name(place: Ssh, tmp_path: Path) -> None:
    odd = tmp_path / "$(touch oops) `x`; '\"\n&.bin"
    odd.write_bytes(b"1")
    there = place.host.send(odd)
    assert Path(there).read_bytes() == b"1"
    assert Path(there).name == odd.name
    assert not [*Path(place.host.files.directory).rglob("oops")]


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
def test_a_process_that_is_killed_or_hangs_is_said_and_leaves_nothing(place: Ssh, bundle: Path, target: Target) -> None:
    engine, feed = edgepress.load_bundle(bundle).engine, Golden.load(bundle / "golden").feeds[0]
    assert engine is not None
    place.need(target)
    with place.open(engine, 1) as session:
        os.kill(session._remote.pid, signal.SIGKILL)  # type: ignore[attr-defined]
        with pytest.raises(EngineFailedError) as killed:
            session(feed)
    one_message(killed.value, "was ended by SIGKILL", "ssh://board")
    with place.open(engine, 1) as session:
        session._remote._timeout = 1.0  # type: ignore[attr-defined]
        pid = session._remote.pid  # type: ignore[attr-defined]
        os.kill(pid, signal.SIGSTOP)
        with pytest.raises(EngineFailedError) as silent:
            session(feed)
    one_message(silent.value, "gave no answer for 1 s and was stopped")
    assert not Path(f"/proc/{pid}").exists(), "the device has its core back"


@pytest.mark.slow
def test_a_second_job_waits_for_the_first_and_says_so(
    server: Sshd, place: Ssh, bundle: Path, environment: dict[str, str]
) -> None:
    assert place.host.files.directory
    words = [str(EDGEPRESS), "verify", str(bundle), "--on", server.address]
    told: list[str] = []
    with subprocess.Popen(
        words, env={**environment, **server.environment}, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True
    ) as second:
        assert second.stderr is not None
        reader = threading.Thread(target=lambda: told.extend(second.stderr))  # type: ignore[arg-type]
        reader.start()
        end = time.monotonic() + 120
        while not told and time.monotonic() < end:
            time.sleep(0.1)
        assert "ssh://board works for somebody else; waiting." in "".join(told)
        assert second.poll() is None
        place.close()
        assert second.wait(120) == 0
        reader.join()


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


@pytest.mark.slow
def test_a_bundle_is_built_there_and_stays_whole_where_that_fails(board: str, server: Sshd, bundle: Path) -> None:
    before = contents(bundle)
    place = place_at(board)
    assert isinstance(place, Ssh)
    place.need(edgepress.load_bundle(bundle).manifest.target)
    cutter = threading.Timer(1.0, server.cut)
    cutter.start()
    with pytest.raises(EdgepressError) as error:
        edgepress.build_bundle(bundle, on=board)
    cutter.join()
    one_message(error.value, "lost")
    assert contents(bundle) == before
    assert [entry.name for entry in bundle.parent.iterdir() if "small" in entry.name] == ["small"]
    place.close()
    built = edgepress.build_bundle(bundle, on=board)
    report = read(built.path, "report.json")
    assert report["latency"]["engine"]["p50"] > 0
    text = (bundle / "report.json").read_text() + (bundle / "manifest.json").read_text()
    assert "board" not in text, "an artifact names no machine"
    assert any(one["kind"] == "measured" for one in report["evidence"])
    assert edgepress.verify_bundle(bundle, on=board).on_device


@pytest.mark.slow
def test_profile_and_compare_on_the_device(
    server: Sshd, bundle: Path, command: Callable[..., Ran], tmp_path: Path
) -> None:
    env = server.environment
    words = ("profile", bundle, "--on", server.address, "-o", "p.json")
    ran = command(*words, cwd=tmp_path, env=env)
    assert ran.code == 0, ran.err
    found = read(tmp_path, "p.json")
    assert found["command"].startswith("edgepress profile") and "board" not in found["command"]
    events = found["cold_start"]
    assert all(0 < span < 600e9 for name in ("started", "imported", "opened", "first") for span in events[name])
    assert found["single_stream"][0]["samples"]
    compared = command("compare", bundle, bundle, "--seconds", "5", "--on", server.address, cwd=tmp_path, env=env)
    assert compared.code == 0, compared.err


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


@pytest.mark.slow
def test_an_export_judges_and_measures_there(server: Sshd, command: Callable[..., Ran], tmp_path: Path) -> None:
    (tmp_path / "small.py").write_text(SMALL)
    words = ("export", "small.py", "-t", "server-cpu", "--on", server.address, "-o", "out")
    ran = command(*words, cwd=tmp_path, env=server.environment)
    assert ran.code == 0, ran.err
    report = read(tmp_path / "out" / "small-server-cpu", "report.json")
    assert report["latency"]["engine"]["p50"] > 0
    assert "torch" not in report["latency"], "PyTorch is not on the device"
    assert report["command"].endswith("--on ssh://HOST -o out")
    assert {one["kind"] for one in report["evidence"] if one["about"] == "engine"} == {"built", "measured"}
    assert command("verify", "out/small-server-cpu", cwd=tmp_path).code == 0


@pytest.mark.slow
@pytest.mark.parametrize("name", ["tale-server-cpu", "tale-cpu"])
def test_a_decoder_is_proven_and_measured_there(
    server: Sshd, tale_bundles: Path, cli: Cli, tmp_path: Path, name: str
) -> None:
    """Its text, token by token, and its speed by the runtime's library, which is the device's own here."""
    bundle = shutil.copytree(tale_bundles / name, tmp_path / name)
    there = {"env": server.environment}
    proven = cli("verify", bundle, "--on", server.address, "--json", **there)
    assert proven.code == 0, proven.err
    found = json.loads(proven.out)
    assert found["on_device"]
    assert found["text"]["fp32"] <= found["most_text"]["fp32"]
    assert found["text"]["own"] <= found["most_text"]["own"]
    ran = cli("profile", bundle, "--on", server.address, "-o", "speed.json", "-q", **there)
    assert ran.code == 0, ran.err
    assert json.loads((tmp_path / "speed.json").read_text())["language"]["speed"]
    ran = cli("compare", bundle, bundle, "--on", server.address, "-q", **there)
    assert ran.code == 0, ran.err


PLUGIN = """
from edgepress.backends.onnxruntime import OnnxRuntime


class Twin(OnnxRuntime):
    name = "twin"
"""
TWIN = """
name = "board"
title = "A board"
arch = "any"
backend = "twin"
precisions = ["fp32"]
toolchain = "onnxruntime-1.31"
"""


@pytest.fixture
def installed_here(tmp_path: Path) -> dict[str, str]:
    """An environment with a backend of another package, which the device does not have."""
    info = tmp_path / "site" / "twin-1.0.dist-info"
    (tmp_path / "site" / "twin_backend").mkdir(parents=True)
    (tmp_path / "site" / "twin_backend" / "__init__.py").write_text(PLUGIN)
    info.mkdir()
    (info / "METADATA").write_text("Metadata-Version: 2.1\nName: twin\nVersion: 1.0\nRequires-Dist: edgepress\n")
    (info / "entry_points.txt").write_text("[edgepress.backends]\ntwin = twin_backend:Twin\n")
    (tmp_path / "board.toml").write_text(TWIN)
    (tmp_path / "small.py").write_text(SMALL)
    return {"PYTHONPATH": os.pathsep.join(filter(None, (str(info.parent), os.environ.get("PYTHONPATH"))))}


@pytest.mark.slow
def test_a_backend_of_another_package_goes_along(
    server: Sshd, cli: Cli, tmp_path: Path, installed_here: dict[str, str]
) -> None:
    env = {**server.environment, **installed_here}
    ran = cli("export", "small.py", "-t", "board.toml", "--no-measure", "-q", env=env)
    assert ran.code == 0, ran.err
    bundle = tmp_path / "dist" / "small-board"
    ran = cli("verify", bundle, "--on", server.address, env=env)
    assert ran.code == 0, ran.err
    assert "brought" in ran.err and "twin-1.0" in ran.err
    assert cli("verify", bundle, "--on", server.address, env=env).code == 0
    ran = cli("build", bundle, "--on", server.address, "-q", env=env)
    assert ran.code == 0, ran.err
    (tmp_path / "site" / "twin_backend" / "kernels.so").write_bytes(b"of this machine")
    ran = cli("verify", bundle, "--on", server.address, env=env)
    ran.failed(5, "twin has compiled modules (kernels.so)", "Install twin and edgepress in the Python there")

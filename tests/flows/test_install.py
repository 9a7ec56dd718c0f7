"""One package goes to many devices: each takes the bundle that fits, proves it, switches in one step, and goes back."""

from __future__ import annotations

import fcntl
import json
import os
import shutil
import subprocess
import sys
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from ._flow import PASSPHRASE, Cli, Ran, contents, read, with_other_answers
from .test_verify import WITHOUT_THE_HOST

ORDER = ("jetson", "mobile", "cpu", "server-cpu")


@pytest.fixture(scope="module")
def package(digits: dict[str, Path], command: Callable[..., Ran], tmp_path_factory: pytest.TempPathFactory) -> Path:
    path = tmp_path_factory.mktemp("packed") / "digits.edgepress"
    ran = command("pack", *(digits[name] for name in ORDER), "-o", path, cwd=path.parent)
    assert ran.code == 0, ran.err
    return path


def installed(cli: Cli, *words: object, where: str = "device") -> Ran:
    ran = cli("install", *words, "--to", where)
    assert ran.code == 0, ran.err
    return ran


def listed(cli: Cli) -> list[tuple[int, str, bool]]:
    rows = json.loads(installed(cli, "--list", "--json").out)
    return [(row["version"], row["target"], row["current"]) for row in rows]


def test_the_same_bundles_give_the_same_bytes_and_shared_files_are_stored_once(
    package: Path, digits: dict[str, Path], cli: Cli, tmp_path: Path
) -> None:
    words = ("pack", *(digits[name] for name in ORDER), "-o", "again.edgepress")
    assert cli(*words).code == 0
    assert (tmp_path / "again.edgepress").read_bytes() == package.read_bytes()
    apart = [data for name in ORDER for data in contents(digits[name]).values()]
    once = sum(map(len, set(apart)))
    assert once < sum(map(len, apart))
    assert package.stat().st_size < once + 40_000, "an index and an archive's own records on top"
    cli(*words).failed(1, "again.edgepress exists", "--force")
    assert cli(*words, "--force").code == 0
    cli("pack", digits["cpu"], digits["cpu"], "-o", "twice").failed(1, "Two bundles are called digits-cpu")
    assert not (tmp_path / "twice").exists()


def test_a_package_is_of_one_model_with_one_interface(digits: dict[str, Path], cli: Cli, tmp_path: Path) -> None:
    other = Path(shutil.copytree(digits["server-cpu"], tmp_path / "other"))
    manifest = read(other, "manifest.json")
    for change in ({"name": "letters"}, {"outputs": []}):
        (other / "manifest.json").write_text(json.dumps({**manifest, "model": manifest["model"] | change}))
        cli("pack", digits["cpu"], other).failed(1, "other is of ", "a package is of one model")


def test_a_device_takes_the_first_that_fits_and_can_go_back(package: Path, cli: Cli, tmp_path: Path) -> None:
    from edgepress.backends.places import load_place
    from edgepress.exporter.bundle.manifest import load_bundle

    ran = installed(cli, package)
    assert "digits-jetson-orin-nano-8gb was passed over: It is for aarch64, and this machine is x86_64." in ran.out
    assert "digits-cpu is version 1, in use now; proven here by openvino" in ran.out
    assert "It is not signed" in ran.out
    current = tmp_path / "device" / "current"
    assert cli("verify", current).code == 0
    assert "digits-cpu is installed already, as version 1" in installed(cli, package).out

    bundle = load_bundle(current.resolve())
    assert bundle.engine is not None
    with load_place("local").open(bundle.engine) as running, np.load(current / "golden/inputs.npz") as golden:
        spec = bundle.manifest.model.inputs[0]
        feed = {spec.name: golden[next(name for name in golden.files if name.endswith(spec.name))]}
        before = running(feed)
        installed(cli, package, "--variant", "digits-server-cpu", "--keep", "2")
        assert listed(cli) == [(1, "cpu", False), (2, "server-cpu", True)]
        assert "Back: version 1, in use now; proven here by openvino" in installed(cli, "--back").out
        assert listed(cli) == [(1, "cpu", True), (2, "server-cpu", False)]
        cli("install", "--back", "--to", "device").failed(1, "no version before the current one")
        # What was gone back from goes: the version before the next one is the one that was in use.
        assert "version 2" in installed(cli, package, "--variant", "digits-server-cpu").out
        installed(cli, package, "--variant", "digits-cpu", "--keep", "2")
        assert listed(cli) == [(2, "server-cpu", False), (3, "cpu", True)]
        # A program that had the first one open goes on, although it is gone.
        np.testing.assert_array_equal(
            *(answer[bundle.manifest.model.outputs[0].name] for answer in (before, running(feed)))
        )
    assert sorted(path.name for path in (tmp_path / "device").iterdir()) == ["current", "versions"]


def test_where_none_fits_each_one_says_why_and_nothing_is_left(
    digits: dict[str, Path], cli: Cli, tmp_path: Path
) -> None:
    assert cli("pack", digits["jetson"], digits["mobile"], "-o", "arm.edgepress").code == 0
    told = cli("install", "arm.edgepress", "--to", "new/device")
    told.failed(
        5, "No variant of arm.edgepress", "digits-jetson-orin-nano-8gb: It is for aarch64", "digits-android-arm64"
    )
    assert not (tmp_path / "new").exists()
    cli("install", "arm.edgepress", "--to", "device", "--variant", "cpu").failed(
        1, "no variant cpu; it has digits-jetson"
    )
    cli("install", "--list", "--to", "device").failed(1, "Nothing is installed in device")


def test_what_the_disk_has_no_room_for_is_not_unpacked(
    package: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    from edgepress.errors import UnservedError
    from edgepress.exporter.delivery.install import install_package

    full = shutil.disk_usage(tmp_path)._replace(free=1000)
    monkeypatch.setattr(shutil, "disk_usage", lambda path: full)
    with pytest.raises(UnservedError, match=r"digits-cpu: It takes .*, and the disk has 1.0 kB free"):
        install_package(package, tmp_path / "device")
    assert not (tmp_path / "device").exists()


def test_what_does_not_prove_itself_here_is_passed_over(digits: dict[str, Path], cli: Cli, tmp_path: Path) -> None:
    forged = Path(shutil.copytree(digits["cpu"], tmp_path / "forged"))
    with_other_answers(forged)
    assert cli("pack", forged, "-o", "bad").code == 0
    cli("install", "bad", "--to", "device").failed(4, "forged: ", "SQNR")
    assert not (tmp_path / "device").exists()
    assert cli("pack", forged, digits["server-cpu"], "-o", "good").code == 0
    told = installed(cli, "good").out
    assert "forged was passed over: " in told
    assert "digits-server-cpu is version 1" in told
    assert "edgepress-" not in told, "no name of a directory that nobody chose"


def test_an_engine_that_was_left_to_the_device_is_built_there(
    digits: dict[str, Path], cli: Cli, tmp_path: Path
) -> None:
    """A bundle of onnxruntime as a target's is whose engine no host can build."""
    from edgepress.exporter.bundle.manifest import load_bundle

    bundle = Path(shutil.copytree(digits["server-cpu"], tmp_path / "unbuilt"))
    shutil.rmtree(bundle / "engine")
    manifest = read(bundle, "manifest.json")
    manifest["engine"] |= {"path": None, "why": "built on the device"}
    manifest["files"] = {name: one for name, one in manifest["files"].items() if not name.startswith("engine/")}
    manifest["lineage"] = [step for step in manifest["lineage"] if step["what"] != "compile"]
    (bundle / "manifest.json").write_text(json.dumps(manifest))
    assert cli("pack", "unbuilt", "-o", "p").code == 0
    assert "unbuilt is version 1, in use now; built and proven here by onnxruntime" in installed(cli, "p").out
    current = load_bundle((tmp_path / "device/current").resolve())
    assert current.engine is not None
    assert current.engine.path.is_file()


def test_with_a_key_every_variant_has_to_be_signed_by_it(
    digits: dict[str, Path],
    package: Path,
    keys: Path,
    cli: Cli,
    tmp_path: Path,
) -> None:
    key = ("--key", keys / "signing.pub", "--require-signature")
    cli("install", package, "--to", "device", *key).failed(4, "digits-jetson-orin-nano-8gb is not signed")
    bundle = Path(shutil.copytree(digits["cpu"], tmp_path / "digits-cpu"))
    assert cli("sign", bundle, "--key", keys / "signing.pem", env=PASSPHRASE).code == 0
    assert "signed" in cli("pack", bundle, "-o", "signed").out
    cli("install", "signed", "--to", "device", "--key", keys / "other.pub").failed(
        4, "signed, digits-cpu", "by the key"
    )
    assert "Signed by" in installed(cli, "signed", *key).out
    (bundle / "report.md").write_text("better")
    manifest = read(bundle, "manifest.json")
    from edgepress.exporter.bundle.manifest import sha256

    manifest["measured"]["files"]["report.md"] = {"sha256": sha256(bundle / "report.md"), "size": 6}
    (bundle / "manifest.json").write_text(json.dumps(manifest))
    assert cli("pack", bundle, "-o", "forged").code == 0
    cli("install", "forged", "--to", "other", *key).failed(4, "forged, digits-cpu is not what", "signed")
    assert not (tmp_path / "other").exists()
    ran = cli("install", "signed", "--to", "other", "--require-signature")
    assert (ran.code, "needs --key" in ran.err) == (2, True)
    assert cli("install", "--back", "--to", "device", "--key", keys / "signing.pub").code == 2


def test_a_second_install_is_told_of_the_first(package: Path, cli: Cli, tmp_path: Path) -> None:
    (tmp_path / "device").mkdir()
    descriptor = os.open(tmp_path / "device", os.O_RDONLY)
    fcntl.flock(descriptor, fcntl.LOCK_EX)
    cli("install", package, "--to", "device").failed(1, "Another process is installing into device")
    os.close(descriptor)
    installed(cli, package)


def test_what_is_damaged_on_the_device_is_installed_anew(package: Path, cli: Cli, tmp_path: Path) -> None:
    installed(cli, package)
    (tmp_path / "device/current/engine/model.bin").write_bytes(b"")
    assert "digits-cpu is version 2" in installed(cli, package).out
    cli("install", "--back", "--to", "device").failed(4, "engine/model.bin was changed")
    assert listed(cli)[-1] == (2, "cpu", True)
    (tmp_path / "mine").mkdir()
    (tmp_path / "mine/current").write_text("of somebody else")
    cli("install", package, "--to", "mine").failed(1, "mine/current is no link to a version")
    assert contents(tmp_path / "mine") == {"current": b"of somebody else"}


def test_a_runtime_that_is_too_old_for_a_graph_is_a_reason(digits: dict[str, Path]) -> None:
    from edgepress.backends.registry import load_backend
    from edgepress.exporter.bundle.manifest import load_bundle
    from edgepress.exporter.delivery.fitting import why_not

    built = load_bundle(digits["server-cpu"]).manifest
    assert why_not(built) == ""
    unbuilt = replace(built, engine=replace(built.engine, path=None))
    assert why_not(unbuilt) == ""
    tools = replace(built.target.toolchain, versions={"onnxruntime": "99.1"})
    newer = replace(unbuilt, target=replace(built.target, toolchain=tools))
    assert why_not(newer).startswith("its graph is written for onnxruntime 99.1, and this machine has ")
    assert "Unknown backend 'none'" in why_not(replace(built, engine=replace(built.engine, backend="none")))
    rtx = load_backend("tensorrt-rtx")
    assert rtx.why_not_opened(rtx.available().version) == ""
    assert "its plan was built by tensorrt-rtx 1.0" in rtx.why_not_opened("tensorrt-rtx 1.0")


def test_a_device_needs_neither_torch_nor_onnx(package: Path, environment: dict[str, str], tmp_path: Path) -> None:
    words = [sys.executable, "-c", WITHOUT_THE_HOST, "install", str(package), "--to", str(tmp_path / "device")]
    done = subprocess.run(words, env=environment, capture_output=True, text=True, timeout=120)
    assert done.returncode == 0, done.stderr
    assert "digits-cpu is version 1" in done.stdout

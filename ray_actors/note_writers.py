"""Which model writes the notes: the public engine of conf, or the newest checkpoint that was trained under the ledger.

Knows: settings, protected.checkpoints, where a checkpoint's files lie. Must not know: prompts, Ray, what is written.
"""

from __future__ import annotations

import dataclasses
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from ppsehr_spark.config import Settings, hash_values
from ppsehr_spark.errors import ConfigurationError, InputError
from ppsehr_spark.lake.checkpoint_store import fetch_folder, locate
from ppsehr_spark.lake.schemas import CHECKPOINTS
from ppsehr_spark.lake.tables import Lake
from ray_actors.weights import fingerprint_weights

PUBLIC, TRAINED = "public", "trained"
_CHECKPOINT = "checkpoint"


@contextmanager
def open_writer(lake: Lake, settings: Settings) -> Iterator[Settings]:
    """The settings under which notes are written; with ``trained``, the checkpoint lies on this machine meanwhile.

    Raises:
        ConfigurationError: ``UNKNOWN_GENERATOR``.
        InputError: ``NO_CHECKPOINT`` when there is none yet.
    """
    generator = settings.synthesize.generator
    if generator == PUBLIC:
        yield settings
        return
    if generator != TRAINED:
        hint = f"{PUBLIC} or {TRAINED}"
        raise ConfigurationError("UNKNOWN_GENERATOR", key="synthesize.generator", hint=hint)
    row = _newest_checkpoint(lake)
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name) / row["checkpoint_id"]
        folder.mkdir()
        fetch_folder(locate(lake, row["path"]), folder)
        yield _with_checkpoint(settings, folder)


def name_writer(settings: Settings) -> str:
    """What would write the notes under these settings, known before any engine starts.

    Returns:
        Engine with the checkpoint's id, or with the weights' fingerprint where they lie on this machine, else with a
        hash of the engine's options.
    """
    engine = settings.synthesize.engine
    options = settings.engine.get(engine, {})
    if engine == _CHECKPOINT:
        return f"{engine}:{Path(str(options.get('path', ''))).name}"
    folder = Path(str(options.get("model", "")))
    has_weights = bool(options.get("model")) and (folder / "config.json").is_file()
    return f"{engine}:{fingerprint_weights(folder) if has_weights else hash_values(dict(options))}"


def _newest_checkpoint(lake: Lake) -> dict[str, Any]:
    """The checkpoint of the last training run; run ids begin with the time."""
    rows = lake.read(CHECKPOINTS, ["checkpoint_id", "path", "run_id"]).to_pylist()
    if not rows:
        raise InputError("NO_CHECKPOINT", table=CHECKPOINTS.full_name, hint="run the train stage first")
    newest: dict[str, Any] = max(rows, key=lambda row: (row["run_id"], row["checkpoint_id"]))
    return newest


def _with_checkpoint(settings: Settings, folder: Path) -> Settings:
    options = {**settings.engine.get(_CHECKPOINT, {}), "path": str(folder), "base_model": settings.train.base_model}
    wants = dataclasses.replace(settings.synthesize, engine=_CHECKPOINT)
    return dataclasses.replace(settings, synthesize=wants, engine={**settings.engine, _CHECKPOINT: options})

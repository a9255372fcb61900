"""Fictional source files at any scale: every task writes the files of its own range of patients.

Knows: Spark and file systems. Must not know: what is in a note (``synthesis.simulator``). The rows depend on the
settings alone; ``n_partitions`` decides only how they are spread over files.
"""

from __future__ import annotations

import json
import os
from collections.abc import Callable, Iterator
from contextlib import ExitStack
from dataclasses import asdict

import pyarrow as pa
from pyarrow import fs
from pyspark.sql import SparkSession
from pyspark.sql import functions as F

from ppsehr_spark.config import SimulateSettings, hash_values
from ppsehr_spark.errors import ConfigurationError, UsageError
from ppsehr_spark.lake.locations import open_file_system
from ppsehr_spark.spark.frames import map_batches
from ppsehr_spark.spark.session import describe
from ppsehr_spark.synthesis.simulator import (
    PHI_CANARIES,
    PROSE_CANARIES,
    SimulatedPatient,
    exports,
    simulate_patient,
    simulate_record,
)
from ppsehr_spark.synthesis.simulator.defects import build_defects

#: Written last; says which settings the folder holds. Its absence means that a run was interrupted.
MARKER = "_simulated.json"
_FOLDERS = ("patients", "encounters", "notes", "gold")
_CHUNK_PATIENTS = 64
_COUNTS = pa.schema(
    [("patients", pa.int64()), ("encounters", pa.int64()), ("notes", pa.int64()), ("spans", pa.int64())]
)


def is_current(root: str, settings: SimulateSettings) -> bool:
    """True when the folder already holds exactly what these settings would write."""
    filesystem, base = _open_root(root)
    path = f"{base}/{MARKER}"
    if filesystem.get_file_info(path).type != fs.FileType.File:
        return False
    with filesystem.open_input_stream(path) as stream:
        return stream.read() == _render_marker(settings)


def write_source(spark: SparkSession, *, root: str, settings: SimulateSettings) -> dict[str, int]:
    """Write ``patients``, ``encounters``, ``notes``, ``gold``, the canaries, the bad rows and the marker.

    Args:
        root: folder or URI; emptied first when an earlier simulation lies there.
        settings: what to simulate.

    Returns:
        Rows per table, gold spans and deliberate defects.

    Raises:
        UsageError: ``SOURCE_NOT_OURS`` when the folder holds something that is not a simulation.
        ConfigurationError: see ``check_settings``.
    """
    check_settings(settings)
    _clear(root)
    describe(spark, "simulate: write sources")
    parts = spark.range(0, settings.n_partitions, 1, settings.n_partitions)
    place, values = _make_absolute(root), asdict(settings)

    def write(batches: Iterator[pa.RecordBatch]) -> Iterator[pa.RecordBatch]:
        chosen = SimulateSettings(**values)
        for batch in batches:
            for part in batch.column(0).to_pylist():
                yield _write_part(place, part, chosen)

    totals = map_batches(parts, write, _COUNTS).agg(*(F.sum(name).alias(name) for name in _COUNTS.names)).first()
    counts = {name: int(totals[name]) for name in _COUNTS.names}
    counts["bad_rows"] = _write_extras(root, settings)
    return counts


def check_settings(settings: SimulateSettings) -> None:
    """Refuse settings that no patient can be drawn from.

    Raises:
        ConfigurationError: ``SIMULATE_SETTINGS`` with the key that is out of range.
    """
    is_wrong = {
        "n_patients": settings.n_patients < 1,
        "n_record_patients": settings.n_record_patients < 0,
        "n_partitions": settings.n_partitions < 1,
        "n_bad_rows": settings.n_bad_rows < 0,
        "seed": settings.seed < 0,
        "recurrence": not 0.0 <= settings.recurrence <= 1.0,
        "first_year": not 1950 <= settings.first_year <= 9990,
        "last_year": not settings.first_year <= settings.last_year <= 9990,
    }
    for key in (key for key, wrong in is_wrong.items() if wrong):
        raise ConfigurationError("SIMULATE_SETTINGS", key=f"simulate.{key}", hint="the value is out of range")


def _open_root(root: str) -> tuple[fs.FileSystem, str]:
    return open_file_system(root)


def _make_absolute(root: str) -> str:
    return root if "://" in root else os.path.abspath(root)


def _render_marker(settings: SimulateSettings) -> bytes:
    values = asdict(settings)
    # a folder of an older form is written anew: the source mapping names columns that it lacks
    form = {"patients": exports.PATIENT_COLUMNS, "encounters": exports.ENCOUNTER_COLUMNS}
    marker = {"settings": values, "hash": hash_values(values), "columns": form}
    return (json.dumps(marker, sort_keys=True) + "\n").encode()


def _clear(root: str) -> None:
    """Remove an earlier simulation, finished or not; touch nothing else."""
    filesystem, base = _open_root(root)
    info = filesystem.get_file_info(base)
    entries = filesystem.get_file_info(fs.FileSelector(base)) if info.type == fs.FileType.Directory else []
    names = {entry.base_name for entry in entries}
    is_ours = bool(names & {MARKER, "canaries.json"})
    if info.type == fs.FileType.File or (names and not is_ours):
        hint = "name an empty folder, or one that an earlier simulate wrote"
        raise UsageError("SOURCE_NOT_OURS", hint=hint)
    if MARKER in names:
        filesystem.delete_file(f"{base}/{MARKER}")
    filesystem.create_dir(base, recursive=True)
    _put(
        filesystem, f"{base}/canaries.json", _render_canaries()
    )  # first, so that an interrupted folder is known as ours
    for folder in _FOLDERS:
        if folder in names:
            filesystem.delete_dir(f"{base}/{folder}")
        filesystem.create_dir(f"{base}/{folder}", recursive=True)


def _write_part(root: str, part: int, settings: SimulateSettings) -> pa.RecordBatch:
    """All files of one range of patients with notes and of one range of patients without."""
    counts = dict.fromkeys(_COUNTS.names, 0)
    noted = _slice(settings.n_patients, part, settings.n_partitions)
    names = _name_files(part)
    _write_files(root, names, _draw_chunks(simulate_patient, noted, settings), counts)
    archived = _slice(settings.n_record_patients, part, settings.n_partitions, after=settings.n_patients)
    names = {table: names[table].replace("part-", "archive-") for table in ("patients", "encounters")}
    _write_files(root, names, _draw_chunks(simulate_record, archived, settings), counts)
    return pa.RecordBatch.from_pylist([counts], schema=_COUNTS)


def _slice(n: int, part: int, n_parts: int, *, after: int = 0) -> range:
    """The patient indices of one part, ``after`` the patients of another kind."""
    return range(after + n * part // n_parts, after + n * (part + 1) // n_parts)


def _draw_chunks(
    draw: Callable[[int, SimulateSettings], SimulatedPatient], indices: range, settings: SimulateSettings
) -> Iterator[list[SimulatedPatient]]:
    for begin in range(0, len(indices), _CHUNK_PATIENTS):
        yield [draw(index, settings) for index in indices[begin : begin + _CHUNK_PATIENTS]]


def _write_files(
    root: str, names: dict[str, str], chunks: Iterator[list[SimulatedPatient]], counts: dict[str, int]
) -> None:
    """One file per table, each moved into place when it is complete; no patients leave no file (a defect if empty)."""
    filesystem, base = _open_root(root)
    streams: dict[str, pa.NativeFile] = {}
    with ExitStack() as stack:
        for chunk in chunks:
            is_first = not streams
            for table in names if is_first else ():
                place = _hide(f"{base}/{names[table]}")
                streams[table] = stack.enter_context(filesystem.open_output_stream(place, compression=None))
            content = _render_chunk(chunk, with_header=is_first)
            for table, name in names.items():
                streams[table].write(exports.compress(content[table]) if name.endswith(".gz") else content[table])
            _count(counts, chunk)
    for table in streams:
        filesystem.move(_hide(f"{base}/{names[table]}"), f"{base}/{names[table]}")


def _name_files(part: int) -> dict[str, str]:
    """File per table; every fourth part compresses its notes, as some source systems do."""
    notes = "jsonl.gz" if part % 4 == 3 else "jsonl"
    suffixes = {"patients": "csv", "encounters": "csv", "notes": notes, "gold": "jsonl"}
    return {table: f"{table}/part-{part:05d}.{suffix}" for table, suffix in suffixes.items()}


def _hide(path: str) -> str:
    """A name that readers of a source skip."""
    folder, _, name = path.rpartition("/")
    return f"{folder}/_{name}"


def _render_chunk(chunk: list[SimulatedPatient], *, with_header: bool) -> dict[str, bytes]:
    notes = [note for simulated in chunk for note in simulated.notes]
    return {
        "patients": exports.render_patients((s.patient for s in chunk), with_header=with_header),
        "encounters": exports.render_encounters((e for s in chunk for e in s.encounters), with_header=with_header),
        "notes": exports.render_lines(exports.render_note(note) for note in notes),
        "gold": exports.render_lines(exports.render_gold(note) for note in notes),
    }


def _count(counts: dict[str, int], chunk: list[SimulatedPatient]) -> None:
    counts["patients"] += len(chunk)
    counts["encounters"] += sum(len(s.encounters) for s in chunk)
    counts["notes"] += sum(len(s.notes) for s in chunk)
    counts["spans"] += sum(len(note.spans) for s in chunk for note in s.notes)


def _render_canaries() -> bytes:
    values = {"phi": PHI_CANARIES, "prose": PROSE_CANARIES}
    return (json.dumps(values, ensure_ascii=False, indent=1) + "\n").encode()


def _write_extras(root: str, settings: SimulateSettings) -> int:
    """Bad rows with their manifest, then the marker."""
    filesystem, base = _open_root(root)
    defects = build_defects(simulate_patient(0, settings), count=settings.n_bad_rows)
    for path, content in sorted(defects.files.items()):
        _put(filesystem, f"{base}/{path}", content)
    _put(filesystem, f"{base}/bad_rows.json", defects.to_json())
    _put(filesystem, f"{base}/{MARKER}", _render_marker(settings))
    return len(defects.bad_rows)


def _put(filesystem: fs.FileSystem, path: str, content: bytes) -> None:
    with filesystem.open_output_stream(path, compression=None) as stream:
        stream.write(content)

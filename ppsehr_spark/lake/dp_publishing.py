"""From DP statistics and synthetic data to releases, behind gates of their own.

Knows: which tables make a product, what it rests on in the ledger, which figures belong to it. Must not know: notes,
how rows were drawn, how a release is stored. A product whose tables are not there yet is none, not a refusal.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

import pyarrow as pa

from ppsehr_spark.config import Settings
from ppsehr_spark.domain.rules import compile_rules
from ppsehr_spark.errors import PpsehrError, QualityGateError
from ppsehr_spark.lake.claim_store import LedgerState, Support
from ppsehr_spark.lake.evaluations import make_evaluation_id, newest_checkpoint, read_evaluations
from ppsehr_spark.lake.release_gates import compile_canaries
from ppsehr_spark.lake.release_store import Release, ReleasedTable, fingerprint_rows, leaving_schema
from ppsehr_spark.lake.schemas import (
    CHECKPOINTS,
    RECORD_MODEL,
    RELEASED_STATISTICS,
    RELEASED_SYNTHETIC_ENCOUNTERS,
    RELEASED_SYNTHETIC_NOTES,
    RELEASED_SYNTHETIC_PATIENTS,
    TableSpec,
)
from ppsehr_spark.lake.statistics_gates import judge_checkpoint, judge_ledger, judge_marginals, judge_statistics
from ppsehr_spark.lake.statistics_store import read_statistics
from ppsehr_spark.lake.synthetic_gates import TRAINED, count_identified, count_orphans, judge_dataset, judge_figures
from ppsehr_spark.lake.synthetic_rows import SyntheticDataset, read_newest_dataset
from ppsehr_spark.lake.tables import Lake
from ppsehr_spark.synthesis.narratives import compile_narratives

Row = Mapping[str, Any]
POLICY = "dp"
STATISTICS, SYNTHETIC = "dp_statistics", "synthetic"
_OK = "ok"


@dataclass(frozen=True)
class Candidate:
    """A product that passed its gates, and what its card rests on."""

    release: Release
    support: Support = field(default_factory=Support)


def offer_statistics(lake: Lake, settings: Settings, ledger: LedgerState) -> Candidate | None:
    """The newest DP statistics, ``None`` when there are none.

    Raises:
        QualityGateError: ``LEDGER_GATE``, ``UNPAID_STATISTIC`` or ``STATISTIC_DIFFERS``.
    """
    rows = read_statistics(lake).to_pylist()
    if not rows:
        return None
    _raise(judge_ledger(ledger) or judge_statistics(rows, ledger, settings.files))
    grants = frozenset(row["grant_id"] for row in rows)
    gates = {"ledger": _count_ledger(ledger), "values": {"n_cells": len(rows), "n_grants": len(grants)}}
    asks = {row["ask_id"] for row in rows}
    support = Support(
        grants=grants,
        figures=_figures_about(lake, settings, asks),
    )
    release = Release(STATISTICS, (_released(RELEASED_STATISTICS, rows),), POLICY, gates, settings.conf_hash)
    return Candidate(release, support)


def offer_synthetic(
    lake: Lake, settings: Settings, ledger: LedgerState, *, canaries: Sequence[str] = ()
) -> Candidate | None:
    """The newest synthetic data set, ``None`` when there is none.

    Raises:
        QualityGateError: a code of ``statistics_gates`` or ``synthetic_gates``.
    """
    dataset = read_newest_dataset(lake)
    if dataset is None:
        return None
    notes = [row for row in dataset.note_rows if row["outcome"] == _OK and row["text"]]
    checkpoint = _find_checkpoint(lake, notes)
    marginals = [row for row in lake.read(RECORD_MODEL).to_pylist() if row["model_id"] == dataset.model_id]
    is_trained = any(row["generator"] == TRAINED for row in notes)
    _raise(judge_ledger(ledger) or judge_marginals(marginals, ledger))
    _raise(judge_checkpoint(checkpoint, ledger) if is_trained else None)
    gates = _judge_rows(dataset, notes, settings, canaries)
    newest = newest_checkpoint(lake)
    subjects = {dataset.dataset_id, *([newest["checkpoint_id"]] if newest else [])}
    figures = _figures_about(lake, settings, subjects)
    _raise(judge_figures(figures, limits=settings.publish, n_notes=len(notes), is_trained=is_trained))
    grants = {row["grant_id"] for row in marginals} | ({checkpoint["grant_id"]} if checkpoint else set())
    support = Support(
        grants=frozenset(grants),
        figures=figures,
        public_inputs={f"{row['generator']}:{row['model']}": "" for row in notes},
    )
    tables = _list_tables(dataset, notes)
    gates = {"ledger": _count_ledger(ledger), **gates, "figures": _show_gates(figures)}
    return Candidate(Release(SYNTHETIC, tables, POLICY, gates, settings.conf_hash), support)


def _judge_rows(
    dataset: SyntheticDataset, notes: Sequence[Row], settings: Settings, canaries: Sequence[str]
) -> dict[str, dict[str, int | float]]:
    n_orphans = count_orphans(dataset, notes)
    if n_orphans:
        raise QualityGateError("SYNTHETIC_ORPHAN", n_rows=n_orphans, hint="run synthesize again")
    book, rules = compile_narratives(settings.files), compile_rules(settings.files)
    n_identified = count_identified(dataset, notes, book=book, rules=rules)
    _raise(judge_dataset(dataset, notes, n_identified=n_identified, has_canary=compile_canaries(canaries)))
    return {
        "identifiers": {"n_notes": len(notes), "n_notes_with_one": n_identified},
        "canary": {"n_canaries": len(set(canaries)), "n_notes_with_one": 0},
    }


def _list_tables(dataset: SyntheticDataset, notes: Sequence[Row]) -> tuple[ReleasedTable, ...]:
    return (
        _released(RELEASED_SYNTHETIC_PATIENTS, dataset.patient_rows),
        _released(RELEASED_SYNTHETIC_ENCOUNTERS, dataset.encounter_rows),
        _released(RELEASED_SYNTHETIC_NOTES, notes, n_withheld=len(dataset.note_rows) - len(notes)),
    )


def _released(spec: TableSpec, rows: Sequence[Row], *, n_withheld: int = 0) -> ReleasedTable:
    """Rows in memory (a release of this kind is small), cut to the columns that leave."""
    schema = leaving_schema(spec)
    table = pa.Table.from_pylist([{name: row[name] for name in schema.names} for row in rows], schema=schema)

    def open_batches() -> Iterator[pa.RecordBatch]:
        return iter(table.to_batches())

    content, n_rows = fingerprint_rows(open_batches())
    return ReleasedTable(spec, content, n_rows, n_withheld, open_batches)


def _find_checkpoint(lake: Lake, notes: Sequence[Row]) -> Row | None:
    """The checkpoint that wrote the notes, ``None`` where public weights did or where it is not known."""
    models = {row["model"] for row in notes if row["generator"] == TRAINED}
    rows = [row for row in lake.read(CHECKPOINTS).to_pylist() if row["checkpoint_id"] in models]
    return rows[0] if len(models) == 1 and rows else None


def _figures_about(lake: Lake, settings: Settings, subjects: set[str]) -> tuple[Row, ...]:
    rows = read_evaluations(lake, make_evaluation_id(lake, settings))
    return tuple(row for row in rows if row["subject"] in subjects)


def _show_gates(figures: Sequence[Row]) -> dict[str, int | float]:
    """Public figures that something hung on."""
    return {
        f"{row['metric']}{suffix}": value
        for row in figures
        if row["gate_limit"] is not None and row["basis"] == "public"
        for suffix, value in (("", row["value"]), ("_limit", row["gate_limit"]))
    }


def _count_ledger(ledger: LedgerState) -> dict[str, int | float]:
    return {"n_rows": len(ledger.entries), "n_committed": ledger.verification.n_committed}


def _raise(refusal: PpsehrError | None) -> None:
    if refusal is not None:
        raise refusal

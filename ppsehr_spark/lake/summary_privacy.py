"""What the closing summary says about privacy: budget spent and left, DP statistics, synthetic patients, claim cards.

Knows: where these lie in a lake, and which few of them stand for the rest. Must not know: how any of it was made.
Nothing here reads the phi zone; synthetic text is fiction by construction and the only text that is handed on.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from ppsehr_spark.config import Settings
from ppsehr_spark.lake import schemas, statistics_schemas, synthesis_schemas
from ppsehr_spark.lake.ledger_store import open_ledger, read_entries
from ppsehr_spark.lake.release_files import locate_release_file
from ppsehr_spark.lake.row_chain import ChainReport, verify_rows
from ppsehr_spark.lake.schemas import TableSpec
from ppsehr_spark.lake.statement_store import card_file
from ppsehr_spark.lake.statistics_store import read_statistics
from ppsehr_spark.lake.tables import Lake
from ppsehr_spark.privacy.book import COMMIT, RELEASE, Entry
from ppsehr_spark.privacy.ledger import Balance
from ppsehr_spark.privacy.policy import parse_policy

#: How many statistics and patients stand for all.
_N_SHOWN_STATISTICS = 3
_N_SHOWN_PATIENTS = 2

_PATIENTS_SQL = f"""
WITH newest AS (SELECT dataset_id FROM patients ORDER BY synthesized_at DESC, dataset_id LIMIT 1),
passed AS (
  SELECT p.synthetic_patient_id, p.sex, p.birth_year, p.n_encounters, e.encounter_type, e.department,
         e.diagnosis_code, e.diagnosis_name, e.age_years, e.admitted_on, e.discharged_on, n.note_type, n.text,
         n.generator, row_number() OVER (PARTITION BY p.synthetic_patient_id ORDER BY n.synthetic_note_id) AS place
  FROM newest d
  JOIN patients p ON p.dataset_id = d.dataset_id
  JOIN encounters e ON e.dataset_id = d.dataset_id AND e.synthetic_patient_id = p.synthetic_patient_id
  JOIN notes n ON n.dataset_id = d.dataset_id AND n.synthetic_encounter_id = e.synthetic_encounter_id
  WHERE n.outcome = 'ok' AND n.text IS NOT NULL)
SELECT * FROM passed WHERE place = 1 ORDER BY synthetic_patient_id LIMIT {_N_SHOWN_PATIENTS}
"""
_OUTCOMES_SQL = """
SELECT n.outcome AS outcome, count(*) AS n_notes FROM notes n
WHERE n.dataset_id = (SELECT dataset_id FROM patients ORDER BY synthesized_at DESC, dataset_id LIMIT 1)
GROUP BY n.outcome ORDER BY n_notes DESC, outcome
"""
_FIGURES_SQL = """
SELECT metric, slice, value, low, high, basis, gate_limit, is_passed FROM t
WHERE run_id = (SELECT max(run_id) FROM t) ORDER BY metric, slice
"""
_CURRENT_SQL = """
SELECT "table", release_id, n_rows, n_withheld FROM (
  SELECT *, row_number() OVER (PARTITION BY "table" ORDER BY released_at DESC, release_id) AS recency FROM t
  WHERE "table" <> 'release.notes')
WHERE recency = 1 ORDER BY "table"
"""
_CARDS_SQL = """
SELECT release_id, min("table") AS first_table FROM (
  SELECT "table", release_id, row_number() OVER (PARTITION BY "table" ORDER BY released_at DESC, release_id) AS recency
  FROM catalogue)
WHERE recency = 1 AND release_id IN (SELECT release_id FROM cards)
GROUP BY release_id ORDER BY first_table
"""


@dataclass(frozen=True)
class Spending:
    """What one purpose has taken from the budget.

    Attributes:
        n_released: questions answered; ``n_open``: reserved and never answered, spent all the same.
        epsilon_so_far: stated epsilon of the whole source after the last row of this purpose.
    """

    purpose: str
    n_released: int
    n_open: int
    epsilon_so_far: float


@dataclass(frozen=True)
class PrivacySummary:
    """The second half of a lake; every part may be empty.

    Attributes:
        ledger: state of the ledger's chain; ``None`` without a ledger. A broken one has no balances.
        statistics: the largest readable cell of three releases, those with an interval first.
        patients: synthetic patients, each with the visit and text of one note that passed every check.
        outcomes: outcome code -> synthetic notes of the newest data set.
        figures: the newest evaluation.
        releases: current release of every released table but the notes.
        cards: paths of the claim cards of all current releases (JSON form).
    """

    ledger: ChainReport | None = None
    balances: Sequence[Balance] = ()
    spending: Sequence[Spending] = ()
    statistics: Sequence[Mapping[str, Any]] = ()
    patients: Sequence[Mapping[str, Any]] = ()
    outcomes: Mapping[str, int] | None = None
    figures: Sequence[Mapping[str, Any]] = ()
    releases: Sequence[Mapping[str, Any]] = ()
    cards: Sequence[str] = ()


def summarise_privacy(lake: Lake, settings: Settings) -> PrivacySummary:
    """Read it all; a stage that has not run yet leaves its part empty."""
    has_ledger = lake.version(schemas.PRIVACY_LEDGER) is not None
    ledger = verify_rows(lake, schemas.PRIVACY_LEDGER) if has_ledger else None
    is_readable = ledger is not None and ledger.is_whole
    synthetic = {
        "patients": synthesis_schemas.SYNTHETIC_PATIENTS,
        "encounters": synthesis_schemas.SYNTHETIC_ENCOUNTERS,
        "notes": synthesis_schemas.SYNTHETIC_NOTES,
    }
    outcomes = _query(lake, _OUTCOMES_SQL, patients=synthetic["patients"], notes=synthetic["notes"])
    return PrivacySummary(
        ledger=ledger,
        balances=open_ledger(lake, parse_policy(settings.files)).balances() if is_readable else (),
        spending=sum_spending(read_entries(lake)) if is_readable else (),
        statistics=choose_statistics(read_statistics(lake).to_pylist()),
        patients=[dict(list(row.items())[:-1]) for row in _query(lake, _PATIENTS_SQL, **synthetic)],  # but the rank
        outcomes={row["outcome"]: row["n_notes"] for row in outcomes},
        figures=_query(lake, _FIGURES_SQL, t=statistics_schemas.EVALUATIONS),
        releases=_query(lake, _CURRENT_SQL, t=schemas.RELEASES),
        cards=_find_cards(lake),
    )


def sum_spending(entries: Sequence[Entry]) -> list[Spending]:
    """One line per purpose, in the order in which each was first asked for.

    Args:
        entries: rows of a ledger whose chain is whole.
    """
    ended = {entry.grant_id for entry in entries if entry.kind in (COMMIT, RELEASE)}
    by_purpose: dict[str, list[Entry]] = {}
    for entry in entries:
        by_purpose.setdefault(entry.purpose, []).append(entry)
    return [
        Spending(
            purpose,
            n_released=sum(entry.kind == COMMIT for entry in own),
            n_open=len({entry.grant_id for entry in own} - ended),
            epsilon_so_far=own[-1].epsilon,
        )
        for purpose, own in by_purpose.items()
    ]


def choose_statistics(rows: Sequence[Mapping[str, Any]]) -> list[Mapping[str, Any]]:
    """The largest unsuppressed cell of each of three releases; releases with an interval go first, then by name.

    Args:
        rows: newest cells of every release.
    """
    largest: dict[str, Mapping[str, Any]] = {}
    for row in rows:
        before = largest.get(row["query"])
        if not row["is_suppressed"] and (before is None or row["value"] > before["value"]):
            largest[row["query"]] = row
    ranked = sorted(largest.values(), key=lambda row: (row["low"] is None, row["query"]))
    return ranked[:_N_SHOWN_STATISTICS]


def _find_cards(lake: Lake) -> list[str]:
    views = {"cards": statistics_schemas.RELEASED_CLAIM_CARDS, "catalogue": schemas.RELEASES}
    return [locate_release_file(lake, card_file(row["release_id"])) for row in _query(lake, _CARDS_SQL, **views)]


def _query(lake: Lake, sql: str, **views: TableSpec) -> list[dict[str, Any]]:
    """Rows of a query; none when one of its tables does not exist yet."""
    if any(lake.version(spec) is None for spec in views.values()):
        return []
    return list(lake.query(sql, **views).to_pylist())

"""The privacy sections of the closing summary as aligned text.

Knows: which figures stand side by side. Must not know: how they are read. A section without figures yields its title
alone and is left out by the caller.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any

from ppsehr_spark.lake.summary_layout import make_head, make_line
from ppsehr_spark.lake.summary_privacy import PrivacySummary

_MOST_NOTE_LINES = 6
_MOST_LINE_CHARS = 60
_MOST_FIGURES = 16
_WIDTHS = (28, 12, 12, 12, 12)


def list_privacy_sections(privacy: PrivacySummary) -> tuple[Iterator[str], ...]:
    """Budget, spending, statistics, synthetic patients, figures, releases."""
    return (
        _budget(privacy),
        _spending(privacy),
        _statistics(privacy),
        _patients(privacy),
        _figures(privacy),
        _releases(privacy),
    )


def _budget(privacy: PrivacySummary) -> Iterator[str]:
    yield make_head(["Privacy budget (epsilon)", "allowed", "spent", "left", "delta"], _WIDTHS)
    for each in privacy.balances:
        limit = each.cap.budget
        figures = [f"{value:.3f}" for value in (limit.epsilon, each.epsilon_spent, each.epsilon_left)]
        yield make_line([each.cap.name, *figures, f"{limit.delta:g}"], _WIDTHS)
    if privacy.ledger is not None:
        chain = privacy.ledger
        state = "chain whole" if chain.is_whole else f"CHAIN BROKEN at {chain.broken_at} ({chain.reason})"
        yield f"  ledger: {chain.n_rows} rows, {state}; scripts/verify_ledger.py recomputes it"


def _spending(privacy: PrivacySummary) -> Iterator[str]:
    yield make_head(["Spent on", "released", "left open", "epsilon so far"], (28, 12, 12, 16))
    for each in privacy.spending:
        cells = [each.purpose, each.n_released, each.n_open, f"{each.epsilon_so_far:.3f}"]
        yield make_line(cells, (28, 12, 12, 16))


def _statistics(privacy: PrivacySummary) -> Iterator[str]:
    yield "DP statistics (largest readable cell, 95% interval of the noise)"
    for row in privacy.statistics:
        keys = ", ".join(key["value"] for key in row["group_keys"] or ())
        interval = "" if row["low"] is None else f"[{row['low']:g}, {row['high']:g}]"
        yield make_line([row["title"], f"{row['value']:g} {row['unit'] or ''}".rstrip(), interval, keys], (44, 12, 16))


def _patients(privacy: PrivacySummary) -> Iterator[str]:
    outcomes = ", ".join(f"{name} {n}" for name, n in (privacy.outcomes or {}).items())
    yield f"Synthetic patients (notes: {outcomes})" if outcomes else "Synthetic patients"
    if outcomes and not privacy.patients:
        yield "  no note passed every check"
    for row in privacy.patients:
        sex = {"F": "女", "M": "男"}.get(row["sex"], "")
        visit = f"{row['encounter_type']} {row['department']} {row['diagnosis_name']} ({row['diagnosis_code']})"
        stay = f"{row['admitted_on']} - {row['discharged_on']}"
        person = f"{sex} {row['birth_year']}, visits {row['n_encounters']}"
        yield f"  {row['synthetic_patient_id']}: {person}; {visit}, {stay}"
        yield f"    {row['note_type']}, by {row['generator']} weights:"
        yield from _quote_note(row["text"])


def _quote_note(text: str) -> Iterator[str]:
    """The first lines, indented, each cut where it runs long."""
    lines = [line.strip() for line in text.splitlines() if line.strip()]
    for line in lines[:_MOST_NOTE_LINES]:
        yield "    | " + (line if len(line) <= _MOST_LINE_CHARS else f"{line[:_MOST_LINE_CHARS]}…")
    if len(lines) > _MOST_NOTE_LINES:
        yield f"    | … {len(lines) - _MOST_NOTE_LINES} more lines"


def _figures(privacy: PrivacySummary) -> Iterator[str]:
    """Figures on which a gate hangs, then those about the whole; never a wall of slices."""
    yield make_head(["Evaluation", "value", "limit", "gate", "basis"], (40, 10, 10, 10, 12))
    gated = [row for row in privacy.figures if row["gate_limit"] is not None]
    whole = [row for row in privacy.figures if row["gate_limit"] is None and not row["slice"]]
    shown = (*gated, *whole)[:_MOST_FIGURES]
    for row in shown:
        yield make_line(_figure_cells(row), (40, 10, 10, 10, 12))
    if n_more := len(privacy.figures) - len(shown):
        yield f"  {n_more} more in protected.evaluations"


def _figure_cells(row: Mapping[str, Any]) -> list[str]:
    name = f"{row['metric']} ({row['slice']})" if row["slice"] else str(row["metric"])
    value, limit = ("-" if part is None else f"{part:.3f}" for part in (row["value"], row["gate_limit"]))
    gate = {None: "", True: "passed", False: "FAILED"}[row["is_passed"]]
    return [name, value, "" if row["gate_limit"] is None else limit, gate, str(row["basis"])]


def _releases(privacy: PrivacySummary) -> Iterator[str]:
    yield make_head(["Current releases", "rows", "withheld"], (32, 12, 12))
    for row in privacy.releases:
        yield make_line([row["table"], row["n_rows"], row["n_withheld"], row["release_id"]], (32, 12, 12))
    for path in privacy.cards:
        yield f"  claim card: {path} (beside it .zh and .en as .txt and .md)"

"""The gates of DP products towards the ledger: it holds, it paid for every value, and the values are those it holds.

Knows: ledger entries, rows of statistics and of the record model. Must not know: how a value was drawn, tables.
A row that the ledger did not release, such as a t-digest or an exact count, has no way through: what leaves is compared
with the ledger's own copy, number by number. No refusal says which value it was about.
"""

from __future__ import annotations

import json
import math
import re
import tomllib
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import replace
from typing import Any

from ppsehr_spark.domain.codelists import OTHER_CHAPTER, OTHER_DEPARTMENT, OTHER_GROUP
from ppsehr_spark.errors import PpsehrError, QualityGateError
from ppsehr_spark.lake.claim_store import LedgerState
from ppsehr_spark.lake.statistics_plan import load_public_lists, plan_files
from ppsehr_spark.privacy.book import Entry
from ppsehr_spark.privacy.catalogue import (
    CATALOGUE_FILE,
    LEVELLED,
    MEAN,
    MONTH,
    QUANTILE,
    THRESHOLD,
    TOP_K,
    VARIANCE,
)
from ppsehr_spark.privacy.events import PureEpsilon, ZeroConcentrated, decode_event, encode_event
from ppsehr_spark.privacy.key_forms import encode_key
from ppsehr_spark.privacy.releases import PlannedRelease, bound_noise, make_rows
from ppsehr_spark.privacy.training_plan import executed_from_json, plan_from_json
from ppsehr_spark.privacy.units import ContributionBounds
from ppsehr_spark.synthesis.records.plan import PLAN_FILE

Row = Mapping[str, Any]
_LAST_DIGIT = 2e-6
#: Kinds whose values are computed from what was released; the gate computes them again.
_COMPUTED = (MEAN, VARIANCE, QUANTILE, TOP_K, THRESHOLD, *LEVELLED)
#: Bins, tiers, months and quantiles: ``7``, ``2-3``, ``31+``, ``2023-01``, ``P25``.
_NUMBER_LABEL = re.compile(r"P?\d+(\.\d+)?(-\d+|\+)?")


def judge_ledger(ledger: LedgerState) -> PpsehrError | None:
    """The refusal of every DP product when the ledger does not hold."""
    if ledger.is_sound:
        return None
    faults = ledger.verification.faults
    row = ledger.broken_at if ledger.broken_at is not None else faults[0].row
    reason = "CHAIN" if ledger.broken_at is not None else faults[0].reason
    return QualityGateError("LEDGER_GATE", row=row, reason=reason, hint="run scripts/verify_ledger.py")


def judge_statistics(rows: Sequence[Row], ledger: LedgerState, files: Mapping[str, str]) -> PpsehrError | None:
    """The refusal when a released cell is not what a committed grant released under its query.

    Codes: ``UNPAID_STATISTIC`` (no committed grant under this question), ``STATISTIC_DIFFERS`` (value, interval or
    number of cells is not the ledger's), ``STATISTIC_LABEL`` (a word beside the figures that no public list holds).
    """
    committed = ledger.committed
    unpaid = [row for row in rows if not _is_paid(row, committed.get(row["grant_id"]))]
    if unpaid:
        hint = "a row without a committed grant for its question is no DP statistic"
        return QualityGateError("UNPAID_STATISTIC", n_rows=len(unpaid), n_of=len(rows), hint=hint)
    simple = [row for row in rows if row["kind"] not in _COMPUTED]
    n_different = sum(not _is_released(row, committed[row["grant_id"]]) for row in simple)
    n_short = sum(not _is_complete(simple, grant_id, committed[grant_id]) for grant_id in _list_grants(simple))
    computed = [row for row in rows if row["kind"] in _COMPUTED]
    planned = {each.release.id: each for each in plan_files(files)[0]} if computed else {}
    for grant_id in _list_grants(computed):
        own = [row for row in computed if row["grant_id"] == grant_id]
        n_different += _count_unlike(own, committed[grant_id], planned.get(own[0]["query"]))
    if n_different or n_short:
        hint = "protected.dp_statistics does not say what the ledger released; run stats again"
        return QualityGateError("STATISTIC_DIFFERS", n_rows=n_different, n_releases=n_short, hint=hint)
    words, forms = _read_public_words(files), _read_forms(files)
    n_private = sum(
        not all(
            label in words or _NUMBER_LABEL.fullmatch(label) or _is_of_form(label, forms.get(row["query"], ""))
            for label in _labels(row)
        )
        for row in rows
    )
    if n_private:
        hint = "a label stands in no file of conf; run stats again with these code lists"
        return QualityGateError("STATISTIC_LABEL", n_rows=n_private, hint=hint)
    return None


def _list_grants(rows: Sequence[Row]) -> set[str]:
    return {row["grant_id"] for row in rows}


def _count_unlike(rows: Sequence[Row], entry: Entry, planned: PlannedRelease | None) -> int:
    """Rows that are not what the ledger's integers come to under the event and bounds of the ledger's row."""
    if planned is None or planned.release.kind != rows[0]["kind"]:
        return len(rows)
    bounds = ContributionBounds(entry.max_cells, entry.max_per_cell)
    part = replace(planned.part, event=decode_event(entry.event), bounds=bounds)
    try:
        expected = {row.position: row for row in make_rows(planned, part, _released(entry))}
    except (ValueError, IndexError):  # another number of integers than this catalogue asks for
        return len(rows)
    n_unlike = abs(len(expected) - len(rows))
    for row in rows:
        known = expected.get(row["cell"])
        keys = tuple((key["name"], key["value"]) for key in row["group_keys"] or [])
        is_same = known is not None and known.cell == keys
        figures = (known.value, known.low, known.high) if known else ()
        given = (row["value"], row["low"], row["high"])
        n_unlike += not (is_same and all(_is_close(a, b) for a, b in zip(figures, given, strict=True)))
    return n_unlike


def _is_close(computed: float | None, given: float | None) -> bool:
    """Equal up to the last digit that is kept: least squares may round otherwise on another machine."""
    if computed is None or given is None:
        return computed is given
    return abs(computed - given) <= _LAST_DIGIT


def judge_marginals(rows: Sequence[Row], ledger: LedgerState) -> PpsehrError | None:
    """The refusal when a marginal of the record model is not what the ledger released: ``UNPAID_MARGINAL``."""
    committed = ledger.committed
    n_wrong = 0
    for row in rows:
        entry = committed.get(row["grant_id"])
        is_asked = entry is not None and entry.question == (row["model_id"], row["marginal"])
        n_wrong += entry is None or not is_asked or _released(entry) != list(row["counts"])
    if n_wrong or not rows:
        hint = "the record model is not what the ledger released; run fit and synthesize again"
        return QualityGateError("UNPAID_MARGINAL", n_marginals=n_wrong, n_of=len(rows), hint=hint)
    return None


def judge_checkpoint(row: Row | None, ledger: LedgerState) -> PpsehrError | None:
    """The refusal when a trained generator is not the one that was paid for and trained as planned.

    Codes: ``UNPAID_CHECKPOINT``, ``PLAN_NOT_EXECUTED``.
    """
    entry = ledger.committed.get(row["grant_id"]) if row else None
    if row is None or entry is None or not _is_bought(row, entry):
        hint = "the checkpoint has no committed grant over its own event; run train again"
        return QualityGateError("UNPAID_CHECKPOINT", hint=hint)
    try:
        executed_from_json(row["accountant"]).require_plan(plan_from_json(row["plan"]))
    except PpsehrError as error:
        return QualityGateError("PLAN_NOT_EXECUTED", reason=error.code, hint="run train again")
    return None


def _is_bought(row: Row, entry: Entry) -> bool:
    """Question, event, plan and weights are those of the ledger row."""
    value = json.loads(entry.released or "null")
    known = value if isinstance(value, dict) else {}
    is_same = all(known.get(name) == row[name] for name in ("checkpoint_id", "weights_hash", "accountant"))
    return is_same and entry.run_id == row["ask_id"] and entry.event == row["event"] == _planned_event(row["plan"])


def _planned_event(plan: str) -> str:
    try:
        return encode_event(plan_from_json(plan).event)
    except PpsehrError:
        return ""


def _is_paid(row: Row, entry: Entry | None) -> bool:
    """The grant is committed and its question is this row's."""
    return entry is not None and entry.question == (row["ask_id"], row["query"])


def _is_released(row: Row, entry: Entry) -> bool:
    """Value and interval are what the ledger's numbers give; nothing else may stand in their place."""
    released = _released(entry)
    if not 0 <= row["cell"] < len(released):
        return False
    value, half = released[row["cell"]], _half_width(entry)
    return bool((row["value"], row["low"], row["high"]) == (value, value - half, value + half))


def _is_complete(rows: Sequence[Row], grant_id: str, entry: Entry) -> bool:
    """Every cell of the release once; a choice among cells would itself tell something."""
    own = [row for row in rows if row["grant_id"] == grant_id]
    return sorted(row["cell"] for row in own) == list(range(len(_released(entry))))


def _half_width(entry: Entry) -> float:
    """Half the 95% interval of the noise that the grant allowed; infinite where there is none to compute."""
    event = decode_event(entry.event)
    bounds = ContributionBounds(entry.max_cells, entry.max_per_cell)
    if isinstance(event, ZeroConcentrated):
        return bound_noise(bounds.l2_sensitivity / math.sqrt(2 * event.rho))
    return math.inf if isinstance(event, PureEpsilon) else 0.0


def _released(entry: Entry) -> list[int]:
    value = json.loads(entry.released or "null")
    return value if isinstance(value, list) else []


def _labels(row: Row) -> list[str]:
    """Every word that would leave beside the figures."""
    keys = [(key["name"] or "", key["value"] or "") for key in row["group_keys"] or []]
    return [row["title"] or "", row["unit"] or "", *(word for pair in keys for word in pair)]


def _read_public_words(files: Mapping[str, str]) -> set[str]:
    """Fields of the code lists and what is listed from them, ids of the categories and strings of the catalogue."""
    words = {OTHER_DEPARTMENT, OTHER_CHAPTER, OTHER_GROUP, QUANTILE, MONTH, "rank", "category", "tier", "-", ""}
    for values in load_public_lists(files).values.values():
        words.update(values)
    for path, text in files.items():
        if path.startswith("codelists/"):
            words.update(field.strip() for line in text.splitlines() for field in line.split("\t"))
        elif path.startswith("categories/"):
            words.add(path.removeprefix("categories/").removesuffix(".toml"))
    for path in (CATALOGUE_FILE, PLAN_FILE):
        words.update(_strings(tomllib.loads(files.get(path, ""))))
    return words


def _read_forms(files: Mapping[str, str]) -> dict[str, str]:
    """Query -> public form of the keys that its data choose."""
    plain = tomllib.loads(files.get(CATALOGUE_FILE, ""))
    return {item["id"]: item["form"] for item in plain.get("release", []) if item.get("kind") == THRESHOLD}


def _is_of_form(label: str, form: str) -> bool:
    return bool(form) and encode_key(form, label) is not None


def _strings(value: Any) -> Iterator[str]:
    if isinstance(value, str):
        yield value
    for inner in value.values() if isinstance(value, dict) else value if isinstance(value, list) else ():
        yield from _strings(inner)

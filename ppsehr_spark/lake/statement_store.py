"""What is said about a release: its claim card and its public figures, as rows and as files beside the manifest.

Knows: ``release.claim_cards``, ``release.evaluations`` and the card's files. Must not know: how a card is made.
The rows are the truth; the files repeat the newest row and are mended from it.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Any

import pyarrow as pa

from ppsehr_spark.errors import QualityGateError
from ppsehr_spark.evaluation.metrics import METRICS, PUBLIC
from ppsehr_spark.lake.release_files import read_release_file, write_release_file
from ppsehr_spark.lake.schemas import RELEASED_CLAIM_CARDS, RELEASED_EVALUATIONS
from ppsehr_spark.lake.tables import Lake
from ppsehr_spark.privacy.claim_text import to_markdown

#: File name ending -> column of the card's row.
_FILES = {"json": "card_json", "zh.txt": "text_zh", "en.txt": "text_en"}


@dataclass(frozen=True)
class Statement:
    """A claim card in its three forms, and the public figures that leave with the release.

    Attributes:
        fixed: what decides whether two cards claim the same, as JSON: every field but the date.
        evaluations: rows of ``protected.evaluations`` of public basis.
    """

    card_json: str
    text_zh: str
    text_en: str
    fixed: str
    evaluations: tuple[dict[str, Any], ...] = ()


def store_statement(lake: Lake, release_id: str, statement: Statement) -> bool:
    """Add the card unless the newest one of this release claims the same; True when rows were written.

    Raises:
        QualityGateError: ``INTERNAL_FIGURE`` when a figure that read real records is among the evaluations.
    """
    _append_evaluations(lake, release_id, statement.evaluations)
    cards = _cards_of(lake, release_id)
    is_new = not cards or fix_card(cards[-1]["card_json"]) != statement.fixed
    if is_new:
        cards = [*cards, _append_card(lake, release_id, statement, occasion=len(cards) + 1)]
    for ending, text in _list_files(cards[-1]):
        name = card_file(release_id, ending)
        if read_release_file(lake, name) != text:
            write_release_file(lake, name, text)
    return is_new


def _list_files(card: Mapping[str, Any]) -> list[tuple[str, str]]:
    """Ending and text of every file; Markdown is made from the words of the row."""
    plain = [(ending, card[column]) for ending, column in _FILES.items()]
    return [*plain, *((ending.replace(".txt", ".md"), to_markdown(text)) for ending, text in plain[1:])]


def fix_card(card_json: str) -> str:
    """The card without its date, as canonical JSON."""
    plain = {name: value for name, value in json.loads(card_json).items() if name != "date"}
    return json.dumps(plain, ensure_ascii=False, sort_keys=True)


def card_file(release_id: str, ending: str = "json") -> str:
    """Name of a claim card's file; endings are ``json``, and ``txt`` and ``md`` after ``zh`` or ``en``."""
    return f"claim_{release_id}.{ending}"


def _cards_of(lake: Lake, release_id: str) -> list[dict[str, Any]]:
    rows = lake.read(RELEASED_CLAIM_CARDS).sort_by("released_at").to_pylist()
    return [row for row in rows if row["release_id"] == release_id]


def _append_card(lake: Lake, release_id: str, statement: Statement, *, occasion: int) -> dict[str, Any]:
    texts = {column: getattr(statement, column) for column in _FILES.values()}
    row = {"release_id": release_id, **texts, "released_at": datetime.now(UTC)}
    table = pa.Table.from_pylist([row], schema=RELEASED_CLAIM_CARDS.schema)
    lake.append(RELEASED_CLAIM_CARDS, table, app_id=f"claim:{release_id}", app_version=occasion)
    return row


def _append_evaluations(lake: Lake, release_id: str, rows: tuple[dict[str, Any], ...]) -> None:
    if any(row["basis"] != PUBLIC or METRICS.get(row["metric"]) != PUBLIC for row in rows):
        hint = "figures that read real records stay in protected.evaluations"
        raise QualityGateError("INTERNAL_FIGURE", table=RELEASED_EVALUATIONS.full_name, hint=hint)
    if rows:
        names = RELEASED_EVALUATIONS.schema.names
        labelled = [{name: {**row, "release_id": release_id}[name] for name in names} for row in rows]
        table = pa.Table.from_pylist(labelled, schema=RELEASED_EVALUATIONS.schema)
        lake.append(RELEASED_EVALUATIONS, table, app_id=f"release:{release_id}", app_version=1)

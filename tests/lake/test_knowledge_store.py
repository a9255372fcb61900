"""phi.knowledge: versions, steps back, who was first; corrections as reviewed notes; what a version can touch."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest

from ppsehr_spark.config import Settings, read_conf_files
from ppsehr_spark.domain.knowledge.applying import apply_entries
from ppsehr_spark.domain.knowledge.entries import EXEMPLAR, LEXICON, KnowledgeEntry, Provenance
from ppsehr_spark.domain.notes import Note, Span
from ppsehr_spark.domain.rules import compile_rules
from ppsehr_spark.errors import InfrastructureError, UsageError
from ppsehr_spark.lake.knowledge_scope import count_touched, list_touches
from ppsehr_spark.lake.knowledge_store import (
    REFUSAL,
    ROLLBACK,
    VERSION,
    KnowledgeVersion,
    append_row,
    find_version,
    list_withdrawn,
    read_current,
    read_history,
    with_knowledge,
)
from ppsehr_spark.lake.reviewed_notes import read_corrected
from ppsehr_spark.lake.schemas import CORRECTIONS, KNOWLEDGE, NOTES, SEGMENTS
from ppsehr_spark.lake.tables import Lake

FILES = {
    path: text
    for path, text in read_conf_files().items()
    if path in ("categories/STD.toml", "tiers.toml") or path.startswith("lexicons/")
}
YAWS = KnowledgeEntry(
    LEXICON,
    "STD",
    "雅司病",
    "lexicons/std_terms.tsv",
    ("词",),
    provenance=Provenance("induction", "c1", 2, ("n1", "n2")),
)
PINTA = KnowledgeEntry(LEXICON, "STD", "品他病", "lexicons/std_terms.tsv", ("词",))
EXAMPLE = KnowledgeEntry(EXEMPLAR, "STD", "查雅司病 中的 雅司病", is_yes=True)


def add(lake: Lake, *entries: KnowledgeEntry, action: str = VERSION, version: int | None = None) -> int:
    before = read_current(lake)
    return append_row(lake, before, action=action, version=version, entries=entries, values={"run_id": "r1"})


def test_versions_are_numbered_and_a_refusal_changes_nothing(lake: Lake) -> None:
    assert read_current(lake) == KnowledgeVersion() and lake.version(KNOWLEDGE) is None
    assert add(lake, YAWS) == 1 and add(lake, YAWS, action=REFUSAL) == 1 and add(lake, YAWS, PINTA) == 2
    current = read_current(lake)
    assert (current.version, current.sequence) == (2, 3)
    assert [e.text for e in current.entries] == ["雅司病", "品他病"]
    assert current.entries[0].provenance.note_keys == ("n1", "n2") and current.entries[0].provenance.made_at
    assert [row["action"] for row in read_history(lake)] == ["version", "refusal", "version"]


def test_a_step_back_is_a_row_and_the_next_version_has_a_new_number(lake: Lake) -> None:
    add(lake, YAWS)
    add(lake, YAWS, PINTA)
    wanted = find_version(lake, 1)
    assert add(lake, *wanted.entries, action=ROLLBACK, version=1) == 1
    assert [e.text for e in read_current(lake).entries] == ["雅司病"]
    assert add(lake, YAWS, PINTA) == 3
    assert add(lake, action=ROLLBACK, version=0) == 0 and read_current(lake).entries == ()
    with pytest.raises(UsageError, match="KNOWLEDGE_VERSION"):
        find_version(lake, 9)
    assert find_version(lake, 0).entries == ()


def test_what_people_took_back_is_withdrawn_until_they_step_to_it_again(lake: Lake) -> None:
    add(lake, YAWS)
    add(lake, YAWS, PINTA)
    add(lake, YAWS, action=ROLLBACK, version=1)
    assert list_withdrawn(lake) == {("STD", "品他病")}
    add(lake, action=ROLLBACK, version=0)
    assert list_withdrawn(lake) == {("STD", "品他病"), ("STD", "雅司病")}
    add(lake, YAWS, PINTA, action=ROLLBACK, version=2)
    assert list_withdrawn(lake) == frozenset()


def test_of_two_writers_on_the_same_history_one_is_told(lake: Lake) -> None:
    before = read_current(lake)
    append_row(lake, before, action=VERSION, entries=[YAWS], values={"run_id": "r1"})
    with pytest.raises(InfrastructureError, match="KNOWLEDGE_CHANGED"):
        append_row(lake, before, action=VERSION, entries=[PINTA], values={"run_id": "r2"})
    assert [e.text for e in read_current(lake).entries] == ["雅司病"]


def test_the_version_in_force_is_laid_over_conf(lake: Lake) -> None:
    settings = Settings(files=FILES)
    assert with_knowledge(lake, settings) is settings
    add(lake, YAWS)
    told = with_knowledge(lake, settings)
    assert told.files == apply_entries(FILES, [YAWS]) and settings.files == FILES
    sections = ((), ("lexicons/",))
    assert told.partial_hash(*sections) != settings.partial_hash(*sections)


def test_rows_of_other_versions_over_the_same_conf_are_known_by_what_differs(lake: Lake) -> None:
    assert list_touches(lake, FILES) == {}
    add(lake, YAWS)
    add(lake, YAWS, PINTA)
    plain, first, second = (
        compile_rules(apply_entries(FILES, entries)).knowledge_version for entries in ((), (YAWS,), (YAWS, PINTA))
    )
    touches = list_touches(lake, FILES)
    assert set(touches) == {plain, first} and second not in touches
    assert touches[plain].holds("查雅司病") and touches[plain].holds("品他病") and not touches[plain].holds("梅毒")
    assert not touches[first].holds("查雅司病") and touches[first].holds("品他病")
    add(lake, action=ROLLBACK, version=0)
    assert set(list_touches(lake, FILES)) == {first, second}
    changed = {**FILES, "lexicons/std_terms.tsv": FILES["lexicons/std_terms.tsv"] + "别病\t词\n"}
    assert plain not in list_touches(lake, changed)


def test_touched_notes_are_counted_without_being_told(
    lake: Lake, fill: Any, capsys: pytest.CaptureFixture[str]
) -> None:
    texts = ["否认雅司病史", "否认梅毒", "雅司病", ""]
    rows = [{"note_key": f"n{i}", "patient_key": "p", "text_hash": "h", "text": t} for i, t in enumerate(texts)]
    fill(NOTES, rows)
    asked = [{"segment_key": c, "run_id": "r", "candidates": [{"category": c}]} for c in ("STD", "NAME")]
    fill(SEGMENTS, [*asked, {"segment_key": "x", "run_id": "r", "candidates": []}])
    assert count_touched(lake, (), [YAWS]) == (2, 4, 0)
    assert count_touched(lake, [YAWS], [YAWS, EXAMPLE]) == (0, 4, 2)
    assert count_touched(lake, [YAWS], [YAWS]) == (0, 4, 0)
    assert capsys.readouterr().out == ""


def _correction(key: str, start: int, end: int, **more: Any) -> dict[str, Any]:
    at = datetime(2024, 1, 1, tzinfo=UTC) + timedelta(minutes=int(more.pop("minute", 0)))
    plain = {"note_key": "n1", "text_hash": "h1", "category": "STD", "tier": 3, "action": "add", "author": "dr.a"}
    return {"correction_key": key, "start": start, "end": end, "made_at": at, **plain, **more}


@pytest.fixture
def corrected(lake: Lake, fill: Any) -> Any:
    text = "查雅司病，后查品他病，王伟诉好转。"
    fill(NOTES, [{"note_key": "n1", "patient_key": "p", "text_hash": "h1", "text": text, "sex": "F", "age_years": 30}])

    def read(*rows: dict[str, Any]) -> Any:
        fill(CORRECTIONS, list(rows))
        return read_corrected(lake, lambda note: (Span(1, 3, "STD", 2), Span(11, 13, "NAME")))

    return read


def test_a_correction_is_laid_over_what_the_engine_finds(corrected: Any) -> None:
    result = corrected(_correction("k1", 1, 4), _correction("k2", 11, 13, category="NAME", tier=None, action="remove"))
    (item,) = result.notes
    assert item.judged == ((1, 4), (11, 13))
    assert item.source == "corrections" and item.spans == (Span(1, 4, "STD", 3, source="person"),)
    assert item.note == Note("n1", "查雅司病，后查品他病，王伟诉好转。", "", "F", 30)
    assert not result.conflicts and result.n_stale == 0


def test_a_change_of_mind_counts_and_a_contradiction_does_not(corrected: Any) -> None:
    own = [_correction("k1", 1, 4), _correction("k2", 1, 4, action="remove", tier=None, minute=1)]
    assert corrected(*own).conflicts == () and corrected(*own).notes[0].spans == (
        Span(1, 3, "STD", 2),
        Span(11, 13, "NAME"),
    )
    other = _correction("k3", 1, 4, action="remove", tier=None, minute=2, author="dr.b")
    assert corrected(own[0], other).conflicts == ("k1", "k3") and not corrected(own[0], other).notes
    wider = _correction("k4", 0, 4, minute=2, author="dr.b")
    lower = _correction("k5", 1, 4, tier=2, minute=2, author="dr.b")
    assert corrected(own[0], wider).conflicts == ("k1", "k4") and corrected(own[0], lower).conflicts == ("k1", "k5")
    same = _correction("k6", 1, 4, minute=3, author="dr.b")
    assert corrected(own[0], same).conflicts == ()


def test_a_text_that_changed_since_is_left_out(corrected: Any) -> None:
    result = corrected(_correction("k1", 1, 4, text_hash="old"))
    assert not result.notes and result.n_stale == 1


def test_a_lake_without_corrections_gives_nothing(lake: Lake, tmp_path: Path) -> None:
    assert read_corrected(lake, lambda note: ()).notes == ()

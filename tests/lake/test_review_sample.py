"""Drawing annotated notes from the lake: uniform by key, whatever the layout; stale texts out; audited without text."""

from __future__ import annotations

import pytest

from ppsehr_spark.errors import InputError
from ppsehr_spark.lake.review_sample import draw_annotated
from ppsehr_spark.lake.schemas import ANNOTATIONS, AUDIT_LOG, NOTES
from ppsehr_spark.lake.tables import Lake
from tests.lake.conftest import Fill

SPAN = {"start": 2, "end": 5, "category": "NAME", "source": "rule", "confidence": 0.9, "rule": "r", "tier_rule": ""}


@pytest.fixture
def filled(lake: Lake, fill: Fill) -> Lake:
    keys = [f"k{at:03}" for at in range(200)]
    about = [{"note_key": key, "patient_key": "p", "text_hash": f"t{key}", "run_id": "r"} for key in keys]
    fill(NOTES, [{**row, "text": f"患者王建国{row['note_key']}"} for row in about])
    fill(ANNOTATIONS, [{**row, "spans": [SPAN]} for row in about])
    return lake


def test_a_sample_has_text_and_spans_and_leaves_only_its_size_in_the_audit_log(filled: Lake) -> None:
    drawn = draw_annotated(filled, n_sample=20, seed=3, author="dr.lin")
    assert (len(drawn.notes), drawn.n_notes, drawn.n_stale) == (20, 200, 0)
    assert len({note.note_id for note in drawn.notes}) == 20
    assert all(note.text == f"患者王建国{note.note_id}" for note in drawn.notes)
    assert all((s.start, s.end, s.category, s.tier) == (2, 5, "NAME", None) for n in drawn.notes for s in n.spans)
    (entry,) = filled.read(AUDIT_LOG).to_pylist()
    assert (entry["actor"], entry["action"]) == ("dr.lin", "review")
    assert "王建国" not in str(entry) and drawn.notes[0].note_id not in str(entry)


def test_the_sample_follows_seed_and_keys_and_no_layout(filled: Lake, fill: Fill) -> None:
    first, other = (draw_annotated(filled, n_sample=20, seed=seed, author="a").notes for seed in (3, 4))
    rows = filled.read(ANNOTATIONS).to_pylist()
    fill(ANNOTATIONS, rows[::-1])
    assert draw_annotated(filled, n_sample=20, seed=3, author="a").notes == first != other


def test_every_note_is_drawn_about_equally_often(filled: Lake) -> None:
    drawn = [n.note_id for seed in range(24) for n in draw_annotated(filled, n_sample=100, seed=seed, author="a").notes]
    counts = [drawn.count(f"k{at:03}") for at in range(200)]
    # binomial(24, 1/2): mean 12, standard deviation 2.4
    assert sum(counts) == 24 * 100 and min(counts) > 1 and max(counts) < 23


def test_a_note_whose_text_changed_is_left_out_and_counted(filled: Lake, fill: Fill) -> None:
    rows = filled.read(NOTES).to_pylist()
    fill(NOTES, [{**row, "text_hash": "new"} if row["note_key"] < "k100" else row for row in rows])
    drawn = draw_annotated(filled, n_sample=200, seed=1, author="a")
    assert (len(drawn.notes), drawn.n_notes, drawn.n_stale) == (100, 200, 100)
    assert all(note.note_id >= "k100" for note in drawn.notes)


def test_a_lake_without_annotated_notes_is_refused(lake: Lake) -> None:
    with pytest.raises(InputError, match="EMPTY_TABLE"):
        draw_annotated(lake, n_sample=5, seed=1, author="a")
    assert lake.read(AUDIT_LOG).num_rows == 0

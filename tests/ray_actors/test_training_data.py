"""Which patients, which notes and how much of each: bounds by keyed hash, shards, hold-out, pinned versions."""

from __future__ import annotations

import dataclasses
from collections import Counter
from typing import Any

import pytest

from ppsehr_spark.domain.codelists import load_codelists
from ppsehr_spark.lake.tables import Lake
from ray_actors.char_vocabulary import CharVocabulary
from ray_actors.membership import MAX_PATIENTS, choose_patients
from ray_actors.training_data import Patient, is_held_out, is_in_shard, make_row, pin_versions, read_patients
from tests.ray_actors.small_training import PLAN
from tests.ray_actors.training_lake import CANARY, key, note_rows, training_settings, write_notes

CODEC = CharVocabulary()
FILES = training_settings().files


def read(lake: Lake, *, versions: Any = None, is_wanted: Any = None, **plan: Any) -> list[Patient]:
    return read_patients(
        lake,
        plan=dataclasses.replace(PLAN, **{"max_notes_per_patient": 2, "max_note_tokens": 200, **plan}),
        versions=versions or pin_versions(lake),
        codelists=load_codelists(FILES),
        codec=CODEC,
        is_wanted=is_wanted or (lambda _: True),
    )


def notes_of(patients: list[Patient]) -> dict[str, list[str]]:
    return {p.patient_key: [CODEC.decode(row.tokens[row.n_header :]) for row in p.rows] for p in patients}


def test_a_patient_gives_the_same_bounded_notes_in_any_order(lake: Lake, tmp_path: Any) -> None:
    rows = note_rows(5, 6)
    write_notes(lake, rows)
    other = Lake(str(tmp_path / "other"))
    write_notes(other, rows[::-1])
    chosen = notes_of(read(lake))
    assert chosen == notes_of(read(other))
    assert all(len(notes) == 2 for notes in chosen.values())
    assert len({notes[0][-5:] for notes in chosen.values()}) > 1  # not the first note of everybody


def test_a_patient_is_chosen_for_alone(lake: Lake) -> None:
    write_notes(lake, note_rows(2, 6))
    before = notes_of(read(lake))
    write_notes(lake, [row for row in note_rows(6, 6) if row["patient_key"] not in before])
    after = notes_of(read(lake))
    assert {k: after[k] for k in before} == before and len(after) == 6


def test_the_header_is_the_record(lake: Lake) -> None:
    write_notes(lake, note_rows(1, 1))
    ((row,),) = (patient.rows for patient in read(lake))
    assert row.tokens[0] == CODEC.begin_id and row.tokens[row.n_header - 1] == CODEC.header_end_id
    assert CODEC.decode(row.tokens[: row.n_header]).startswith("出院记录|神经内科|女|40岁|")
    assert row.tokens[-1] == CODEC.end_id


def test_a_long_note_is_cut_to_the_bound() -> None:
    row = make_row(CODEC, header="头", text="病" * 50, max_note_tokens=10)
    assert len(row.tokens) - row.n_header == 10 and row.tokens[-1] == CODEC.end_id
    short = make_row(CODEC, header="头", text="病", max_note_tokens=10)
    assert CODEC.decode(short.tokens[short.n_header :]) == "病"


def test_rows_do_not_show_their_text() -> None:
    row = make_row(CODEC, header="", text=CANARY, max_note_tokens=10)
    assert str(CODEC.encode(CANARY)[0]) not in repr(Patient("p", (row,)))


def test_shards_part_the_patients() -> None:
    keys = [key("p", i) for i in range(600)]
    ranks = Counter(sum(r * is_in_shard(k, rank=r, world_size=3) for r in range(3)) for k in keys)
    assert all(sum(is_in_shard(k, rank=r, world_size=3) for r in range(3)) == 1 for k in keys)
    assert min(ranks.values()) > 100


def test_held_out_patients_are_a_fixed_share() -> None:
    keys = [key("p", i) for i in range(2000)]
    held = {k for k in keys if is_held_out(k, share=0.2)}
    assert 250 < len(held) < 550
    assert held <= {k for k in keys if is_held_out(k, share=0.3)}
    assert not any(is_held_out(k, share=0.0) for k in keys)


def test_pinned_versions_do_not_see_later_rows(lake: Lake) -> None:
    write_notes(lake, note_rows(2, 1))
    pinned = pin_versions(lake)
    write_notes(lake, note_rows(4, 1)[2:])
    assert len(read(lake, versions=pinned)) == 2 and len(read(lake)) == 4


def test_an_empty_lake_trains_on_nobody(lake: Lake) -> None:
    assert pin_versions(lake) == dict.fromkeys(("protected.notes", "phi.notes", "phi.encounters"))
    assert read(lake) == []


def test_unwanted_patients_are_left_out(lake: Lake) -> None:
    write_notes(lake, note_rows(4, 1))
    assert [p.patient_key for p in read(lake, is_wanted=lambda k: k == key("p", 2))] == [key("p", 2)]


def test_membership_takes_a_bounded_sample_of_both_sides(lake: Lake, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("ray_actors.membership.MAX_PATIENTS", 5)
    write_notes(lake, note_rows(60, 1))
    plan = dataclasses.replace(PLAN, holdout_share=0.5)
    chosen = choose_patients(lake, plan=plan, versions=pin_versions(lake))
    assert Counter(is_held_out(k, share=0.5) for k in chosen) == {True: 5, False: 5}
    assert MAX_PATIENTS > 5


def test_the_vocabulary_is_public_and_whole() -> None:
    text = "患者男，55岁。ABC-12.5mg/L·±"
    ids = CODEC.encode(text)
    assert CODEC.decode([*ids, CODEC.end_id, 99]) == text and CODEC.unknown_id not in ids
    assert CODEC.encode("𠮷") == [CODEC.unknown_id]
    assert CODEC.n_tokens == CharVocabulary().n_tokens > 7000

"""The gold format: round trip, refusals that name the place and no text, and what the committed gold set holds."""

from __future__ import annotations

from collections import Counter
from pathlib import Path

import pytest

from ppsehr_spark.errors import InputError, PpsehrError
from ppsehr_spark.evaluation.gold_markup import (
    GUIDELINE_CATEGORIES,
    GoldNote,
    format_gold,
    parse_gold,
    read_gold,
    split_of,
)

DATA = Path(__file__).parents[1] / "data"
GOLD = DATA / "gold"
FOLDERS = ("gold", "gold_train", "gold_pool", "gold_held")
SAMPLE = """=== a-1 | 入院记录 | 表头 | 复姓, 掩码
姓名：⟦NAME|欧阳𬱖⟧ 住址：⟦ADDRESS.3|青海省海东市
乐都区1号⟧。

⟦STD.1|否认梅毒病史⟧
=== a-2 | 病程 | 口语 | -
一般情况可。
"""


def test_offsets_are_code_points_of_the_text_without_marks() -> None:
    first, second = parse_gold(SAMPLE, file="s.gold.txt")
    assert first.text == "姓名：欧阳𬱖 住址：青海省海东市\n乐都区1号。\n\n否认梅毒病史"
    found = [(first.text[s.start : s.end], s.category, s.tier, s.source) for s in first.spans]
    assert found == [
        ("欧阳𬱖", "NAME", None, "gold"),
        ("青海省海东市\n乐都区1号", "ADDRESS", 3, "gold"),
        ("否认梅毒病史", "STD", 1, "gold"),
    ]
    assert (first.note_id, first.note_type, first.style, first.hard_cases) == (
        "a-1",
        "入院记录",
        "表头",
        ("复姓", "掩码"),
    )
    assert (second.text, second.spans, second.hard_cases) == ("一般情况可。", (), ())


def test_round_trip() -> None:
    notes = parse_gold(SAMPLE, file="s.gold.txt")
    assert format_gold(notes) == SAMPLE
    assert parse_gold(format_gold(notes), file="s.gold.txt") == notes


def test_only_one_trailing_newline_is_dropped() -> None:
    texts = [note.text for note in parse_gold("=== a | b | c | -\nx\n\n=== d | e | f | -\ny\n\n", file="s")]
    assert texts == ["x\n", "y\n"]


@pytest.mark.parametrize(
    ("marked", "line", "reason"),
    [
        ("可\n⟦NAME|王⟦NAME|建国⟧⟧", 3, "inside"),
        ("王建国⟧", 2, "not opened"),
        ("可\n⟦NAME|王建国\n可", 3, "not closed"),
        ("⟦NAME 王建国⟧", 2, "CATEGORY"),
        ("⟦PERSON|王建国⟧", 2, "known category"),
        ("⟦STD.4|王建国⟧", 2, "tier 1, 2 or 3"),
        ("⟦STD|王建国⟧", 2, "missing"),
        ("⟦NAME.2|王建国⟧", 2, "without tiers"),
        ("⟦NAME|⟧", 2, "empty"),
        ("⟦NAME|王建国，⟧", 2, "punctuation"),
        ("⟦NAME| 王建国⟧", 2, "space"),
        ("可\n===\n王建国", 3, "header"),
        ("可\n=== b | | c | -\n王建国", 3, "header"),
        ("可\n=== a | b | c | -\n王建国", 3, "twice"),
    ],
)
def test_defects_are_refused_with_their_place_and_no_text(marked: str, line: int, reason: str) -> None:
    with pytest.raises(PpsehrError) as caught:
        parse_gold(f"=== a | b | c | -\n{marked}\n", file="s.gold.txt")
    assert isinstance(caught.value, InputError)
    assert (caught.value.fields["file"], caught.value.fields["line"]) == ("s.gold.txt", line)
    assert reason in str(caught.value)
    assert "王建国" not in str(caught.value)


def test_text_before_the_first_header_is_refused() -> None:
    with pytest.raises(InputError, match="first header"):
        parse_gold("王建国\n", file="s.gold.txt")


def test_an_id_used_in_two_files_is_refused(tmp_path: Path) -> None:
    for name in ("a", "b"):
        (tmp_path / f"{name}.gold.txt").write_text("=== x | y | z | -\n可\n", encoding="utf-8")
    with pytest.raises(InputError, match=r"b\.gold\.txt line=1"):
        read_gold(tmp_path)


def test_split_is_by_the_id_alone_and_halves() -> None:
    sides = Counter(split_of(f"note-{index}") for index in range(4_000))
    assert set(sides) == {"dev", "test"}
    assert abs(sides["dev"] - 2_000) < 4 * (4_000 * 0.25) ** 0.5
    # Fixed for ever: a note that changed sides would have been tuned on.
    assert [split_of(name) for name in ("a", "b", "c", "d")] == ["test", "dev", "dev", "dev"]


def test_every_committed_file_round_trips() -> None:
    for path in sorted(DATA.glob("gold*/*.gold.txt")):
        notes = parse_gold(path.read_text(encoding="utf-8"), file=path.name)
        assert notes, path.name
        assert parse_gold(format_gold(notes), file=path.name) == notes


@pytest.fixture(scope="module")
def gold() -> tuple[GoldNote, ...]:
    return read_gold(GOLD)


def test_gold_is_large_enough_and_partly_clean(gold: tuple[GoldNote, ...]) -> None:
    assert len(gold) >= 500
    assert sum(not note.spans for note in gold) >= 100
    assert sum(bool(note.hard_cases) for note in gold) >= len(gold) // 2


def test_what_is_scored_is_neither_tuned_on_nor_learned_from() -> None:
    notes = {name: read_gold(DATA / name) for name in FOLDERS}
    assert len(notes["gold_train"]) >= 1_400 and len(notes["gold_held"]) >= 180
    for values in (
        [n.note_id for part in notes.values() for n in part],
        [n.text for part in notes.values() for n in part],
    ):
        assert len(values) == len(set(values))
    held = Counter((s.category, s.tier) for n in notes["gold_held"] for s in n.spans)
    wanted = [(c, t) for c, has_tier in GUIDELINE_CATEGORIES.items() for t in ((1, 2, 3) if has_tier else (None,))]
    assert not [want for want in wanted if held[want] < 20]


def test_every_category_and_tier_stands_on_both_sides(gold: tuple[GoldNote, ...]) -> None:
    counts = Counter((split_of(n.note_id), s.category, s.tier) for n in gold for s in n.spans)
    wanted = [(c, t) for c, has_tier in GUIDELINE_CATEGORIES.items() for t in ((1, 2, 3) if has_tier else (None,))]
    missing = [(side, *want) for side in ("dev", "test") for want in wanted if counts[(side, *want)] < 10]
    assert not missing

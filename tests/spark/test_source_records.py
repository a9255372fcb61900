"""Every defect of a delivered file gets its row, field and reason, and what stands around it is kept."""

from __future__ import annotations

import gzip
import io
import json

import pytest

from ppsehr_spark.config import read_conf_files
from ppsehr_spark.errors import ConfigurationError
from ppsehr_spark.spark.ingest.conversion import Converter
from ppsehr_spark.spark.ingest.mapping import TARGET_FIELDS, FileGroup, load_mapping
from ppsehr_spark.spark.ingest.records import Record, Reject, read_records

NOTES = FileGroup("notes", "jsonl", "utf-8", "notes", {"note_id": "note_id", "text": "text"}, constants={})
PATIENTS = FileGroup("p", "csv", "gb18030", "patients", {"patient_id": "编号", "sex": "性别"}, constants={})


def _line(**values: object) -> bytes:
    return json.dumps(values, ensure_ascii=False).encode() + b"\n"


def _read(data: bytes, group: FileGroup = NOTES, *, is_gzip: bool = False) -> list[Record | Reject]:
    return list(read_records(io.BytesIO(data), group, is_gzip=is_gzip))


def _convert(record: Record, *, max_note_chars: int = 1000) -> object:
    return Converter(NOTES, "test", b"k" * 32, max_note_chars, "notes/a.jsonl").convert(record)


def test_a_bad_line_does_not_take_its_neighbours_along() -> None:
    data = _line(note_id="1", text="甲") + b"\xff\xfe\xff\n" + b"{not json\n" + b"[1]\n" + _line(note_id="5", text="乙")
    items = _read(data)
    assert [i.row for i in items if isinstance(i, Record)] == [1, 5]
    assert [i for i in items if isinstance(i, Reject)] == [
        Reject(2, "", "INVALID_ENCODING"),
        Reject(3, "", "NOT_JSON"),
        Reject(4, "", "WRONG_TYPE"),
    ]


def test_a_byte_order_mark_is_not_part_of_the_first_row() -> None:
    assert isinstance(_read(b"\xef\xbb\xbf" + _line(note_id="1", text="甲"))[0], Record)


def test_a_torn_gzip_keeps_its_complete_rows() -> None:
    whole = gzip.compress(b"".join(_line(note_id=str(i), text=f"第{i}份病历{i * 7919}") for i in range(4000)))
    items = _read(whole[: len(whole) // 2], is_gzip=True)
    assert isinstance(items[-1], Reject) and items[-1].reason == "TORN_GZIP"
    assert len(items) > 100 and all(isinstance(item, Record) for item in items[:-1])


@pytest.mark.parametrize("data", [b"", b"\n\n"])
def test_an_empty_file_is_said_to_be_empty(data: bytes) -> None:
    assert _read(data) == [Reject(0, "", "EMPTY_FILE")]


def test_csv_in_gb18030_with_newlines_and_one_broken_row() -> None:
    good = '编号,性别\n1,男\n"2\n续",女\n'.encode("gb18030")
    items = _read(good + b"3,\xff\xff\n" + "4,男\n5,男,多一列\n6,女\n".encode("gb18030"), PATIENTS)
    assert [i.values["编号"] for i in items if isinstance(i, Record)] == ["1", "2\n续", "4", "6"]
    assert [(i.row, i.reason) for i in items if isinstance(i, Reject)] == [
        (4, "INVALID_ENCODING"),
        (6, "COLUMN_COUNT"),
    ]


def test_a_csv_without_a_mapped_column_names_the_column() -> None:
    assert _read("编号,年龄\n1,3\n".encode("gb18030"), PATIENTS) == [Reject(1, "性别", "MISSING_COLUMN")]


@pytest.mark.parametrize(
    ("values", "field", "reason"),
    [
        ({"note_id": "1"}, "text", "MISSING_FIELD"),
        ({"note_id": "1", "text": None}, "text", "MISSING_VALUE"),
        ({"note_id": "1", "text": 7}, "text", "WRONG_TYPE"),
        ({"note_id": "1", "text": " \n"}, "text", "EMPTY_TEXT"),
        ({"note_id": "1", "text": "甲\x00乙"}, "text", "NULL_BYTE"),
        ({"note_id": "1", "text": "甲\ud800"}, "text", "INVALID_ENCODING"),
        ({"note_id": "1", "text": "甲" * 1001}, "text", "NOTE_TOO_LONG"),
        ({"note_id": "", "text": "甲"}, "note_id", "MISSING_VALUE"),
        ({"note_id": ["1"], "text": "甲"}, "note_id", "WRONG_TYPE"),
        ({"note_id": "1" * 300, "text": "甲"}, "note_id", "ID_TOO_LONG"),
    ],
)
def test_a_wrong_field_is_rejected_by_name(values: dict[str, object], field: str, reason: str) -> None:
    assert _convert(Record(9, values)) == Reject(9, field, reason)


def test_a_note_gets_keys_that_do_not_show_its_ids() -> None:
    row = _convert(Record(1, {"note_id": "ZY-0001", "text": "患者一般情况可。"}))
    assert isinstance(row, dict)
    assert row["n_chars"] == 8 and len(row["note_key"]) == 32
    assert "ZY-0001" not in (row["note_key"], row["patient_key"])


def test_ten_thousand_digits_are_an_ordinary_note() -> None:
    row = _convert(Record(1, {"note_id": "1", "text": "1" * 10_000}), max_note_chars=20_000)
    assert isinstance(row, dict) and row["n_chars"] == 10_000


def test_a_mapping_that_forgets_the_text_is_refused_with_file_and_key() -> None:
    text = '[files.n]\nformat = "jsonl"\ntable = "notes"\n[files.n.fields]\nnote_id = "id"\n'
    with pytest.raises(ConfigurationError) as caught:
        load_mapping({"sources/x.toml": text}, "x")
    assert caught.value.fields == {"file": "sources/x.toml", "key": "files.n.fields"}


JOURNAL = FileGroup(
    "n", "jsonl", "utf-8", "notes", {"operation": "操作", "note_id": "note_id", "text": "text"},
    constants={}, operations={"修改": "upsert", "删除": "delete"},
)  # fmt: skip


@pytest.mark.parametrize(
    ("values", "expected"),
    [
        ({"操作": "删除", "note_id": "1"}, {"_is_deleted": True}),  # a row that only takes away needs no text
        ({"操作": " 修改 ", "note_id": "1", "text": "甲"}, {"text": "甲"}),
        ({"操作": "移动", "note_id": "1", "text": "甲"}, Reject(7, "operation", "UNKNOWN_OPERATION")),
        ({"操作": None, "note_id": "1", "text": "甲"}, Reject(7, "operation", "UNKNOWN_OPERATION")),
        ({"note_id": "1", "text": "甲"}, Reject(7, "operation", "MISSING_FIELD")),
        ({"操作": "删除", "text": "甲"}, Reject(7, "note_id", "MISSING_FIELD")),
        ({"操作": "删除", "note_id": " "}, Reject(7, "note_id", "MISSING_VALUE")),
    ],
)
def test_a_journal_says_what_it_wants_of_a_row(values: dict[str, object], expected: object) -> None:
    converter = Converter(JOURNAL, "test", b"k" * 32, 1000, "notes/a.jsonl")
    row = converter.convert(Record(7, values))
    if isinstance(expected, Reject):
        assert row == expected
    else:
        assert isinstance(row, dict) and isinstance(expected, dict)
        assert expected.items() <= row.items() and row["note_key"] == converter.mint("note", "1")


def test_a_rejected_row_still_says_which_note_it_is() -> None:
    converter = Converter(NOTES, "test", b"k" * 32, 1000, "notes/a.jsonl")
    assert isinstance(converter.convert(Record(1, {"note_id": "1", "text": ""})), Reject)
    assert converter.find_key(Record(1, {"note_id": "1", "text": ""})) == converter.mint("note", "1")
    assert converter.find_key(Record(1, {"note_id": "a\x00", "text": "甲"})) is None


def test_nobody_is_merged_into_himself() -> None:
    group = FileGroup("m", "csv", "utf-8", "merges", {"patient_id": "旧", "surviving_id": "新"}, constants={})
    converter = Converter(group, "test", b"k" * 32, 1000, "m/a.csv")
    assert converter.convert(Record(2, {"旧": "1", "新": " 1"})) == Reject(2, "surviving_id", "MERGE_INTO_ITSELF")
    row = converter.convert(Record(3, {"旧": "1", "新": "2"}))
    assert row == {
        "patient_key": converter.mint("patient", "1"),
        "surviving_key": converter.mint("patient", "2"),
        "source": "test",
    }


@pytest.mark.parametrize("operations", ["", '[files.n.operations]\n"删" = "erase"\n'])
def test_operations_must_be_known_ones(operations: str) -> None:
    head = '[files.n]\nformat = "jsonl"\ntable = "notes"\n'
    fields = '[files.n.fields]\noperation = "o"\nnote_id = "i"\ntext = "t"\n'
    with pytest.raises(ConfigurationError, match=r"SOURCE_MAPPING file=sources/x.toml key=files.n.operations"):
        load_mapping({"sources/x.toml": head + fields + operations}, "x")


def test_registered_homes_and_wards_become_full_names_or_nothing() -> None:
    mapping = load_mapping(read_conf_files(), "simulated")
    group = {each.table: each for each in mapping.groups if not each.is_journal}
    columns = "patient_id,sex,birth_date,death_date,marital_status,region,city"
    people = _read(f"{columns}\np1,女,,,,浙江,杭州\np2,男,,,,某地,\n".encode(), group["patients"])
    homes = [_build(group["patients"], record) for record in people]
    assert [(row["region"], row["city"]) for row in homes] == [("浙江省", "杭州市"), (None, None)]
    columns = ",".join(("encounter_id", "patient_id", *TARGET_FIELDS["encounters"][1]))
    rows = "e1,p1,住院,骨科,,,,0, 骨科一病区\ne2,p1,门诊,骨科,,,,0, \n"
    visits = _read(f"{columns}\n{rows}".encode("gb18030"), group["encounters"])
    assert [_build(group["encounters"], record)["ward"] for record in visits] == ["骨科一病区", None]


def _build(group: FileGroup, record: Record | Reject) -> dict[str, object]:
    assert isinstance(record, Record)
    row = Converter(group, "test", b"k" * 32, 1000, "a.csv").convert(record)
    assert isinstance(row, dict)
    return row

"""What the search after an erasure finds, in which files, and what it must not take for a trace."""

from __future__ import annotations

import gzip
import json
from pathlib import Path

import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from pyarrow import fs

from ppsehr_spark.lake.trace_search import ID, KEY, TEXT, Searcher, Trace, cut_pieces, list_files, search_file

LOCAL = fs.LocalFileSystem()
KEY_OF = Trace(KEY, "0f" * 16)
NUMBER = Trace(ID, "HZ0000101")
SENTENCE = Trace(TEXT, "住上海市徐汇区金丝雀路77号")
SEARCHER = Searcher([KEY_OF, NUMBER, SENTENCE])


def _kinds(path: Path) -> dict[str, int]:
    return dict(SEARCHER.kinds(search_file(LOCAL, str(path), SEARCHER)))


def test_an_id_inside_a_longer_one_is_somebody_else() -> None:
    assert SEARCHER.find("HZ00001011 xHZ0000101") == set()
    assert [SEARCHER.traces[i] for i in SEARCHER.find("住院号HZ0000101，")] == [NUMBER]
    assert SEARCHER.find("1HZ0000101x") != set(), "a digit before a letter begins nothing"


def test_compressed_values_are_found_however_deep_they_lie(tmp_path: Path) -> None:
    rows = [{"a": [{"b": f"x{SENTENCE.text}"}], "m": None, "raw": b"\x00HZ0000101 "}] + [
        {"a": [], "m": [("k", KEY_OF.text)], "raw": b""} for _ in range(50)
    ]
    kind = pa.schema(
        [
            pa.field("a", pa.list_(pa.struct([pa.field("b", pa.string())]))),
            pa.field("m", pa.map_(pa.string(), pa.string())),
            pa.field("raw", pa.binary()),
        ]
    )
    path = tmp_path / "part.snappy.parquet"
    pq.write_table(pa.Table.from_pylist(rows, schema=kind), path, compression="zstd", write_statistics=False)
    assert _kinds(path) == {KEY: 1, ID: 1, TEXT: 1}


@pytest.mark.parametrize("name", ["0.json", "0.json.gz", ".hidden.crc", "model.bin"])
def test_any_other_file_is_read_as_bytes(tmp_path: Path, name: str) -> None:
    content = b"\xff\xfe\x80" + f'{{"min":"{KEY_OF.text}","text":{json.dumps(SENTENCE.text)}}}'.encode()
    (tmp_path / name).write_bytes(gzip.compress(content) if name.endswith("gz") else content)
    assert _kinds(tmp_path / name) == {KEY: 1, TEXT: 1}


def test_a_string_across_the_border_of_two_reads_is_found(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("ppsehr_spark.lake.trace_search._CHUNK_BYTES", 64)
    (tmp_path / "long.bin").write_bytes(b"z" * 57 + SENTENCE.text.encode() + b"z" * 100)
    assert _kinds(tmp_path / "long.bin") == {TEXT: 1}


def test_a_torn_parquet_file_and_one_that_is_gone_do_not_stop_the_search(tmp_path: Path) -> None:
    (tmp_path / "torn.parquet").write_bytes(b"PAR1" + NUMBER.text.encode() + b"\x00torn")
    assert _kinds(tmp_path / "torn.parquet") == {ID: 1}
    assert _kinds(tmp_path / "gone.parquet") == {}


def test_hidden_files_are_listed_and_the_working_folder_is_not(tmp_path: Path) -> None:
    for name in ("a/.b", "a/_delta_log/0.json", "phi/erasure_work/x/keys.parquet", "phi/erasure_works"):
        (tmp_path / name).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / name).write_bytes(b"1")
    found = list_files(LOCAL, str(tmp_path), without=f"{tmp_path}/phi/erasure_work")
    assert sorted(path.removeprefix(f"{tmp_path}/") for path in found) == [
        "a/.b", "a/_delta_log/0.json", "phi/erasure_works",
    ]  # fmt: skip


def test_pieces_end_at_sentences_and_short_ones_are_left_out() -> None:
    assert cut_pieces(["短句。既往于二〇〇三年在外院行甲状腺手术\n" + "长" * 80]) == [
        "既往于二〇〇三年在外院行甲状腺手术",
        "长" * 60,
    ]

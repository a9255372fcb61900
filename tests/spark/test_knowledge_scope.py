"""A new version of the knowledge base computes again only the notes that hold a changed term; so does a step back."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pyarrow as pa
import pytest
from deltalake import write_deltalake

from ppsehr_spark.config import IdentitySettings, PartitionSettings, Settings, read_conf_files
from ppsehr_spark.domain.knowledge.entries import LEXICON, KnowledgeEntry
from ppsehr_spark.domain.rules import compile_rules
from ppsehr_spark.lake import schemas
from ppsehr_spark.lake.knowledge_scope import list_touches
from ppsehr_spark.lake.knowledge_store import ROLLBACK, VERSION, append_row, read_current, with_knowledge
from ppsehr_spark.lake.tables import Lake
from ppsehr_spark.spark.notes.recognition import recognise_notes
from ppsehr_spark.spark.notes.tiering import tier_notes

pytestmark = pytest.mark.spark
TEXTS = {"n0": "否认雅司病史。", "n1": "否认梅毒病史。", "n2": "患者王伟，一般情况可。"}
YAWS = KnowledgeEntry(LEXICON, "STD", "雅司病", "lexicons/std_terms.tsv", ("词",))


@pytest.fixture
def lake(tmp_path: Path) -> Lake:
    lake = Lake(str(tmp_path / "lake"))
    rows = [
        {"note_key": key, "patient_key": "p", "text_hash": f"h-{key}", "text": text, "n_chars": len(text)}
        for key, text in TEXTS.items()
    ]
    table = pa.Table.from_pylist(rows, schema=schemas.NOTES.schema)
    write_deltalake(lake.table_uri(schemas.NOTES), table)
    return lake


def _run(spark: Any, lake: Lake, conf: Settings, run_id: str) -> tuple[int, int]:
    """Notes recognised and annotations written."""
    settings, touches = with_knowledge(lake, conf), list_touches(lake, conf.files)
    counts = recognise_notes(spark, lake, settings=settings, run_id=run_id, touches=touches)
    tiered = tier_notes(spark, lake, settings=settings, run_id=run_id, equivalent=touches)
    return counts["notes"], tiered["inserted"] + tiered["updated"]


def _versions(lake: Lake, spec: schemas.TableSpec) -> dict[str, str]:
    return {row["note_key"]: row["knowledge_version"] for row in lake.read(spec).to_pylist()}


def test_only_touched_notes_are_computed_again(spark: Any, lake: Lake, key_file: str) -> None:
    files = {
        path: text
        for path, text in read_conf_files().items()
        if path in ("categories/STD.toml", "tiers.toml") or path.startswith(("lexicons/", "prompts/"))
    }
    conf = Settings(files=files, identity=IdentitySettings(key_file), partition=PartitionSettings(qwen_scope="none"))
    assert _run(spark, lake, conf, "r1") == (3, 3)
    append_row(lake, read_current(lake), action=VERSION, entries=[YAWS], values={"run_id": "k1"})
    assert _run(spark, lake, conf, "r2") == (1, 1)
    old = compile_rules(files).knowledge_version
    new = compile_rules(with_knowledge(lake, conf).files).knowledge_version
    for spec in (schemas.RULE_ANNOTATIONS, schemas.ANNOTATIONS):
        assert _versions(lake, spec) == {"n0": new, "n1": old, "n2": old}
    (spans,) = [row["spans"] for row in lake.read(schemas.ANNOTATIONS).to_pylist() if row["note_key"] == "n0"]
    assert [(span["category"], span["start"], span["end"]) for span in spans] == [("STD", 0, 6)]
    assert _run(spark, lake, conf, "r3") == (0, 0)
    append_row(lake, read_current(lake), action=ROLLBACK, version=0, entries=[], values={"run_id": "k2"})
    assert _run(spark, lake, conf, "r4") == (1, 1)
    assert _versions(lake, schemas.RULE_ANNOTATIONS) == dict.fromkeys(TEXTS, old)
    changed = Settings(
        files={**files, "lexicons/std_terms.tsv": files["lexicons/std_terms.tsv"] + "别病\t词\n"},
        identity=conf.identity,
        partition=conf.partition,
    )
    assert _run(spark, lake, changed, "r5") == (3, 3)  # conf itself changed: nothing can be spared

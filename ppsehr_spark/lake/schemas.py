"""EVERY table of the lake as a TableSpec: zone, Arrow schema with a comment per column, keys, writer, Delta properties.

Knows: the contract between jobs. Must not know: how a table is computed.
From these specs come the SQL DDL, the views for Spark and DuckDB and the data dictionary (``scripts/gen_docs.py``).
"""

from __future__ import annotations

import pyarrow as pa

from ppsehr_spark.lake import control_schemas, knowledge_schemas, statistics_schemas, synthesis_schemas
from ppsehr_spark.lake.control_schemas import AUDIT_LOG as AUDIT_LOG
from ppsehr_spark.lake.control_schemas import ERASURES as ERASURES
from ppsehr_spark.lake.control_schemas import LAKE_INFO as LAKE_INFO
from ppsehr_spark.lake.control_schemas import PRIVACY_LEDGER as PRIVACY_LEDGER
from ppsehr_spark.lake.control_schemas import RUNS as RUNS
from ppsehr_spark.lake.control_schemas import UNIT_CLAIMS as UNIT_CLAIMS
from ppsehr_spark.lake.knowledge_schemas import KNOWLEDGE as KNOWLEDGE
from ppsehr_spark.lake.statistics_schemas import DP_STATISTICS as DP_STATISTICS
from ppsehr_spark.lake.statistics_schemas import DRIFT_SKETCHES as DRIFT_SKETCHES
from ppsehr_spark.lake.statistics_schemas import EVALUATIONS as EVALUATIONS
from ppsehr_spark.lake.statistics_schemas import RECORD_MODEL as RECORD_MODEL
from ppsehr_spark.lake.statistics_schemas import RELEASED_CLAIM_CARDS as RELEASED_CLAIM_CARDS
from ppsehr_spark.lake.statistics_schemas import RELEASED_EVALUATIONS as RELEASED_EVALUATIONS
from ppsehr_spark.lake.statistics_schemas import RELEASED_STATISTICS as RELEASED_STATISTICS
from ppsehr_spark.lake.synthesis_schemas import CHECKPOINTS as CHECKPOINTS
from ppsehr_spark.lake.synthesis_schemas import MEMBERSHIP_SCORES as MEMBERSHIP_SCORES
from ppsehr_spark.lake.synthesis_schemas import RELEASED_SYNTHETIC_ENCOUNTERS as RELEASED_SYNTHETIC_ENCOUNTERS
from ppsehr_spark.lake.synthesis_schemas import RELEASED_SYNTHETIC_NOTES as RELEASED_SYNTHETIC_NOTES
from ppsehr_spark.lake.synthesis_schemas import RELEASED_SYNTHETIC_PATIENTS as RELEASED_SYNTHETIC_PATIENTS
from ppsehr_spark.lake.synthesis_schemas import SYNTHETIC_ENCOUNTERS as SYNTHETIC_ENCOUNTERS
from ppsehr_spark.lake.synthesis_schemas import SYNTHETIC_NOTES as SYNTHETIC_NOTES
from ppsehr_spark.lake.synthesis_schemas import SYNTHETIC_PATIENTS as SYNTHETIC_PATIENTS
from ppsehr_spark.lake.table_spec import KEY_COLUMNS as _KEY
from ppsehr_spark.lake.table_spec import SCHEMA_VERSION as SCHEMA_VERSION
from ppsehr_spark.lake.table_spec import UTC as _UTC
from ppsehr_spark.lake.table_spec import ZONES as ZONES
from ppsehr_spark.lake.table_spec import TableSpec as TableSpec
from ppsehr_spark.lake.table_spec import make_column as _column

#: One sensitive mention, the Arrow form of ``domain.notes.Span``.
SPAN = pa.struct(
    [
        pa.field("start", pa.int32()),
        pa.field("end", pa.int32()),
        pa.field("category", pa.string()),
        pa.field("tier", pa.int32()),
        pa.field("source", pa.string()),
        pa.field("confidence", pa.float64()),
        pa.field("rule", pa.string()),
        pa.field("tier_rule", pa.string()),
    ]
)
GOLD_SPAN = pa.struct(
    [
        pa.field("start", pa.int32()),
        pa.field("end", pa.int32()),
        pa.field("category", pa.string()),
        pa.field("tier", pa.int32()),
    ]
)
#: Where a segment lies in its note; offsets are code points of the note.
OCCURRENCE = pa.struct(
    [
        pa.field("segment_key", pa.string()),
        pa.field("start", pa.int32()),
        pa.field("end", pa.int32()),
    ]
)
#: A span that the model is asked about; offsets are code points of the segment.
CANDIDATE = pa.struct(
    [
        pa.field("start", pa.int32()),
        pa.field("end", pa.int32()),
        pa.field("category", pa.string()),
        pa.field("confidence", pa.float64()),
        pa.field("rule", pa.string()),
    ]
)
#: What the model said of one candidate: accepted or not, with its log-odds; a tier where it was asked for one.
VERDICT = pa.struct(
    [
        pa.field("start", pa.int32()),
        pa.field("end", pa.int32()),
        pa.field("category", pa.string()),
        pa.field("is_accepted", pa.bool_()),
        pa.field("log_odds", pa.float32()),
        pa.field("tier", pa.int32()),
    ]
)

PATIENTS = TableSpec(
    "phi", "patients", "patients as the source knows them | 患者",
    pa.schema([
        _KEY["patient_key"],
        _column("source_patient_id", pa.string(), "id in the source system"),
        _column("sex", pa.string(), "M, F or empty"),
        _column("birth_date", pa.date32(), "date of birth"),
        _column("death_date", pa.date32(), "date of death"),
        _column("marital_status", pa.string(), "as recorded"),
        _column("source", pa.string(), "source mapping name"),
        _column("region", pa.string(), "province of residence as registered, full name; null when unknown"),
        _column("city", pa.string(), "prefecture-level city of residence as registered, full name; null when unknown"),
    ]),
    ("patient_key",), "ingest", "spark", has_deletion_vectors=True, has_change_feed=True,
)  # fmt: skip
ENCOUNTERS = TableSpec(
    "phi", "encounters", "visits and stays | 就诊",
    pa.schema([
        _KEY["encounter_key"],
        _KEY["patient_key"],
        _column("source_encounter_id", pa.string(), "id in the source system"),
        _column("encounter_type", pa.string(), "inpatient, outpatient or emergency"),
        _column("department", pa.string(), "department in Chinese"),
        _column("admitted_at", _UTC, "start of the visit"),
        _column("discharged_at", _UTC, "end of the visit"),
        _column("diagnosis_codes", pa.list_(pa.string()), "ICD-10, main diagnosis first"),
        _column("is_deceased", pa.bool_(), "died during the visit"),
        _column("source", pa.string(), "source mapping name"),
        _column("ward", pa.string(), "ward in Chinese as registered; null when unknown"),
    ]),
    ("encounter_key",), "ingest", "spark", has_deletion_vectors=True, has_change_feed=True,
)  # fmt: skip
NOTES = TableSpec(
    "phi", "notes", "clinical notes in clear | 病历文书原文",
    pa.schema([
        _KEY["note_key"],
        _KEY["patient_key"],
        _column("encounter_key", pa.string(), "visit the note belongs to; null when unknown"),
        _column("source_note_id", pa.string(), "id in the source system"),
        _column("note_type", pa.string(), "form of the note in Chinese"),
        _column("department", pa.string(), "department in Chinese"),
        _column("noted_at", _UTC, "time of the note"),
        _column("sex", pa.string(), "M, F or empty; context for rules"),
        _column("age_years", pa.int32(), "age at the note; context for rules"),
        _column("text", pa.string(), "original text"),
        _KEY["text_hash"],
        _column("n_chars", pa.int32(), "length of the text in code points"),
        _column("source", pa.string(), "source mapping name"),
    ]),
    ("note_key",), "ingest", "spark", has_deletion_vectors=True, has_change_feed=True,
)  # fmt: skip
REJECTS = TableSpec(
    "phi", "rejects", "rows that could not be read, by reason; never their content | 拒收记录",
    pa.schema([
        _column("reject_key", pa.string(), "hash of file, row and field", nullable=False),
        _column("file", pa.string(), "path below the source folder"),
        _column("row", pa.int64(), "1-based row, 0 for the whole file"),
        _column("field", pa.string(), "field at fault, empty for the whole row"),
        _column("reason", pa.string(), "reason code"),
        _column("source", pa.string(), "source mapping name"),
        _KEY["run_id"],
    ]),
    ("reject_key",), "ingest", "spark", stats_columns=("reject_key", "reason"),
)  # fmt: skip
GOLD = TableSpec(
    "phi", "gold", "gold spans that came with the source | 金标准",
    pa.schema([
        _KEY["note_key"],
        _column("spans", pa.list_(GOLD_SPAN), "true spans with tiers"),
        _column("source", pa.string(), "source mapping name"),
    ]),
    ("note_key",), "ingest", "spark", has_deletion_vectors=True,
)  # fmt: skip
PATIENT_MERGES = TableSpec(
    "phi", "patient_merges", "patients that the source merged into others, each with its survivor | 患者合并",
    pa.schema([
        _column("patient_key", pa.string(), "key of the patient that is no more", nullable=False),
        _column("surviving_key", pa.string(), "key of the patient now meant; never itself merged", nullable=False),
        _column("source", pa.string(), "source mapping name"),
    ]),
    ("patient_key",), "ingest", "spark",
)  # fmt: skip
RULE_ANNOTATIONS = TableSpec(
    "phi", "rule_annotations", "what the recognisers found, and where its doubtful text went | 规则标注",
    pa.schema([
        _KEY["note_key"],
        _KEY["text_hash"],
        _column("spans", pa.list_(SPAN), "spans including doubtful ones"),
        _column("segments", pa.list_(OCCURRENCE), "segments of this note that the model is asked about"),
        _column("knowledge_version", pa.string(), "hash of categories, lexicons, rules, tiers"),
        _column("segmentation_version", pa.string(), "hash of the partition settings"),
        _column("context_hash", pa.int64(), "hash of the note type, sex and age that the rules saw"),
        _KEY["run_id"],
    ]),
    ("note_key",), "partition", "spark", has_deletion_vectors=True, has_change_feed=True,
)  # fmt: skip
SEGMENTS = TableSpec(
    "phi", "segments", "doubtful text, once per distinct content | 待判片段",
    pa.schema([
        _KEY["segment_key"],
        _column("task", pa.string(), "judge, extract or tier"),
        _column("text", pa.string(), "segment text, exactly as in the note"),
        _column("note_type", pa.string(), "context the model sees"),
        _column("candidates", pa.list_(CANDIDATE), "spans in doubt"),
        _column("n_chars", pa.int32(), "length in code points"),
        _column("estimated_tokens", pa.int32(), "estimate used to bound units"),
        _KEY["run_id"],
    ]),
    ("segment_key",), "partition", "spark",
)  # fmt: skip
WORK_UNITS = TableSpec(
    "phi", "work_units", "bounded groups of segments, the only thing that crosses to Ray | 工作单元",
    pa.schema([
        _KEY["unit_id"],
        _column("position", pa.int64(), "dispatch order"),
        _column("segment_keys", pa.list_(pa.string()), "its segments, in order"),
        _column("n_segments", pa.int32(), "how many"),
        _column("estimated_tokens", pa.int32(), "sum over its segments"),
        _KEY["run_id"],
    ]),
    ("unit_id",), "partition", "spark",
)  # fmt: skip
SEGMENT_ANNOTATIONS = TableSpec(
    "phi", "segment_annotations", "what Qwen proposed per segment, grounded | 模型标注",
    pa.schema([
        _KEY["segment_key"],
        _KEY["unit_id"],
        _column("verdicts", pa.list_(VERDICT), "answers for candidates"),
        _column("spans", pa.list_(SPAN), "grounded spans found by extraction; offsets in the segment"),
        _column("outcome", pa.string(), "ok, or the reason code why the reply did not count"),
        _column("engine", pa.string(), "engine name"),
        _column("model", pa.string(), "model name and fingerprint"),
        _column("prompt_version", pa.string(), "hash of all prompts"),
        _column("prompts", pa.list_(pa.string()), "task:category:version of the prompts it was asked with"),
        _column("prompt_tokens", pa.int32(), "tokens sent"),
        _column("cached_tokens", pa.int32(), "of them served from the prefix cache"),
        _column("output_tokens", pa.int32(), "tokens generated"),
        _KEY["run_id"],
    ]),
    ("segment_key", "prompts"), "annotate", "deltalake", has_change_feed=True,
)  # fmt: skip
DEAD_LETTERS = TableSpec(
    "phi", "dead_letters", "segments given up, keys and error class only, and when they were opened again | 死信",
    pa.schema([
        _column("sequence", pa.int64(), "number of the commit; the highest one of a segment counts", nullable=False),
        _KEY["segment_key"],
        _KEY["unit_id"],
        _column("is_replay", pa.bool_(), "true where the segment was opened again, false where it was given up"),
        _column("error_code", pa.string(), "reason code"),
        _column("attempts", pa.int32(), "how often it was tried"),
        _column("engine", pa.string(), "engine name"),
        _KEY["run_id"],
    ]),
    ("sequence", "segment_key"), "annotate", "deltalake",
)  # fmt: skip
CORRECTIONS = TableSpec(
    "phi", "corrections", "spans corrected by people | 人工修订",
    pa.schema([
        _column("correction_key", pa.string(), "hash of note, span and author", nullable=False),
        _KEY["note_key"],
        _KEY["text_hash"],
        _column("start", pa.int32(), "first code point"),
        _column("end", pa.int32(), "one past the last"),
        _column("category", pa.string(), "category id"),
        _column("tier", pa.int32(), "tier or null"),
        _column("action", pa.string(), "add or remove"),
        _column("author", pa.string(), "role account"),
        _column("made_at", _UTC, "when"),
    ]),
    ("correction_key",), "people", "deltalake", has_change_feed=True,
)  # fmt: skip
ANNOTATIONS = TableSpec(
    "phi", "annotations", "final spans per note with tier, source and versions | 最终标注",
    pa.schema([
        _KEY["note_key"],
        _KEY["text_hash"],
        _column("spans", pa.list_(SPAN), "final spans, sorted, never overlapping"),
        _column("n_open_segments", pa.int32(), "segments that no model has judged yet"),
        _column("knowledge_version", pa.string(), "hash of categories, lexicons, rules, tiers"),
        _column("input_hash", pa.string(), "hash of everything the row was computed from"),
        _KEY["run_id"],
    ]),
    ("note_key",), "tier", "spark", has_deletion_vectors=True, has_change_feed=True,
)  # fmt: skip
PROTECTED_NOTES = TableSpec(
    "protected", "notes", "notes after protection | 脱敏病历",
    pa.schema([
        _KEY["note_key"],
        _KEY["patient_key"],
        _column("encounter_key", pa.string(), "visit"),
        _column("note_type", pa.string(), "form of the note"),
        _column("department", pa.string(), "department"),
        _column("noted_month", pa.string(), "YYYY-MM of the note"),
        _column("text", pa.string(), "protected text"),
        _column("n_spans", pa.int32(), "protected mentions"),
        _column("n_open_segments", pa.int32(), "segments that no model has judged yet"),
        _column("policy", pa.string(), "protection policy name"),
        _column("input_hash", pa.string(), "hash of everything the row was computed from"),
        _KEY["run_id"],
    ]),
    ("note_key",), "protect", "spark", has_deletion_vectors=True,
)  # fmt: skip
RELEASED_NOTES = TableSpec(
    "release", "notes", "published notes | 发布病历",
    pa.schema([
        _column("release_id", pa.string(), "hash of content and policy", nullable=False),
        _KEY["note_key"],
        _KEY["patient_key"],
        _column("note_type", pa.string(), "form of the note"),
        _column("department", pa.string(), "department"),
        _column("noted_month", pa.string(), "YYYY-MM of the note"),
        _column("text", pa.string(), "protected text"),
        _column("policy", pa.string(), "protection policy name"),
    ]),
    ("release_id", "note_key"), "publish", "deltalake",
)  # fmt: skip
RELEASES = TableSpec(
    "release", "releases", "one row per table each time a release became current, with its gates | 发布目录",
    pa.schema([
        _column("release_id", pa.string(), "hash of content and policy", nullable=False),
        _column("table", pa.string(), "released table"),
        _column("n_rows", pa.int64(), "rows released"),
        _column("n_withheld", pa.int64(), "rows a gate held back"),
        _column("policy", pa.string(), "protection policy name"),
        _column("gates", pa.string(), "gate results as JSON"),
        _column("conf_hash", pa.string(), "settings of the run"),
        _column("released_at", _UTC, "when"),
    ]),
    ("release_id", "table", "released_at"), "publish", "deltalake",
)  # fmt: skip

TABLES: dict[str, TableSpec] = {
    spec.full_name: spec
    for spec in (
        PATIENTS, ENCOUNTERS, NOTES, REJECTS, GOLD, PATIENT_MERGES, RULE_ANNOTATIONS, SEGMENTS, WORK_UNITS,
        SEGMENT_ANNOTATIONS, DEAD_LETTERS, CORRECTIONS, ANNOTATIONS, PROTECTED_NOTES, RELEASED_NOTES, RELEASES,
        *control_schemas.SPECS, *knowledge_schemas.SPECS, *statistics_schemas.SPECS, *synthesis_schemas.SPECS,
    )
}  # fmt: skip

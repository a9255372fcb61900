"""Tables of training and synthesis: checkpoints, attack scores, synthetic patients, encounters and notes.

Knows: their columns. Must not know: how a model is trained or sampled. ``schemas`` collects them with all others.
"""

from __future__ import annotations

import pyarrow as pa

from ppsehr_spark.lake.table_spec import KEY_COLUMNS as _KEY
from ppsehr_spark.lake.table_spec import UTC as _UTC
from ppsehr_spark.lake.table_spec import TableSpec
from ppsehr_spark.lake.table_spec import make_column as _column

CHECKPOINTS = TableSpec(
    "protected", "checkpoints", "models trained under the ledger | 训练检查点",
    pa.schema([
        _column("checkpoint_id", pa.string(), "hash of plan, data versions and grant", nullable=False),
        _column("ask_id", pa.string(), "hash of question and table versions; the run of the ledger"),
        _column("path", pa.string(), "folder below the lake root with weights, vocabulary and accountant state"),
        _column("base_model", pa.string(), "public weights it starts from, empty for none"),
        _column("plan", pa.string(), "the frozen training plan as JSON"),
        _column("event", pa.string(), "what the ledger recorded, as JSON"),
        _column("n_steps_done", pa.int32(), "steps executed; equals the plan's"),
        _column("accountant", pa.string(), "accountant state after the last step, as JSON"),
        _column("weights_hash", pa.string(), "SHA-256 of the weights file"),
        _column("grant_id", pa.string(), "reservation in the ledger that paid"),
        _KEY["run_id"],
    ]),
    ("checkpoint_id",), "train", "deltalake",
)  # fmt: skip
MEMBERSHIP_SCORES = TableSpec(
    "phi", "membership_scores", "loss of a checkpoint on patients it saw and on held-out ones; internal | 成员推断得分",
    pa.schema([
        _column("checkpoint_id", pa.string(), "checkpoint", nullable=False),
        _KEY["patient_key"],
        _column("is_member", pa.bool_(), "was in the training set"),
        _column("loss", pa.float64(), "mean negative log-likelihood per token, in nats"),
        _column("n_tokens", pa.int32(), "tokens it is a mean over"),
        _KEY["run_id"],
    ]),
    ("checkpoint_id", "patient_key"), "train", "deltalake",
)  # fmt: skip
_PATIENT_COLUMNS = [
    _column("dataset_id", pa.string(), "synthetic data set: hash of model, settings and seed", nullable=False),
    _column("synthetic_patient_id", pa.string(), "id of a fictional patient", nullable=False),
    _column("sex", pa.string(), "M or F"),
    _column("birth_year", pa.int32(), "year of birth"),
    _column("n_encounters", pa.int32(), "visits of this patient"),
]
_ENCOUNTER_COLUMNS = [
    _column("dataset_id", pa.string(), "synthetic data set", nullable=False),
    _column("synthetic_encounter_id", pa.string(), "id of a fictional visit", nullable=False),
    _column("synthetic_patient_id", pa.string(), "its patient"),
    _column("position", pa.int32(), "1 for the first visit of the patient"),
    _column("encounter_type", pa.string(), "住院, 门诊 or 急诊"),
    _column("department", pa.string(), "department in Chinese, from the public list"),
    _column("diagnosis_code", pa.string(), "ICD-10 main diagnosis, from the public list"),
    _column("diagnosis_name", pa.string(), "its name in Chinese"),
    _column("age_years", pa.int32(), "age at admission"),
    _column("admitted_on", pa.date32(), "day of admission"),
    _column("discharged_on", pa.date32(), "day of discharge, not before admission"),
    _column("is_deceased", pa.bool_(), "died during the visit; no visit follows"),
]
_NOTE_COLUMNS = [
    _column("dataset_id", pa.string(), "synthetic data set", nullable=False),
    _column("synthetic_note_id", pa.string(), "id of a fictional note", nullable=False),
    _column("synthetic_encounter_id", pa.string(), "its visit"),
    _column("synthetic_patient_id", pa.string(), "its patient"),
    _column("note_type", pa.string(), "form of the note in Chinese"),
    _column("text", pa.string(), "synthetic text; null when the note was dropped"),
    _column("generator", pa.string(), "public (weights that never saw the data) or trained (DP-SGD checkpoint)"),
    _column("model", pa.string(), "model name and fingerprint, or checkpoint id"),
]
SYNTHETIC_PATIENTS = TableSpec(
    "protected", "synthetic_patients", "synthetic patients | 合成患者",
    pa.schema([
        *_PATIENT_COLUMNS,
        _column("model_id", pa.string(), "record model"),
        _column("synthesized_at", _UTC, "when the patients of this data set were drawn"),
        _KEY["run_id"],
    ]),
    ("dataset_id", "synthetic_patient_id"), "synthesize", "deltalake",
)  # fmt: skip
SYNTHETIC_ENCOUNTERS = TableSpec(
    "protected", "synthetic_encounters", "visits of synthetic patients, in order | 合成就诊",
    pa.schema([*_ENCOUNTER_COLUMNS, _KEY["run_id"]]),
    ("dataset_id", "synthetic_encounter_id"), "synthesize", "deltalake",
)  # fmt: skip
SYNTHETIC_NOTES = TableSpec(
    "protected", "synthetic_notes", "notes written for synthetic visits, dropped ones without text | 合成病历",
    pa.schema([
        *_NOTE_COLUMNS,
        _column("outcome", pa.string(), "ok, or the reason code why it was dropped"),
        _column("n_phi_spans", pa.int32(), "direct identifiers that the recognisers saw"),
        _column("n_checks", pa.int32(), "statements of the record that were looked for"),
        _column("n_agreed", pa.int32(), "of them found, none contradicted"),
        _column("prompt_tokens", pa.int32(), "tokens sent"),
        _column("output_tokens", pa.int32(), "tokens generated"),
        _KEY["run_id"],
    ]),
    ("dataset_id", "synthetic_note_id"), "synthesize", "deltalake",
)  # fmt: skip

_RELEASE_ID = _column("release_id", pa.string(), "hash of content and policy", nullable=False)
RELEASED_SYNTHETIC_PATIENTS = TableSpec(
    "release", "synthetic_patients", "published synthetic patients | 发布合成患者",
    pa.schema([_RELEASE_ID, *_PATIENT_COLUMNS]), ("release_id", "synthetic_patient_id"), "publish", "deltalake",
)  # fmt: skip
RELEASED_SYNTHETIC_ENCOUNTERS = TableSpec(
    "release", "synthetic_encounters", "published synthetic visits | 发布合成就诊",
    pa.schema([_RELEASE_ID, *_ENCOUNTER_COLUMNS]), ("release_id", "synthetic_encounter_id"), "publish", "deltalake",
)  # fmt: skip
RELEASED_SYNTHETIC_NOTES = TableSpec(
    "release", "synthetic_notes", "published synthetic notes | 发布合成病历",
    pa.schema([_RELEASE_ID, *_NOTE_COLUMNS]), ("release_id", "synthetic_note_id"), "publish", "deltalake",
)  # fmt: skip

SPECS = (
    CHECKPOINTS, MEMBERSHIP_SCORES, SYNTHETIC_PATIENTS, SYNTHETIC_ENCOUNTERS, SYNTHETIC_NOTES,
    RELEASED_SYNTHETIC_PATIENTS, RELEASED_SYNTHETIC_ENCOUNTERS, RELEASED_SYNTHETIC_NOTES,
)  # fmt: skip

"""phi.knowledge: every version of the knowledge base, every refusal and every step back, with entries and figures.

Knows: its columns. Must not know: how an entry is proposed or scored. ``schemas`` collects it with all other tables.
"""

from __future__ import annotations

import pyarrow as pa

from ppsehr_spark.lake.table_spec import KEY_COLUMNS as _KEY
from ppsehr_spark.lake.table_spec import UTC as _UTC
from ppsehr_spark.lake.table_spec import TableSpec
from ppsehr_spark.lake.table_spec import make_column as _column

_ENTRY_FIELDS = [
    pa.field("entry_id", pa.string()),
    pa.field("kind", pa.string()),
    pa.field("category", pa.string()),
    pa.field("text", pa.string()),
    pa.field("file", pa.string()),
    pa.field("columns", pa.list_(pa.string())),
    pa.field("is_yes", pa.bool_()),
    pa.field("proposer", pa.string()),
    pa.field("cluster_id", pa.string()),
    pa.field("n_mistakes", pa.int32()),
    pa.field("note_keys", pa.list_(pa.string())),
    pa.field("run_id", pa.string()),
    pa.field("made_at", pa.string()),
    pa.field("f1_before", pa.float64()),
    pa.field("f1_after", pa.float64()),
]
#: One change of conf with its provenance, the Arrow form of ``domain.knowledge.KnowledgeEntry``.
KNOWLEDGE_ENTRY = pa.struct(_ENTRY_FIELDS)
#: A proposal before the gate; ``stage`` is alone or together, ``fallen`` names the categories that got worse.
KNOWLEDGE_TRIAL = pa.struct(
    [
        *_ENTRY_FIELDS,
        pa.field("stage", pa.string()),
        pa.field("outcome", pa.string()),
        pa.field("fallen", pa.list_(pa.string())),
        pa.field("macro_before", pa.float64()),
        pa.field("macro_after", pa.float64()),
        pa.field("figures_after", pa.string()),
    ]
)

KNOWLEDGE = TableSpec(
    "phi", "knowledge", "versions of the knowledge base, refusals and steps back; the last one counts | 知识库",
    pa.schema([
        _column("sequence", pa.int64(), "position in the history, from 1", nullable=False),
        _column("action", pa.string(), "version, refusal or rollback", nullable=False),
        _column("version", pa.int32(), "version in force after this row; 0 is conf alone"),
        _column("entries", pa.list_(KNOWLEDGE_ENTRY), "all entries in force after this row, in order"),
        _column("trials", pa.list_(KNOWLEDGE_TRIAL), "proposals of this run with the gate's word on each"),
        _column("conf_version", pa.string(), "knowledge version of conf alone, under which it was scored"),
        _column("knowledge_version", pa.string(), "knowledge version of conf with the entries"),
        _column("reviewed_hash", pa.string(), "hash of the reviewed notes that were scored"),
        _column("n_reviewed", pa.int32(), "reviewed notes that were scored"),
        _column("n_mistakes", pa.int32(), "spans missed or false before"),
        _column("n_clusters", pa.int32(), "clusters of mistakes"),
        _column("conflicts", pa.list_(pa.string()), "keys of corrections that contradict one another; not used"),
        _column("macro_before", pa.float64(), "macro F1 on the scored notes before, 0 to 1"),
        _column("macro_after", pa.float64(), "macro F1 on the scored notes after, 0 to 1"),
        _column("figures", pa.string(), "F1 per category before and after, as JSON"),
        _column("n_touched_notes", pa.int64(), "notes of the lake that this row can change"),
        _column("n_notes", pa.int64(), "notes of the lake"),
        _column("n_asked_again", pa.int64(), "segments that would be asked otherwise under the new prompts"),
        _column("engine", pa.string(), "engine name"),
        _column("model", pa.string(), "model name and fingerprint"),
        _column("prompt_version", pa.string(), "hash of the prompt files"),
        _column("made_at", _UTC, "when"),
        _KEY["run_id"],
    ]),
    ("sequence",), "evolve", "deltalake", stats_columns=("sequence", "version"),
)  # fmt: skip

SPECS = (KNOWLEDGE,)

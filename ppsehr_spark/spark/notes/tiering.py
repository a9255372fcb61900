"""Rules, Qwen and people come together: final spans with tiers, per note.

Knows: which tables meet. Must not know: how verdicts change a span (``domain.segments``) or a tier is decided.
Only notes whose inputs changed are computed again (``input_hash``).
"""

from __future__ import annotations

from collections.abc import Collection, Iterator, Mapping
from functools import reduce
from typing import Any

import pyarrow as pa
from pyspark.sql import Column, DataFrame, SparkSession
from pyspark.sql import functions as F

from ppsehr_spark.config import Settings
from ppsehr_spark.domain.notes import Span
from ppsehr_spark.domain.prompting import NO_VERSION, compile_prompts
from ppsehr_spark.domain.rules import RuleEngine, compile_rules
from ppsehr_spark.domain.segments import SegmentResult, apply_results
from ppsehr_spark.domain.taxonomy import ConfFiles, load_categories
from ppsehr_spark.lake import schemas
from ppsehr_spark.lake.change_feeds import Reading, read_newest
from ppsehr_spark.lake.tables import Lake
from ppsehr_spark.spark.changes import StageInputs, store
from ppsehr_spark.spark.frames import map_batches
from ppsehr_spark.spark.notes.gathering import INPUTS, gather_all, gather_changed
from ppsehr_spark.spark.notes.rows import NOTE_COLUMNS, note_of, pack_rows, span_of, span_row
from ppsehr_spark.spark.session import describe

_FINAL = pa.schema([*(f for f in schemas.ANNOTATIONS.schema if f.name != "run_id"), pa.field("_is_new", pa.bool_())])


def tier_notes(
    spark: SparkSession,
    lake: Lake,
    *,
    settings: Settings,
    run_id: str,
    equivalent: Collection[str] = (),
    reading: Reading | None = None,
) -> dict[str, int]:
    """Compute phi.annotations for every note whose rule spans, model answers or corrections changed.

    Args:
        equivalent: other knowledge versions under which the partition job leaves a row that the one in force cannot
            change (``lake.knowledge_scope``); such a row keeps its version and is not computed again.
        reading: versions to read, and whether changes are followed; by default whole tables as they are now.

    Returns:
        Counts: rows inserted, updated and deleted.
    """
    inputs = StageInputs(spark, lake, reading or read_newest(lake, INPUTS))
    version = compile_rules(settings.files).knowledge_version
    is_spared = F.col("found_under").isin(sorted(equivalent)) if equivalent else F.lit(False)
    knowledge = F.when(is_spared, F.col("found_under")).otherwise(F.lit(version))
    try:
        chosen = gather_changed(inputs) if inputs.is_incremental else gather_all(inputs)
        rules = _with_corrections(inputs, chosen.rules).withColumn("knowledge_version", knowledge)
        settled = _is_settled(settings, version, equivalent)
        asked = rules if inputs.is_incremental else rules.where(~settled)
        todo = _not_done(inputs, _with_answers(inputs, asked, settings.files), settings)
        if inputs.is_incremental:
            todo = inputs.keep(todo)
            notes = inputs.rows_of(schemas.NOTES, todo.select("note_key"), inputs.changes(schemas.NOTES))
        else:
            notes = inputs.table(schemas.NOTES)
        frame = todo.join(notes.select("text_hash", *NOTE_COLUMNS), ["note_key", "text_hash"])
        describe(spark, "tier: decide spans and tiers")
        final = map_batches(frame, _decider(settings), _FINAL)
        if not inputs.is_incremental:
            final = final.unionByName(_settled_rows(inputs, rules.where(settled), settings))
        final = final.withColumn("run_id", F.lit(run_id))
        return store(inputs, schemas.ANNOTATIONS, final, chosen.gone)
    finally:
        inputs.close()


def _is_settled(settings: Settings, version: str, equivalent: Collection[str]) -> Column:
    """Rows that stay as the recognisers left them: every span accepted, nothing asked, no person spoke.

    ``RuleEngine.finalise`` returns exactly what ``propose`` found where all of it is accepted, so neither the text nor
    Python is needed (most notes; ``tests/domain/test_rules_engine.py`` holds both to it).
    """
    bars = {c.id: c.accept_at for c in compile_rules(settings.files).categories.values()}

    def is_accepted(span: Column) -> Column:
        above = [(span["category"] == name) & (span["confidence"] >= bar) for name, bar in bars.items()]
        return reduce(Column.__or__, above, F.lit(False))

    is_in_force = F.col("found_under").isin(sorted({version, *equivalent}))
    is_plain = (F.size("segments") == 0) & F.col("corrections").isNull() & F.forall("spans", is_accepted)
    return F.coalesce(is_in_force & is_plain, F.lit(False))


def _settled_rows(inputs: StageInputs, rules: DataFrame, settings: Settings) -> DataFrame:
    """Final rows of settled notes that are still there with this text."""
    nothing = F.lit(None).cast("array<struct<start:int>>")  # as where no segment was answered
    told = rules.drop("segments").withColumns({"results": nothing, "n_open_segments": F.lit(0)})
    todo = _not_done(inputs, told, settings)
    places = inputs.table(schemas.NOTES).select("note_key", "text_hash")
    return todo.join(places, ["note_key", "text_hash"], "left_semi").select(*_FINAL.names)


def _not_done(inputs: StageInputs, told: DataFrame, settings: Settings) -> DataFrame:
    """``told`` with its ``input_hash``; where whole tables are compared, without rows that stand already."""
    hashed = told.withColumn("input_hash", _input_hash(settings))
    if inputs.is_incremental:
        return hashed
    return inputs.without_written(hashed, schemas.ANNOTATIONS, keys=("note_key", "input_hash"))


def _input_hash(settings: Settings) -> Column:
    parts = [
        "text_hash",
        F.col("context_hash").cast("string"),
        "knowledge_version",
        F.lit(str(settings.annotate.judge_accept_logit)),
        F.to_json("spans"),
        F.to_json("results"),
        F.coalesce(F.to_json("corrections"), F.lit("")),
        F.col("n_open_segments").cast("string"),
    ]
    return F.sha2(F.concat_ws("|", *parts), 256)


def _answers_in_force(answers: DataFrame, files: ConfFiles) -> DataFrame:
    """One answer per segment: to today's prompts where there is one, else the newest to others."""
    names = sorted(compile_prompts(files, load_categories(files)).list_prompts())
    known = F.array(*map(F.lit, names))
    gone = F.filter(
        F.coalesce("prompts", F.array()),
        lambda name: ~(F.array_contains(known, name) | name.endswith(f":{NO_VERSION}")),
    )
    answer = F.struct("verdicts", F.col("spans").alias("found"), "outcome")
    rank = F.struct(F.size(gone) == 0, "run_id", "unit_id")
    return answers.groupBy("segment_key").agg(F.max_by(answer, rank).alias("a")).select("segment_key", "a.*")


def _with_corrections(inputs: StageInputs, rules: DataFrame) -> DataFrame:
    """Per note: what people said about its text, in order, ``null`` for nothing."""
    corrections = inputs.table(schemas.CORRECTIONS)
    if inputs.is_incremental:
        corrections = corrections.join(rules.select("note_key"), "note_key", "left_semi")
    correction = F.struct("made_at", "start", "end", "category", "tier", "action")
    spoken = corrections.groupBy("note_key", "text_hash").agg(
        F.sort_array(F.collect_list(correction)).alias("corrections")
    )
    return rules.join(spoken, ["note_key", "text_hash"], "left")


def _with_answers(inputs: StageInputs, rules: DataFrame, files: ConfFiles) -> DataFrame:
    """Per note: rule spans, what the model answered for its segments, open segments."""
    asked = rules.select("note_key", F.explode("segments").alias("o")).select("note_key", "o.*")
    given = inputs.table(schemas.SEGMENT_ANNOTATIONS)
    if inputs.is_incremental:
        given = given.join(asked.select("segment_key").distinct(), "segment_key", "left_semi")
    answered = asked.join(_answers_in_force(given, files), "segment_key", "left")
    result = F.struct("start", "end", "verdicts", F.col("found").alias("spans"), "outcome", "segment_key")
    grouped = answered.groupBy("note_key").agg(
        F.sort_array(F.collect_list(F.when(F.col("outcome").isNotNull(), result))).alias("results"),
        F.sum(F.when(F.col("outcome").isNull(), 1).otherwise(0)).cast("int").alias("n_open_segments"),
    )
    joined = rules.drop("segments").join(grouped, "note_key", "left")
    return joined.withColumn("n_open_segments", F.coalesce("n_open_segments", F.lit(0)))


def _decider(settings: Settings) -> Any:
    files, default = dict(settings.files), settings.annotate.judge_accept_logit

    def decide(batches: Iterator[pa.RecordBatch]) -> Iterator[pa.RecordBatch]:
        engine = compile_rules(files)
        bars = {c.id: float(c.prompt.get("accept_logit", default)) for c in engine.categories.values()}
        for batch in batches:
            yield from pack_rows((_decide(row, engine, bars) for row in batch.to_pylist()), _FINAL)

    return decide


def _decide(row: Mapping[str, Any], engine: RuleEngine, bars: Mapping[str, float]) -> dict[str, Any]:
    note = note_of(row)
    rule_spans = tuple(span_of(span) for span in row["spans"])
    judged = apply_results(note, rule_spans, [_result(result, bars) for result in row["results"] or ()])
    corrected = _apply_corrections(judged, row["corrections"] or ())
    spans = engine.finalise(note, corrected)
    return {
        "note_key": note.note_key,
        "text_hash": row["text_hash"],
        "spans": [span_row(span) for span in spans],
        "n_open_segments": row["n_open_segments"],
        "knowledge_version": row["knowledge_version"],
        "input_hash": row["input_hash"],
        "_is_new": row["_is_new"],
    }


def _result(row: Mapping[str, Any], bars: Mapping[str, float]) -> SegmentResult:
    """The stored answer under today's bars: a moved threshold needs no new question, only the stored log-odds."""
    return SegmentResult(
        start=row["start"],
        end=row["end"],
        verdicts=tuple(_judge(verdict, bars) for verdict in row["verdicts"] or ()),
        spans=tuple(span_of(span) for span in row["spans"] or ()),
        outcome=row["outcome"],
    )


def _judge(verdict: Mapping[str, Any], bars: Mapping[str, float]) -> Mapping[str, Any]:
    if verdict["is_accepted"] is None or verdict["category"] not in bars:
        return verdict
    return {**verdict, "is_accepted": verdict["log_odds"] >= bars[verdict["category"]]}


def _apply_corrections(spans: tuple[Span, ...], corrections: Any) -> tuple[Span, ...]:
    """People have the last word, in the order they spoke."""
    kept = list(spans)
    for correction in corrections:
        place = (correction["start"], correction["end"], correction["category"])
        kept = [span for span in kept if (span.start, span.end, span.category) != place]
        if correction["action"] == "add":
            tier_rule = "person" if correction["tier"] else ""
            kept = [s for s in kept if s.end <= place[0] or s.start >= place[1]]
            kept.append(Span(*place, tier=correction["tier"], source="person", rule="person", tier_rule=tier_rule))
    return tuple(sorted(kept, key=lambda span: (span.start, span.end)))

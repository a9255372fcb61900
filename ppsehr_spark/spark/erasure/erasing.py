"""An erasure from request to certificate, in steps that are marked when done.

Knows: the order of steps and what each leaves behind. Must not know: how a step is done. Tombstones come first (nobody
brings the person back meanwhile), then the list of what is theirs, then rows, then history, then the search; a step
that is marked is not done twice, one that was killed is done again. No stage may run beside an erasure:
the versions it has read go.

Crash points: ``erase.after_tombstones``, ``erase.after_plan``, ``erase.after_successor``, ``erase.after_release``,
``erase.after_segments``, ``erase.after_rows``, ``erase.after_first_purge``, ``erase.after_purge``,
``erase.after_search``, ``erase.after_certificate``, ``erase.after_row``.
"""

from __future__ import annotations

from collections.abc import Collection, Mapping
from dataclasses import asdict, dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from pyspark.sql import DataFrame, SparkSession

from ppsehr_spark.config import Settings
from ppsehr_spark.domain.identity import load_key
from ppsehr_spark.errors import QualityGateError
from ppsehr_spark.lake import schemas
from ppsehr_spark.lake.audit_log import append_entry
from ppsehr_spark.lake.crash_points import crash_point
from ppsehr_spark.lake.erasure_certificate import hash_text, make_certificate, render_zh, to_json
from ppsehr_spark.lake.erasure_request import ErasureRequest
from ppsehr_spark.lake.erasure_traces import list_learners
from ppsehr_spark.lake.erasure_work import ErasureWork, list_open, write_certificate
from ppsehr_spark.lake.erasures import (
    ErasureOrder,
    add_certificate,
    add_tombstones,
    hash_person,
    name_erasure,
    read_tombstones,
)
from ppsehr_spark.lake.release_withdrawal import find_releases, withdraw_releases
from ppsehr_spark.lake.row_removal import count_lessons, forget_evidence, remove_rows, remove_sketches
from ppsehr_spark.lake.schemas import TABLES, TableSpec
from ppsehr_spark.lake.tables import Lake
from ppsehr_spark.spark.erasure.planning import (
    NOTE,
    PATIENT,
    REMOVED,
    SEGMENT,
    PersonKeys,
    count_rows,
    count_segments,
    find_keys,
    held,
    source_ids_of,
    texts_of,
)
from ppsehr_spark.spark.erasure.removing import delete_rows, purge_history, strip_units
from ppsehr_spark.spark.erasure.searching import (
    GIVEN_ID,
    SOURCE_ID,
    TEXTS,
    find_named_rejects,
    search_lake,
    write_traces,
)
from ppsehr_spark.spark.maintenance.rounds import Caretaker
from ppsehr_spark.spark.maintenance.spill import list_event_logs, list_spill, remove_stale_spill

REJECT = "reject"
#: Mark of an erasure whose search found something.
AGAIN = "again"
#: Tables that may hold something of a person, besides those whose rows are marked only.
PURGED: tuple[TableSpec, ...] = (
    *(spec for spec in TABLES.values() if spec.zone == "phi"),
    schemas.PROTECTED_NOTES,
    schemas.RELEASED_NOTES,
)


@dataclass(frozen=True)
class Outcome:
    """What an erase run came to.

    Attributes:
        certificates: path and SHA-256 of the certificates written by this run.
        n_rows: rows removed, over all tables.
        n_elsewhere: files outside the lake that hold something of the persons; nobody but their owner removes them.
    """

    certificates: tuple[tuple[str, str], ...] = ()
    n_persons: int = 0
    n_rows: int = 0
    n_elsewhere: int = 0


@dataclass(frozen=True)
class Eraser:
    """What every step needs.

    Attributes:
        elsewhere: folders of this machine that are searched beside the lake.
    """

    spark: SparkSession
    lake: Lake
    settings: Settings
    run_id: str
    elsewhere: Collection[Path] = ()

    @property
    def caretaker(self) -> Caretaker:
        """For purge, VACUUM and checkpoints."""
        return Caretaker(self.lake, lambda: self.spark)


def erase_persons(eraser: Eraser, request: ErasureRequest) -> Outcome:
    """Finish what an earlier run has left, then erase the persons of this request unless that is done.

    Raises:
        QualityGateError: ``ERASURE_INCOMPLETE`` when something of a person still lies in the lake; the erasure stays
            open and the next run goes on.
    """
    outcomes = [_complete(eraser, work) for work in list_open(eraser.lake) if _is_ordered(work)]
    if not _is_done(eraser, request):
        outcomes.append(_complete(eraser, _open(eraser, request)))
    return Outcome(
        tuple(pair for outcome in outcomes for pair in outcome.certificates),
        sum(outcome.n_persons for outcome in outcomes),
        sum(outcome.n_rows for outcome in outcomes),
        sum(outcome.n_elsewhere for outcome in outcomes),
    )


def preview_erasure(spark: SparkSession, lake: Lake, request: ErasureRequest) -> dict[str, Any]:
    """For ``--dry-run``: counts only."""
    with held(find_keys(spark, lake, _frame(spark, request.patient_keys))) as keys:
        rows, segments = count_rows(spark, lake, keys), count_segments(keys)
    return {
        "persons": request.n_persons,
        "known_patients": rows.get(schemas.PATIENTS.full_name, 0),
        "rows": rows,
        "segments": segments,
        "unfinished_erasures": len(list_open(lake)),
    }


def _frame(spark: SparkSession, keys: Collection[str]) -> DataFrame:
    return spark.createDataFrame([(key,) for key in sorted(keys)], "key string")


def _is_done(eraser: Eraser, request: ErasureRequest) -> bool:
    """Everybody has a tombstone and nobody has a row."""
    key = load_key(eraser.settings.identity.key_file)
    hashes = {hash_person(key, patient_key) for patient_key in request.patient_keys}
    if not hashes <= read_tombstones(eraser.lake):
        return False
    with held(find_keys(eraser.spark, eraser.lake, _frame(eraser.spark, request.patient_keys))) as keys:
        counted = count_rows(eraser.spark, eraser.lake, keys)
    by_person = {name for name, (_, kind) in REMOVED.items() if kind != SEGMENT} | {schemas.RELEASED_NOTES.full_name}
    return not any(n for name, n in counted.items() if name in by_person)


def _open(eraser: Eraser, request: ErasureRequest) -> ErasureWork:
    key = load_key(eraser.settings.identity.key_file)
    work = ErasureWork(eraser.lake, name_erasure(eraser.lake, key, request.patient_keys))
    work.write_keys(PATIENT, request.patient_keys)
    work.write_keys(GIVEN_ID, request.ids)
    opened_at = datetime.now(UTC).isoformat(timespec="seconds")
    order = ErasureOrder(work.erasure_id, request.reason, request.requested_by, opened_at, request.n_persons)
    work.mark("order", asdict(order))
    return work


def _is_ordered(work: ErasureWork) -> bool:
    """False for a folder whose run died before it had begun; it is removed."""
    if work.done("order") is None:
        work.remove()
        return False
    return True


def _complete(eraser: Eraser, work: ErasureWork) -> Outcome:
    """Do every step that is not marked yet."""
    order = ErasureOrder(**(work.done("order") or {}))
    key = load_key(eraser.settings.identity.key_file)
    hashes = [hash_person(key, patient_key) for patient_key in work.read_keys(PATIENT).to_pylist()]
    add_tombstones(eraser.lake, order, hashes, run_id=eraser.run_id)
    crash_point("erase.after_tombstones")
    plan = work.done("plan") or _plan(eraser, work)
    crash_point("erase.after_plan")
    if work.done("release") is None:
        patients = work.read_keys(PATIENT)
        work.mark("release", asdict(withdraw_releases(eraser.lake, eraser.settings, patients, run_id=eraser.run_id)))
    crash_point("erase.after_release")
    _remove(eraser, work, plan)
    crash_point("erase.after_rows")
    for spec in PURGED:
        if spec.full_name in plan["versions"] and work.done(f"purge.{spec.full_name}") is None:
            work.mark(f"purge.{spec.full_name}", purge_history(eraser.caretaker, spec))
            crash_point("erase.after_first_purge")
    crash_point("erase.after_purge")
    return _certify(eraser, work, order, plan)


def _plan(eraser: Eraser, work: ErasureWork) -> dict[str, Any]:
    """Write down all lists and figures; from here on nothing has to be derived from rows again."""
    spark, lake = eraser.spark, eraser.lake
    found = find_keys(spark, lake, spark.read.parquet(work.keys_uri(PATIENT)))
    for kind, frame in found.by_kind().items():
        if kind != PATIENT:
            frame.write.mode("overwrite").parquet(work.keys_uri(kind))
    keys = _read_keys(spark, work, found)
    source_ids_of(spark, lake, keys).write.mode("overwrite").parquet(work.keys_uri(SOURCE_ID))
    texts_of(spark, lake, keys).write.mode("overwrite").parquet(work.keys_uri(TEXTS))
    told = write_traces(work)
    find_named_rejects(spark, work).write.mode("overwrite").parquet(work.keys_uri(REJECT))
    versions = {spec.full_name: lake.version(spec) for spec in PURGED}
    rows = {**count_rows(spark, lake, keys), schemas.REJECTS.full_name: len(work.read_keys(REJECT))}
    plan = {
        "rows": rows,
        "versions": {name: version for name, version in versions.items() if version is not None},
        "segments": count_segments(keys),
        "knowledge_rows": count_lessons(lake, set(work.read_keys(NOTE).to_pylist())),
        "learnt": list_learners(lake, work.read_keys(PATIENT)),
        "n_releases": len(find_releases(lake, work.read_keys(PATIENT))),
        **told,
    }
    work.mark("plan", plan)
    return plan


def _read_keys(spark: SparkSession, work: ErasureWork, found: PersonKeys) -> PersonKeys:
    """The lists as they stand in the folder."""
    return PersonKeys(*(spark.read.parquet(work.keys_uri(kind)) for kind in found.by_kind()))


def _remove(eraser: Eraser, work: ErasureWork, plan: Mapping[str, Any]) -> None:
    """Rows of every table that has some, each table marked when it is done."""
    spark, lake = eraser.spark, eraser.lake

    def once(step: str, action: Any) -> None:
        if work.done(f"rows.{step}") is None:
            action()
            work.mark(f"rows.{step}")

    if plan["segments"]["removed"]:
        once("units", lambda: strip_units(spark, lake, spark.read.parquet(work.keys_uri(SEGMENT))))
    for name, (column, kind) in REMOVED.items():
        spec = TABLES[name]
        if not plan["rows"].get(name) and work.done(AGAIN) is None:
            continue
        if spec.engine == "spark":
            frame = spark.read.parquet(work.keys_uri(kind))
            once(name, lambda spec=spec, column=column, frame=frame: delete_rows(spark, lake, spec, column, frame))
        else:
            keys = work.read_keys(kind)
            once(name, lambda spec=spec, column=column, keys=keys: remove_rows(lake, spec, column, keys))
        crash_point(f"erase.after_{spec.name}")
    rejects = spark.read.parquet(work.keys_uri(REJECT))
    if plan["rows"][schemas.REJECTS.full_name]:
        once("rejects", lambda: delete_rows(spark, lake, schemas.REJECTS, "reject_key", rejects))
    once("sketches", lambda: remove_sketches(lake))
    once("knowledge", lambda: forget_evidence(lake, set(work.read_keys(NOTE).to_pylist())))


def _certify(eraser: Eraser, work: ErasureWork, order: ErasureOrder, plan: Mapping[str, Any]) -> Outcome:
    """Search, certificate, audit entry, row; the working folder goes last."""
    if work.done("cleaning") is None:
        spill = remove_stale_spill(eraser.spark, hours=eraser.settings.maintain.spill_hours)
        work.mark("cleaning", {"spill_folders": spill})
    report = work.done("search") or _search(eraser, work, int(plan["short_ids"]))
    crash_point("erase.after_search")
    if work.done("certificate") is None:
        marks = {f"purge.{name}": work.done(f"purge.{name}") or {} for name in plan["versions"]}
        marks |= {step: work.done(step) or {} for step in ("release", "cleaning", "search")}
        finished_at = datetime.now(UTC).isoformat(timespec="seconds")
        facts = make_certificate(order, plan=plan, marks=marks, run_id=eraser.run_id, finished_at=finished_at)
        work.mark("certificate", facts)
    facts = work.done("certificate") or {}
    text = to_json(facts)
    sha256 = hash_text(text)
    path = write_certificate(eraser.lake, order.erasure_id, json_text=text, zh_text=render_zh(facts, sha256=sha256))
    crash_point("erase.after_certificate")
    _close(eraser, work, order, facts, path, sha256)
    n_rows = sum(plan["rows"].values())
    return Outcome(((path, sha256),), order.n_persons, n_rows, len(report["hits_elsewhere"]))


def _search(eraser: Eraser, work: ErasureWork, n_short_ids: int) -> dict[str, Any]:
    folders = [*list_spill(eraser.spark), *list_event_logs(eraser.spark), *eraser.elsewhere]
    report = asdict(search_lake(eraser.spark, work, elsewhere=folders, n_short_ids=n_short_ids))
    if report["hits"]:
        hint = "something of the persons still lies in the lake; see that no stage runs, then run erase again"
        first = min(report["hits"]).split("/")[:2]
        work.mark(AGAIN)  # somebody wrote meanwhile: the next run looks into every table once more
        work.unmark("rows.", "purge.")
        raise QualityGateError("ERASURE_INCOMPLETE", files=len(report["hits"]), first=".".join(first), hint=hint)
    work.mark("search", report)
    return report


def _close(
    eraser: Eraser, work: ErasureWork, order: ErasureOrder, facts: Mapping[str, Any], path: str, sha256: str
) -> None:
    if work.done("audit") is None:
        told = {"reason": order.reason, "requested_by": order.requested_by, "n_persons": order.n_persons}
        append_entry(
            eraser.lake,
            actor="job:erase",
            action="erase",
            target=order.erasure_id,
            run_id=eraser.run_id,
            details={**told, "certificate": path, "sha256": sha256},
        )
        work.mark("audit")
    rows = {name: row["rows_removed"] for name, row in facts["tables"].items()}
    versions = {name: [row["version_before"], row["version_after"]] for name, row in facts["tables"].items()}
    told = {"rows_removed": rows, "versions": versions, "learnt": facts["learnt_from_them"]}
    add_certificate(eraser.lake, order, {**told, "path": path, "sha256": sha256}, run_id=eraser.run_id)
    crash_point("erase.after_row")
    work.remove()

"""One way to run a job: arguments, settings, run id, skip-if-unchanged, run record, exit code, crash points.

Knows: the order of these and the exit codes. Must not know: what a job does, Spark, Ray. An exception that is not
ours is reported by class and place only, because its message may quote a cell.
"""

from __future__ import annotations

import argparse
import json
import os
import secrets
import signal
import sys
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field, replace
from datetime import UTC, datetime
from typing import Any

from tqdm import tqdm

from ppsehr_spark import __version__
from ppsehr_spark.config import Settings, hash_values, load_settings
from ppsehr_spark.domain.taxonomy import ConfFiles
from ppsehr_spark.errors import ExitCode, InputError, PpsehrError
from ppsehr_spark.lake.audit_log import append_entry
from ppsehr_spark.lake.change_feeds import Pins, Reading, plan_reading
from ppsehr_spark.lake.crash_points import crash_point
from ppsehr_spark.lake.knowledge_store import with_knowledge
from ppsehr_spark.lake.lake_identity import check_identity
from ppsehr_spark.lake.schemas import TableSpec
from ppsehr_spark.lake.tables import Lake
from ppsehr_spark.operations.deaths import leave_mark, remove_mark, settle_deaths
from ppsehr_spark.operations.metrics import write_stage_metrics
from ppsehr_spark.operations.plans import describe_plan, estimate_run
from ppsehr_spark.operations.records import OK, PARTIAL, RunEnd, RunStart, append_run, end_of_error, is_done
from ppsehr_spark.operations.reporting import (
    Reporter,
    describe_exception,
    is_json_by_environment,
    route_libraries,
    wants_json,
)
from ppsehr_spark.operations.versions import resource_versions
from ppsehr_spark.operations.volumes import measure_table, measure_tables


@dataclass(frozen=True)
class RunContext:
    """What a job body gets.

    Attributes:
        stage: job name.
        settings: frozen settings of the run.
        lake: the lake that ``--lake`` names.
        run_id: one id for all stages of a pipeline run.
        arguments: the job's own arguments.
        conf: conf files as they lie on disk, without the knowledge base.
        pins: table versions and conf of this run, read before the body starts.
        done: counts that a body writes as it goes; they stand in the row of a run that fails.
    """

    stage: str
    settings: Settings
    lake: Lake
    run_id: str
    arguments: argparse.Namespace
    conf: ConfFiles = field(default_factory=dict)
    pins: Pins = field(default_factory=Pins)
    done: dict[str, int | float] = field(default_factory=dict)

    def reading(self) -> Reading:
        """At which versions the inputs are read, and whether their change feeds are followed or all is compared."""
        arguments = self.arguments
        reading = plan_reading(self.lake, self.pins, is_full=arguments.full or arguments.force)
        if arguments.explain:
            self.reporter.say("explain", reading.reason)
        return reading

    @property
    def reporter(self) -> Reporter:
        """Where the job's lines go."""
        return Reporter(self.stage, self.run_id, wants_json(self.settings.log.format))

    def progress(self, total: int | None = None, *, unit: str) -> Any:
        """A tqdm bar on stderr, off when stderr is not a terminal or is read by a machine."""
        is_off = True if self.reporter.is_json else None
        return tqdm(total=total, unit=unit, desc=self.stage, file=sys.stderr, disable=is_off)


@dataclass(frozen=True)
class StageResult:
    """What a job body returns: counts for the run record, whether something was left undone, and the output versions
    that it made sure are its own (``lake.change_feeds``); else they are read when the run is recorded.
    """

    counts: Mapping[str, int | float] = field(default_factory=dict)
    is_partial: bool = False
    output_versions: Mapping[str, int | None] | None = None


@dataclass(frozen=True)
class Stage:
    """A job as ``run_job`` sees it.

    Attributes:
        name: job name, also the file name under ``jobs/``.
        help: one line for ``--help``.
        body: does the work.
        inputs: tables whose versions decide whether there is anything to do.
        conf_sections: settings sections the result depends on.
        conf_files: prefixes of conf files the result depends on.
        add_arguments: adds the job's own arguments.
        fingerprint: extra parts of the input fingerprint (a file listing); ``None`` never skips.
        plan: for ``--dry-run``: what would be done, as names and figures.
        writes: tables the job writes; it is their one writer.
        example: command line for ``--help``.
        uses_knowledge: the version of phi.knowledge in force is laid over conf, so a new one changes the fingerprint.
        follows_changes: reads the change feeds of its inputs where it can; ``--full`` compares whole tables.
        work: how many rows of work lie ahead, for estimates; the rows of the first input by default.
        work_count: name of the count that says afterwards how many were done; they are known before by default.
    """

    name: str
    help: str
    body: Callable[[RunContext], StageResult]
    inputs: tuple[TableSpec, ...] = ()
    conf_sections: tuple[str, ...] = ()
    conf_files: tuple[str, ...] = ()
    add_arguments: Callable[[argparse.ArgumentParser], None] | None = None
    fingerprint: Callable[[RunContext], object] | None = None
    plan: Callable[[RunContext], Mapping[str, object]] | None = None
    writes: tuple[TableSpec, ...] = ()
    example: str = ""
    uses_knowledge: bool = False
    follows_changes: bool = False
    work: Callable[[RunContext], int | None] | None = None
    work_count: str = ""


def run_job(stage: Stage, argv: Sequence[str] | None = None) -> int:
    """Parse the command line, run the stage once and record it.

    Returns:
        The process exit code (``errors.ExitCode``).
    """
    options = _parser(stage).parse_args(argv)
    options.run_id = options.run_id or new_run_id()
    reporter = Reporter(stage.name, options.run_id, is_json_by_environment())
    try:
        with _interruptible():
            settings = load_settings(options.profile, options.set, options.conf)
            reporter = Reporter(stage.name, options.run_id, wants_json(settings.log.format))
            return _run(stage, options, settings)
    except PpsehrError as error:
        reporter.say_error(error)
        return int(error.exit_code)
    except (KeyboardInterrupt, SystemExit):  # Ray turns SIGTERM into the latter
        reporter.say("INTERRUPTED", "interrupted; run it again to go on", level="error")
        return int(ExitCode.INFRASTRUCTURE)
    except Exception as error:  # last door: the message of a foreign exception may hold a cell value
        said = describe_exception(error)
        reporter.say("UNEXPECTED", f"UNEXPECTED {said}", level="error", error=said)
        return int(ExitCode.INFRASTRUCTURE)


@contextmanager
def _interruptible() -> Iterator[None]:
    """SIGTERM ends a job as Ctrl-C does, so that its row is written; a body may set a handler of its own."""
    try:
        previous = signal.signal(signal.SIGTERM, signal.default_int_handler)
    except ValueError:  # not the main thread: whoever runs it there hears the signals
        yield
        return
    try:
        yield
    finally:
        signal.signal(signal.SIGTERM, previous)


def new_run_id() -> str:
    """A sortable id: UTC time and 4 random hex digits."""
    return f"{datetime.now(UTC):%Y%m%dT%H%M%S}-{secrets.token_hex(2)}"


def _parser(stage: Stage) -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(
        prog=f"jobs/{stage.name}.py",
        description=stage.help,
        epilog=f"example:\n  {stage.example}" if stage.example else None,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    parser.add_argument("--lake", required=True, metavar="URI", help="lake root (file, s3a or hdfs URI, or a path)")
    parser.add_argument("--run-id", default="", help="id of the pipeline run; a new one by default")
    parser.add_argument("--profile", default=os.environ.get("PPSEHR_PROFILE", "laptop"), help="conf/profiles/NAME.toml")
    parser.add_argument("--conf", default=None, metavar="DIR", help="conf folder (default: PPSEHR_CONF, then ours)")
    parser.add_argument("--set", action="append", default=[], metavar="SECTION.KEY=VALUE", help="override a setting")
    parser.add_argument("--dry-run", action="store_true", help="print what would be done and write nothing")
    parser.add_argument("--explain", action="store_true", help="say why the stage runs or is skipped")
    parser.add_argument("--force", action="store_true", help="run even when nothing changed since the last run")
    if stage.follows_changes:
        parser.add_argument("--full", action="store_true", help="compare whole tables instead of following changes")
    if stage.add_arguments:
        stage.add_arguments(parser)
    return parser


def _run(stage: Stage, options: argparse.Namespace, plain: Settings) -> int:
    lake = Lake(options.lake)
    if wants_json(plain.log.format):
        route_libraries()
    settings = with_knowledge(lake, plain) if stage.uses_knowledge else plain
    context = RunContext(stage.name, settings, lake, options.run_id, options, plain.files)
    context = replace(context, pins=_pin(stage, context))
    if options.dry_run:
        print(json.dumps(_plan(stage, context), ensure_ascii=False))
        return int(ExitCode.OK)
    start = RunStart(context.run_id, stage.name, started_at=datetime.now(UTC))
    with context.reporter.tolerate("RUN_NOT_RECORDED"):
        settle_deaths(lake, settings)
    try:
        check_identity(context.lake, context.settings.identity.key_file)
        fingerprint = _fingerprint(stage, context)
    except PpsehrError as error:
        _record_failure(stage, context, start, error)
        raise
    if fingerprint and not options.force and is_done(context.lake, stage.name, fingerprint):
        context.reporter.say("unchanged", "unchanged, nothing to do")
        return int(ExitCode.OK)
    if options.explain:
        inputs = dict(context.pins.inputs)
        context.reporter.say("explain", f"inputs {inputs} not seen before with this conf", inputs=inputs)
    return _run_and_record(stage, context, _begin(stage, context, fingerprint))


def _begin(stage: Stage, context: RunContext, fingerprint: str) -> RunStart:
    """What the run record says of the inputs: read before the body changes a table."""
    resources = resource_versions(
        context.lake,
        context.settings,
        stage=stage.name,
        conf_sections=stage.conf_sections,
        conf_files=stage.conf_files,
        uses_knowledge=stage.uses_knowledge,
    )
    return RunStart(
        run_id=context.run_id,
        stage=stage.name,
        fingerprint=fingerprint,
        conf_fingerprint=context.pins.conf_fingerprint,
        input_versions=context.pins.inputs,
        work_rows=None if stage.work_count else _work_rows(stage, context),
        resources=resources,
    )


def _run_and_record(stage: Stage, context: RunContext, start: RunStart) -> int:
    mark = leave_mark(context.lake, start)
    try:
        result = stage.body(context)
        crash_point(f"{stage.name}.before_record")
    except (Exception, KeyboardInterrupt, SystemExit) as error:
        _record_failure(stage, context, start, error, mark=mark)
        raise
    code = ExitCode.PARTIAL if result.is_partial else ExitCode.OK
    outputs = result.output_versions or _outputs(stage, context.lake)
    done = {"work_rows": int(result.counts.get(stage.work_count, 0))} if stage.work_count else {}
    end = RunEnd(PARTIAL if result.is_partial else OK, int(code), counts=result.counts, output_versions=outputs)
    row = append_run(context.lake, context.settings, replace(start, **done), end)
    remove_mark(context.lake, mark)
    append_entry(
        context.lake,
        actor=f"job:{stage.name}",
        action="run",
        target=stage.name,
        run_id=context.run_id,
        details=dict(result.counts),
    )
    _write_metrics(context)
    listed = " ".join(f"{name}={value}" for name, value in result.counts.items())
    text = f"{row['status']} in {row['seconds']:.1f} s {listed}"
    context.reporter.say("finished", text, status=row["status"], seconds=round(row["seconds"], 3), counts=result.counts)
    return int(code)


def _record_failure(
    stage: Stage, context: RunContext, start: RunStart, error: BaseException, *, mark: str = ""
) -> None:
    """The row of a run that did not end well; a lake that cannot be written must not hide why."""
    with context.reporter.tolerate("RUN_NOT_RECORDED"):
        end = replace(end_of_error(error), counts=context.done, output_versions=_outputs(stage, context.lake))
        append_run(context.lake, context.settings, start, end)
        if mark:
            remove_mark(context.lake, mark)
        _write_metrics(context)


def _write_metrics(context: RunContext) -> None:
    with context.reporter.tolerate("METRICS_NOT_WRITTEN"):
        write_stage_metrics(context.lake, context.settings, context.stage)


def _plan(stage: Stage, context: RunContext) -> dict[str, object]:
    """What ``--dry-run`` prints; writes nothing."""
    more = dict(stage.plan(context)) if stage.plan else {}
    work_rows = _work_rows(stage, context)
    budget = getattr(getattr(context.settings, stage.name, None), "token_budget", None)
    return describe_plan(
        stage=stage.name,
        inputs=measure_tables(context.lake, stage.inputs),
        writes=[spec.full_name for spec in stage.writes],
        work_rows=work_rows,
        would_run=context.arguments.force or not _is_unchanged(stage, context),
        estimate=estimate_run(context.lake, stage=stage.name, work_rows=work_rows, token_budget=budget),
        more=more,
    )


def _is_unchanged(stage: Stage, context: RunContext) -> bool:
    try:
        fingerprint = _fingerprint(stage, context)
    except InputError:  # what an earlier stage has still to write
        return False
    return bool(fingerprint) and is_done(context.lake, stage.name, fingerprint)


def _work_rows(stage: Stage, context: RunContext) -> int | None:
    if stage.work:
        return stage.work(context)
    first = measure_table(context.lake, stage.inputs[0]) if stage.inputs else None
    return None if first is None or first.version is None else first.rows


def _pin(stage: Stage, context: RunContext) -> Pins:
    """Outputs first: whoever writes them from here on is noticed."""
    return Pins(
        stage=stage.name,
        outputs=_outputs(stage, context.lake),
        inputs=_versions(stage, context.lake),
        conf_fingerprint=_conf_fingerprint(stage, context),
        writer=f"{context.run_id}.{secrets.token_hex(4)}",
    )


def _versions(stage: Stage, lake: Lake) -> dict[str, int | None]:
    return {spec.full_name: lake.version(spec) for spec in stage.inputs}


def _outputs(stage: Stage, lake: Lake) -> dict[str, int | None]:
    return {spec.full_name: lake.version(spec) for spec in stage.writes}


def _fingerprint(stage: Stage, context: RunContext) -> str:
    """Hash of code, settings and input versions; empty when the stage never skips."""
    if stage.fingerprint is None and not stage.inputs:
        return ""
    return hash_values(
        {
            "conf": context.pins.conf_fingerprint,
            "inputs": dict(context.pins.inputs),
            "extra": stage.fingerprint(context) if stage.fingerprint else None,
        }
    )


def _conf_fingerprint(stage: Stage, context: RunContext) -> str:
    conf = context.settings.partial_hash(stage.conf_sections, stage.conf_files)
    return hash_values({"stage": stage.name, "code": __version__, "conf": conf})

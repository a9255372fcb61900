"""One way to run a job: arguments, settings, run id, skip-if-unchanged, run record, exit code, crash points.

Knows: ``control.runs`` and the exit codes. Must not know: what a job does, Spark, Ray. An exception that is not
ours is reported by class and place only, because its message may quote a cell.
"""

from __future__ import annotations

import argparse
import json
import os
import re
import secrets
import sys
import time
import traceback
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import pyarrow as pa
from tqdm import tqdm

from ppsehr_spark import __version__
from ppsehr_spark.config import Settings, hash_values, load_settings
from ppsehr_spark.domain.identity import create_key, key_fingerprint, load_key
from ppsehr_spark.domain.taxonomy import ConfFiles
from ppsehr_spark.errors import ConfigurationError, ExitCode, PpsehrError
from ppsehr_spark.lake import schemas
from ppsehr_spark.lake.audit_log import append_entry
from ppsehr_spark.lake.change_feeds import Pins, Reading, plan_reading
from ppsehr_spark.lake.crash_points import crash_point
from ppsehr_spark.lake.knowledge_store import with_knowledge
from ppsehr_spark.lake.schemas import TableSpec
from ppsehr_spark.lake.tables import Lake

#: An error of ours quoted inside a foreign one (Spark and Ray repeat the worker's traceback); its fields are safe.
_WORKER_ERROR = re.compile(r"ppsehr_spark\.errors\.\w+: ([A-Z][A-Z_]+(?: [a-z_]+=[\w.:+-]+)*)")


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
    """

    stage: str
    settings: Settings
    lake: Lake
    run_id: str
    arguments: argparse.Namespace
    conf: ConfFiles = field(default_factory=dict)
    pins: Pins = field(default_factory=Pins)

    def reading(self) -> Reading:
        """At which versions the inputs are read, and whether their change feeds are followed or all is compared."""
        arguments = self.arguments
        reading = plan_reading(self.lake, self.pins, is_full=arguments.full or arguments.force)
        if arguments.explain:
            print(f"{self.stage}: {reading.reason}", file=sys.stderr)
        return reading

    def progress(self, total: int | None = None, *, unit: str) -> Any:
        """A tqdm bar on stderr, off when stderr is not a terminal."""
        return tqdm(total=total, unit=unit, desc=self.stage, file=sys.stderr, disable=None)


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


def run_job(stage: Stage, argv: Sequence[str] | None = None) -> int:
    """Parse the command line, run the stage once and record it.

    Returns:
        The process exit code (``errors.ExitCode``).
    """
    options = _parser(stage).parse_args(argv)
    try:
        return _run(stage, options)
    except PpsehrError as error:
        print(f"{stage.name}: {error}", file=sys.stderr)
        return int(error.exit_code)
    except KeyboardInterrupt:
        return int(ExitCode.INFRASTRUCTURE)
    except Exception as error:  # last door: the message of a foreign exception may hold a cell value
        print(f"{stage.name}: UNEXPECTED {describe_exception(error)}", file=sys.stderr)
        return int(ExitCode.INFRASTRUCTURE)


def describe_exception(error: BaseException) -> str:
    """Class and innermost place of an exception, never its message; our own errors say their code."""
    if isinstance(error, PpsehrError):
        return str(error)
    frames = traceback.extract_tb(error.__traceback__)
    at = f"{Path(frames[-1].filename).name}:{frames[-1].lineno}" if frames else "?"
    condition = getattr(error, "getCondition", lambda: None)()  # Spark's error class, a constant of Spark
    worker = _WORKER_ERROR.search(str(error))
    said = [f"error={type(error).__name__} at={at}", f"condition={condition}" if condition else ""]
    return " ".join(part for part in (*said, f"worker: {worker[1]}" if worker else "") if part)


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


def _run(stage: Stage, options: argparse.Namespace) -> int:
    plain, lake = load_settings(options.profile, options.set, options.conf), Lake(options.lake)
    settings = with_knowledge(lake, plain) if stage.uses_knowledge else plain
    context = RunContext(stage.name, settings, lake, options.run_id or new_run_id(), options, plain.files)
    context = replace(context, pins=_pins(stage, context))
    if options.dry_run:
        writes = [spec.full_name for spec in stage.writes]
        plan = {"stage": stage.name, "inputs": context.pins.inputs, "writes": writes}
        print(json.dumps({**plan, **(stage.plan(context) if stage.plan else {})}, ensure_ascii=False))
        return int(ExitCode.OK)
    _check_identity(context)
    fingerprint = _fingerprint(stage, context)
    if fingerprint and not options.force and _is_done(context, fingerprint):
        print(f"{stage.name}: unchanged, nothing to do", file=sys.stderr)
        return int(ExitCode.OK)
    if options.explain:
        print(f"{stage.name}: inputs {dict(context.pins.inputs)} not seen before with this conf", file=sys.stderr)
    return _run_and_record(stage, context, fingerprint)


def _run_and_record(stage: Stage, context: RunContext, fingerprint: str) -> int:
    started_at, clock = datetime.now(UTC), time.monotonic()
    result = stage.body(context)
    crash_point(f"{stage.name}.before_record")
    code = ExitCode.PARTIAL if result.is_partial else ExitCode.OK
    outputs = result.output_versions
    row = {
        "run_id": context.run_id,
        "stage": stage.name,
        "fingerprint": fingerprint,
        "status": "partial" if result.is_partial else "ok",
        "exit_code": int(code),
        "counts": json.dumps(result.counts, sort_keys=True),
        "input_versions": json.dumps(context.pins.inputs, sort_keys=True),
        "output_versions": json.dumps(outputs or _versions(stage.writes, context.lake), sort_keys=True),
        "conf_fingerprint": context.pins.conf_fingerprint,
        "conf_hash": context.settings.conf_hash,
        "code_version": __version__,
        "started_at": started_at,
        "seconds": time.monotonic() - clock,
    }
    context.lake.append(schemas.RUNS, pa.Table.from_pylist([row], schema=schemas.RUNS.schema))
    append_entry(
        context.lake,
        actor=f"job:{stage.name}",
        action="run",
        target=stage.name,
        run_id=context.run_id,
        details=dict(result.counts),
    )
    listed = " ".join(f"{name}={value}" for name, value in result.counts.items())
    print(f"{stage.name}: {row['status']} in {row['seconds']:.1f} s {listed}", file=sys.stderr)
    return int(code)


def _pins(stage: Stage, context: RunContext) -> Pins:
    """Outputs first: whoever writes them from here on is noticed."""
    outputs = _versions(stage.writes, context.lake)
    inputs = _versions(stage.inputs, context.lake)
    conf_fingerprint = _conf_fingerprint(stage, context)
    return Pins(stage.name, inputs, outputs, conf_fingerprint, f"{context.run_id}.{secrets.token_hex(4)}")


def _versions(specs: Sequence[TableSpec], lake: Lake) -> dict[str, int | None]:
    return {spec.full_name: lake.version(spec) for spec in specs}


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


def _is_done(context: RunContext, fingerprint: str) -> bool:
    """True when the stage's last run had the same inputs and finished; what an older one wrote is written over."""
    runs = context.lake.read(schemas.RUNS, ["stage", "fingerprint", "status", "started_at"]).to_pylist()
    last = max((run for run in runs if run["stage"] == context.stage), key=lambda run: run["started_at"], default=None)
    return last is not None and (last["fingerprint"], last["status"]) == (fingerprint, "ok")


def _check_identity(context: RunContext) -> None:
    """Create the key of a new lake on its own machine; refuse a key that differs from the lake's."""
    key_file = context.settings.identity.key_file
    known = context.lake.read(schemas.LAKE_INFO).to_pylist()
    stored = [row["value"] for row in known if row["name"] == "identity_key_fingerprint"]
    if not stored and not key_file.startswith("env:"):
        create_key(key_file)
    fingerprint = key_fingerprint(load_key(key_file))
    if not stored:
        row = {"name": "identity_key_fingerprint", "value": fingerprint}
        context.lake.append(
            schemas.LAKE_INFO,
            pa.Table.from_pylist([row], schema=schemas.LAKE_INFO.schema),
            app_id="lake_info.identity",
            app_version=1,
        )
        return
    if fingerprint not in stored:
        raise ConfigurationError("IDENTITY_KEY_CHANGED", hint="this lake was written with another identity key")

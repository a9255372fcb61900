"""The main job: every stage in order, each in a process of its own, then a summary.

Knows: the order of stages and how each is launched. Must not know: what a stage does. No process ever holds both
Spark and Ray. Running it again changes nothing; killed anywhere, running it again ends in the same rows.
"""

from __future__ import annotations

import argparse
import json
import os
import re
import signal
import subprocess
import sys
import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from tqdm import tqdm

from ppsehr_spark.config import Settings, load_settings
from ppsehr_spark.errors import ConfigurationError, ExitCode, PpsehrError, UsageError
from ppsehr_spark.lake.knowledge_store import with_knowledge
from ppsehr_spark.lake.summary import render_summary, summarise_lake
from ppsehr_spark.lake.tables import Lake
from ppsehr_spark.operations.metrics import write_run_metrics
from ppsehr_spark.operations.plans import render_plans
from ppsehr_spark.operations.records import RunStart, record_death
from ppsehr_spark.operations.reporting import Reporter, is_json_by_environment, wants_json
from ppsehr_spark.runtime import new_run_id
from ppsehr_spark.service.drift_door import main as compare_refreshes
from ppsehr_spark.service.release_plan import main as plan_statistics

_JOBS = Path(__file__).resolve().parent
_SECRET = re.compile(r"(?i)secret|password|token|credential(?!s?[.]provider)|access[.]key")


@dataclass(frozen=True)
class PipelineStage:
    """One stage: its job file, its engine, whether it reads the source folder, and flags that only it understands."""

    name: str
    engine: str
    takes_source: bool = False
    flags: tuple[str, ...] = ()


STAGES: tuple[PipelineStage, ...] = (
    PipelineStage("simulate", "spark", takes_source=True),
    PipelineStage("ingest", "spark", takes_source=True, flags=("--snapshot",)),
    PipelineStage("partition", "spark", flags=("--full",)),
    PipelineStage("annotate", "ray"),
    PipelineStage("tier", "spark", flags=("--full",)),
    PipelineStage("protect", "spark", flags=("--full",)),
    PipelineStage("stats", "spark"),
    PipelineStage("fit", "spark"),
    PipelineStage("train", "ray"),
    PipelineStage("synthesize", "ray"),
    PipelineStage("evaluate", "none"),
    PipelineStage("publish", "none"),
)
_EXAMPLES = """examples:
  ppsehr run                                        the demo: simulated sources, rules and Qwen, protected notes
  ppsehr run --lake /data/lake --source /data/export --from ingest --set ingest.source=yidu
  ppsehr run --set annotate.engine=rules            no model at all
  ppsehr run --set simulate.n_patients=2000 --until partition
  ppsehr run --dry-run                              what each stage would do, read, spend and take
  ppsehr run --spark-extra eventlog                 with conf/spark/eventlog.conf laid over the profile's properties"""


def main(argv: Sequence[str] | None = None) -> int:
    """Run the chosen stages; returns the exit code of the first stage that fails, else 0 or 6 (partial)."""
    options = _parser().parse_args(argv)
    try:
        return _run(options)
    except PpsehrError as error:
        Reporter("pipeline", options.run_id, is_json_by_environment()).say_error(error)
        return int(error.exit_code)


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(
        prog="ppsehr run",
        description="Runs the stages " + " -> ".join(stage.name for stage in STAGES) + " and prints a summary.",
        epilog=_EXAMPLES,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    names = [stage.name for stage in STAGES]
    parser.add_argument("--lake", default=".state/lake", metavar="URI", help="lake root (default .state/lake)")
    parser.add_argument(
        "--source", default=".state/source", metavar="URI", help="source folder (default .state/source)"
    )
    parser.add_argument("--profile", default=os.environ.get("PPSEHR_PROFILE", "laptop"))
    parser.add_argument("--conf", default=None, metavar="DIR", help="conf folder")
    parser.add_argument("--set", action="append", default=[], metavar="SECTION.KEY=VALUE")
    parser.add_argument("--from", dest="first", choices=names, default=names[0], help="first stage")
    parser.add_argument("--until", dest="last", choices=names, default=names[-1], help="last stage")
    parser.add_argument("--run-id", default="", help="default: a new one")
    parser.add_argument("--dry-run", action="store_true", help="each stage says what it would do and writes nothing")
    parser.add_argument("--explain", action="store_true", help="each stage says why it runs or not")
    parser.add_argument("--force", action="store_true", help="run stages whose inputs did not change, too")
    parser.add_argument("--json", action="store_true", help="print the summary, or the plans of a dry run, as JSON")
    parser.add_argument("--full", action="store_true", help="compare whole tables instead of following changes")
    parser.add_argument("--snapshot", action="store_true", help="the source is complete: delete notes not in it")
    parser.add_argument("--no-summary", action="store_true", help="do not read the tables again for a summary")
    extra = "properties laid over the profile's: NAME of conf/spark/NAME.conf, or a path; also PPSEHR_SPARK_EXTRA"
    known = [name for name in os.environ.get("PPSEHR_SPARK_EXTRA", "").split(",") if name]
    parser.add_argument("--spark-extra", action="append", default=known, metavar="NAME", help=extra)
    return parser


def _run(options: argparse.Namespace) -> int:
    settings = load_settings(options.profile, options.set, options.conf)  # a wrong setting fails before any stage
    names = [stage.name for stage in STAGES]
    first, last = names.index(options.first), names.index(options.last)
    if first > last:
        raise UsageError("STAGE_ORDER", first=options.first, last=options.last, hint="--from comes after --until")
    run_id = options.run_id or new_run_id()
    reporter = Reporter("pipeline", run_id, wants_json(settings.log.format))
    chosen = STAGES[first : last + 1]
    if options.dry_run:
        return _show_plans(chosen, run_id, options, _environment(settings))
    started = time.monotonic()
    code = _run_stages(chosen, run_id, options, settings, reporter)
    seconds = time.monotonic() - started
    lake = Lake(options.lake)
    with reporter.tolerate("METRICS_NOT_WRITTEN"):
        write_run_metrics(lake, settings, exit_code=code, seconds=seconds, finished_at=time.time())
    if code not in (ExitCode.OK, ExitCode.PARTIAL):
        return code
    if not options.no_summary:
        print(render_summary(summarise_lake(lake, with_knowledge(lake, settings)), as_json=options.json))
    reporter.say("finished", f"run {run_id} took {seconds:.0f} s", exit_code=code, seconds=round(seconds, 3))
    return code


def _run_stages(
    chosen: Sequence[PipelineStage], run_id: str, options: argparse.Namespace, settings: Settings, reporter: Reporter
) -> int:
    code = int(ExitCode.OK)
    is_silent, environment = True if reporter.is_json else None, _environment(settings)
    for stage in tqdm(chosen, unit="stage", file=sys.stderr, disable=is_silent):
        start = RunStart(run_id, stage.name)
        stage_code = _launch(_command(stage, run_id, options), environment)
        if stage_code not in (ExitCode.OK, ExitCode.PARTIAL):
            with reporter.tolerate("RUN_NOT_RECORDED"):
                if stage_code == ExitCode.INFRASTRUCTURE:  # the stage may have died without a word
                    record_death(Lake(options.lake), settings, start, exit_code=stage_code, wait_s=10.0)
            text = f"stopped at {stage.name}, exit code {stage_code}"
            reporter.say("stopped", text, level="error", at=stage.name, exit_code=stage_code)
            return stage_code
        code = max(code, stage_code)
    return code


def _show_plans(
    chosen: Sequence[PipelineStage], run_id: str, options: argparse.Namespace, environment: Mapping[str, str]
) -> int:
    """Ask every stage for its plan; no stage needs Spark or Ray for that."""
    plans = []
    for stage in tqdm(chosen, unit="stage", file=sys.stderr, disable=None):
        command = [sys.executable, *_arguments(stage, run_id, options)]
        done = subprocess.run(command, env=environment, stdout=subprocess.PIPE, text=True, check=False)
        if done.returncode:
            return done.returncode
        plans.append(json.loads(done.stdout))
    print("\n".join(map(json.dumps, plans)) if options.json else render_plans(plans))
    return int(ExitCode.OK)


def _launch(command: Sequence[str], environment: Mapping[str, str]) -> int:
    """Run one stage in its own process and wait; SIGTERM and Ctrl-C reach the stage."""
    process = subprocess.Popen(command, env=environment)
    previous = signal.signal(signal.SIGTERM, lambda *_: process.terminate())
    try:
        return_code = process.wait()
    except KeyboardInterrupt:
        process.send_signal(signal.SIGINT)
        return_code = process.wait()
    finally:
        signal.signal(signal.SIGTERM, previous)
    return return_code if return_code in set(ExitCode) else int(ExitCode.INFRASTRUCTURE)


def _arguments(stage: PipelineStage, run_id: str, options: argparse.Namespace) -> list[str]:
    arguments = [str(_JOBS / f"{stage.name}.py"), "--lake", options.lake, "--run-id", run_id]
    arguments += ["--profile", options.profile]
    arguments += ["--source", options.source] if stage.takes_source else []
    arguments += ["--conf", options.conf] if options.conf else []
    flags = ("--dry-run", "--explain", "--force", *stage.flags)
    arguments += [flag for flag in flags if getattr(options, flag[2:].replace("-", "_"))]
    return arguments + [word for item in options.set for word in ("--set", item)]


def _command(stage: PipelineStage, run_id: str, options: argparse.Namespace) -> list[str]:
    arguments = _arguments(stage, run_id, options)
    if stage.engine != "spark":
        return [sys.executable, *arguments]
    return [*_spark_submit(options.profile, options.spark_extra), *arguments]


def _spark_submit(profile: str, extra_files: Sequence[str] = ()) -> list[str]:
    submit = str(Path(sys.executable).parent / "spark-submit")
    extra = [word for item in _extra_properties(extra_files) for word in ("--conf", item)]
    return [submit, "--properties-file", str(spark_properties(profile)), "--load-spark-defaults", *extra]


def _extra_properties(names: Sequence[str]) -> list[str]:
    """``key=value`` of each extra file; a secret would stand in the process list, so none is taken.

    Raises:
        ConfigurationError: ``SPARK_PROPERTIES``, ``SPARK_SECRET``.
    """
    found = []
    for name in names:
        path = Path(name) if Path(name).is_file() else spark_properties(name)
        lines = [line.split(None, 1) for line in path.read_text(encoding="utf-8").splitlines()]
        for key, *value in (line for line in lines if line and not line[0].startswith("#")):
            if _SECRET.search(key):
                hint = "give secrets by environment or by a Hadoop credential provider"
                raise ConfigurationError("SPARK_SECRET", key=key, hint=hint)
            found.append(f"{key}={value[0].strip() if value else ''}")
    return found


def maintain(argv: Sequence[str]) -> int:
    """``ppsehr maintain``: the job by spark-submit; its own ``--help`` and exit codes."""
    return _submit("maintain", argv)


def erase(argv: Sequence[str]) -> int:
    """``ppsehr erase``: the job by spark-submit; its own ``--help`` and exit codes."""
    return _submit("erase", argv)


def dp(argv: Sequence[str]) -> int:
    """``ppsehr dp plan`` and ``drift`` need no Spark; ``ppsehr dp run`` is the stats stage by hand."""
    if list(argv[:1]) == ["run"]:
        return _submit("stats", argv[1:])
    if list(argv[:1]) == ["drift"]:
        return compare_refreshes(argv)
    return plan_statistics(argv)


def _submit(name: str, argv: Sequence[str]) -> int:
    """Start a Spark job that is no stage of the main job, with the arguments as they were given."""
    known = argparse.ArgumentParser(add_help=False)
    known.add_argument("--profile", default=os.environ.get("PPSEHR_PROFILE", "laptop"))
    known.add_argument("--conf", default=None)
    known.add_argument("--set", action="append", default=[])
    options = known.parse_known_args(argv)[0]
    job = [str(_JOBS / f"{name}.py"), *argv]
    try:
        environment = _environment(load_settings(options.profile, options.set, options.conf))
        is_help = bool({"-h", "--help"} & set(argv))  # no JVM for a help text
        return _launch([*([sys.executable] if is_help else _spark_submit(options.profile)), *job], environment)
    except PpsehrError as error:
        print(f"{name}: {error}", file=sys.stderr)
        return int(error.exit_code)


def spark_properties(profile: str) -> Path:
    """The properties file of a profile, from the checkout or from the installed package.

    Raises:
        ConfigurationError: ``SPARK_PROPERTIES`` when the profile has none.
    """
    site = os.environ.get("PPSEHR_CONF")
    for root in (*([Path(site)] if site else []), _JOBS.parent / "conf", _JOBS.parent / "ppsehr_spark" / "conf"):
        path = root / "spark" / f"{profile}.conf"
        if path.is_file():
            return path
    raise ConfigurationError("SPARK_PROPERTIES", profile=profile, hint="no conf/spark/<profile>.conf")


def _environment(settings: Settings) -> dict[str, str]:
    """What spark-submit needs from an environment that may not be activated (see scripts/env.sh)."""
    python = sys.executable
    code = str(_JOBS.parent)
    path = os.pathsep.join(part for part in (code, os.environ.get("PYTHONPATH", "")) if part)
    ours = {
        "PYSPARK_PYTHON": python,
        "PYSPARK_DRIVER_PYTHON": python,
        "SPARK_CONF_DIR": str(spark_properties("laptop").parent),
        "PPSEHR_LOG": settings.log.format,  # so that the JVM, too, logs as conf says
    }
    return {**ours, **os.environ, "PYTHONPATH": path}


if __name__ == "__main__":
    sys.exit(main())

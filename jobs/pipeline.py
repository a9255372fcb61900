"""The main job: every stage in order, each in a process of its own, then a summary.

Knows: the order of stages and how each is launched. Must not know: what a stage does. No process ever holds both
Spark and Ray. Running it again changes nothing; killed anywhere, running it again ends in the same rows.
"""

from __future__ import annotations

import argparse
import os
import signal
import subprocess
import sys
import time
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from tqdm import tqdm

from ppsehr_spark.config import load_settings
from ppsehr_spark.errors import ConfigurationError, ExitCode, PpsehrError, UsageError
from ppsehr_spark.lake.knowledge_store import with_knowledge
from ppsehr_spark.lake.summary import render_summary, summarise_lake
from ppsehr_spark.lake.tables import Lake
from ppsehr_spark.runtime import new_run_id

_JOBS = Path(__file__).resolve().parent


@dataclass(frozen=True)
class PipelineStage:
    """One stage: its job file, its engine, and whether it reads the source folder."""

    name: str
    engine: str
    takes_source: bool = False


STAGES: tuple[PipelineStage, ...] = (
    PipelineStage("simulate", "spark", takes_source=True),
    PipelineStage("ingest", "spark", takes_source=True),
    PipelineStage("partition", "spark"),
    PipelineStage("annotate", "ray"),
    PipelineStage("tier", "spark"),
    PipelineStage("protect", "spark"),
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
  ppsehr run --dry-run                              what each stage would do"""


def main(argv: Sequence[str] | None = None) -> int:
    """Run the chosen stages; returns the exit code of the first stage that fails, else 0 or 6 (partial)."""
    options = _parser().parse_args(argv)
    try:
        return _run(options)
    except PpsehrError as error:
        print(f"pipeline: {error}", file=sys.stderr)
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
    parser.add_argument("--json", action="store_true", help="print the summary as JSON")
    return parser


def _run(options: argparse.Namespace) -> int:
    settings = load_settings(options.profile, options.set, options.conf)  # a wrong setting fails before any stage
    names = [stage.name for stage in STAGES]
    first, last = names.index(options.first), names.index(options.last)
    if first > last:
        raise UsageError("STAGE_ORDER", first=options.first, last=options.last, hint="--from comes after --until")
    run_id = options.run_id or new_run_id()
    chosen = STAGES[first : last + 1]
    code = int(ExitCode.OK)
    started = time.monotonic()
    for stage in tqdm(chosen, unit="stage", file=sys.stderr, disable=None):
        stage_code = _launch(stage, run_id, options)
        if stage_code not in (ExitCode.OK, ExitCode.PARTIAL):
            print(f"pipeline: stopped at {stage.name}, exit code {stage_code}", file=sys.stderr)
            return stage_code
        code = max(code, stage_code)
    if not options.dry_run:
        lake = Lake(options.lake)
        print(render_summary(summarise_lake(lake, with_knowledge(lake, settings)), as_json=options.json))
        print(f"pipeline: run {run_id} took {time.monotonic() - started:.0f} s", file=sys.stderr)
    return code


def _launch(stage: PipelineStage, run_id: str, options: argparse.Namespace) -> int:
    """Run one stage in its own process and wait; SIGTERM and Ctrl-C reach the stage."""
    return _wait(_command(stage, run_id, options))


def _wait(command: Sequence[str]) -> int:
    process = subprocess.Popen(command, env=_environment())
    previous = signal.signal(signal.SIGTERM, lambda *_: process.terminate())
    try:
        return_code = process.wait()
    except KeyboardInterrupt:
        process.send_signal(signal.SIGINT)
        return_code = process.wait()
    finally:
        signal.signal(signal.SIGTERM, previous)
    return return_code if 0 <= return_code < 128 else int(ExitCode.INFRASTRUCTURE)


def _command(stage: PipelineStage, run_id: str, options: argparse.Namespace) -> list[str]:
    job = str(_JOBS / f"{stage.name}.py")
    arguments = ["--lake", options.lake, "--run-id", run_id, "--profile", options.profile]
    arguments += ["--source", options.source] if stage.takes_source else []
    arguments += ["--conf", options.conf] if options.conf else []
    arguments += [
        flag for flag in ("--dry-run", "--explain", "--force") if getattr(options, flag[2:].replace("-", "_"))
    ]
    for item in options.set:
        arguments += ["--set", item]
    if stage.engine != "spark":
        return [sys.executable, job, *arguments]
    return [*_spark_submit(options.profile), job, *arguments]


def _spark_submit(profile: str) -> list[str]:
    submit = str(Path(sys.executable).parent / "spark-submit")
    return [submit, "--properties-file", str(spark_properties(profile)), "--load-spark-defaults"]


def maintain(argv: Sequence[str]) -> int:
    """``ppsehr maintain``: the job by spark-submit; its own ``--help`` and exit codes."""
    return _submit("maintain", argv)


def erase(argv: Sequence[str]) -> int:
    """``ppsehr erase``: the job by spark-submit; its own ``--help`` and exit codes."""
    return _submit("erase", argv)


def _submit(name: str, argv: Sequence[str]) -> int:
    """Start a Spark job that is no stage of the main job, with the arguments as they were given."""
    known = argparse.ArgumentParser(add_help=False)
    known.add_argument("--profile", default=os.environ.get("PPSEHR_PROFILE", "laptop"))
    profile = known.parse_known_args(argv)[0].profile
    try:
        if {"-h", "--help"} & set(argv):  # no JVM for a help text
            return subprocess.call([sys.executable, str(_JOBS / f"{name}.py"), *argv], env=_environment())
        return _wait([*_spark_submit(profile), str(_JOBS / f"{name}.py"), *argv])
    except PpsehrError as error:
        print(f"{name}: {error}", file=sys.stderr)
        return int(error.exit_code)


def spark_properties(profile: str) -> Path:
    """The properties file of a profile, from the checkout or from the installed package.

    Raises:
        ConfigurationError: ``SPARK_PROPERTIES`` when the profile has none.
    """
    for root in (_JOBS.parent / "conf", _JOBS.parent / "ppsehr_spark" / "conf"):
        path = root / "spark" / f"{profile}.conf"
        if path.is_file():
            return path
    raise ConfigurationError("SPARK_PROPERTIES", profile=profile, hint="no conf/spark/<profile>.conf")


def _environment() -> dict[str, str]:
    """What spark-submit needs from an environment that may not be activated (see scripts/env.sh)."""
    python = sys.executable
    code = str(_JOBS.parent)
    path = os.pathsep.join(part for part in (code, os.environ.get("PYTHONPATH", "")) if part)
    ours = {
        "PYSPARK_PYTHON": python,
        "PYSPARK_DRIVER_PYTHON": python,
        "PYTHONPATH": path,
        "SPARK_CONF_DIR": str(spark_properties("laptop").parent),
    }
    return {**os.environ, **{name: os.environ.get(name, value) for name, value in ours.items()}, "PYTHONPATH": path}


if __name__ == "__main__":
    sys.exit(main())

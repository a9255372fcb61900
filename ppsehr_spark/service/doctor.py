"""``ppsehr doctor``: does this machine hold what a run needs, and how to mend what it lacks.

Knows: the list of checks and the exit code. Must not know: how a check looks (``machine_checks``,
``install_checks``). Starts no engine and writes nothing.
"""

from __future__ import annotations

import argparse
import dataclasses
import json
import os
from collections.abc import Sequence
from pathlib import Path

from ppsehr_spark.config import load_settings
from ppsehr_spark.errors import ConfigurationError, ExitCode
from ppsehr_spark.service import install_checks, machine_checks
from ppsehr_spark.service.diagnosis import Finding, Verdict, is_healthy, render_findings

#: The checkout, or where a bundle was installed (its env.sh says so).
HOME = Path(os.environ.get("PPSEHR_HOME") or Path(__file__).resolve().parents[2])


def main(argv: Sequence[str] | None = None) -> int:
    """Print the findings; 0 when nothing fails, else 3."""
    options = _parser().parse_args(argv)
    findings = examine(profile=options.profile, overrides=options.set, conf=options.conf)
    if options.json:
        print(json.dumps([dataclasses.asdict(finding) for finding in findings], ensure_ascii=False, indent=1))
    else:
        print(render_findings(findings))
    return int(ExitCode.OK if is_healthy(findings) else ExitCode.CONFIGURATION)


def examine(*, profile: str = "laptop", overrides: Sequence[str] = (), conf: str | None = None) -> list[Finding]:
    """Every check, in the order in which a missing thing stops a run."""
    findings = [
        install_checks.check_python(),
        machine_checks.check_java(),
        machine_checks.check_memory(),
        machine_checks.check_disk(Path.cwd()),
        machine_checks.check_cpu(),
        machine_checks.check_ports(),
        install_checks.check_packages(HOME / "requirements" / "lock.txt"),
        install_checks.check_recognisers(),
        install_checks.check_environment(),
        install_checks.check_jars(HOME / ".cache" / "jars", HOME / "requirements" / "jars.sha256"),
    ]
    return findings + _examine_settings(profile, overrides, conf)


def _examine_settings(profile: str, overrides: Sequence[str], conf: str | None) -> list[Finding]:
    try:
        settings = load_settings(profile, overrides, conf)
    except ConfigurationError as error:
        return [Finding("conf", Verdict.FAIL, str(error), "correct the file that the message names")]
    return [
        Finding("conf", Verdict.OK, f"profile {profile}, hash {settings.conf_hash}"),
        install_checks.check_model(settings),
        install_checks.check_identity_key(Path(settings.identity.key_file)),
    ]


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(prog="ppsehr doctor", description="Check this machine and say how to mend it.")
    parser.add_argument("--profile", default="laptop", help="conf/profiles/NAME.toml")
    parser.add_argument("--conf", default=None, metavar="DIR", help="conf folder")
    parser.add_argument("--set", action="append", default=[], metavar="SECTION.KEY=VALUE", help="override a setting")
    parser.add_argument("--json", action="store_true", help="findings as JSON")
    return parser

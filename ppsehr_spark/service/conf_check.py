"""``ppsehr conf check``: everything in conf/ is read as a run would read it, and every fault said in Chinese.

Knows: which parts of conf can be checked apart, so that one fault does not hide the next. Must not know: what a rule or
a policy means.
"""

from __future__ import annotations

import argparse
import sys
import tomllib
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from functools import partial

from ppsehr_spark.config import load_settings, read_conf_files
from ppsehr_spark.domain.codelists import load_codelists
from ppsehr_spark.domain.knowledge.asking import compile_evolve_prompt
from ppsehr_spark.domain.knowledge.slots import parse_plan
from ppsehr_spark.domain.prompting import compile_prompts
from ppsehr_spark.domain.protection.fiction import load_fiction
from ppsehr_spark.domain.protection.policy import check_fallbacks, load_policies
from ppsehr_spark.domain.rules import compile_rules
from ppsehr_spark.domain.taxonomy import ConfFiles, load_categories
from ppsehr_spark.domain.tiering import TierRules
from ppsehr_spark.errors import ConfigurationError, ExitCode
from ppsehr_spark.lake.statistics_plan import plan_files
from ppsehr_spark.privacy.policy import parse_policy
from ppsehr_spark.service.arguments import make_parser, run_door
from ppsehr_spark.service.conf_phrases import describe_error, locate_error
from ppsehr_spark.synthesis.narratives.book import compile_narratives
from ppsehr_spark.synthesis.records.plan import parse_record_plan

_EXAMPLES = """  ppsehr conf check
  ppsehr conf check --conf /etc/ppsehr/conf
  ppsehr conf check --set annotate.engine=rules

exit codes: 0 no fault, 2 usage, 3 at least one fault"""


@dataclass(frozen=True)
class Finding:
    """One fault: file below conf/, line (0 when unknown), Chinese message."""

    file: str
    line: int
    message: str
    is_error: bool = True

    def __str__(self) -> str:
        level = "错误" if self.is_error else "提醒"
        place = f"{self.file}:{self.line}" if self.line else self.file
        return f"{level} {place} {self.message}"


def main(argv: Sequence[str]) -> int:
    """Run ``ppsehr conf check``; returns the exit code."""
    parser = make_parser("conf check", "Reads conf/ as a run would and says, in Chinese, what is wrong.", _EXAMPLES)
    parser.add_argument("action", choices=("check",), help="check everything")
    parser.add_argument("--conf", default=None, metavar="DIR", help="conf folder (default: PPSEHR_CONF, else built in)")
    parser.add_argument(
        "--set", action="append", default=[], metavar="SECTION.KEY=VALUE", help="also check an override"
    )
    options = parser.parse_args(argv)
    return run_door("conf check", lambda: _check(options))


def _check(options: argparse.Namespace) -> int:
    files = read_conf_files(options.conf)
    findings = [*check_files(files), *_check_profiles(files, options)]
    findings = list(dict.fromkeys(findings))
    for finding in findings:
        print(finding)
    n_errors = sum(finding.is_error for finding in findings)
    n_categories = sum(path.startswith("categories/") for path in files)
    print(
        f"检查了 {len(files)} 个文件（{n_categories} 个类别）：{n_errors} 处错误，{len(findings) - n_errors} 处提醒。"
    )
    return int(ExitCode.CONFIGURATION if n_errors else ExitCode.OK)


def check_files(files: ConfFiles) -> list[Finding]:
    """Faults of TOML, lexicons, categories, tiers, prompts, policies and recognisers."""
    findings = [finding for path in files if path.endswith(".toml") for finding in _check_toml(path, files)]
    is_readable = not findings  # what is not TOML would only be reported a second time
    findings += [finding for path in files if path.endswith(".tsv") for finding in _check_lexicon(path, files[path])]
    return [*findings, *(_check_meaning(files) if is_readable else ())]


def _check_meaning(files: ConfFiles) -> list[Finding]:
    """What only shows when a file is read for what it says; whole engines only after every part passes."""
    findings: list[Finding] = []
    for path in (path for path in files if path.startswith("categories/")):
        findings += _try(files, partial(_check_category, files, path))
    findings += _try(files, lambda: load_policies(files))
    findings += _try(files, lambda: load_fiction(files))
    findings += _check_second_half(files)
    if not any(finding.is_error for finding in findings):
        findings += _try(files, lambda: TierRules(files))
        findings += _try(files, lambda: compile_rules(files))
        findings += _try(files, lambda: compile_prompts(files, load_categories(files)))
        findings += _try(files, lambda: compile_evolve_prompt(files))
        findings += _try(files, lambda: parse_plan(files))
        findings += _check_policy_names(files)
    return findings


def _check_second_half(files: ConfFiles) -> list[Finding]:
    """Caps and code lists; where they can be read, what builds on them: statistics, record model, note forms."""
    findings = [*_try(files, lambda: parse_policy(files)), *_try(files, lambda: load_codelists(files))]
    if not findings:
        delta = parse_policy(files).total.delta
        findings += _try(files, lambda: plan_files(files))
        findings += _try(files, lambda: parse_record_plan(files, delta=delta))
        findings += _try(files, lambda: compile_narratives(files))
    return findings


def _check_profiles(files: ConfFiles, options: argparse.Namespace) -> list[Finding]:
    names = [path[9:-5] for path in files if path.startswith("profiles/") and path.endswith(".toml")]
    return [
        finding
        for name in names
        for finding in _try(files, partial(load_settings, name, options.set, options.conf), f"profiles/{name}.toml")
    ]


def _check_category(files: ConfFiles, path: str) -> None:
    """One category alone, with everything it refers to."""
    others = {p: text for p, text in files.items() if not p.startswith("categories/")}
    alone = {**others, path: files[path]}
    check_fallbacks(load_categories(alone))
    compile_rules(alone)


def _try(files: ConfFiles, read: Callable[[], object], default_file: str = "") -> list[Finding]:
    try:
        read()
    except ConfigurationError as error:
        file = str(error.fields.get("file", default_file))
        return [Finding(file or "pipeline.toml", locate_error(files.get(file, ""), error), describe_error(error))]
    return []


def _check_toml(path: str, files: ConfFiles) -> Iterator[Finding]:
    try:
        tomllib.loads(files[path])
    except tomllib.TOMLDecodeError as error:
        wrapped = ConfigurationError("NOT_TOML", file=path, hint=str(error))
        yield Finding(path, locate_error(files[path], wrapped), describe_error(wrapped))


def _check_lexicon(path: str, text: str) -> Iterator[Finding]:
    seen: dict[str, int] = {}
    for number, line in enumerate(text.split("\n"), 1):
        if not line.strip() or line.startswith("#"):
            continue
        term = line.split("\t")[0]
        if not term.strip():
            yield Finding(path, number, "第一列是空的：每行第一列须是词条，列之间用制表符分隔。")
        elif term != term.strip():
            yield Finding(path, number, "词条前后有空白，会使它匹配不上；请删去。", is_error=False)
        if line in seen:
            yield Finding(path, number, f"与第 {seen[line]} 行重复。", is_error=False)
        seen.setdefault(line, number)


def _check_policy_names(files: ConfFiles) -> list[Finding]:
    """A policy that names a category without a file is probably a slip of the pen."""
    known = load_categories(files)
    return [
        Finding(
            "protection.toml",
            0,
            f"策略 {policy.id} 写了类别 {name}，但 categories/ 下没有 {name}.toml。",
            is_error=False,
        )
        for policy in load_policies(files).values()
        for name in policy.operations
        if name not in known
    ]


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))

"""What one check of ``ppsehr doctor`` says.

Knows: three verdicts and how a line is printed. Must not know: what is checked.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from enum import StrEnum


class Verdict(StrEnum):
    """``ok``, ``warn`` (works, but slower or less safe) or ``FAIL`` (a run will not work)."""

    OK = "ok"
    WARN = "warn"
    FAIL = "FAIL"


@dataclass(frozen=True)
class Finding:
    """One line of the report.

    Attributes:
        name: what was looked at.
        verdict: how it stands.
        detail: what was found; versions, sizes and paths, never keys or text.
        mend: the command or action that mends it; empty when nothing is wrong.
    """

    name: str
    verdict: Verdict
    detail: str
    mend: str = ""


def render_findings(findings: Sequence[Finding]) -> str:
    """One aligned line per finding, the remedy indented below it."""
    width = max(len(finding.name) for finding in findings)
    lines = []
    for finding in findings:
        lines.append(f"{finding.verdict.value:<5} {finding.name:<{width}}  {finding.detail}")
        if finding.mend:
            lines.append(f"{'':<5} {'':<{width}}  -> {finding.mend}")
    return "\n".join(lines)


def is_healthy(findings: Sequence[Finding]) -> bool:
    """True when nothing FAILs."""
    return all(finding.verdict is not Verdict.FAIL for finding in findings)

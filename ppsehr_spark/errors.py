"""Every exception of the product.

Knows: error codes, exit codes, which failures are worth a retry. Must not know: note text, identifiers
or cell values; a message is made of a code and of named fields that the caller vouches for (table,
file name, row number, field name, counts), so it can be logged anywhere.
"""

from __future__ import annotations

from enum import IntEnum


class ExitCode(IntEnum):
    """Process exit codes, the same for every job and for ``ppsehr`` (design.md, "Exit codes")."""

    OK = 0
    USAGE = 2
    CONFIGURATION = 3
    QUALITY_GATE = 4
    BUDGET_REFUSED = 5
    PARTIAL = 6
    INFRASTRUCTURE = 7


class PpsehrError(Exception):
    """Base of all product errors: ``code`` plus safe ``fields``; never note text.

    Args:
        code: upper-case reason code, such as ``MISSING_COLUMN``.
        hint: what the reader can do about it; a constant sentence, never data.
        fields: names and counts that locate the failure (file, row, field, table, job).
    """

    exit_code = ExitCode.INFRASTRUCTURE
    is_retryable = False

    def __init__(self, code: str, *, hint: str = "", **fields: object) -> None:
        self.code = code
        self.hint = hint
        self.fields = dict(fields)
        super().__init__(self._render())

    def __reduce__(self) -> tuple[object, ...]:
        return (_rebuild, (type(self), self.code, self.hint, self.fields))

    def _render(self) -> str:
        located = " ".join(f"{name}={value}" for name, value in self.fields.items())
        return ". ".join(part for part in (f"{self.code} {located}".strip(), self.hint) if part)


def _rebuild(kind: type[PpsehrError], code: str, hint: str, fields: dict[str, object]) -> PpsehrError:
    """Unpickle an error with its keyword arguments (errors cross process borders in Spark and Ray)."""
    return kind(code, hint=hint, **fields)


class UsageError(PpsehrError):
    """The command line asks for something that does not exist or contradicts itself."""

    exit_code = ExitCode.USAGE


class ConfigurationError(PpsehrError):
    """A conf file, profile or ``--set`` is wrong; fields name file, key and line where known."""

    exit_code = ExitCode.CONFIGURATION


class InputError(PpsehrError):
    """A source cannot be read at all (a single bad row goes to phi.rejects instead)."""

    exit_code = ExitCode.QUALITY_GATE


class QualityGateError(PpsehrError):
    """A gate refused: too many rejects, a canary in protected text, a release below its bar."""

    exit_code = ExitCode.QUALITY_GATE


class BudgetRefusedError(PpsehrError):
    """A token or privacy budget does not hold what was asked."""

    exit_code = ExitCode.BUDGET_REFUSED


class InfrastructureError(PpsehrError):
    """An engine, a file system or a commit failed; running again may succeed."""

    exit_code = ExitCode.INFRASTRUCTURE
    is_retryable = True


class PartialResultError(PpsehrError):
    """The run ended, with dead letters left behind."""

    exit_code = ExitCode.PARTIAL

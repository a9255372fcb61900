"""Numbers and accounts that differ only in their digits, as one expression.

Knows: runs of digits, of Latin letters and of everything else, and how equal shapes become one regular expression of
bounded repeats (linear to match). Must not know: categories, lexicons. Works on normalised surfaces.
"""

from __future__ import annotations

import re
from collections.abc import Sequence
from itertools import takewhile

_RUN = re.compile(r"(?P<D>[0-9]+(?![A-Za-z_]))|(?P<W>[A-Za-z0-9_]+)|(?P<L>[^A-Za-z0-9_]+)")
#: Accounts and addresses are one run whatever dots and dashes they hold, so that ``W@W`` is an e-mail.
_ACCOUNT = re.compile(r"(?P<A>[A-Za-z0-9_.\-]+)|(?P<L>[^A-Za-z0-9_.\-]+)")
_WIDTH = {"D": r"[0-9]", "W": r"[A-Za-z0-9_]", "A": r"[A-Za-z0-9_.\-]"}
#: Leading digits that all members share are kept (a mobile begins with 1), but never so many that they name one member.
_KEPT_DIGITS = 2
_NO_NEIGHBOUR = ("(?<![0-9A-Za-z])", "(?![0-9A-Za-z])")


def shape_of(surface: str) -> str:
    """The surface with ``D`` for each run of digits and ``W`` for one with letters; ``""`` when it holds neither."""
    runs = [(m.lastgroup or "L", m.group()) for m in _RUN.finditer(surface)]
    if all(kind == "L" for kind, _ in runs):
        return ""
    return "".join(text if kind == "L" else kind for kind, text in runs)


def form_of(surface: str) -> str:
    """The surface with ``A`` for each account-like run that holds a letter somewhere; ``""`` when none does."""
    runs = [(m.lastgroup or "L", m.group()) for m in _ACCOUNT.finditer(surface)]
    has_letter = any(kind == "A" and re.search("[A-Za-z]", text) for kind, text in runs)
    return "".join(text if kind == "L" else kind for kind, text in runs) if has_letter else ""


def expression_of(surfaces: Sequence[str], *, is_bounded: bool, is_form: bool = False) -> str:
    """A regular expression for surfaces of one shape or form.

    Numbers are as long as the shortest to the longest seen; runs with letters may be twice as long, or short.

    Args:
        surfaces: at least one; all of one shape, or of one form.
        is_bounded: neither a digit nor a Latin letter may stand beside the match.
    """
    runs = _ACCOUNT if is_form else _RUN
    columns = list(zip(*([(m.lastgroup or "L", m.group()) for m in runs.finditer(s)] for s in surfaces), strict=True))
    body = "".join(
        _join_runs(column[0][0], [text for _, text in column], is_first=at == 0) for at, column in enumerate(columns)
    )
    head, tail = _NO_NEIGHBOUR if is_bounded else ("", "")
    return f"{head}{body}{tail}"


def count_digits(surface: str) -> int:
    """Digits in a surface that is nothing but one number, blanks and dashes allowed; else 0."""
    is_number = re.fullmatch(r"[0-9](?:[ \-]?[0-9])*", surface) is not None
    return sum(c.isdigit() for c in surface) if is_number else 0


def _join_runs(kind: str, texts: Sequence[str], *, is_first: bool) -> str:
    if kind == "L":
        return re.escape(texts[0])
    n_kept = min(_KEPT_DIGITS, min(map(len, texts)) - 1) if kind == "D" and is_first else 0
    shared = takewhile(lambda column: len(set(column)) == 1, zip(*texts, strict=False))
    kept = "".join(column[0] for column in shared)[:n_kept]
    low, high = (bound(map(len, texts)) - len(kept) for bound in (min, max))
    if kind != "D":
        low, high = (low + 1) // 2, 2 * high
    return f"{kept}{_WIDTH[kind]}{{{low}}}" if low == high else f"{kept}{_WIDTH[kind]}{{{low},{high}}}"

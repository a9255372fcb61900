"""The little language in which all prose of the simulator is written, and its compiler.

Knows: text with choices, slots, topics and marks; compiled once at import. Must not know: medicine, people, rules.

======================  ==================================================================================
``[a|b]``               one of the alternatives
``{slot}``              a value of the scene, plain or already marked
``{2~9}``, ``{0.1~2}``  a number in the range, as many decimals as written
``{@topic}``            a sentence of that topic (stock, copied forward or fresh)
``<N|text>``            a gold mention; codes in ``MARKS``
``<+fact|text>``        plain text that states a fact (``unmarried``) which raises tiers in this note
``?F,!preg,0.3 text``   guards before a line: flags of the scene and one probability
======================  ==================================================================================
"""

from __future__ import annotations

import itertools
import re
from collections.abc import Iterable
from dataclasses import dataclass

#: Mark code -> (category, tier). Tier 0 is a current pregnancy: 2, or 3 where the note states what raises it.
MARKS: dict[str, tuple[str, int | None]] = {
    "N": ("NAME", None), "C": ("CONTACT", None), "I": ("ID", None), "H": ("HOSPITAL", None),
    "A1": ("ADDRESS", 1), "A2": ("ADDRESS", 2), "A3": ("ADDRESS", 3),
    "S1": ("STD", 1), "S2": ("STD", 2), "S3": ("STD", 3), "Sk3": ("STD", 3),
    "P1": ("PREGNANCY", 1), "P2": ("PREGNANCY", 2), "P3": ("PREGNANCY", 3), "Pc": ("PREGNANCY", 0),
}  # fmt: skip

#: A mark that also states a fact: a disease of the patient that is present raises a pregnancy in the same note.
MARK_FACTS = {"S3": "std_present"}

LITERAL, SLOT, CHOICE, RANGE, TOPIC, MARK, FACT = range(7)
#: One operation: (kind, payload); the payload of a choice, mark or fact holds further programs.
Op = tuple[int, object]
Program = tuple[Op, ...]

_TOKEN = re.compile(
    r"(?P<choice>\[)|(?P<bar>\|)|(?P<close>[\]>])|<(?P<fact>\+\w+)\||<(?P<mark>\w+)\|"
    r"|\{(?P<low>\d+(?:\.\d+)?)~(?P<high>\d+(?:\.\d+)?)\}|\{@(?P<topic>\w+)\}|\{(?P<slot>\w+)\}"
)
_GUARD = re.compile(r"\?(\S+) ")


@dataclass(frozen=True, slots=True)
class Line:
    """One template line: what must hold for it, how often it is then used, and its program."""

    program: Program
    needs: frozenset[str] = frozenset()
    refuses: frozenset[str] = frozenset()
    probability: float = 1.0

    def fits(self, flags: set[str]) -> bool:
        """True when all needed flags are set and none of the refused ones is."""
        return self.needs <= flags and self.refuses.isdisjoint(flags)


def compile_lines(text: str) -> tuple[Line, ...]:
    """One Line per non-empty line of ``text``."""
    return tuple(compile_line(row) for row in text.split("\n") if row.strip())


def compile_line(row: str) -> Line:
    """Guards, then the template."""
    guard = _GUARD.match(row)
    words = guard.group(1).split(",") if guard else []
    numbers = [float(word) for word in words if word[0].isdigit()]
    return Line(
        program=compile_template(row[guard.end() :] if guard else row),
        needs=frozenset(word for word in words if word[0].isalpha()),
        refuses=frozenset(word[1:] for word in words if word[0] == "!"),
        probability=numbers[0] if numbers else 1.0,
    )


def compile_template(template: str) -> Program:
    """Compile one template.

    Raises:
        ValueError: brackets do not match, or a mark code is unknown.
    """
    program, end = _parse(template, 0, "")
    if end != len(template):
        raise ValueError(f"unbalanced template at {end}")
    return program


def _parse(template: str, at: int, stop: str) -> tuple[Program, int]:
    """Operations from ``at`` up to (not including) a character of ``stop`` on this level."""
    ops: list[Op] = []
    while at < len(template):
        token = _TOKEN.match(template, at)
        if token is None:
            end = _literal_end(template, at)
            ops.append((LITERAL, template[at:end]))
            at = end
            continue
        if token.group() in stop and stop:
            break
        op, at = _parse_token(template, token)
        ops.append(op)
    return tuple(ops), at


def _literal_end(template: str, at: int) -> int:
    token = _TOKEN.search(template, at)
    return token.start() if token else len(template)


def _parse_token(template: str, token: re.Match[str]) -> tuple[Op, int]:
    kind = token.lastgroup
    if kind in ("bar", "close"):
        return (LITERAL, token.group()), token.end()
    if kind == "choice":
        return _parse_choice(template, token.end())
    if kind in ("fact", "mark"):
        inner, at = _parse(template, token.end(), ">")
        return _marked(token, inner), at + 1
    if kind == "high":
        return (RANGE, _range(token)), token.end()
    return (TOPIC if kind == "topic" else SLOT, token.group(str(kind))), token.end()


def _parse_choice(template: str, at: int) -> tuple[Op, int]:
    branches: list[Program] = []
    while True:
        branch, at = _parse(template, at, "|]")
        branches.append(branch)
        if at >= len(template):
            raise ValueError("choice without end")
        at += 1
        if template[at - 1] == "]":
            return (CHOICE, tuple(branches)), at


def _marked(token: re.Match[str], inner: Program) -> Op:
    if token.group("fact"):
        return (FACT, (token.group("fact")[1:], inner))
    code = token.group("mark")
    if code not in MARKS:
        raise ValueError(f"unknown mark {code}")
    return (MARK, (*MARKS[code], MARK_FACTS.get(code), inner))


def _range(token: re.Match[str]) -> tuple[float, float, int]:
    low, high = token.group("low"), token.group("high")
    decimals = len(low.partition(".")[2])
    return float(low), float(high), decimals


def has_slots(program: Program) -> bool:
    """True when the text depends on the scene or on a number, so it cannot be written out beforehand."""
    for kind, payload in program:
        if kind in (SLOT, RANGE, TOPIC):
            return True
        if any(has_slots(inner) for inner in _inner_programs(kind, payload)):
            return True
    return False


def _inner_programs(kind: int, payload: object) -> Iterable[Program]:
    if kind == CHOICE:
        return payload  # type: ignore[return-value]
    return (payload[-1],) if kind in (MARK, FACT) else ()  # type: ignore[index]


def slot_names(program: Program) -> set[str]:
    """Every slot and, with a leading ``@``, every topic that the program asks for."""
    own = {str(p) if kind == SLOT else f"@{p}" for kind, p in program if kind in (SLOT, TOPIC)}
    inner = (slot_names(branch) for kind, payload in program for branch in _inner_programs(kind, payload))
    return own.union(itertools.chain.from_iterable(inner))

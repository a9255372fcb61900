"""Turns templates into a draft, deciding per sentence: stock, copied forward, or written anew.

Knows: the grammar's operations and the recurrence knob. Must not know: what a slot means.
"""

from __future__ import annotations

from collections.abc import Callable
from functools import cache

from ppsehr_spark.synthesis.simulator.datafiles import read_toml
from ppsehr_spark.synthesis.simulator.dice import Dice
from ppsehr_spark.synthesis.simulator.draft import Draft, Fragment
from ppsehr_spark.synthesis.simulator.grammar import (
    CHOICE,
    FACT,
    LITERAL,
    MARK,
    RANGE,
    SLOT,
    TOPIC,
    Line,
    Program,
    compile_lines,
)

#: Share of recurring sentences that are copied from an earlier note of the patient rather than from the ward's stock.
COPY_SHARE = 0.45
#: Share of sentences that recur when every sentence is written anew (headers, signatures, short diagnoses), and how
#: much more recur when none is; both measured over 600 patients (tests/synthesis/test_simulator_recurrence.py).
RECURRENCE_FLOOR, RECURRENCE_RISE = 0.14, 0.55

#: How often a line is drawn again when it is not chosen or repeats what the note already says.
_ATTEMPTS = 3


@cache
def load_topics() -> dict[str, tuple[tuple[Line, ...], tuple[Line, ...]]]:
    """Topic -> (stock lines, fresh lines)."""
    return {
        topic: (compile_lines(lines.get("stock", "")), compile_lines(lines.get("fresh", "")))
        for topic, lines in read_toml("prose").items()
    }


@cache
def load_layouts() -> dict[str, tuple[Line, ...]]:
    """Note type -> lines."""
    return {note_type: compile_lines(layout["lines"]) for note_type, layout in read_toml("layouts").items()}


class Writer:
    """Writes the notes of one encounter.

    Args:
        dice: the patient's stream.
        flags: what holds for patient and encounter; guards look at them.
        resolve: slot name -> text or fragment.
        recurrence: wanted share of sentences that repeat an earlier one, [0, 1]; about 0.14 to 0.69 can be reached.
        memory: what was written before, by topic; sentences copied forward come from here.
    """

    def __init__(
        self,
        dice: Dice,
        *,
        flags: set[str],
        resolve: Callable[[str], Fragment | str],
        recurrence: float,
        memory: dict[str, list[Fragment]],
    ) -> None:
        self.dice = dice
        self.flags = flags
        self.draft = Draft()
        self._resolve = resolve
        self._recurrence = (recurrence - RECURRENCE_FLOOR) / RECURRENCE_RISE
        self._memory = memory
        self._said: set[str] = set()
        self._fitting: dict[tuple[frozenset[str], str, bool], list[Line]] = {}
        self._situation = frozenset(flags)

    def write_note(self, note_type: str) -> Draft:
        """All lines of the layout whose guards hold, into a new draft."""
        self.draft = Draft()
        self._said = set()
        self._situation = frozenset(self.flags)
        is_first = True
        for line in load_layouts()[note_type]:
            if line.fits(self.flags) and (line.probability >= 1.0 or self.dice.chance(line.probability)):
                if not is_first:
                    self.draft.add("\n")
                self._run(line.program)
                is_first = False
        return self.draft

    def _run(self, program: Program) -> None:
        draft = self.draft
        for kind, payload in program:
            if kind == LITERAL:
                draft.parts.append(payload)  # type: ignore[arg-type]
                draft.length += len(payload)  # type: ignore[arg-type]
            elif kind == SLOT:
                draft.add(self._resolve(payload))  # type: ignore[arg-type]
            elif kind == RANGE:
                draft.add(self._draw_number(payload))  # type: ignore[arg-type]
            elif kind == CHOICE:
                self._run(self.dice.pick(payload))  # type: ignore[arg-type]
            elif kind == TOPIC:
                self._say(payload)  # type: ignore[arg-type]
            else:
                self._run_marked(kind, payload)  # type: ignore[arg-type]

    def _run_marked(self, kind: int, payload: tuple[object, ...]) -> None:
        draft, start = self.draft, self.draft.length
        self._run(payload[-1])  # type: ignore[arg-type]
        if kind == FACT:
            draft.facts.add(str(payload[0]))
        elif kind == MARK:
            category, tier, fact = payload[:3]
            draft.mentions.append((start, draft.length, str(category), tier))  # type: ignore[arg-type]
            if fact:
                draft.facts.add(str(fact))

    def _draw_number(self, limits: tuple[float, float, int]) -> str:
        low, high, decimals = limits
        if decimals == 0:
            return str(self.dice.between(int(low), int(high)))
        return f"{low + (high - low) * self.dice.uniform():.{decimals}f}"

    def _say(self, topic: str) -> None:
        """One sentence of the topic; nothing where no line of it fits."""
        stock, fresh = load_topics()[topic]
        if self.dice.chance(self._recurrence):
            if self.dice.chance(COPY_SHARE) and self._copy_forward(topic):
                return
            if self._say_line(topic, stock, is_fresh=False):
                return
        if self._say_line(topic, fresh, is_fresh=True):
            return
        self._say_line(topic, stock, is_fresh=False)

    def _find_fitting(self, topic: str, lines: tuple[Line, ...], *, is_fresh: bool) -> list[Line]:
        key = (self._situation, topic, is_fresh)
        if key not in self._fitting:
            self._fitting[key] = [line for line in lines if line.fits(self.flags)]
        return self._fitting[key]

    def _copy_forward(self, topic: str) -> bool:
        earlier = [piece for piece in self._memory.get(topic, ()) if piece.text not in self._said]
        if not earlier:
            return False
        piece = self.dice.pick(earlier)
        self._said.add(piece.text)
        self.draft.add(piece)
        return True

    def _say_line(self, topic: str, lines: tuple[Line, ...], *, is_fresh: bool) -> bool:
        fitting = self._find_fitting(topic, lines, is_fresh=is_fresh)
        for _ in range(_ATTEMPTS if fitting else 0):
            line = self.dice.pick(fitting)
            is_chosen = line.probability >= 1.0 or self.dice.chance(line.probability)
            if is_chosen and self._write_once(topic, line, is_fresh=is_fresh):
                return True
        return False

    def _write_once(self, topic: str, line: Line, *, is_fresh: bool) -> bool:
        """Write the line unless this note already says the same; False leaves the draft as it was."""
        draft = self.draft
        parts, mentions, outer, draft.facts = len(draft.parts), len(draft.mentions), draft.facts, set()
        length = draft.length
        self._run(line.program)
        piece = draft.cut(parts, mentions, frozenset(draft.facts))
        draft.facts = outer
        if piece.text in self._said:
            del draft.parts[parts:], draft.mentions[mentions:]
            draft.length = length
            return False
        draft.facts = outer | piece.facts
        self._said.add(piece.text)
        if is_fresh:
            self._memory.setdefault(topic, []).append(piece)
        return True

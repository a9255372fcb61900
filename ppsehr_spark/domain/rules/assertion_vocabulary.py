"""The word list of an assertion grammar (``lexicons/<category>_terms.tsv``) as one regular expression.

Knows: the roles a row can play in a mention (negation, modifier, term, test, value ...). Must not know: any medical
word. Reference: annotation guideline v1, "Spans" (a mention holds its assertion and value where contiguous).

Columns, tab-separated: wording (a regular expression where it stands between slashes), role, anchor words of a
regular expression (comma-separated; without one of them nearby the row is not tried, which saves time), and, for
what needs evidence and for evidence, the kind of evidence (a name; rows without one belong together).
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass

from ppsehr_spark.domain.first_characters import read_pairs
from ppsehr_spark.domain.offsets import normalise_pattern, normalise_term
from ppsehr_spark.errors import ConfigurationError

#: Chinese role in the file -> what the row does in a mention.
ROLES = {
    "否定": "negation", "间隔": "gap", "修饰": "modifier", "词": "term", "检验": "test", "后缀": "suffix",
    "连接": "link", "值": "value", "参考值": "reference", "计数": "count", "并列": "separator",
    "同否": "negated_separator", "均": "shared",
    "列举后": "list_end", "含值": "valued", "需值": "needs_value", "需旁证": "needs_evidence", "旁证": "evidence",
    "反证": "counter", "不算": "mask",
}  # fmt: skip
#: Roles that come in kinds (fourth column): a row of the first needs a row of the second and none of the third.
_CONDITIONAL = ("needs_evidence", "evidence", "counter")
_ANCHORED = ("term", "test", "valued", "needs_value", "needs_evidence")
_OPENING = ("mask", "negation", "modifier", *_ANCHORED)
_NOTHING = "(?!)"
#: Items of a list that may turn out to share nothing: looked through again from every one of them.
_LONGEST = 12


@dataclass(frozen=True)
class Condition:
    """What a note must show, and must not show, for conditional mentions of one kind to count."""

    evidence: re.Pattern[str]
    counter: re.Pattern[str]

    def is_met(self, text: str) -> bool:
        """Whether the text shows evidence and nothing against it."""
        return self.evidence.search(text) is not None and self.counter.search(text) is None


@dataclass(frozen=True)
class Vocabulary:
    """The compiled word list.

    Attributes:
        opening: finds positions where a mention may open.
        pairs: character of such a position -> what may stand behind it (``None``: anything).
        mention: matches a mention; group ``mask``: it is none.
        conditions: what the note must show for a match of the group of this name (``needs_evidence...``).
        anchors: words near which mentions are looked for, normalised, in the usual letter cases.
    """

    opening: re.Pattern[str]
    pairs: Mapping[str, frozenset[str] | None]
    mention: re.Pattern[str]
    conditions: Mapping[str, Condition]
    anchors: frozenset[str]


def compile_vocabulary(rows: Iterable[Sequence[str]], *, file: str) -> Vocabulary:
    """Compile the rows of one file.

    Raises:
        ConfigurationError: ``ASSERTION_TERMS`` with file and row number for an unknown role, a regular expression
            that does not compile or that needs an anchor and has none.
    """
    parts: dict[str, list[tuple[float, str]]] = {role: [] for role in ROLES.values()}
    kinds: dict[str, dict[str, list[tuple[float, str]]]] = {}
    anchors: set[str] = set()
    for number, row in enumerate(rows, start=1):
        role = ROLES.get(row[1].strip()) if len(row) > 1 else None
        if role is None:
            raise _wrong(file, number, f"the second column is one of {', '.join(ROLES)}")
        source, needed = _read_wording(row, file=file, number=number)
        if role in _ANCHORED and not needed:
            raise _wrong(file, number, "a regular expression of this role needs anchor words in the third column")
        ranked = (_rank(needed, is_pattern=_is_pattern(row[0])), source)
        parts[role].append(ranked)
        if role in _CONDITIONAL:
            kind = row[3].strip() if len(row) > 3 else ""
            kinds.setdefault(kind, {}).setdefault(role, []).append(ranked)
        anchors.update(needed if role in _ANCHORED else ())
    joined = {role: _join(sources) for role, sources in parts.items()}
    named = {f"needs_evidence_{i}" if i else "needs_evidence": kinds[kind] for i, kind in enumerate(sorted(kinds))}
    openings = [joined[role] for role in _OPENING if joined[role] != _NOTHING]
    pairs = read_pairs(openings) or {}
    return Vocabulary(
        opening=re.compile(f"[{''.join(map(re.escape, sorted(pairs)))}]" if pairs else ""),
        pairs=pairs,
        mention=re.compile(_assemble(joined, named), re.IGNORECASE),
        conditions={name: _compile_condition(rows) for name, rows in named.items()},
        anchors=frozenset(form for anchor in anchors for form in _letter_cases(anchor)),
    )


def _compile_condition(rows: Mapping[str, Sequence[tuple[float, str]]]) -> Condition:
    evidence, counter = (re.compile(_join(rows.get(role, ())), re.IGNORECASE) for role in ("evidence", "counter"))
    return Condition(evidence, counter)


def _wrong(file: str, row: int, hint: str) -> ConfigurationError:
    return ConfigurationError("ASSERTION_TERMS", file=file, row=row, hint=hint)


def _read_wording(row: Sequence[str], *, file: str, number: int) -> tuple[str, list[str]]:
    wording = row[0].strip()
    if not _is_pattern(wording):
        term = normalise_term(wording)
        return _guard_latin(term), [term]
    source = normalise_pattern(wording[1:-1])
    try:
        re.compile(source)
    except re.error:
        raise _wrong(file, number, "not a valid regular expression") from None
    return f"(?:{source})", [normalise_term(a) for a in row[2].split(",") if a] if len(row) > 2 else []


def _is_pattern(wording: str) -> bool:
    wording = wording.strip()
    return wording.startswith("/") and wording.endswith("/") and len(wording) > 2


def _rank(words: Sequence[str], *, is_pattern: bool) -> float:
    """Longer terms are tried first; an expression ranks just above a term as long as its longest anchor."""
    return max(map(len, words), default=0) + (0.5 if is_pattern else 0.0)


def _guard_latin(term: str) -> str:
    """Latin letters at an edge of a term must not continue in the text (``\\b`` does not work next to Hanzi)."""
    head = "(?<![A-Za-z])" if term[:1].isascii() and term[:1].isalpha() else ""
    tail = "(?![A-Za-z])" if term[-1:].isascii() and term[-1:].isalpha() else ""
    return f"{head}{re.escape(term)}{tail}"


def _join(ranked: Sequence[tuple[float, str]]) -> str:
    return "(?:" + "|".join(source for _, source in sorted(ranked, key=lambda r: -r[0])) + ")" if ranked else _NOTHING


def _letter_cases(anchor: str) -> tuple[str, ...]:
    return (anchor, anchor.upper(), anchor.lower(), anchor.capitalize())


def _assemble(roles: Mapping[str, str], kinds: Mapping[str, Mapping[str, Sequence[tuple[float, str]]]]) -> str:
    """One expression; alternatives are tried in order at each position, so traps come first.

    Items under one negation or one shared value are one mention, an item with its own value ends a list. What is
    listed under no assertion at all is one mention where the file says so (its role ``separator``).
    """
    # Atomic: an item is never cut short to fit a list (the test 梅毒抗体 does not become the disease 梅毒).
    bare = rf"(?>{roles['modifier']}*{roles['term']})"
    unit = rf"(?>{roles['modifier']}*(?:{roles['test']}|{roles['term']}){roles['suffix']}*)"
    test = rf"(?>{roles['modifier']}*{roles['test']}{roles['suffix']}*)"
    figure = rf"(?:{roles['value']}|{roles['count']})"
    # In a report the range of reference follows the value and is none.
    value = rf"(?>{roles['link']}*){figure}(?:(?!{roles['reference']}) ?{figure})*"
    # Without a word that shares it (均), a count belongs to its own item only.
    common = rf"(?:(?={roles['shared']})|(?!(?>{roles['link']}*){roles['count']})){value}"
    either = rf"(?:{roles['separator']}|{roles['negated_separator']})"
    conditional = (
        rf"(?P<mask>{roles['mask']})",
        rf"(?P<valued>{roles['negation']}?{roles['valued']})",
        rf"(?P<negated>{roles['negation']}(?>{roles['gap']}*)(?:{test}{value}|{unit}(?:{either}{unit}(?!{value}))*))",
        rf"(?P<needs_value>{roles['needs_value']}{value})",
        *(rf"(?P<{name}>{_join(rows.get('needs_evidence', ()))})" for name, rows in kinds.items()),
    )
    shapes = (
        rf"(?P<tests>{test}(?:{roles['separator']}{test}){{0,{_LONGEST}}}{value})",
        rf"(?P<listed>{bare}(?:{roles['separator']}{bare}){{1,{_LONGEST}}}(?={roles['list_end']}))",
        rf"(?P<shared>{unit}(?:{either}{unit}){{1,{_LONGEST}}}{common})",
        rf"(?P<history>{bare}(?:{roles['negated_separator']}{bare}){{1,{_LONGEST}}}{roles['suffix']}+)",
        rf"(?P<single>{unit}{value})",
        rf"(?P<list>{unit}(?:{roles['separator']}{unit}(?!{value}))*)",
    )
    # A position that opens neither a trap, a negation nor an item is left at once.
    item = rf"(?={roles['modifier']}|{roles['test']}|{roles['term']})"
    return "|".join((*conditional, f"{item}(?:{'|'.join(shapes)})"))

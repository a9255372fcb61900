"""A model's reply read as the sections it was asked for, or a reason why it cannot be one.

Knows: form, length, repetition, foreign letters, echoes of the prompt. Must not know: the record (``agreement``),
identifiers (``screening``).
"""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

EMPTY, FORMAT, LENGTH, FOREIGN, LOOP, ECHO, EXAMPLE = "EMPTY", "FORMAT", "LENGTH", "FOREIGN", "LOOP", "ECHO", "EXAMPLE"
#: Name of the one section of a reply that is a note by itself.
WHOLE = ""
_GRAM = 8
_MAX_GRAM_REPEATS = 2
_SENTENCE_END = "。！？；"
#: A further section, or a line of the prompt.
_HEADING = re.compile(r"\n\s*[一-龥]{2,8}[：:]")
_LATIN = re.compile(r"[A-Za-zＡ-Ｚａ-ｚÀ-ɏ]")
_STRANGE = re.compile(r"[^\W\d_a-zA-Z一-龥〇αβγμ]|[\U00010000-\U0010ffff]")


@dataclass(frozen=True)
class ProseRules:
    """``[screen]`` of conf, with the eight-character sequences of the worked examples."""

    echoes: tuple[str, ...]
    min_section_chars: int
    max_section_chars: int
    max_foreign_share: float
    max_example_share: float
    example_grams: frozenset[str]


@dataclass(frozen=True)
class Prose:
    """Sections by name in the order asked for; ``reason`` is empty when they may stand."""

    sections: Mapping[str, str]
    reason: str = ""


def read_prose_rules(raw: Mapping[str, Any], *, examples: str) -> ProseRules:
    """The rules out of conf; ``examples`` is the text of the prompt that a reply must not repeat."""
    return ProseRules(
        echoes=tuple(raw.get("echoes", ())),
        min_section_chars=int(raw.get("min_section_chars", 4)),
        max_section_chars=int(raw.get("max_section_chars", 400)),
        max_foreign_share=float(raw.get("max_foreign_share", 0.2)),
        max_example_share=float(raw.get("max_example_share", 0.4)),
        example_grams=frozenset(_grams(examples)),
    )


def read_prose(reply: str, names: Sequence[str], rules: ProseRules) -> Prose:
    """Split a reply at its section names and look at each part.

    Args:
        reply: what the model wrote; a last sentence that the token bound cut off is left out.
        names: section names in the order asked for.

    Returns:
        The sections, or none and a reason code.
    """
    if not reply.strip():
        return Prose({}, EMPTY)
    sections = _split(reply, names)
    if sections is None:
        return Prose({}, FORMAT)
    reason = next((reason for text in sections.values() if (reason := _fault_of(text, rules))), "")
    return Prose({}, reason) if reason else Prose(sections)


def read_whole(reply: str, rules: ProseRules) -> Prose:
    """A reply that is a whole note, in one section named ``WHOLE``."""
    if not reply.strip():
        return Prose({}, EMPTY)
    text = _whole_sentences(reply.strip())
    reason = _fault_of(text, rules)
    return Prose({}, reason) if reason else Prose({WHOLE: text})


def _split(reply: str, names: Sequence[str]) -> dict[str, str] | None:
    """Section -> text; ``None`` unless every name stands once at the start of a line, in order, and no other does."""
    pattern = r"\s*" + r"\s*\n\s*".join(rf"{re.escape(name)}[：:](.*?)" for name in names) + r"\s*"
    match = re.fullmatch(pattern, reply, flags=re.DOTALL)
    if match is None or any(_HEADING.search(text) for text in match.groups()):
        return None
    texts = ["".join(line.strip() for line in text.splitlines()) for text in match.groups()]
    texts[-1] = _whole_sentences(texts[-1])
    return dict(zip(names, texts, strict=True))


def _whole_sentences(text: str) -> str:
    """Without a last sentence that was cut off."""
    end = max(text.rfind(mark) for mark in _SENTENCE_END)
    return text[: end + 1] if end >= 0 else text


def _fault_of(text: str, rules: ProseRules) -> str:
    if not rules.min_section_chars <= len(text) <= rules.max_section_chars:
        return LENGTH
    if any(word in text for word in rules.echoes):
        return ECHO
    if _STRANGE.search(text) or len(_LATIN.findall(text)) > rules.max_foreign_share * len(text):
        return FOREIGN
    grams = _grams(text)
    if len(grams) - len(set(grams)) >= _MAX_GRAM_REPEATS:
        return LOOP
    copied = sum(gram in rules.example_grams for gram in grams)
    return EXAMPLE if copied > rules.max_example_share * max(1, len(grams)) else ""


def _grams(text: str) -> list[str]:
    return [text[at : at + _GRAM] for at in range(len(text) - _GRAM + 1)]

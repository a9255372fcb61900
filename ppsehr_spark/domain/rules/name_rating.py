"""How sure a reading is at its place: prior of the place, form of the name, what stands to its right.

Knows: what each place speaks for a name (log-odds) and what a reading there gains or loses. Must not know: which word
made the place. Reference: annotation guideline v1, row NAME.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Sequence
from typing import Final

from ppsehr_spark.domain.offsets import Hit
from ppsehr_spark.domain.rules.name_edges import FIRST_OF_ACTS, FIRST_OF_MARKS, is_clear_right, weigh_right
from ppsehr_spark.domain.rules.name_found import FoundName, NameReading, rate
from ppsehr_spark.domain.rules.name_model import is_hanzi
from ppsehr_spark.domain.rules.name_parts import FUNCTION_SURNAMES, HARDLY_SURNAMES, VERB_TAILS, NameReader

#: What a name only heard after a preposition costs: clubs and places stand there as well.
_ONLY_HEARD: Final = 3.0
#: Log-odds that a name stands there, before its own form is read.
PRIOR: Final = {
    "label:": 5.0,
    "label ": 3.0,
    "label": 1.8,
    "weak_label:": 2.5,
    "field:": 3.5,
    "weak_label ": -2.0,
    "kin": -1.0,
    "vague": -3.5,
    "kin1": -2.2,
    "role": -0.3,
    "role ": -1.5,
    "role (": -2.0,
    "role:": 1.0,
    "agent": -3.5,
    "named": 1.5,
    "unit": -3.2,
    "unit (": 0.0,
    "bed": -1.2,
    "title": 0.2,
    "after_title": -1.4,
    "verb": -4.5,
    "speech": -2.5,
}
_TAKES_LONE = ("role", "after_label", "after_title", "named")
#: Beside these a surname with two characters of given names is a person, though all three are words.
_BESIDE_PERSON: Final = frozenset(["kin", "kin1", "role", "after_title", "after_label"])
_WHOLE: Final = 1.8
_FULL: Final = 3
_TAKES_GIVEN = ("kin", "kin1", "named")
#: What prolongs a cue (``审核者``, ``记录单``, ``麻醉史``) before it is a surname alone.
_ENDS_CUE: Final = frozenset("者单史员")
_MOST_RIGHT: Final = 4.5
#: A sex and an age behind the name of a patient say more, whatever word the name is (``患者连城,男,59岁``).
_PATIENTS: Final = frozenset(["kin", "role"])
_PATIENT_RIGHT: Final = 8.5
#: Odds of a reading, with its prior and all that its place adds, below these come to nothing.
_LEAST_ODDS: Final = -2.2
_FAINT: Final = -2.5
_COMMON_WORD: Final = 9.0
_ANY_WORD: Final = 14.0
_LESS_COMMON: Final = 12.0
_MAY_CLOSE: Final = FIRST_OF_MARKS | FIRST_OF_ACTS
#: Surnames that are adverbs before a verb (``其母曾足月产``).
_ADVERBS = FUNCTION_SURNAMES | frozenset("曾经")
_ADVERB: Final = 3.0
_CLOSED_ROLE: Final = 1.0
_LAST_ON_LINE: Final = 2.0
_PREPOSITION: Final = 3.0
#: A surname alone before a colon: the cue and it are a field (``麻醉史：``).
_A_FIELD: Final = 4.0
#: Adverbs that do not lead to a person as prepositions do.
_NO_PREPOSITIONS: Final = frozenset("应全相都")
#: What may stand between a word for a person and the name.
_BRIDGE = re.compile(
    r"(?P<named>的?(?:姓名|名字|名)?(?:叫做?|名叫|名为)|名(?=[\u4e00-\u9fff\"“]))?(?P<equal>[为是])?"
    r"[ ]{0,2}(?P<quoted>[\"'“‘「『(])?"
)
#: What may follow the first character of a name besides another one: masks, the dot, a blank.
_AFTER_FIRST: Final = frozenset("*×○〇□_Xx· ")
FIRST_OF_BRIDGE: Final = frozenset("的姓名叫为是 \"'“‘「『(")
_BRIDGES = {"named": 2.0, "quoted": 0.5, "equal": -0.5}


def after_blanks(text: str, at: int, *, most: int = 2) -> int:
    """The place after at most ``most`` blanks at ``at``."""
    while text[at : at + 1] == " " and most:
        at, most = at + 1, most - 1
    return at


class NameRater:
    """Rates readings at places; every question looks at a bounded number of characters."""

    def __init__(self, reader: NameReader) -> None:
        self.reader = reader

    def rate(self, text: str, reading: NameReading, prior: float, rule: str, *, cap: float = 0.97) -> FoundName:
        """A reading with its prior and with what stands to its right."""
        is_function = (
            reading.form not in ("han", "unknown") and rule != "named" and text[reading.start] in FUNCTION_SURNAMES
        )
        right = weigh_right(text, reading.end)
        is_patient = rule in _PATIENTS and reading.form in ("han", "given") and prior > _FAINT
        odds = reading.odds + prior + min(right, _PATIENT_RIGHT if is_patient else _MOST_RIGHT) - 3.0 * is_function
        is_adverb = text[reading.start] in _ADVERBS and (reading.end - reading.start > 2 or text[reading.start] != "于")
        if (
            is_adverb
            and text[reading.start : reading.end] not in self.reader.model.name_words
            and self.reader.model.word_cost(text[reading.start + 1 : reading.end])
        ):
            odds -= _ADVERB * (right == 0 and is_hanzi(text, reading.end))
        if (rule in ("role", "after_label") or (rule == "kin" and prior > _FAINT)) and not is_hanzi(text, reading.end):
            odds += _CLOSED_ROLE + _LAST_ON_LINE * (
                reading.form == "lone"
                and text[reading.end : reading.end + 1] in ("\n/。" if is_function else "\n| /。;")
            )
        is_preposition = text[reading.start] in HARDLY_SURNAMES or (
            text[reading.start] in FUNCTION_SURNAMES and prior <= _FAINT and not reading.is_bounded
        )
        is_preposition = (
            is_preposition and right == 0 and text[reading.start : reading.end] not in self.reader.model.name_words
        )
        odds += _WHOLE * self._is_whole(text, reading, rule)
        odds -= _A_FIELD * (reading.form == "lone" and text[reading.end : reading.end + 1] == ":")
        odds -= _PREPOSITION * (reading.form == "han" and is_preposition and prior < 0)
        return rate(reading.start, reading.end, odds, rule, cap=cap)

    def _is_whole(self, text: str, reading: NameReading, rule: str) -> bool:
        """True for a surname and two characters of given names beside a person, no word lying across their end."""
        at, model = reading.start, self.reader.model
        if rule not in _BESIDE_PERSON or reading.form != "han" or reading.end - at != _FULL:
            return False
        is_given = text[at + 1] in model.given and text[at + 2] in model.given and text[at] in model.single
        is_verb = text[at + 2] in VERB_TAILS or self.reader.is_followed(text, at + 2)
        return (
            is_given
            and not is_verb
            and text[at] not in HARDLY_SURNAMES
            and text[at : at + 2] not in model.words
            and text[at + 2 : at + 4] not in model.words
        )

    def rate_left(self, text: str, reading: NameReading, prior: float, rule: str) -> FoundName:
        surname = text[reading.start] if reading.form == "lone" else ""
        hardly = self._doubt_lone(text, reading.start) if surname and surname in HARDLY_SURNAMES else 0.0
        is_function = surname != "" and surname in FUNCTION_SURNAMES and is_hanzi(text, reading.start - 1)
        odds = reading.odds + prior - 1.0 * is_function - hardly
        return rate(reading.start, reading.end, odds, rule)

    def _doubt_lone(self, text: str, at: int) -> float:
        """What a word that is hardly a surname costs before a title: less in a field, or where no adverb stands."""
        if text[at - 1 : at] == ":":
            return 0.5
        is_place_of_noun = not is_hanzi(text, at - 1) or self.reader.is_stop_before(text, at)
        return 1.0 if text[at] in _NO_PREPOSITIONS and is_place_of_noun else 6.0

    def read_best(
        self, text: str, at: int, prior: float, rule: str, *, cue: Hit | None = None, takes_lone: bool = True
    ) -> Sequence[FoundName]:
        """The reading at ``at`` that its own form and what follows make most likely; ``cue`` is the word before it."""
        first, model = text[at : at + 1], self.reader.model
        if first not in self.reader.firsts and (rule not in _TAKES_GIVEN or first not in model.given):
            return ()
        if not self._may_go_on(text, at + 1, rule):
            return ()
        if (prior <= _FAINT and self._begins_a_word(text, at)) or self._runs_on(text, at, cue, rule):
            return ()
        marked = self.reader.read_marked(text, at)
        spaced = None if marked or text[at + 1 : at + 2] != " " else self.reader.read_spaced(text, at)
        takes_lone = takes_lone and rule in _TAKES_LONE and not (first in _ENDS_CUE and (cue is None or cue.end == at))
        allows_lone = takes_lone and not spaced and text[at - 1 : at + 1] not in model.words
        least = self._find_least(text, at, prior)
        candidates = [marked] if marked else self.reader.read_ends(text, at, allows_lone=allows_lone, least=least)
        candidates += [spaced] if spaced else []
        given = self.reader.read_given(text, at, least=least) if rule in _TAKES_GIVEN and not marked else None
        candidates += [given] if given else []
        candidates = [r for r in candidates if rule != "unit" or r.form == "han"]
        found = [self.rate(text, r, prior - self._doubt_form(text, r, rule), rule) for r in candidates]
        return sorted(found, key=lambda f: -f.confidence)[:1]

    @staticmethod
    def _find_least(text: str, at: int, prior: float) -> float:
        """The least odds of a reading at ``at`` that can still count, the best to its right being there."""
        if prior > _FAINT:
            return _LEAST_ODDS - prior - _MOST_RIGHT - _CLOSED_ROLE - _LAST_ON_LINE
        return _LEAST_ODDS - prior - _MOST_RIGHT * (not _MAY_CLOSE.isdisjoint(text[at + 1 : at + 7]))

    @staticmethod
    def _may_go_on(text: str, at: int, rule: str) -> bool:
        """False where neither a character nor a mask, a dot or a blank follows the first character of a name."""
        return rule in _TAKES_LONE or is_hanzi(text, at) or text[at : at + 1] in _AFTER_FIRST

    def _doubt_form(self, text: str, reading: NameReading, rule: str) -> float:
        """What a surname alone, or a name only heard and not composed, costs beyond its own form."""
        if reading.form == "lone":
            return 1.5
        is_heard = rule == "agent" and reading.form == "foreign" and not weigh_right(text, reading.end)
        is_composed = is_heard and self.reader.foreign.is_composed(text, reading.start, reading.end)
        return _ONLY_HEARD * (is_heard and not is_composed)

    def read_beyond(self, text: str, cue: Hit, prior: float, rule: str) -> Iterator[FoundName]:
        """The reading after ``cue`` and, where ``叫``, ``为`` or a quotation mark follows it, the one behind that."""
        at = after_blanks(text, cue.end)
        yield from self.read_best(text, at, prior, rule, cue=cue)
        bridge = _BRIDGE.match(text, cue.end) if text[cue.end : cue.end + 1] in FIRST_OF_BRIDGE else None
        if bridge and bridge.end() > at:
            gain = next(weight for group, weight in _BRIDGES.items() if bridge.group(group))
            is_open = text[bridge.end() - 1] != "("
            yield from self.read_best(text, bridge.end(), prior + gain, rule, takes_lone=is_open)

    def _runs_on(self, text: str, at: int, cue: Hit | None, rule: str) -> bool:
        """True when a common word or a title lies across ``at`` (``由于``, ``检测人员``): the cue itself ends later."""
        model, reader, pair = self.reader.model, self.reader, text[at - 1 : at + 1]
        if cue is None and text[at - 1 : at + 2] in model.words:
            return True
        if reader.is_title(pair) or reader.is_stop_before(text, at + 1, least=3):
            return True
        cost = model.words.get(pair)
        if cost is None:
            return False
        is_short = cue is not None and len(cue.value) == 1 and rule.startswith("kin")
        if cost > (_ANY_WORD if is_short else _COMMON_WORD):
            return False
        if cue is None or len(cue.value) < 2 or cue.end != at:
            return True
        across = model.ordinary_from(text, cue.start, at - 1)[0] + cost
        return across <= model.single_cost(text[cue.start : at]) + model.single_cost(text[at])

    def _begins_a_word(self, text: str, at: int) -> bool:
        """True when an ordinary word stands at ``at`` and nothing after it speaks for a name."""
        model = self.reader.model
        words, pair = model.words, text[at : at + 2]
        is_word = words.get(pair, 99.0) <= _LESS_COMMON or words.get(text[at : at + 3], 99.0) <= _LESS_COMMON
        if not is_word or pair in model.name_words:
            return False
        for end in range(at + 2, min(at + 7, len(text) + 1)):
            if text[end : end + 1] in _MAY_CLOSE and is_clear_right(text, end):
                return False
        return True

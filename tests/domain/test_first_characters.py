"""An expression that is tried only where its first two characters stand has the matches that ``re`` finds."""

from __future__ import annotations

import random
import re

import pytest

from ppsehr_spark.config import load_settings
from ppsehr_spark.domain.first_characters import GuardedPattern, compile_guard, compile_starts, read_pairs
from ppsehr_spark.domain.offsets import normalise_pattern
from ppsehr_spark.domain.taxonomy import load_categories

EXPRESSIONS = (
    "ab|a[cd]e|b",
    "(?<![0-9a])(?P<span>1[3-9][0-9]{2})(?![0-9])",
    "(?<=[ab])c?d+",
    "(?i:tel)[:： ]?[0-9]",
    "a{0,2}b{1,3}c",
    "(?:a|b){2}c",
    "^ab|(?m:^)1",
    "(?:ab)*",
    "[^a]b",
    "(a)\\1",
    "(?>a|ab)c|\\d\\s",
    "(?=b)bc|(?!a)[ab]1",
    "(?:(?!)|b)c",
)
PIECES = (*"aAbBcde0139 :：\n\u2003ſ", "tel", "TeL", "139", "aae")


def draw_text(seed: int) -> str:
    draw = random.Random(seed)
    return "".join(draw.choice(PIECES) for _ in range(draw.randrange(1, 60)))


@pytest.mark.parametrize("flags", [0, re.IGNORECASE])
@pytest.mark.parametrize("source", EXPRESSIONS)
def test_matches_are_those_of_re(source: str, flags: int) -> None:
    regex = re.compile(source, flags)
    guarded = GuardedPattern(regex)
    n_found = 0
    for seed in range(400):
        text = draw_text(seed)
        first, last = seed % 3, len(text) - seed % 2
        wanted = [m.span() for m in regex.finditer(text, first, last)]
        assert [m.span() for m in guarded.find_all(text, first, last)] == wanted
        plain, found = regex.search(text), guarded.search(text)
        assert (found and found.span()) == (plain and plain.span())
        for at in range(len(text) + 1):
            plain, found = regex.match(text, at), guarded.match(text, at)
            assert (found and found.span()) == (plain and plain.span())
        n_found += len(wanted)
    assert n_found > 0


def test_every_pattern_of_conf_matches_as_re_does() -> None:
    categories = load_categories(load_settings().files).values()
    sources = [normalise_pattern(raw["regex"]) for category in categories for raw in category.patterns]
    words = re.findall(r"[^/]+", "电话/手机/联系/微信/身份证/住院号/室/楼/号/转/：/,/-/(/)/ /\n")
    numbers = ["13812345678", "0571-87654321", "330106199001011234", "12", "+86", "abc@x.cn", "QQ123456", "3-2-501"]
    draw = random.Random(7)
    texts = ["".join(draw.choice(words + numbers) for _ in range(40)) for _ in range(60)]
    n_found = 0
    for source in sources:
        regex = re.compile(source)
        guarded = GuardedPattern(regex)
        for text in texts:
            wanted = [m.span() for m in regex.finditer(text)]
            assert [m.span() for m in guarded.find_all(text, 0, len(text))] == wanted
            n_found += len(wanted)
    assert len(sources) > 50
    assert n_found > 100


def test_first_and_second_characters_are_told() -> None:
    assert read_pairs(["ab|a[cd]", "x"]) == {
        **dict.fromkeys("aA", frozenset("bcdBCD")),
        **dict.fromkeys("xX"),
    }
    assert read_pairs(["a?b*"]) is None
    assert read_pairs([".b"]) is None


def test_what_cannot_be_told_is_tried_everywhere() -> None:
    assert compile_starts("[\u4e00-\u9fff]a") is None
    assert compile_guard(["a", "b?"]) == ""
    assert re.fullmatch(compile_guard(["ab", "c"]) + ".", "C")

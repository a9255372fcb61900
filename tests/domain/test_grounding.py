"""A quote counts only where it stands in the text."""

from __future__ import annotations

from itertools import pairwise

from hypothesis import given
from hypothesis import strategies as st

from ppsehr_spark.domain.grounding import ground_quote, ground_quotes

TEXT = "患者李伟，电话１３８ 1234 5678。李伟之子李伟明陪同，王主任查房。"


def quotes_at(text: str, quote: str) -> list[str]:
    return [text[start:end] for start, end in ground_quote(text, quote)]


def test_every_mention_is_found() -> None:
    assert quotes_at(TEXT, "李伟") == ["李伟"] * 3


def test_invented_quote_is_not_found() -> None:
    assert ground_quote(TEXT, "张三") == []
    assert ground_quote(TEXT, "") == ground_quote(TEXT, "，。 ") == []


def test_copied_punctuation_is_left_out() -> None:
    assert quotes_at(TEXT, "“李伟明”，") == ["李伟明"]


def test_full_width_and_blanks_are_bridged_and_offsets_stay_original() -> None:
    assert quotes_at(TEXT, "13812345678") == ["１３８ 1234 5678"]


def test_single_character_must_be_unique() -> None:
    assert quotes_at(TEXT, "王") == ["王"]
    assert quotes_at(TEXT, "李") == []


def test_quotes_come_without_doubles_and_are_counted() -> None:
    places, n_ungrounded = ground_quotes("李伟来诊", [("NAME", "李伟"), ("NAME", "李伟"), ("NAME", "张三")])
    assert (places, n_ungrounded) == ([(0, 2, "NAME")], 1)


@given(text=st.text(alphabet="李伟王１3 ，\n", max_size=60), quote=st.text(alphabet="李伟王１13 ，", max_size=6))
def test_places_lie_inside_apart_and_match(text: str, quote: str) -> None:
    places = ground_quote(text, quote)
    assert all(0 <= start < end <= len(text) for start, end in places)
    assert all(one[1] <= other[0] for one, other in pairwise(places))

    def fold(value: str) -> str:
        return "".join(value.split()).translate(str.maketrans("１", "1")).strip("，")

    assert all(fold(text[start:end]) == fold(quote) for start, end in places)

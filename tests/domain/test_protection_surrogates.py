"""Fictional values: the same form as the original, never the original, never a real number."""

from __future__ import annotations

import re

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from ppsehr_spark.config import read_conf_files
from ppsehr_spark.domain.protection.divisions import load_divisions, read_divisions
from ppsehr_spark.domain.protection.draw import Draw
from ppsehr_spark.domain.protection.fiction import FEMALE, MALE, load_fiction
from ppsehr_spark.domain.protection.name_surrogates import classify_sex, draw_name, split_name
from ppsehr_spark.domain.protection.number_surrogates import draw_contact, draw_form, draw_id
from ppsehr_spark.domain.protection.place_surrogates import draw_address, draw_hospital, hospital_core

FICTION = load_fiction(read_conf_files())
KEY = bytes(range(32))
PATIENTS = [f"p{i}" for i in range(40)]


def name(value: str, patient: str = "p1") -> str:
    return draw_name(value, fiction=FICTION, key=KEY, scope=(patient, "0")) or ""


def checksum(number: str) -> str:
    weights = [2**i % 11 for i in range(17, 0, -1)]
    return "10X98765432"[sum(int(d) * w for d, w in zip(number[:17], weights, strict=True)) % 11]


@pytest.mark.parametrize(
    ("value", "pattern"),
    [
        ("王", "[^王]"),
        ("王建国", "[^王]..(?<!建国)"),
        ("王主任", "[^王]主任"),
        ("张建国副主任医师", "[^张]..副主任医师"),
        ("小李", "小[^李]"),
        ("张某", "[^张]某"),
        ("李某某", "[^李]某某"),
        ("张××", "[^张]××"),
        ("欧阳娜", r"(?!欧阳)..."),
        ("李 芳", "[^李] [^芳]"),
        ("阿依古丽·买买提", r"\w+·\w+"),
        ("艾力•卡德尔", r"\w+•\w+"),
        ("John Smith", "[A-Z][a-z]+ [A-Z][a-z]+"),
        ("LI WEI", "[A-Z]+ [A-Z]+"),
    ],
)
def test_names_keep_their_form(value: str, pattern: str) -> None:
    for patient in PATIENTS:
        drawn = name(value, patient)
        assert drawn != value
        assert re.fullmatch(pattern, drawn), f"form of case {pattern}"


def test_names_keep_sex_class_and_length() -> None:
    for patient in PATIENTS:
        assert classify_sex(name("王建强", patient)[1:], FICTION) == MALE
        assert classify_sex(name("王丽芳", patient)[1:], FICTION) == FEMALE
        assert len(name("欧阳建国", patient)) == 4


def test_a_given_name_alone_agrees_with_the_full_name() -> None:
    assert name("建国") == name("王建国")[1:]
    assert name("王") == name("王建国")[0] == name("王医生")[0]


def test_names_without_anything_to_change_give_nothing() -> None:
    assert [name(value) for value in ("某某", "***", "  ", "")] == [""] * 4


def test_name_parts() -> None:
    parts = split_name("司马光主任", FICTION)
    assert (parts.surname, parts.given, parts.title) == ("司马", "光", "主任")
    assert split_name("王总", FICTION).title == "总"
    assert split_name("王小总", FICTION).title == ""


@settings(deadline=None)
@given(st.text(alphabet="王李欧阳建国芳某·abC *×小主任", max_size=9), st.sampled_from(PATIENTS))
def test_a_drawn_name_is_never_the_original(value: str, patient: str) -> None:
    assert name(value, patient) != value or not value


@pytest.mark.parametrize(
    "value",
    ["440106196501011234", "11010119900307123X", "４４０１０６１９６５０１０１１２３４", "440106 19650101 1234"],
)
def test_resident_ids_are_impossible_twice_over(value: str) -> None:
    for patient in PATIENTS:
        drawn = draw_id(value, FICTION, Draw(KEY, patient)) or ""
        plain = "".join(chr(ord(c) - 0xFEE0) if "！" <= c <= "～" else c for c in drawn if not c.isspace())
        assert len(drawn) == len(value) and [c.isspace() for c in drawn] == [c.isspace() for c in value]
        assert re.fullmatch(r"99\d{15}[\dX]", plain)
        assert plain[17] != checksum(plain)
        assert 1 <= int(plain[10:12]) <= 12 and 1 <= int(plain[12:14]) <= 28


def test_resident_ids_keep_sex_masks_and_length() -> None:
    for patient in PATIENTS:
        draw = Draw(KEY, patient)
        assert int((draw_id("440106196501011234", FICTION, draw) or "")[16]) % 2 == 1
        assert re.fullmatch(r"99\d\d\*{8}\d{4}|99\d\d\*{8}\d{3}X", draw_id("1101********1234", FICTION, draw) or "")
        assert re.fullmatch(r"99\d{13}", draw_id("110101900307123", FICTION, draw) or "")
        assert re.fullmatch(r"99\d{8}", draw_id("1234567890", FICTION, draw) or "")


@pytest.mark.parametrize(
    ("value", "pattern"),
    [
        ("13812345678", r"154\d{8}"),
        ("138-1234-5678", r"154-\d{4}-\d{4}"),
        ("138****5678", r"154\*{4}\d{4}"),
        ("+86 13812345678", r"\+86 154\d{8}"),
        ("１３８１２３４５６７８", r"１５４[０-９]{8}"),
        ("010-87654321", r"02\d-0\d{7}"),
        ("(0755)87654321", r"\(0\d{3}\)0\d{7}"),
        ("020-87654321-8012", r"0\d\d-0\d{7}-\d{4}"),
        ("87654321", r"0\d{7}"),
        ("400-812-3456", r"000-\d{3}-\d{4}"),
        ("zhang.san@163.com", r"\d?[a-z0-9]{5}\.[a-z]{3}@example\.com"),
        ("wx_zhang88", r"0[a-z]_[a-z]{5}\d\d"),
        ("123456789", r"000\d{6}"),
    ],
)
def test_contacts_keep_their_form_and_reach_nobody(value: str, pattern: str) -> None:
    for patient in PATIENTS:
        drawn = draw_contact(value, FICTION, Draw(KEY, patient)) or ""
        assert drawn != value
        assert re.fullmatch(pattern, drawn), f"form of case {pattern}"


def test_what_has_no_form_gives_nothing() -> None:
    assert draw_contact("同手机号", FICTION, Draw(KEY, "p")) is None
    assert draw_form("——", Draw(KEY, "p")) is None


@settings(deadline=None)
@given(st.text(alphabet="0123456789Xx*- ９８wZ@.微", max_size=24), st.sampled_from(PATIENTS))
def test_numbers_never_return_the_original(value: str, patient: str) -> None:
    assert draw_id(value, FICTION, Draw(KEY, patient)) != value
    assert draw_contact(value, FICTION, Draw(KEY, patient)) != value


def test_a_very_long_number_is_drawn_in_full() -> None:
    drawn = draw_id("1" * 10_000, FICTION, Draw(KEY, "p")) or ""
    assert len(drawn) == 10_000 and drawn.isdecimal() and len(set(drawn)) == 10


@pytest.mark.parametrize(
    ("value", "pattern"),
    [
        ("北京协和医院", "..医院"),
        ("朝阳区妇幼保健院", "..妇幼保健院"),
        ("福绥境社区卫生服务中心", "..社区卫生服务中心"),
        ("协和", ".."),
    ],
)
def test_hospitals_keep_their_suffix(value: str, pattern: str) -> None:
    assert re.fullmatch(pattern, draw_hospital(value, FICTION, Draw(KEY, "p")) or "")


def test_long_and_short_forms_of_a_hospital_share_a_core() -> None:
    cores = {hospital_core(value, FICTION) for value in ("北京协和医院", "协和医院", "北京 协和医院", "协和")}
    assert cores == {"协和"}
    assert hospital_core("医院", FICTION) == "医院"


@pytest.mark.parametrize(
    ("value", "n_levels", "pattern"),
    [
        ("广东省广州市天河区体育西路12号502室", 3, r".*路\d+号\d+室"),
        ("广州市", 1, ".+"),
        ("李家沟村", 0, "..村"),
        ("建国路甲3号", 0, r"..路\d+号"),
    ],
)
def test_fictional_addresses_name_the_same_levels_elsewhere(value: str, n_levels: int, pattern: str) -> None:
    for patient in PATIENTS:
        drawn = draw_address(value, FICTION, Draw(KEY, patient)) or ""
        reading = read_divisions(drawn, FICTION.divisions)
        assert re.fullmatch(pattern, drawn)
        assert len(reading.levels) in {n_levels, max(0, n_levels - 1)}  # a municipality is province and city in one
        assert reading.division is None or reading.division.province != "广东省"


@pytest.mark.parametrize(
    ("text", "province", "city", "county", "end"),
    [
        ("广东广州天河区体育西路", "广东省", "广州市", "天河区", 7),
        ("北京市海淀区", "北京市", "北京市", "海淀区", 6),
        ("海淀区中关村", "北京市", "北京市", "海淀区", 3),
        ("内蒙古呼和浩特市", "内蒙古自治区", "呼和浩特市", "", 8),
        ("东莞市长安镇", "广东省", "东莞市", "", 3),
        ("江苏省南京市鼓楼区", "江苏省", "南京市", "鼓楼区", 9),
    ],
)
def test_divisions_are_read_off_the_front(text: str, province: str, city: str, county: str, end: int) -> None:
    reading = read_divisions(text, load_divisions())
    assert reading.division is not None
    assert (reading.division.province, reading.division.city, reading.division.county) == (province, city, county)
    assert reading.end == end


@pytest.mark.parametrize("text", ["鼓楼区中山路", "李家沟", "", "中国北京"])
def test_ambiguous_or_unknown_places_are_not_guessed(text: str) -> None:
    assert read_divisions(text, load_divisions()).division is None


def test_draws_repeat_and_differ_by_every_part() -> None:
    assert Draw(KEY, "a", "b").digits(50) == Draw(KEY, "a", "b").digits(50)
    assert (
        len({Draw(key, *parts).digits(20) for key in (KEY, KEY[::-1]) for parts in (("a", "b"), ("ab",), ("b", "a"))})
        == 6
    )


def test_draws_are_even() -> None:
    draw = Draw(KEY, "even")
    counts = [0] * 7
    for _ in range(7_000):
        counts[draw.below(7)] += 1
    assert max(abs(count - 1_000) for count in counts) < 5 * (1_000 * 6 / 7) ** 0.5

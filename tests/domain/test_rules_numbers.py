"""ID, CONTACT and the extended number categories; normalisation keeps offsets of the original."""

from __future__ import annotations

import pytest

from ppsehr_spark.config import read_conf_files
from ppsehr_spark.domain.notes import Note
from ppsehr_spark.domain.rules import compile_rules
from ppsehr_spark.domain.rules.validators import has_luhn, has_resident_checksum, has_resident_form


def find(text: str, category: str, **enable: bool) -> list[str]:
    files = dict(read_conf_files())
    for name in enable:
        path = f"categories/{name}.toml"
        files[path] = files[path].replace("enabled = false", "enabled = true")
    engine = compile_rules(files)
    accept_at = engine.categories[category].accept_at
    spans = engine.propose(Note("k", text))
    return [text[s.start : s.end] for s in spans if s.category == category and s.confidence >= accept_at]


@pytest.mark.parametrize(
    ("text", "found"),
    [
        ("身份证号：110101199003071234", "110101199003071234"),
        ("身份证 110101 19900307 1234 已核", "110101 19900307 1234"),
        ("身份证１１０１０１１９９００３０７１２３Ｘ", "１１０１０１１９９００３０７１２３Ｘ"),
        ("证件号码 1101********1234", "1101********1234"),
        ("身份证 110101900307123", "110101900307123"),
        ("居住证 810000199408230021", "810000199408230021"),
        ("身份证号11010119900307l234", "11010119900307l234"),
        ("身份证\u200b号：1101\u200b01199003071234。", "1101\u200b01199003071234"),
    ],
)
def test_identity_numbers(text: str, found: str) -> None:
    assert find(text, "ID") == [found]
    assert find(text, "CONTACT") == []


@pytest.mark.parametrize("text", ["条码 690101199003071234", "批号：110101199003071234", "住院号 0012345678"])
def test_other_numbers_are_not_identity_numbers(text: str) -> None:
    assert find(text, "ID") == []


@pytest.mark.parametrize(
    ("text", "found"),
    [
        ("电话：13812345678。", ["13812345678"]),
        ("手机＋８６ 138-0013-8000", ["＋８６ 138-0013-8000"]),
        ("电话138****5678", ["138****5678"]),
        ("致电0571-87654321转802", ["0571-87654321转802"]),
        ("（电话028 89470796转4816）", ["028 89470796转4816"]),
        ("电话（0574）87654321", ["（0574）87654321"]),
        ("传真：87654321", ["87654321"]),
        ("邮箱是zhang.san@example.com.cn请回复", ["zhang.san@example.com.cn"]),
        ("微信号：abc_123456", ["abc_123456"]),
        ("QQ：123456789", ["123456789"]),
        ("香港 +852 9123 4567", ["+852 9123 4567"]),
        ("台湾手机 0912-345-678", ["0912-345-678"]),
        ("tel: +1 415 555 2671", ["+1 415 555 2671"]),
        ("13812345678、13912345678", ["13812345678", "13912345678"]),
        ("电话138OO138l00", ["138OO138l00"]),
    ],
)
def test_contacts(text: str, found: list[str]) -> None:
    assert find(text, "CONTACT") == found


@pytest.mark.parametrize(
    "text",
    [
        "头孢曲松2.0g qd",
        "WBC 13.81×10^9/L",
        "2023-05-01 08:30",
        "住院号：13812345678",
        "病案号 0571876543",
        "邮编 315000",
        "12床",
    ],
)
def test_other_numbers_are_not_contacts(text: str) -> None:
    assert find(text, "CONTACT") == []


def test_extended_categories_work_when_switched_on() -> None:
    assert find("住院号：0012345678", "MRN", MRN=True) == ["0012345678"]
    assert find("入院2023年5月1日，2023年随访", "DATE", DATE=True) == ["2023年5月1日"]
    assert find("工作单位：宁波市华兴纺织厂 退休", "ORG", ORG=True) == ["宁波市华兴纺织厂"]
    assert find("患者92岁，其女65岁", "AGE", AGE=True) == ["92岁"]
    assert find("床号：12", "BED", BED=True) == ["12"]
    assert find("车牌浙B12345碰撞", "VEHICLE", VEHICLE=True) == ["浙B12345"]
    assert find("银行卡号：6222021234567890123", "BANK", BANK=True) == ["6222021234567890123"]


def test_checksums_follow_the_standards() -> None:
    assert has_resident_checksum("11010519491231002X")
    assert not has_resident_checksum("110105194912310021")
    assert has_resident_form("110105194912310021")
    assert not has_resident_form("990105194912310021")
    assert not has_resident_form("110105194913310021")
    assert has_luhn("4111111111111111")
    assert not has_luhn("4111111111111112")

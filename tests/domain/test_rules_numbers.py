"""ID, CONTACT and the extended number categories; normalisation keeps offsets of the original."""

from __future__ import annotations

import time

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
        ("身份证号 1 1 0 1 0 1 1 9 9 0 0 3 0 7 1 2 3 4", "1 1 0 1 0 1 1 9 9 0 0 3 0 7 1 2 3 4"),
        ("身份证一一零一零一一九九零零三零七一二三四", "一一零一零一一九九零零三零七一二三四"),
        ("挂号 1101**19900307**** 李", "1101**19900307****"),
        ("身份证**************1234", "**************1234"),
        ("ID:420102197801061419 女", "420102197801061419"),
        ("年龄31 ID420102197801061419 住", "420102197801061419"),
        ("男|35|420102197801061419|汉族", "420102197801061419"),
        ("身份证号码 4201021978\n01061419", "4201021978\n01061419"),
    ],
)
def test_identity_numbers(text: str, found: str) -> None:
    assert find(text, "ID") == [found]
    assert find(text, "CONTACT") == []


@pytest.mark.parametrize(
    "text",
    [
        "条码 690101199003071234",
        "批号：110101199003071234",
        "住院号 0012345678",
        "患者ID：201905060012345",
        "军官证号 12345678901234567",
        "社保卡号 110101199003071234",
        "护照号E12345678，台胞证 12345678",
    ],
)
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
        ("家属留 QQ 509218834.复诊2周", ["509218834"]),
        ("报名表QQ发给宋老师（417730952）", ["417730952"]),
        ("照片发到qian_83k(微信)即可", ["qian_83k"]),
        ("把侄女VX推给她了：sun_moon88", ["sun_moon88"]),
        ("总机021-54037719*106", ["021-54037719*106"]),
        ("和田 0903-2512877", ["0903-2512877"]),
        ("联系金护士  84226301", ["84226301"]),
        ("台湾手机 0922.731.055", ["0922.731.055"]),
        ("香港 +852 9123 4567", ["+852 9123 4567"]),
        ("台湾手机 0912-345-678", ["0912-345-678"]),
        ("tel: +1 415 555 2671", ["+1 415 555 2671"]),
        ("13812345678、13912345678", ["13812345678", "13912345678"]),
        ("电话138OO138l00", ["138OO138l00"]),
        # Separators, look-alikes and digits of other shapes.
        ("联系方式138.1234.5678", ["138.1234.5678"]),
        ("打我手机 1 3 8 1 2 3 4 5 6 7 8", ["1 3 8 1 2 3 4 5 6 7 8"]),
        ("张三 13812345678 3栋201", ["13812345678"]),
        ("手机13八12三4五678", ["13八12三4五678"]),
        ("手机一三八 一二三四 五六七八", ["一三八 一二三四 五六七八"]),
        (
            "手机" + "".join(f"{d}\ufe0f\u20e3" for d in "13812345678") + "谢谢",
            ["".join(f"{d}\ufe0f\u20e3" for d in "13812345678")],
        ),
        ("手机①③⑧①②③④⑤⑥⑦⑧", ["①③⑧①②③④⑤⑥⑦⑧"]),
        ("手机l38l2345678，1381234567O", ["l38l2345678", "1381234567O"]),
        ("手机1：13812345678 手机213912345678", ["13812345678", "13912345678"]),
        ("138-XXXX-5678，138●●●●5678", ["138-XXXX-5678", "138●●●●5678"]),
        # Landlines: joint area code, extensions, without the trunk zero; short numbers with a label.
        ("电话0571-87654321、87654322、87654323", ["0571-87654321", "87654322", "87654323"]),
        ("(0571)8765-4321 转 802", ["(0571)8765-4321 转 802"]),
        ("+86-571-87654321，021-54801390分机12", ["+86-571-87654321", "021-54801390分机12"]),
        ("内线8021，短号661234", ["8021", "661234"]),
        ("急诊：85210120，护士站8703 2211", ["85210120", "8703 2211"]),
        ("电话0791\n-88331122，手机1391234\n0000", ["0791\n-88331122", "1391234\n0000"]),
        ("妹 057188331122；拨打登记号码18600001111", ["057188331122", "18600001111"]),
        ("热线400-820-8820转2，宅电6875-4321", ["400-820-8820转2", "6875-4321"]),
        ("电  话：1 5 9 2 3 4 7 8 8 1 0  女", ["1 5 9 2 3 4 7 8 8 1 0"]),
        ("tel.139.0571.8822，Ⅰ3758192064", ["139.0571.8822", "Ⅰ3758192064"]),
        ("|13912340000|男|35|", ["13912340000"]),
        # Hong Kong, Macau, Taiwan, elsewhere.
        ("WhatsApp：91234567，(852) 2345 6789", ["91234567", "(852) 2345 6789"]),
        ("手提9876 5432，請聯絡", ["9876 5432"]),
        ("聯絡人何太 9187-2204，細佬 9345 6612，打屋企 2694 7781", ["9187-2204", "9345 6612", "2694 7781"]),
        ("通知登記處2684 3315。陳醫生 2386 1192", ["2684 3315", "2386 1192"]),
        ("電話 (852) 2345 6789 內線 302", ["(852) 2345 6789 內線 302"]),
        ("市話(06)302-7719，04-2359-2525", ["(06)302-7719", "04-2359-2525"]),
        ("電話02-2771 1234 轉 123", ["02-2771 1234 轉 123"]),
        ("電話03-3281200#3456，手機0912345678", ["03-3281200#3456", "0912345678"]),
        ("+1 (628) 555-0147，+44 (0)20 7946 0018", ["+1 (628) 555-0147", "+44 (0)20 7946 0018"]),
        ("0081-90-1234-5678，+7 916 203-44-17", ["0081-90-1234-5678", "+7 916 203-44-17"]),
        # Accounts and addresses.
        ("邮箱zhangsan at qq dot com，或lisi（at）163.com", ["zhangsan at qq dot com", "lisi（at）163.com"]),
        ("薇信lilei2001，微信联系heiyq1986", ["lilei2001", "heiyq1986"]),
        ("加我微信 abc_12345，扣扣409215773", ["abc_12345", "409215773"]),
        ("加个V吗？我的是wxid_a8b7c6d5，vx，xinxin_m", ["wxid_a8b7c6d5", "xinxin_m"]),
        ("方便加个薇❤吗 nana0506xx，我Q是429817360", ["nana0506xx", "429817360"]),
        ("微亻言：momo_2011，绿泡泡cxy19901，Line：@happyclinic", ["momo_2011", "cxy19901", "@happyclinic"]),
        ("Line ID：abc_123，Telegram @abc_1234", ["abc_123", "@abc_1234"]),
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
        "评分 1 3 5 7 9 1 3 5 7 9 1",
        "样本号 13900001111，发票号 13812345678",
        "电话 2024-05-01 10:00 通知家属",
        "微信同号，关注微信公众号",
        "检查号:02-20240501，CT号 20230512345",
        "RR 20-25次/分，SpO2 98-99%，BP 120-130/80-90",
        "住院号13812345678，UDI 06901234567892",
        "收费1381234567元，HCG 13812345 mIU/ml",
        "①头部 ②颈部 ③胸部 ④腹部 ⑤盆腔 ⑥上肢 ⑦下肢",
        "12床",
        "银行卡 6222 0213 8888 1234 567，血袋号：0512 2460 0873",
        "入量2345 3456 ml，患者编号 2345 6789，急诊号85210120",
        "微信公众号：renxin2020，关注我院微信了解covid19",
        "房间 2103-2204，2019 2020年各一次",
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


@pytest.mark.parametrize("unit", ["1", "138", "0571-", "1*", "13812345678 ", "(02) ", "+1 ", "a1_", "一三八"])
def test_numbers_without_end_take_linear_time(unit: str) -> None:
    def measure_s(n_characters: int) -> float:
        text = (unit * n_characters)[:n_characters]
        engine = compile_rules(read_conf_files())
        started = time.process_time()
        engine.propose(Note("k", text))
        return max(time.process_time() - started, 2e-3)

    # 8 times the text may take 8 times as long; a quadratic scan would take 64 times.
    assert min(measure_s(20_000) for _ in range(2)) / min(measure_s(2_500) for _ in range(2)) < 24

"""``ppsehr conf check``: the shipped conf is sound; each planted fault is named in Chinese at its line."""

from __future__ import annotations

import re
import shutil
from pathlib import Path

import pytest

from ppsehr_spark.service.conf_check import main

CONF = Path(__file__).resolve().parents[2] / "conf"


@pytest.fixture
def conf(tmp_path: Path) -> Path:
    shutil.copytree(CONF, tmp_path / "conf")
    return tmp_path / "conf"


def check(conf: Path, capsys: pytest.CaptureFixture[str], *more: str) -> tuple[int, list[str]]:
    code = main(["check", "--conf", str(conf), *more])
    said = capsys.readouterr()
    assert said.err == ""
    return code, said.out.splitlines()


def replace(path: Path, old: str, new: str) -> int:
    """Replace once; returns the 1-based line."""
    text = path.read_text(encoding="utf-8")
    assert old in text
    path.write_text(text.replace(old, new, 1), encoding="utf-8")
    return text[: text.index(old)].count("\n") + 1


def test_shipped_conf_has_no_fault(capsys: pytest.CaptureFixture[str]) -> None:
    code, lines = check(CONF, capsys)
    assert code == 0
    assert not [line for line in lines if line.startswith("错误")]
    assert "0 处错误" in lines[-1]


@pytest.mark.parametrize(
    ("file", "old", "new"),
    [
        ("categories/NAME.toml", "is_direct_identifier = true", "is_direct_identifier = 'yes'"),
        ("categories/NAME.toml", "is_direct_identifier", "is_direkt"),
        ("knowledge.toml", 'evidence = "tail"', 'evidence = "tale"'),
        ("knowledge.toml", 'category = "ID"', 'category = "IDENTITY"'),
        ("categories/CONTACT.toml", 'surrogate = "phone"', 'surrogate = "telephon"'),
        ("categories/NAME.toml", "keep_from = ", "keep_to = "),
        ("categories/NAME.toml", "accept_at = ", 'model_tasks = ["decide"]\naccept_at = '),
        ("protection.toml", 'CONTACT = "placeholder"', 'CONTACT = "hide"'),
        ("protection.toml", 'mobile_prefix = "154"', 'mobile_prefix = "15"'),
        ("profiles/ci.toml", "n_patients = ", "n_patients = 'many' # "),
        ("profiles/ci.toml", "[simulate]", "[simulate"),
    ],
)
def test_a_fault_is_named_at_its_line(
    file: str, old: str, new: str, conf: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    line = replace(conf / file, old, new)
    code, lines = check(conf, capsys)
    assert code == 3
    faults = [said for said in lines if said.startswith("错误")]
    assert len(faults) == 1
    assert faults[0].startswith(f"错误 {file}:{line} ")
    assert re.search("[一-鿿]{2}", faults[0].split(" ", 2)[2])


@pytest.mark.parametrize(
    ("file", "old", "new"),
    [
        ("privacy.toml", "delta = 1e-7", "delta = 0.5"),
        ("codelists/diagnoses.tsv", "\t1\t92", "\tone\t92"),
        ("codelists/wards.tsv", "眼科病区\t眼科", "眼科病区\t眼科学"),
        ("codelists/cities.tsv", "宁波市\t", "河南省\t"),
        ("codelists/cities.tsv", "宁波市\t", "宁波市"),
        ("releases.toml", 'levels = ["region", "city"]', 'levels = ["city", "region"]'),
        ("releases.toml", "share = 0.03", "share = 0.3"),
        ("record_model.toml", "epsilon = 2.0", "epsilom = 2.0"),
        ("narratives/forms.toml", "fertile_ages", "fertile_age"),
    ],
)
def test_a_fault_of_the_privacy_half_is_named(
    file: str, old: str, new: str, conf: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    replace(conf / file, old, new)
    code, lines = check(conf, capsys)
    assert code == 3
    faults = [said for said in lines if said.startswith("错误")]
    assert len(faults) == 1
    assert faults[0].startswith(f"错误 {file}")
    assert re.search("[一-鿿]{2}", faults[0].split(" ", 2)[2])


def test_one_fault_does_not_hide_another(conf: Path, capsys: pytest.CaptureFixture[str]) -> None:
    replace(conf / "categories/ID.toml", "is_direct_identifier = true", "is_direct_identifier = 1")
    replace(conf / "categories/STD.toml", "is_tiered = true", "is_tiered = 1")
    replace(conf / "protection.toml", 'otherwise = "placeholder"', 'otherwise = "keep"')
    with (conf / "lexicons/surrogate_brands.tsv").open("a", encoding="utf-8") as stream:
        stream.write("\t前\n")
    code, lines = check(conf, capsys)
    assert code == 3
    files = {said.split(" ")[1].split(":")[0] for said in lines if said.startswith("错误")}
    expected = {"categories/ID.toml", "categories/STD.toml", "protection.toml", "lexicons/surrogate_brands.tsv"}
    assert files == expected


def test_a_broken_pattern_is_named(conf: Path, capsys: pytest.CaptureFixture[str]) -> None:
    toml = 'id = "VEHICLE"\nname = "车牌"\n\n[[pattern]]\nid = "plate"\nregex = "京[A-Z"\nconfidence = 0.9\n'
    (conf / "categories/VEHICLE.toml").write_text(toml, encoding="utf-8")
    code, lines = check(conf, capsys)
    assert code == 3
    assert [said for said in lines if said.startswith("错误 categories/VEHICLE.toml:5 ") and "正则" in said]


def test_doubts_are_reminders_not_errors(conf: Path, capsys: pytest.CaptureFixture[str]) -> None:
    (conf / "lexicons/extra.tsv").write_text("# 注释\n甲\n乙 \n甲\n", encoding="utf-8")
    replace(conf / "protection.toml", 'HOSPITAL = "keep"', 'HOSPITAL = "keep"\nHOSPITAI = "mask"')
    code, lines = check(conf, capsys)
    assert code == 0
    reminders = [said for said in lines if said.startswith("提醒")]
    assert any(said.startswith("提醒 lexicons/extra.tsv:3 ") for said in reminders)
    assert any(said.startswith("提醒 lexicons/extra.tsv:4 ") and "第 2 行" in said for said in reminders)
    assert any("HOSPITAI" in said for said in reminders)


def test_an_override_is_checked_too(capsys: pytest.CaptureFixture[str]) -> None:
    code, lines = check(CONF, capsys, "--set", "simulate.n_patients='x'")
    assert code == 3
    assert any("n_patients" in said and "整数" in said for said in lines)


def test_a_missing_folder_is_a_configuration_error(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["check", "--conf", str(tmp_path / "nope")]) == 3
    assert "CONF_FOLDER" in capsys.readouterr().err

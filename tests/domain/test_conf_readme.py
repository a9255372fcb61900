"""The examples that ``conf/README.zh.md`` gives to clinicians work as written."""

from __future__ import annotations

import re
from pathlib import Path

from ppsehr_spark.config import read_conf_files
from ppsehr_spark.domain.notes import Note
from ppsehr_spark.domain.rules import RuleEngine, compile_rules

CONF = Path(__file__).resolve().parents[2] / "conf"
README = (CONF / "README.zh.md").read_text(encoding="utf-8")
BLOCKS = re.findall(r"```(?:toml)?\n(.*?)```", README, flags=re.DOTALL)
CLINICAL = ("categories/STD.toml", "categories/PREGNANCY.toml", "tiers.toml")


def block_with(word: str) -> str:
    return next(block for block in BLOCKS if word in block)


def compile_with(**changed: str) -> RuleEngine:
    """The clinical categories with some files, given by path with ``__`` for ``/``, replaced or added."""
    files = {p: t for p, t in read_conf_files().items() if p in CLINICAL or p.startswith("lexicons/")}
    return compile_rules(files | {path.replace("__", "/"): text for path, text in changed.items()})


def found_in(engine: RuleEngine, text: str) -> list[tuple[str, str, int | None]]:
    return [(text[s.start : s.end], s.category, s.tier) for s in engine.propose(Note("n", text))]


def test_a_new_term() -> None:
    terms = read_conf_files()["lexicons/std_terms.tsv"] + block_with("雅司病")
    engine = compile_with(**{"lexicons__std_terms.tsv": terms})
    assert found_in(engine, "否认雅司病史。") == [("否认雅司病史", "STD", 1)]
    assert found_in(engine, "雅司病抗体阳性。") == [("雅司病抗体阳性", "STD", 3)]


def test_a_new_category() -> None:
    engine = compile_with(**{"categories__VEHICLE.toml": block_with("VEHICLE")})
    assert found_in(engine, "车牌沪B54321。") == [("沪B54321", "VEHICLE", None)]


def test_a_new_tier_rule() -> None:
    tiers = read_conf_files()["tiers.toml"]
    text = "TPPA待回报，性病门诊随诊。"
    assert found_in(compile_with(), text)[0][2] == 2
    assert found_in(compile_with(**{"tiers.toml": tiers + block_with("STD.3.clinic")}), text)[0][2] == 3


def test_every_file_it_names_is_there() -> None:
    files = read_conf_files()
    for name in (
        "tiers.toml",
        "protection.toml",
        "pipeline.toml",
        "lexicons/std_terms.tsv",
        "lexicons/tier_divisions.tsv",
    ):
        assert name.split("/")[-1] in README and name in files
    for folder in ("categories", "lexicons", "prompts", "sources", "profiles", "spark"):
        assert f"{folder}/" in README and (CONF / folder).is_dir()

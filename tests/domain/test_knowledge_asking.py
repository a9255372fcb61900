"""A cluster put to the model, and what its reply is worth."""

from __future__ import annotations

import json

import pytest

from ppsehr_spark.config import read_conf_files
from ppsehr_spark.domain.knowledge.asking import cluster_question, compile_evolve_prompt, read_reply
from ppsehr_spark.domain.knowledge.clustering import Cluster, cluster_mistakes
from ppsehr_spark.domain.knowledge.entries import CLAUSE, EXEMPLAR, LEXICON
from ppsehr_spark.domain.knowledge.mistakes import ReviewedNote, find_mistakes
from ppsehr_spark.domain.knowledge.slots import parse_plan
from ppsehr_spark.domain.notes import Note, Span
from ppsehr_spark.domain.taxonomy import load_categories
from ppsehr_spark.errors import ConfigurationError

FILES = read_conf_files()
CATEGORIES = load_categories(FILES)
KIND = "医疗机构名称的结尾"


def make_cluster(category: str = "HOSPITAL", *, name: str = "疗养所") -> Cluster:
    texts = {"a": f"昨日在红星{name}住院。", "b": f"转入临江{name}{{{{name}}}}，好转。"}
    notes = [
        ReviewedNote(Note(k, t), (Span(t.index(name) - 2, t.index(name) + len(name), category),))
        for k, t in texts.items()
    ]
    plan = parse_plan(FILES)
    return cluster_mistakes(find_mistakes(notes, {}), plan, notes)[0]


def reply(*changes: tuple[str, str], clause: str = "") -> str:
    return json.dumps(
        {"改动": [{"去处": place, "词": term} for place, term in changes], "说明": clause}, ensure_ascii=False
    )


def test_the_question_shows_the_mistakes_and_offers_only_what_conf_allows() -> None:
    question = cluster_question(compile_evolve_prompt(FILES), make_cluster(), CATEGORIES["HOSPITAL"])
    assert "1. 昨日在【红星疗养所】住院" in question.body or "2. 昨日在【红星疗养所】住院" in question.body
    assert "【临江疗养所】{{name}}" in question.body  # text is data: what looks like a placeholder stays
    schema = question.json_schema or {}
    offered = schema["properties"]["改动"]["items"]["properties"]["去处"]["enum"]
    assert KIND in offered and "号码的写法" not in offered
    assert "红星" not in question.prefix.replace("红星农场职工疗养院", "")


def test_a_grounded_term_becomes_a_row_and_an_invented_one_is_counted() -> None:
    read = read_reply(reply((KIND, "疗养所"), (KIND, "温泉村")), make_cluster(), proposer="qwen@1", is_direct=False)
    (entry,) = read.entries
    assert (entry.kind, entry.text, entry.file) == (LEXICON, "疗养所", "lexicons/hospital_kinds.tsv")
    assert entry.provenance.proposer == "qwen@1" and read.n_ungrounded == 1


def test_a_slot_that_does_not_exist_gives_nothing() -> None:
    read = read_reply(reply(("随便", "疗养所")), make_cluster(), proposer="q", is_direct=False)
    assert not read.entries and read.n_ungrounded == 1


def test_an_example_is_made_from_the_note_and_not_from_the_reply() -> None:
    read = read_reply(reply(("判断的例子", "红星疗养所")), make_cluster(), proposer="q", is_direct=False)
    (entry,) = read.entries
    assert (entry.kind, entry.is_yes) == (EXEMPLAR, True)
    assert entry.text == "昨日在红星疗养所住院 中的 红星疗养所"


@pytest.mark.parametrize(
    ("clause", "is_direct", "is_kept"),
    [
        ("疗养所也是医疗机构。", False, True),
        ("红星疗养所就是地址", True, False),
        ("红星疗养所就是医院", False, True),
        ("电话13812345678不算", False, False),
        ("短", False, False),
        ("填{{name}}进去的不算", False, False),
    ],
)
def test_a_sentence_speaks_in_general_terms(clause: str, is_direct: bool, is_kept: bool) -> None:
    entries = read_reply(reply(clause=clause), make_cluster(), proposer="q", is_direct=is_direct).entries
    assert [e.kind for e in entries] == ([CLAUSE] if is_kept else [])


@pytest.mark.parametrize(
    "text", ["", "不知道", "{", '{"改动": []}', '{"改动": "x", "说明": ""}', "[" * 10_000, '{"改动": [1], "说明": ""}']
)
def test_an_unreadable_reply_proposes_nothing(text: str) -> None:
    assert read_reply(text, make_cluster(), proposer="q", is_direct=False).entries == ()


def test_a_prompt_file_without_its_sections_is_named() -> None:
    with pytest.raises(ConfigurationError, match="PROMPT_FILE"):
        compile_evolve_prompt({"prompts/evolve.zh.v1.md": "## 前缀\n你好\n"})
    with pytest.raises(ConfigurationError, match="PROMPT_FILE"):
        compile_evolve_prompt({"prompts/evolve.zh.v2.md": "## 前缀\n你好\n## 正文\n{{text}}\n"})
    with pytest.raises(ConfigurationError, match="PROMPT_FILE"):
        compile_evolve_prompt({})

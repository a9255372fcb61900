"""Protection under every policy: operators by tier, consistency, and the promise that no identifier survives."""

from __future__ import annotations

import re
from collections.abc import Sequence
from functools import cache

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from ppsehr_spark.config import read_conf_files
from ppsehr_spark.domain.notes import Note, Span
from ppsehr_spark.domain.protection import Protected, Protector, choose_operation, compile_protector, load_policies
from ppsehr_spark.domain.taxonomy import Category
from ppsehr_spark.errors import ConfigurationError, InputError, UsageError

KEY = b"0123456789abcdef0123456789abcdef"
FILES = read_conf_files()
POLICIES = ("research", "strict", "public", "internal")
_MARKED = re.compile(r"\{(\w+?)(?:@(\d))?:([^}]*)\}")


@cache
def protector_of(policy: str, key: bytes = KEY) -> Protector:
    return compile_protector(FILES, policy, key)


def marked(template: str) -> tuple[Note, list[Span]]:
    """``患者{NAME:王建国}，{STD@3:梅毒}`` as a note and its spans."""
    text, spans, read_to = "", [], 0
    for match in _MARKED.finditer(template):
        text += template[read_to : match.start()]
        tier = int(match[2]) if match[2] else None
        spans.append(Span(len(text), len(text) + len(match[3]), match[1], tier))
        text += match[3]
        read_to = match.end()
    return Note("n1", text + template[read_to:]), spans


def protect(template: str, policy: str = "research", *, patient: str = "p1", key: bytes = KEY) -> Protected:
    note, spans = marked(template)
    return protector_of(policy, key).protect(note, spans, patient)


def values(protected: Protected) -> list[str]:
    return [protected.text[span.start : span.end] for span in protected.spans]


def test_every_policy_has_a_chinese_name_and_description() -> None:
    policies = load_policies(FILES)
    assert set(POLICIES) <= set(policies)
    assert all(re.search("[一-鿿]", policy.name + policy.description) for policy in policies.values())


def test_strict_writes_the_category_name_everywhere() -> None:
    protected = protect("患者{NAME:王建国}，住{ADDRESS@1:北京市}，{STD@1:否认梅毒史}。", "strict")
    assert protected.text == "患者【姓名】，住【地址】，【性病信息】。"
    assert protected.n_spans == 3


def test_public_hides_even_the_category_of_std_and_pregnancy() -> None:
    protected = protect("{NAME:王建国}，{STD@1:否认梅毒史}，{PREGNANCY@2:孕12周}，{HOSPITAL:协和医院}", "public")
    assert protected.text == "【姓名】，【略】，【略】，【医院名称】"


def test_internal_changes_direct_identifiers_only() -> None:
    protected = protect(
        "{HOSPITAL:协和医院}{STD@3:TPPA阳性}，住{ADDRESS@2:海淀区中关村}，原住{ADDRESS@3:北京市海淀区中关村1号}，{ID:110101199001011234}",
        "internal",
    )
    assert protected.text == "协和医院TPPA阳性，住海淀区中关村，原住北京市海淀区，【身份证号】"
    assert protected.n_spans == 2


@pytest.mark.parametrize(
    ("template", "expected"),
    [
        ("{ADDRESS@1:湖南长沙}", "湖南长沙"),
        ("{ADDRESS@2:广东省广州市天河区体育西路}", "广东省广州市"),
        ("{ADDRESS@2:海淀区中关村街道}", "北京市"),
        ("{ADDRESS@3:广州市天河区体育西路12号502室}", "广东省"),
        ("{ADDRESS:广州市天河区体育西路12号502室}", "广东省"),
        ("{ADDRESS@3:北京市}", "【地址】"),
        ("{ADDRESS@2:李家沟村}", "【地址】"),
        ("{ADDRESS@2:鼓楼区}", "【地址】"),
        ("{STD@1:否认梅毒史}", "否认梅毒史"),
        ("{STD@2:疑似梅毒}", "某感染性疾病相关情况"),
        ("{STD@3:TPPA阳性}", "【略】"),
        ("{STD:TPPA阳性}", "【略】"),
        ("{PREGNANCY@1:孕1产1}", "孕1产1"),
        ("{PREGNANCY@2:孕9周}", "妊娠早期"),
        ("{PREGNANCY@2:孕20+3周}", "妊娠中期"),
        ("{PREGNANCY@2:停经200天}", "妊娠晚期"),
        ("{PREGNANCY@2:妊娠}", "妊娠相关情况"),
        ("{PREGNANCY@3:人工流产2次}", "【略】"),
        ("{DATE:2023年5月6日}", "2023年"),
        ("{DATE:5月6日}", "【日期】"),
        ("{AGE:97岁}", "90岁以上"),
    ],
)
def test_research_acts_by_tier(template: str, expected: str) -> None:
    assert protect(template).text == expected


def test_text_outside_the_spans_is_untouched_and_offsets_fit() -> None:
    template = "\n入院：{NAME:王建国} 来自{HOSPITAL:协和医院}\t（{CONTACT:13812345678}）。\r\n完"
    note, spans = marked(template)
    protected = protect(template)
    rebuilt, read_to = "", 0
    for span, value in zip(sorted(spans, key=lambda s: s.start), values(protected), strict=True):
        rebuilt += note.text[read_to : span.start] + value
        read_to = span.end
    assert rebuilt + note.text[read_to:] == protected.text


def test_same_name_same_fiction_within_a_patient_only() -> None:
    template = "{NAME:王建国}，{NAME:王}主任，{NAME:王建国}，{NAME:王 建国}"
    first, surname, again, spaced = values(protect(template))
    assert first == again == spaced.replace(" ", "")
    assert spaced[1] == " "
    assert first[0] == surname != "王"
    assert values(protect("{NAME:王建国}", patient="p1"))[0] == first
    others = {values(protect("{NAME:王建国}", patient=f"q{i}"))[0] for i in range(20)}
    assert len(others) > 15
    assert values(protect("{NAME:王建国}", key=KEY[::-1]))[0] != first


def test_order_of_spans_does_not_matter() -> None:
    note, spans = marked("{NAME:王建国}在{HOSPITAL:协和医院}")
    assert protector_of("research").protect(note, spans[::-1], "p1") == protector_of("research").protect(
        note, spans, "p1"
    )


def test_an_original_never_reappears_in_a_replacement() -> None:
    """Every fictional surname is also an original of the note: the draws must dodge or give way."""
    surnames = [line for line in FILES["lexicons/surrogate_surnames.tsv"].splitlines() if line and line[0] != "#"]
    given = [
        line.split("\t")[0] for line in FILES["lexicons/surrogate_given.tsv"].splitlines() if line and line[0] != "#"
    ]
    names = [f"{surname}{char}" for surname in surnames[:60] for char in given]
    protected = protect("".join(f"{{NAME:{name}}}。" for name in names))
    assert protected.n_residual == 0
    assert not any(name in protected.text for name in names)


@pytest.mark.parametrize(
    ("template", "original"),
    [
        ("{NAME:姓名}：{NAME:姓名}", "姓名"),
        ("{NAME:】建}。{NAME:王}建国", "】建"),
        ("张{NAME:张【}{ID:】}", "张【"),
        ("{ID:【略】}{STD@3:梅毒}", "【略】"),
    ],
)
def test_an_original_formed_by_marks_and_neighbours_is_replaced_otherwise(template: str, original: str) -> None:
    assert original not in protect(template, "public").text


def test_missed_mentions_are_counted_and_left() -> None:
    protected = protect("{NAME:王建国}入院。王建国出院。")
    assert protected.text.endswith("入院。王建国出院。")
    assert protected.n_residual == 1


def test_overlapping_spans_become_one_placeholder() -> None:
    note = Note("n1", "住北京协和医院东楼")
    spans = [Span(1, 3, "ADDRESS", 1), Span(1, 7, "HOSPITAL"), Span(5, 9, "ADDRESS", 3)]
    protected = protector_of("research").protect(note, spans, "p1")
    assert protected.text in ("住【医院名称】", "住【地址】")
    assert len(protected.spans) == 1
    hidden = [Span(1, 5, "STD", 3), Span(2, 6, "NAME")]
    assert protector_of("research").protect(note, hidden, "p1").text == "住【略】院东楼"


@pytest.mark.parametrize(
    ("span", "code"),
    [(Span(2, 2, "NAME"), "SPAN_EMPTY"), (Span(3, 2, "NAME"), "SPAN_RANGE"), (Span(-1, 2, "NAME"), "SPAN_RANGE"),
     (Span(0, 6, "NAME"), "SPAN_RANGE")],
)  # fmt: skip
def test_impossible_spans_are_refused_by_ordinal_without_content(span: Span, code: str) -> None:
    note = Note("secret-id", "王建国来院")
    with pytest.raises(InputError) as refused:
        protector_of("research").protect(note, [Span(0, 1, "NAME"), span], "p1")
    assert refused.value.code == code
    assert refused.value.fields["span"] == 1
    assert "王" not in str(refused.value) and "secret-id" not in str(refused.value)


def test_no_spans_no_change() -> None:
    assert protector_of("research").protect(Note("n", "无"), [], "p") == Protected("无", 0, ())
    assert protector_of("research").protect(Note("n", ""), [], "p").text == ""


def test_a_category_without_policy_entry_falls_to_its_file_never_to_keep() -> None:
    policy = load_policies(FILES)["research"]

    def chosen(surrogate: str) -> str:
        category = Category("VEHICLE", "车牌", surrogate=surrogate)
        return choose_operation(policy, category_id="VEHICLE", category=category, tier=None).operator

    assert chosen("mask") == "mask"
    assert chosen("form") == "surrogate"
    assert chosen("keep") == "placeholder"
    assert choose_operation(policy, category_id="?", category=None, tier=None).operator == "placeholder"


@pytest.mark.parametrize(("surrogate", "policy", "pattern"), [
    ("form", "research", r"车牌京[A-Z]\d{5}离开"), ("mask", "research", r"车牌\*{7}离开"),
    ("form", "strict", "车牌【车辆号牌】离开"), ("keep", "research", "车牌【车辆号牌】离开"),
])  # fmt: skip
def test_an_eighth_category_needs_one_file(surrogate: str, policy: str, pattern: str) -> None:
    toml = f'id = "VEHICLE"\nname = "车辆号牌"\nis_direct_identifier = true\nsurrogate = "{surrogate}"\n'
    protector = compile_protector({**FILES, "categories/VEHICLE.toml": toml}, policy, KEY)
    protected = protector.protect(Note("n", "车牌京A12345离开"), [Span(2, 9, "VEHICLE")], "p")
    assert re.fullmatch(pattern, protected.text)
    assert "A12345" not in protected.text


def test_an_unknown_category_is_hidden_without_naming_it() -> None:
    protected = protector_of("research").protect(Note("n", "甲乙丙丁"), [Span(1, 3, "张三的类别")], "p")
    assert protected.text == "甲【敏感信息】丁"


@pytest.mark.parametrize(
    ("old", "new", "key"),
    [('NAME = "surrogate"', 'NAME = "hide"', "policy.research.categories.NAME"),
     ('tier3 = "generalise:province"', 'tier3 = "generalise:moon"', "policy.research.categories.ADDRESS.tier3"),
     ('otherwise = "placeholder"', 'otherwise = "keep"', "policy.strict.otherwise"),
     ('mobile_prefix = "154"', "mobile_prefix = 154", "surrogate.mobile_prefix"),
     ('redacted = "【略】"', 'redacted = ""', "marks.redacted")],
)  # fmt: skip
def test_a_wrong_policy_is_refused_with_file_and_key(old: str, new: str, key: str) -> None:
    assert old in FILES["protection.toml"]
    broken = {**FILES, "protection.toml": FILES["protection.toml"].replace(old, new, 1)}
    with pytest.raises(ConfigurationError) as refused:
        compile_protector(broken, "research", KEY)
    assert refused.value.fields == {"file": "protection.toml", "key": key}


def test_unknown_policy_names_those_there_are() -> None:
    with pytest.raises(UsageError, match="research"):
        compile_protector(FILES, "nope", KEY)


_CATEGORIES = st.sampled_from(["NAME", "ADDRESS", "CONTACT", "ID", "HOSPITAL", "STD", "PREGNANCY", "NEW"])
_TEXT = st.one_of(
    st.text(alphabet="王张建国北京市朝阳区路0123456789X*@a.·某 \n", min_size=1, max_size=60),
    st.text(alphabet="【】姓名略*", min_size=2, max_size=16),
    st.text(alphabet="姓名", min_size=2, max_size=6),
)


@st.composite
def _notes(draw: st.DrawFn) -> tuple[Note, list[Span]]:
    text = draw(_TEXT)
    cuts = draw(st.lists(st.tuples(st.integers(0, len(text) - 1), st.integers(1, 12)), max_size=8))
    has_overlaps = draw(st.booleans())
    spans: list[Span] = []
    for start, length in sorted(cuts):
        span = Span(start, min(len(text), start + length), draw(_CATEGORIES), draw(st.sampled_from([None, 1, 2, 3])))
        if has_overlaps or not any(span.overlaps(other) for other in spans):
            spans.append(span)
    return Note("n", text), spans


def direct_values(note: Note, spans: Sequence[Span], policy: str) -> set[str]:
    """Values that must be gone: direct identifiers of two characters and more that the policy does not keep."""
    protector = protector_of(policy)
    found = set()
    for span in spans:
        category = protector.categories.get(span.category)
        operation = choose_operation(protector.policy, category_id=span.category, category=category, tier=span.tier)
        is_direct = category is None or (
            category.is_direct_identifier and (not category.is_tiered or span.tier in (None, 3))
        )
        if is_direct and operation.operator != "keep" and span.end - span.start > 1:
            found.add(note.text[span.start : span.end])
    return found


@pytest.mark.parametrize("policy", POLICIES)
@given(case=_notes())
@settings(max_examples=150, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
def test_no_direct_identifier_survives_in_or_around_a_replacement(policy: str, case: tuple[Note, list[Span]]) -> None:
    note, spans = case
    protected = protector_of(policy).protect(note, spans, "p")
    changed = {i for span in protected.spans if not is_kept(policy, span) for i in range(span.start, span.end)}
    for value in direct_values(note, spans, policy):
        for match in re.finditer(f"(?={re.escape(value)})", protected.text):
            place = range(match.start(), match.start() + len(value))
            assert not changed.intersection(place), "an original touches a replacement"
    assert [s.start for s in protected.spans] == sorted(s.start for s in protected.spans)
    assert protector_of(policy).protect(note, spans, "p") == protected


def is_kept(policy: str, span: Span) -> bool:
    protector = protector_of(policy)
    category = protector.categories.get(span.category)
    operation = choose_operation(protector.policy, category_id=span.category, category=category, tier=span.tier)
    return operation.operator == "keep"


@given(case=_notes())
@settings(max_examples=100, deadline=None)
def test_everything_outside_the_spans_stays(case: tuple[Note, list[Span]]) -> None:
    note, spans = case
    protected = protector_of("strict").protect(note, spans, "p")
    covered = {i for s in spans for i in range(s.start, s.end)}
    outside = "".join(char for i, char in enumerate(note.text) if i not in covered)
    replaced = {i for s in protected.spans for i in range(s.start, s.end)}
    assert "".join(char for i, char in enumerate(protected.text) if i not in replaced) == outside

"""Everything in conf that writing notes depends on, compiled once, and the prompt for one visit.

Knows: ``conf/prompts/narrative.zh.v<N>.md``, ``conf/narratives`` and the public diagnoses. Must not know: engines,
real notes: a prompt holds a synthetic record and the worked examples of the prompt file, which are fiction.
"""

from __future__ import annotations

import hashlib
import re
import tomllib
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from ppsehr_spark.domain.codelists import load_codelists
from ppsehr_spark.errors import ConfigurationError
from ppsehr_spark.synthesis.narratives.agreement import AgreementRules, read_agreement_rules
from ppsehr_spark.synthesis.narratives.forms import (
    FORMS_FILE,
    Form,
    choose_form,
    count_days,
    read_forms,
    state_facts,
)
from ppsehr_spark.synthesis.narratives.prose import ProseRules, read_prose_rules
from ppsehr_spark.synthesis.note_header import render_header
from ppsehr_spark.synthesis.records.shapes import SyntheticEncounter, SyntheticPatient

FINDINGS_FILE = "narratives/findings.tsv"
_PROMPT_FILE = re.compile(r"prompts/narrative\.zh\.v(\d+)\.md")
_PLACEHOLDER = re.compile(r"\{\{(\w+)\}\}")
_SLOTS = frozenset({"性别", "年龄", "就诊", "科室", "诊断名称", "表现", "处理", "转归", "栏目"})
_INPATIENT = "住院"


@dataclass(frozen=True)
class Findings:
    """What a diagnosis usually shows and what is done about it, as words."""

    signs: tuple[str, ...] = ()
    treatments: tuple[str, ...] = ()


@dataclass(frozen=True)
class NarrativeBook:
    """Compiled conf.

    Attributes:
        prefix: shared by every prompt, so that engines cache it.
        body: template of the part that differs.
        forms: note types.
        findings: diagnosis code -> usual findings.
        prose, agreement: what a reply must look like, and what it must not say.
        allowed_categories: what the recognisers may find in a synthetic note; anything else drops it.
        version: hash (16 hex digits) of the files behind all this.
    """

    prefix: str
    body: str
    forms: tuple[Form, ...]
    findings: Mapping[str, Findings]
    prose: ProseRules
    agreement: AgreementRules
    allowed_categories: frozenset[str]
    version: str


@dataclass(frozen=True)
class NarrativePrompt:
    """One request in the terms of any engine.

    Attributes:
        prefix: shared by every prompt.
        body: the record.
        form: the note type, and where the sections of the reply go.
        is_whole: the reply is the note itself, not its sections.
    """

    prefix: str
    body: str
    form: Form
    is_whole: bool = False


def compile_narratives(files: Mapping[str, str]) -> NarrativeBook:
    """Read the newest prompt file, the forms, the findings and the public diagnoses.

    Args:
        files: path below ``conf/`` -> text.

    Raises:
        ConfigurationError: ``CONF_MISSING``, ``NOT_TOML``, ``NARRATIVE_FORM``, ``NARRATIVE_PROMPT``, ``CODE_LIST``.
    """
    raw = _read_toml(files)
    path = _newest_prompt(files)
    prefix, body = _read_prompt(files[path], path)
    findings = _read_findings(files)
    used = (path, FORMS_FILE, FINDINGS_FILE, "codelists/diagnoses.tsv")
    digest = hashlib.sha256(repr([(name, files.get(name, "")) for name in used]).encode())
    screen = raw.get("screen", {})
    diagnoses = tuple(diagnosis.name for diagnosis in load_codelists(files).diagnoses)
    signs = {code: found.signs for code, found in findings.items()}
    return NarrativeBook(
        prefix=prefix,
        body=body,
        forms=read_forms(raw.get("form", {})),
        findings=findings,
        prose=read_prose_rules(screen, examples=prefix),
        agreement=read_agreement_rules(raw.get("agreement", {}), diagnoses=diagnoses, signs=signs),
        allowed_categories=frozenset(screen.get("allowed_categories", ())),
        version=digest.hexdigest()[:16],
    )


def make_prompt(book: NarrativeBook, encounter: SyntheticEncounter, patient: SyntheticPatient) -> NarrativePrompt:
    """The prompt for the note of one visit; the same record gives the same prompt."""
    form = choose_form(book.forms, encounter)
    found = book.findings.get(encounter.diagnosis_code, Findings())
    kind = encounter.encounter_type
    facts = state_facts(encounter, patient)
    words = {
        "性别": facts["性别"],
        "年龄": facts["年龄"],
        "科室": facts["科室"],
        "就诊": f"{kind}{count_days(encounter)}天" if form.outcome and kind == _INPATIENT else kind,
        "诊断名称": encounter.diagnosis_name,
        "表现": f"，表现{'、'.join(found.signs)}" if found.signs else "",
        "处理": f"，处理{'、'.join(found.treatments)}" if form.outcome and found.treatments else "",
        "转归": f"，{form.outcome}" if form.outcome else "",
        "栏目": "、".join(form.sections),
    }
    return NarrativePrompt(book.prefix, _PLACEHOLDER.sub(lambda slot: words[slot[1]], book.body), form)


def make_header_prompt(
    book: NarrativeBook, encounter: SyntheticEncounter, patient: SyntheticPatient
) -> NarrativePrompt:
    """The prompt for a model that was trained to continue a record's header with a whole note."""
    form = choose_form(book.forms, encounter)
    header = render_header(
        note_type=form.name,
        department=encounter.department,
        sex=patient.sex,
        age_years=encounter.age_years,
        diagnosis_name=encounter.diagnosis_name,
    )
    return NarrativePrompt("", header, form, is_whole=True)


def _read_toml(files: Mapping[str, str]) -> dict[str, dict[str, Any]]:
    if FORMS_FILE not in files:
        raise ConfigurationError("CONF_MISSING", file=FORMS_FILE)
    try:
        return tomllib.loads(files[FORMS_FILE])
    except tomllib.TOMLDecodeError as error:
        raise ConfigurationError("NOT_TOML", file=FORMS_FILE, hint=str(error)) from None


def _newest_prompt(files: Mapping[str, str]) -> str:
    found = {int(match[1]): path for path in files if (match := _PROMPT_FILE.fullmatch(path))}
    if not found:
        raise ConfigurationError("CONF_MISSING", file="prompts/narrative.zh.v1.md")
    return found[max(found)]


def _read_prompt(text: str, path: str) -> tuple[str, str]:
    """The sections 前缀 and 正文 of the prompt file."""
    parts = re.split(r"^## +(\S+)[ \t]*\n", text, flags=re.MULTILINE)
    sections = {name: content.strip("\n") for name, content in zip(parts[1::2], parts[2::2], strict=True)}
    unknown = set(_PLACEHOLDER.findall(sections.get("正文", ""))) - _SLOTS
    if not {"前缀", "正文"} <= set(sections) or unknown:
        hint = f"needs the sections 前缀 and 正文; slots are {'、'.join(sorted(_SLOTS))}"
        raise ConfigurationError("NARRATIVE_PROMPT", file=path, key=min(unknown, default=""), hint=hint)
    return sections["前缀"], sections["正文"]


def _read_findings(files: Mapping[str, str]) -> dict[str, Findings]:
    """Code -> findings; the file may be missing, then nothing of the kind is asked for or checked."""
    rows: dict[str, Findings] = {}
    for number, line in enumerate(files.get(FINDINGS_FILE, "").splitlines(), start=1):
        if not line.strip() or line.startswith("#"):
            continue
        cells = line.split("\t")
        if len(cells) != 3 or cells[0] in rows:
            hint = "three columns, parted by tabs, each code once"
            raise ConfigurationError("CODE_LIST", file=FINDINGS_FILE, line=number, hint=hint)
        signs, treatments = (tuple(word for word in cell.strip().split("、") if word) for cell in cells[1:])
        rows[cells[0].strip()] = Findings(signs, treatments)
    return rows

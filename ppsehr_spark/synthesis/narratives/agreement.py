"""Does a note say what its record says? Statements that must stand, and statements that cannot be true.

Knows: the record, the wordings (``mentions``) and the word lists of ``[agreement]``. Must not know: who wrote the note,
how it was asked for. A statement is agreed when the note makes it and never says the contrary.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from ppsehr_spark.errors import ConfigurationError
from ppsehr_spark.synthesis.narratives.forms import FORMS_FILE, count_days
from ppsehr_spark.synthesis.narratives.mentions import (
    AgeMention,
    clause_around,
    clause_before,
    find_ages,
    find_dates,
    find_sexes,
    find_stays,
    find_words,
)
from ppsehr_spark.synthesis.records.shapes import SyntheticEncounter, SyntheticPatient

OTHER_SEX, OTHER_AGE, OTHER_DIAGNOSIS, OTHER_DATE = "OTHER_SEX", "OTHER_AGE", "OTHER_DIAGNOSIS", "OTHER_DATE"
OTHER_STAY, OTHER_OUTCOME = "OTHER_STAY", "OTHER_OUTCOME"
IMPOSSIBLE_PREGNANCY, DENIED_PREGNANCY = "IMPOSSIBLE_PREGNANCY", "DENIED_PREGNANCY"
_LEAD_WINDOW = 24
_LISTS = (
    "ignored_words", "relatives", "negations", "past_age_marks", "open_age_marks", "pregnancy_words", "pregnant_codes",
    "history_marks", "female_words", "male_words", "death_words", "well_words", "diagnosis_leads",
)  # fmt: skip


@dataclass(frozen=True)
class AgreementRules:
    """``[agreement]`` of conf.

    Attributes:
        words: list name -> words.
        fertile_ages: first and last age at which a woman can be pregnant, in years.
        diagnoses: names of the public list, longest first.
        signs: diagnosis code -> usual findings, one of which a note must name.
    """

    words: Mapping[str, tuple[str, ...]]
    fertile_ages: tuple[int, int]
    diagnoses: tuple[str, ...]
    signs: Mapping[str, tuple[str, ...]]


@dataclass(frozen=True)
class Agreement:
    """What came of the checks.

    Attributes:
        n_checks: statements of the record that were looked for.
        n_agreed: of them made, and contradicted nowhere.
        contradictions: reason codes, sorted, each once.
    """

    n_checks: int
    n_agreed: int
    contradictions: tuple[str, ...] = ()


@dataclass(frozen=True)
class _Case:
    text: str
    encounter: SyntheticEncounter
    patient: SyntheticPatient
    rules: AgreementRules

    def has_before(self, name: str, at: int) -> bool:
        """True when a word of the list stands before ``at`` in its clause."""
        clause = clause_before(self.text, at)
        return any(word in clause for word in self.rules.words[name])

    def has_around(self, name: str, at: int) -> bool:
        """True when a word of the list stands anywhere in the clause around ``at``."""
        clause = clause_around(self.text, at)
        return any(word in clause for word in self.rules.words[name])


@dataclass(frozen=True)
class _Verdict:
    """One check: looked for at all, stated, and the code of a contrary statement."""

    is_stated: bool
    contradiction: str = ""


def read_agreement_rules(
    raw: Mapping[str, Any], *, diagnoses: Sequence[str], signs: Mapping[str, tuple[str, ...]]
) -> AgreementRules:
    """The rules out of conf.

    Raises:
        ConfigurationError: ``NARRATIVE_FORM`` when a word list is missing.
    """
    missing = [name for name in (*_LISTS, "fertile_ages") if name not in raw]
    if missing:
        raise ConfigurationError("NARRATIVE_FORM", file=FORMS_FILE, key=missing[0], hint="[agreement] needs this list")
    low, high = (int(age) for age in raw["fertile_ages"])
    words = {name: tuple(raw[name]) for name in _LISTS}
    return AgreementRules(words, (low, high), tuple(sorted(diagnoses, key=len, reverse=True)), signs)


def check_agreement(
    text: str, encounter: SyntheticEncounter, patient: SyntheticPatient, *, rules: AgreementRules
) -> Agreement:
    """Compare a note with its record.

    Args:
        text: the whole note, header included.

    Returns:
        Counts and contradictions; no text of the note.
    """
    for word in rules.words["ignored_words"]:
        text = text.replace(word, "　" * len(word))
    case = _Case(text, encounter, patient, rules)
    verdicts = [verdict for check in _CHECKS for verdict in check(case)]
    contradictions = sorted({v.contradiction for v in verdicts if v.contradiction})
    n_agreed = sum(v.is_stated and not v.contradiction for v in verdicts)
    return Agreement(len(verdicts), n_agreed, tuple(contradictions))


def _check_sex(case: _Case) -> Iterator[_Verdict]:
    stated = {sex for sex, at in find_sexes(case.text) if not case.has_before("relatives", at)}
    others = "female_words" if case.patient.sex == "M" else "male_words"
    organs = (at for _, at in find_words(case.text, case.rules.words[others]) if not case.has_before("relatives", at))
    is_contrary = bool(stated - {case.patient.sex}) or any(True for _ in organs)
    yield _Verdict(case.patient.sex in stated, OTHER_SEX if is_contrary else "")


def _check_age(case: _Case) -> Iterator[_Verdict]:
    ages = [age for age in find_ages(case.text) if not case.has_before("relatives", age.at)]
    ages = [age for age in ages if not age.follow.startswith(case.rules.words["open_age_marks"])]
    now = case.encounter.age_years
    is_contrary = any(age.years > now if _is_past(age, case.rules) else age.years != now for age in ages)
    is_stated = any(age.years == now and not _is_past(age, case.rules) for age in ages)
    yield _Verdict(is_stated, OTHER_AGE if is_contrary else "")


def _is_past(age: AgeMention, rules: AgreementRules) -> bool:
    return age.follow.startswith(rules.words["past_age_marks"])


def _check_pregnancy(case: _Case) -> Iterator[_Verdict]:
    """Only counted where a pregnancy is mentioned that cannot be, or denied to a pregnant woman."""
    mentions = [at for _, at in find_words(case.text, case.rules.words["pregnancy_words"])]
    mentions = [at for at in mentions if not case.has_before("relatives", at)]
    denied = [at for at in mentions if case.has_before("negations", at)]
    low, high = case.rules.fertile_ages
    is_pregnant = case.encounter.diagnosis_code.startswith(case.rules.words["pregnant_codes"])
    if case.patient.sex == "M":
        is_impossible = bool(mentions)
    else:
        of_now = [at for at in mentions if at not in denied and not case.has_around("history_marks", at)]
        is_impossible = bool(of_now) and not low <= case.encounter.age_years <= high
    if is_impossible:
        yield _Verdict(False, IMPOSSIBLE_PREGNANCY)
    elif is_pregnant and any(case.text.startswith(("妊娠", "怀孕"), at) for at in denied):
        yield _Verdict(False, DENIED_PREGNANCY)


def _check_diagnosis(case: _Case) -> Iterator[_Verdict]:
    own = case.encounter.diagnosis_name
    head = own.split("（")[0]
    windows = [
        case.text[at + len(lead) : at + len(lead) + _LEAD_WINDOW].split("。")[0].split("\n")[0]
        for lead, at in find_words(case.text, case.rules.words["diagnosis_leads"])
        if not case.has_before("negations", at)
    ]
    is_contrary = any(_names_other(window, own, case.rules.diagnoses) for window in windows)
    yield _Verdict(own in case.text or head in case.text, OTHER_DIAGNOSIS if is_contrary else "")


def _names_other(window: str, own: str, diagnoses: Sequence[str]) -> bool:
    """True when a public diagnosis stands there and neither it nor anything beside it is the record's own."""
    named = next((name for name in diagnoses if name in window), "")
    return bool(named) and own not in window and named not in own


def _check_dates(case: _Case) -> Iterator[_Verdict]:
    """The day of admission must stand; one of discharge is compared where it stands; none lies after the end."""
    visit = case.encounter
    dates = list(find_dates(case.text))
    admitted = [mention.day for mention in dates if mention.label == "in"]
    discharged = [mention.day for mention in dates if mention.label == "out"]
    is_possible = all(m.day and case.patient.birth_year <= m.day.year and m.day <= visit.discharged_on for m in dates)
    is_contrary = not is_possible or any(day != visit.admitted_on for day in admitted)
    yield _Verdict(visit.admitted_on in admitted, OTHER_DATE if is_contrary else "")
    if discharged:
        is_same = all(day == visit.discharged_on for day in discharged)
        yield _Verdict(is_same, "" if is_same else OTHER_DATE)


def _check_stay(case: _Case) -> Iterator[_Verdict]:
    """Counted where a length of stay is stated; both ways of counting the last day are right."""
    stays = find_stays(case.text)
    if stays:
        days = count_days(case.encounter)
        is_same = all(stay in (days, days + 1) for stay in stays)
        yield _Verdict(is_same, "" if is_same else OTHER_STAY)


def _check_outcome(case: _Case) -> Iterator[_Verdict]:
    words = case.rules.words
    died = [at for _, at in find_words(case.text, words["death_words"]) if not _is_elsewhere(case, at)]
    if not case.encounter.is_deceased:
        yield _Verdict(True, OTHER_OUTCOME if died else "")
        return
    is_well = any(not _is_elsewhere(case, at) for _, at in find_words(case.text, words["well_words"]))
    yield _Verdict(bool(died), OTHER_OUTCOME if is_well else "")


def _is_elsewhere(case: _Case, at: int) -> bool:
    """Said of somebody else, or said not to have happened."""
    return case.has_before("relatives", at) or case.has_before("negations", at)


def _check_signs(case: _Case) -> Iterator[_Verdict]:
    """One of the usual findings must be named, and not as absent; only where conf lists any."""
    signs = case.rules.signs.get(case.encounter.diagnosis_code, ())
    if signs:
        text = case.text.replace(case.encounter.diagnosis_name, "")
        yield _Verdict(any(text[at - 1 : at] not in ("无", "未") for _, at in find_words(text, signs)))


_CHECKS: tuple[Callable[[_Case], Iterator[_Verdict]], ...] = (
    _check_sex,
    _check_age,
    _check_pregnancy,
    _check_diagnosis,
    _check_dates,
    _check_stay,
    _check_outcome,
    _check_signs,
)

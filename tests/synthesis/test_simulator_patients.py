"""Two thousand fictional patients: nothing impossible, gold that follows the guideline, the same on every run."""

from __future__ import annotations

import itertools
import re
from collections.abc import Iterator
from dataclasses import replace
from datetime import date, datetime

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from ppsehr_spark.config import SimulateSettings, read_conf_files
from ppsehr_spark.domain.codelists import load_codelists
from ppsehr_spark.domain.notes import Span
from ppsehr_spark.synthesis.simulator import SimulatedNote, SimulatedPatient, simulate_patient, simulate_record
from ppsehr_spark.synthesis.simulator.people import compute_id_check

SETTINGS = SimulateSettings()
TIERED = {"ADDRESS", "STD", "PREGNANCY"}
CATEGORIES = TIERED | {"NAME", "CONTACT", "ID", "HOSPITAL"}
OBSTETRIC_CODES = {"Z34.900", "O80.900", "O82.900", "O20.000", "O00.101", "O04.900"}


@pytest.fixture(scope="module")
def patients() -> list[SimulatedPatient]:
    return [simulate_patient(index, SETTINGS) for index in range(2000)]


def test_the_desk_knows_homes_and_wards_and_leaves_some_out(patients: list[SimulatedPatient]) -> None:
    lists = load_codelists(read_conf_files())
    homes = [(s.patient.region, s.patient.city) for s in patients]
    assert all(lists.cities[city] == region for region, city in homes if city)
    assert all(city or region in lists.cities.values() for region, city in homes if region)
    # 2,000 draws of 2% and 5%: beyond five standard deviations is less likely than 1e-5
    assert 10 < sum(not region for region, _ in homes) < 72
    assert 52 < sum(bool(region) and not city for region, city in homes) < 150
    visits = [encounter for s in patients for encounter in s.encounters]
    wards = {(visit.ward, visit.department) for visit in visits if visit.ward}
    assert {visit.encounter_type for visit in visits if visit.ward} == {"住院"}
    assert wards <= set(lists.wards.items()) and len(wards) > 40
    stays = [visit for visit in visits if visit.encounter_type == "住院"]
    assert 0.94 < sum(bool(visit.ward) for visit in stays) / len(stays) < 0.99
    assert [simulate_record(i, SETTINGS).encounters for i in range(99)] == [s.encounters for s in patients[:99]]


def each_note(patients: list[SimulatedPatient]) -> Iterator[tuple[SimulatedPatient, SimulatedNote]]:
    return ((patient, note) for patient in patients for note in patient.notes)


def each_span(patients: list[SimulatedPatient]) -> Iterator[tuple[SimulatedNote, Span, str]]:
    return ((note, s, note.text[s.start : s.end]) for _, note in each_note(patients) for s in note.spans)


def check_course(simulated: SimulatedPatient, first_year: int, last_year: int) -> None:
    """Order of birth, visits and death; sex and diagnoses."""
    patient, encounters = simulated.patient, simulated.encounters
    assert encounters
    for before, after in itertools.pairwise(encounters):
        assert before.discharged_at < after.admitted_at
        assert not before.is_deceased
    for encounter in encounters:
        assert patient.birth_date < encounter.admitted_at.date()
        assert encounter.admitted_at < encounter.discharged_at
        assert first_year <= encounter.admitted_at.year <= encounter.discharged_at.year <= last_year
        age = encounter.admitted_at.year - patient.birth_date.year
        if OBSTETRIC_CODES & set(encounter.diagnosis_codes):
            assert patient.sex == "F"
            assert 15 <= age <= 47
    end = encounters[-1].discharged_at
    assert patient.death_date is None or patient.death_date >= end.date()
    if encounters[-1].is_deceased:
        assert patient.death_date == end.date()


def check_life(simulated: SimulatedPatient, first_year: int, last_year: int) -> None:
    """A possible course, and notes in order of time within their visits."""
    check_course(simulated, first_year, last_year)
    assert simulated.notes
    times = {e.encounter_id: (e.admitted_at, e.discharged_at) for e in simulated.encounters}
    for note in simulated.notes:
        begin, end = times[note.encounter_id]
        assert begin <= note.noted_at <= end
        assert note.noted_at.utcoffset().total_seconds() == 8 * 3600  # type: ignore[union-attr]
    written = [note.noted_at for note in simulated.notes]
    assert written == sorted(written)
    assert len({note.note_id for note in simulated.notes}) == len(simulated.notes)


def check_spans(note: SimulatedNote) -> None:
    """Sorted, inside the text, apart from one another, without punctuation at the ends, with a tier where due."""
    end = 0
    for span in note.spans:
        assert end <= span.start < span.end <= len(note.text)
        end = span.end
        mention = note.text[span.start : span.end]
        assert span.category in CATEGORIES
        assert (span.tier in (1, 2, 3)) == (span.category in TIERED)
        assert span.source == "gold"
        assert mention == mention.strip(" ：:，。、；\n\t\u3000")


@settings(max_examples=60, deadline=None)
@given(
    seed=st.integers(0, 2**32),
    index=st.integers(0, 10**9),
    recurrence=st.floats(0, 1),
    first_year=st.integers(2005, 2022),
    years=st.integers(0, 12),
)
def test_any_seed_gives_possible_lives(seed: int, index: int, recurrence: float, first_year: int, years: int) -> None:
    chosen = SimulateSettings(seed=seed, recurrence=recurrence, first_year=first_year, last_year=first_year + years)
    simulated = simulate_patient(index, chosen)
    check_life(simulated, first_year, first_year + years)
    for note in simulated.notes:
        check_spans(note)
    assert simulated == simulate_patient(index, chosen)


def test_no_impossible_record(patients: list[SimulatedPatient]) -> None:
    for simulated in patients:
        check_life(simulated, SETTINGS.first_year, SETTINGS.last_year)
    assert sum(s.encounters[-1].is_deceased for s in patients) > 10


def test_no_pregnant_man(patients: list[SimulatedPatient]) -> None:
    men = [s for s in patients if s.patient.sex == "M"]
    assert not [text for _, span, text in each_span(men) if span.category == "PREGNANCY"]


def test_spans_are_well_formed(patients: list[SimulatedPatient]) -> None:
    for _, note in each_note(patients):
        check_spans(note)


def test_another_seed_is_another_world() -> None:
    assert simulate_patient(0, SimulateSettings(seed=1)) != simulate_patient(0, SimulateSettings(seed=2))


def test_number_of_patients_and_partitions_do_not_matter() -> None:
    small, large = SimulateSettings(n_patients=5, n_partitions=1), SimulateSettings(n_patients=10**6, n_partitions=64)
    assert simulate_patient(4, small) == simulate_patient(4, large)


def test_a_record_is_the_same_life_without_its_notes(patients: list[SimulatedPatient]) -> None:
    lives = [simulate_record(index, SETTINGS) for index in range(2000)]
    assert [life.encounters for life in lives] == [patient.encounters for patient in patients]
    assert not any(life.notes for life in lives)
    for life, patient in zip(lives, patients, strict=True):
        check_course(life, SETTINGS.first_year, SETTINGS.last_year)
        assert replace(life.patient, death_date=None) == replace(patient.patient, death_date=None)


def test_volume_and_types(patients: list[SimulatedPatient]) -> None:
    notes = [note for _, note in each_note(patients)]
    assert len({note.note_type for note in notes}) >= 16
    assert 10 <= len(notes) / len(patients) <= 14
    lengths = sorted(len(note.text) for note in notes)
    assert 200 <= sum(lengths) / len(lengths) <= 600
    assert lengths[-1] >= 2000
    assert 0.05 <= sum(not note.spans for note in notes) / len(notes) <= 0.3


def test_every_category_and_tier_occurs(patients: list[SimulatedPatient]) -> None:
    seen = {(span.category, span.tier) for _, span, _ in each_span(patients)}
    expected = {(category, tier) for category in TIERED for tier in (1, 2, 3)}
    assert expected | {(category, None) for category in CATEGORIES - TIERED} == seen


def test_identity_number_fits_birth_and_sex(patients: list[SimulatedPatient]) -> None:
    checked = 0
    for simulated in patients:
        patient = simulated.patient
        assert re.fullmatch(r"\d{17}[\dX]", patient.id_number)
        assert patient.id_number[6:14] == f"{patient.birth_date:%Y%m%d}"
        assert int(patient.id_number[16]) % 2 == (patient.sex == "M")
        checked += patient.id_number[17] == compute_id_check(patient.id_number[:17])
    assert 0.9 < checked / len(patients) < 0.98  # a few wrong ones, as in real registers


def test_identifiers_never_stand_outside_gold(patients: list[SimulatedPatient]) -> None:
    for simulated, note in each_note(patients):
        patient = simulated.patient
        for value in (patient.name, patient.id_number, patient.phone, patient.address):
            for found in re.finditer(re.escape(value), note.text):
                assert any(s.start <= found.start() and found.end() <= s.end for s in note.spans), note.note_id


def test_hard_cases_are_there(patients: list[SimulatedPatient]) -> None:
    mentions = {(span.category, text) for _, span, text in each_span(patients)}
    by_category = {c: {text for category, text in mentions if category == c} for c in CATEGORIES}
    assert any(re.fullmatch(r".{1,2}某", name) for name in by_category["NAME"])
    assert any(len(name) == 1 for name in by_category["NAME"])  # 王主任
    assert any("·" in name for name in by_category["NAME"])
    assert any("********" in number for number in by_category["ID"])
    assert any(" " in number for number in by_category["ID"])
    assert any("０" in number for number in by_category["ID"])
    assert any(re.fullmatch(r"\d{15}", number) for number in by_category["ID"])
    assert any("****" in number for number in by_category["CONTACT"])
    assert any("转" in number for number in by_category["CONTACT"])
    assert any("@" in number for number in by_category["CONTACT"])
    assert "梅毒、艾滋病" in by_category["STD"]
    assert any(re.fullmatch(r"孕\d产\d", text) for text in by_category["PREGNANCY"])


def test_hard_negatives_are_never_gold(patients: list[SimulatedPatient]) -> None:
    traps = ("帕金森", "克罗恩", "急性病程", "慢性病容", "当地医院", "县医院", "外院", "乙肝", "产地", "国产", "备孕",
             "子宫如孕3月大", "云南白药", "上海罗氏", "解脲支原体", "妊娠分级", "子痫前期", "胎膜早破")  # fmt: skip
    seen = set()
    for _, note in each_note(patients):
        for trap in traps:
            for found in re.finditer(trap, note.text):
                seen.add(trap)
                assert not any(s.start < found.end() and found.start() < s.end for s in note.spans), trap
    assert seen == set(traps)


def test_current_pregnancy_is_raised_exactly_where_the_note_says_why(patients: list[SimulatedPatient]) -> None:
    tiers = {2: 0, 3: 0}
    for _, note in each_note(patients):
        minors = [int(age) for age in re.findall(r"(?:年龄：|，|  |    |患者|产妇年龄：)(\d{1,2})岁", note.text)]
        states_reason = "未婚" in note.text or "性侵" in note.text or (bool(minors) and min(minors) < 18)
        states_reason |= any(s.category == "STD" and s.tier == 3 for s in note.spans)
        for span in note.spans:
            if span.category == "PREGNANCY" and re.match(r"停经\d+", note.text[span.start : span.end]):
                assert span.tier == (3 if states_reason else 2), note.note_id
                tiers[span.tier] += 1
    assert min(tiers.values()) > 10


def test_parity_tells_losses(patients: list[SimulatedPatient]) -> None:
    for note, span, text in each_span(patients):
        found = re.fullmatch(r"(?:孕(\d+)次?产(\d+)次?|G(\d+)P(\d+))", text)
        if not found or any(code in note.note_type for code in ("分娩",)):
            continue
        gravidity, births = (int(x) for x in found.groups() if x is not None)
        assert gravidity >= births
        if gravidity - births >= 2:
            assert span.tier == 3
        if gravidity == births:
            assert span.tier == 1


def test_address_tiers(patients: list[SimulatedPatient]) -> None:
    door = re.compile(r"[\d一二三四五六０-９]+(?:号|室|栋|幢|单元|组|弄)|\d+-\d+-\d+")
    for _, span, text in each_span(patients):
        if span.category == "ADDRESS":
            assert bool(door.search(text)) == (span.tier == 3), span.tier
            if span.tier == 1:
                assert not text.endswith(("县", "镇", "村", "路"))


def test_joint_distributions(patients: list[SimulatedPatient]) -> None:
    def mean_age(code: str) -> float:
        ages = [
            (datetime.combine(s.patient.birth_date, datetime.min.time()), e.admitted_at.replace(tzinfo=None))
            for s in patients
            for e in s.encounters
            if e.diagnosis_codes[0] == code
        ]
        return sum((at - born).days / 365.25 for born, at in ages) / len(ages)

    assert mean_age("J20.900") < 14 < mean_age("K35.800") < mean_age("I63.900")
    stays = [(e, s) for s in patients for e in s.encounters if e.encounter_type == "住院"]
    long = [(e.discharged_at - e.admitted_at).days for e, _ in stays if e.diagnosis_codes[0] in ("C18.900", "A41.900")]
    short = [(e.discharged_at - e.admitted_at).days for e, _ in stays if e.diagnosis_codes[0] in ("H25.900", "K35.800")]
    assert sum(long) / len(long) > 1.5 * sum(short) / len(short)
    dead = [s.patient for s in patients if s.encounters[-1].is_deceased]
    ages = [date(2021, 1, 1).year - p.birth_date.year for p in dead]
    assert sum(ages) / len(ages) > 55

"""What fictional text is made of: lexicons, reserved numbers, division names.

Knows: ``lexicons/surrogate_*.tsv`` and the ``[surrogate]``, ``[marks]`` and ``[generalise]`` tables. Must not know:
spans, policies, patients.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import TypeVar

from ppsehr_spark.domain.protection.divisions import DivisionIndex, load_divisions
from ppsehr_spark.domain.protection.policy import PROTECTION_FILE, parse_protection
from ppsehr_spark.domain.taxonomy import ConfFiles
from ppsehr_spark.errors import ConfigurationError

_Key = TypeVar("_Key", str, int)

#: sex class of a name, from its characters
MALE, FEMALE, NEUTRAL, PATRONYM = "男", "女", "中", "父"


@dataclass(frozen=True)
class Fiction:
    """Word lists and constants for surrogates and generalisations.

    Attributes:
        surnames: length -> surnames of that many characters.
        known_surnames: all of them, for taking names apart.
        given: sex class -> characters of given names.
        sex_of: given-name character -> sex class.
        ethnic: class (male, female, patronym) -> components of names with a middle dot.
        latin: words of names in Latin letters.
        titles: titles, longest first.
        brand_heads: first characters of fictional institution and street names.
        brand_tails: second characters.
        hospital_suffixes: longest first.
        mobile_prefix: three digits no operator has given out.
        region_prefix: two digits no province has.
        email_domain: reserved domain (RFC 2606).
        phrases: category id -> general wording.
        placeholder: template with ``{name}``.
        redacted: mark that does not name a category.
        divisions: provinces, cities and counties.
    """

    surnames: Mapping[int, tuple[str, ...]]
    known_surnames: frozenset[str]
    given: Mapping[str, tuple[str, ...]]
    sex_of: Mapping[str, str]
    ethnic: Mapping[str, tuple[str, ...]]
    latin: tuple[str, ...]
    titles: tuple[str, ...]
    brand_heads: tuple[str, ...]
    brand_tails: tuple[str, ...]
    hospital_suffixes: tuple[str, ...]
    mobile_prefix: str
    region_prefix: str
    email_domain: str
    phrases: Mapping[str, str]
    placeholder: str
    redacted: str
    divisions: DivisionIndex


def load_fiction(files: ConfFiles) -> Fiction:
    """Read every word list and constant.

    Raises:
        ConfigurationError: a lexicon is missing or too small to choose from, or a constant has the wrong form.
    """
    conf = parse_protection(files)
    marks, numbers = conf.get("marks", {}), conf.get("surrogate", {})
    given = _read_classes(files, "given")
    brands = _read_classes(files, "brands")
    surnames = _read_terms(files, "surnames")
    by_length = {n: tuple(s for s in surnames if len(s) == n) for n in (1, 2)}
    return Fiction(
        surnames={n: _at_least_two(by_length, n, "surnames") for n in (1, 2)},
        known_surnames=frozenset(surnames),
        given={sex: _at_least_two(given, sex, "given") for sex in (MALE, FEMALE, NEUTRAL)},
        sex_of={char: sex for sex, chars in given.items() for char in chars},
        ethnic={
            kind: _at_least_two(_read_classes(files, "ethnic_names"), kind, "ethnic_names")
            for kind in (MALE, FEMALE, PATRONYM)
        },
        latin=_read_terms(files, "latin_names"),
        titles=_longest_first(_read_terms(files, "titles")),
        brand_heads=_at_least_two(brands, "前", "brands"),
        brand_tails=_at_least_two(brands, "后", "brands"),
        hospital_suffixes=_longest_first(_read_terms(files, "hospital_suffixes")),
        mobile_prefix=_read_digits(numbers, "mobile_prefix", n_digits=3),
        region_prefix=_read_digits(numbers, "region_prefix", n_digits=2),
        email_domain=str(numbers.get("email_domain", "example.com")),
        phrases={str(k): str(v) for k, v in conf.get("generalise", {}).items()},
        placeholder=_read_mark(marks, "placeholder", "【{name}】"),
        redacted=_read_mark(marks, "redacted", "【略】"),
        divisions=load_divisions(),
    )


def _path(name: str) -> str:
    return f"lexicons/surrogate_{name}.tsv"


def _read_rows(files: ConfFiles, name: str) -> list[list[str]]:
    if _path(name) not in files:
        raise ConfigurationError("MISSING_FILE", file=_path(name))
    lines = (line.strip("\r") for line in files[_path(name)].split("\n"))
    return [[cell.strip() for cell in line.split("\t")] for line in lines if line.strip() and line[0] != "#"]


def _read_terms(files: ConfFiles, name: str) -> tuple[str, ...]:
    terms = tuple(dict.fromkeys(row[0] for row in _read_rows(files, name)))
    return _at_least_two({"": terms}, "", name)


def _read_classes(files: ConfFiles, name: str) -> dict[str, tuple[str, ...]]:
    classes: dict[str, dict[str, None]] = {}
    for number, row in enumerate(_read_rows(files, name), 1):
        if len(row) < 2:
            raise ConfigurationError("LEXICON", file=_path(name), entry=number, hint="needs a second column")
        classes.setdefault(row[1], {})[row[0]] = None
    return {key: tuple(terms) for key, terms in classes.items()}


def _at_least_two(classes: Mapping[_Key, tuple[str, ...]], key: _Key, name: str) -> tuple[str, ...]:
    """A single word could never differ from the original, so it is refused."""
    if len(classes.get(key, ())) < 2:
        raise ConfigurationError("LEXICON", file=_path(name), key=key, hint="needs at least two terms to choose from")
    return classes[key]


def _longest_first(terms: tuple[str, ...]) -> tuple[str, ...]:
    return tuple(sorted(terms, key=len, reverse=True))


def _read_digits(table: Mapping[str, object], key: str, *, n_digits: int) -> str:
    value = table.get(key)
    if not (isinstance(value, str) and len(value) == n_digits and value.isascii() and value.isdigit()):
        hint = f"must be a string of {n_digits} digits"
        raise ConfigurationError("PROTECTION_POLICY", file=PROTECTION_FILE, key=f"surrogate.{key}", hint=hint)
    return value


def _read_mark(table: Mapping[str, object], key: str, default: str) -> str:
    value = table.get(key, default)
    if not (isinstance(value, str) and value):
        hint = "must be a non-empty string, or neighbouring text would close up over the gap"
        raise ConfigurationError("PROTECTION_POLICY", file=PROTECTION_FILE, key=f"marks.{key}", hint=hint)
    return value

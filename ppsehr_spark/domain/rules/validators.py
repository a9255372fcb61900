"""Checks a pattern can name: form, date and check digit of numbers.

Knows: national number formats. Must not know: text around a number. A check digit raises confidence; whether it
is required is the pattern's decision. References: GB 11643-1999 (resident identity number), ISO 7064 MOD 11-2,
ISO/IEC 7812-1 (Luhn), ITU-T E.164 (international numbers).
"""

from __future__ import annotations

import re
from collections.abc import Callable

_PROVINCES = frozenset(
    map(
        str,
        (
            *range(11, 16),
            *range(21, 24),
            *range(31, 38),
            *range(41, 47),
            *range(50, 55),
            *range(61, 66),
            71,
            81,
            82,
            83,
        ),
    )
)
_WEIGHTS = (7, 9, 10, 5, 8, 4, 2, 1, 6, 3, 7, 9, 10, 5, 8, 4, 2)
_CHECK_CHARACTERS = "10X98765432"
_SEPARATORS = re.compile(r"[ \-\n]")
_DATE = re.compile(
    r"(?:19|20)\d\d(?:[-. ](?:0?[1-9]|1[0-2])[-. ](?:0?[1-9]|[12]\d|3[01])(?!\d)"
    r"|(?:0[1-9]|1[0-2])(?:0[1-9]|[12]\d|3[01])(?!\d))"
)
_DAYS = (31, 29, 31, 30, 31, 30, 31, 31, 30, 31, 30, 31)


def has_resident_form(number: str) -> bool:
    """15 or 18 characters, existing province code, possible birth date; masked places are taken as right."""
    compact = _SEPARATORS.sub("", number)
    if len(compact) not in (15, 18) or not _is_masked_or(compact[:2], _PROVINCES.__contains__):
        return False
    year, rest = (compact[6:10], compact[10:14]) if len(compact) == 18 else ("19" + compact[6:8], compact[8:12])
    return _is_masked_or(year, lambda y: "1850" <= y <= "2099") and _is_masked_or(rest, _is_day_of_year)


def has_resident_checksum(number: str) -> bool:
    """Form and the ISO 7064 MOD 11-2 check character of an 18-character number."""
    compact = _SEPARATORS.sub("", number).upper()
    if len(compact) != 18 or not compact[:17].isdigit() or not has_resident_form(compact):
        return False
    total = sum(weight * int(digit) for weight, digit in zip(_WEIGHTS, compact, strict=False))
    return _CHECK_CHARACTERS[total % 11] == compact[17]


def has_resident_mask(number: str) -> bool:
    """A masked number whose visible places do not contradict the form of a resident identity number."""
    return has_resident_form(re.sub(r"[xX×#](?=.)", "*", number))


def has_luhn(number: str) -> bool:
    """12-19 digits whose Luhn sum is a multiple of ten (payment cards)."""
    compact = _SEPARATORS.sub("", number)
    if not (12 <= len(compact) <= 19 and compact.isdigit()):
        return False
    doubled = (int(d) * (2 if i % 2 else 1) for i, d in enumerate(reversed(compact)))
    return sum(d - 9 if d > 9 else d for d in doubled) % 10 == 0


def has_landline_form(number: str) -> bool:
    """A mainland area code (010, 02x, 03xx-09xx, 090x of Xinjiang), then 7 or 8 digits that start at 2-8."""
    compact = re.sub(r"[^0-9*]", "", number)
    return bool(re.match(r"(?:010|02[0-57-9]|0[3-9][1-9][0-9]|090[1-9])[2-8][0-9*]{6,7}", compact))


def has_mobile_form(number: str) -> bool:
    """Eleven digits that start with 13-19, whatever parts them."""
    return re.fullmatch(r"1[3-9][0-9]{9}", _SEPARATORS.sub("", number)) is not None


def has_dialled_form(number: str) -> bool:
    """5-18 digits (or masks) that are neither a calendar date, with or without a time, nor one digit repeated."""
    digits = re.sub(r"[^0-9*]", "", number)
    return 5 <= len(digits) <= 18 and len(set(digits)) > 1 and not _DATE.match(number.lstrip("( "))


def has_international_form(number: str) -> bool:
    """8-15 digits after ``+`` or ``00`` (ITU-T E.164 allows 15)."""
    return 8 <= len(re.sub(r"[^0-9]", "", number.removeprefix("00"))) <= 15


def _is_masked_or(part: str, is_right: Callable[[str], bool]) -> bool:
    return not part.isdigit() or is_right(part)


def _is_day_of_year(part: str) -> bool:
    month, day = int(part[:2]), int(part[2:])
    return 1 <= month <= 12 and 1 <= day <= _DAYS[month - 1]


#: Name in ``validator = "..."`` -> check over the matched (normalised) text.
VALIDATORS: dict[str, Callable[[str], bool]] = {
    "resident_form": has_resident_form,
    "resident_checksum": has_resident_checksum,
    "resident_mask": has_resident_mask,
    "luhn": has_luhn,
    "landline_form": has_landline_form,
    "mobile_form": has_mobile_form,
    "dialled": has_dialled_form,
    "international_form": has_international_form,
}

"""Fictional numbers of the same form that nobody can hold: identity numbers, telephones, mail, account names.

Knows: the forms of GB 11643 identity numbers and of Chinese telephone numbers, and what keeps a fictional one from
being real. Must not know: spans, policies. Separators, full-width forms and masked positions stay where they are.
"""

from __future__ import annotations

import re
from collections.abc import Iterable

from ppsehr_spark.domain.protection.draw import Draw
from ppsehr_spark.domain.protection.fiction import Fiction

_MASKS = "*＊×※●"
_MASKED = f"{_MASKS}xX"
_TO_ASCII = {code + 0xFEE0: code for code in range(0x21, 0x7F)}
_LETTERS = "abcdefghijklmnopqrstuvwxyz"
_CHECK_DIGITS = "10X98765432"
_WEIGHTS = (7, 9, 10, 5, 8, 4, 2, 1, 6, 3, 7, 9, 10, 5, 8, 4, 2)
_MOBILE = re.compile(r"(?P<country>(?:0086|86)?)1[3-9*][\d*]{9}")
_LANDLINE = re.compile(r"(?P<area>0(?:10|2\d|[3-9]\d\d))[\d*]{7,}")
_AREA_CODES = {3: ("020", "021", "022", "023", "024", "025", "027", "028", "029"),
               4: ("0311", "0351", "0411", "0531", "0571", "0591", "0731", "0771", "0851", "0931")}  # fmt: skip


def draw_id(value: str, fiction: Fiction, draw: Draw) -> str | None:
    """A resident identity number that cannot exist: no such region, and (18 digits) a wrong check digit.

    Birth date and sequence are drawn anew; the sequence keeps its parity, which tells the sex (GB 11643-1999).
    Anything that is not 15 or 18 positions long keeps its form and begins with the impossible region.
    """
    form = _read_form(value)
    year, month, day = 1930 + draw.below(80), 1 + draw.below(12), 1 + draw.below(28)
    region = fiction.region_prefix + draw.digits(4)
    if len(form) == 18:
        body = f"{region}{year}{month:02}{day:02}{draw.digits(2)}{_keep_parity(form[16], draw)}"
        return _lay_over(value, body + _wrong_check_digit(body, draw))
    if len(form) == 15:
        born = f"{year % 100:02}{month:02}{day:02}"
        return _lay_over(value, f"{region}{born}{draw.digits(2)}{_keep_parity(form[14], draw)}")
    return draw_form(value, draw, lead=fiction.region_prefix)


def draw_contact(value: str, fiction: Fiction, draw: Draw) -> str | None:
    """A mobile in an unused block, a landline whose local part begins with 0, a reserved mail domain, or a handle.

    Handles begin with 0: WeChat names begin with a letter, QQ numbers with 1-9.
    """
    ascii_text = value.translate(_TO_ASCII)
    if "@" in ascii_text:
        local = draw_form(ascii_text.split("@")[0], draw) or draw.pick(_LETTERS) * 6
        return f"{local}@{fiction.email_domain}"
    form = _read_form(value)
    if any(char.isascii() and char.isalpha() for char in ascii_text.replace("X", "").replace("x", "")):
        return draw_form(value, draw, lead="0")
    if mobile := _MOBILE.fullmatch(form):
        country = mobile["country"]
        return _lay_over(value, country + fiction.mobile_prefix + draw.digits(len(form) - len(country) - 3))
    if landline := _LANDLINE.fullmatch(form):
        area = landline["area"]
        new_area = draw.pick(_AREA_CODES[len(area)], avoid=area)
        return _lay_over(value, f"{new_area}0{draw.digits(len(form) - len(area) - 1)}")
    return draw_form(value, draw, lead="0" if len(form) < 9 else "000")


def draw_form(value: str, draw: Draw, *, lead: str = "") -> str | None:
    """Replace every digit by a digit and every Latin letter by a letter of the same case; the rest stays.

    Args:
        value: the original.
        draw: source of choices.
        lead: characters forced onto the first replaced positions.

    Returns:
        The new text, or ``None`` when ``value`` has no digit or Latin letter or none of them changed.
    """
    forced = iter(lead)
    drawn = "".join(_draw_character(char, draw, forced) for char in value)
    return drawn if drawn != value else None


def _draw_character(char: str, draw: Draw, forced: Iterable[str]) -> str:
    plain = char.translate(_TO_ASCII)
    if not (plain.isascii() and plain.isalnum()):
        return char
    lead = next(iter(forced), "")
    if lead:
        return _widen(lead, char)
    new = str(draw.below(10)) if plain.isdigit() else draw.pick(_LETTERS, avoid=plain.lower())
    return _widen(new.upper() if plain.isupper() else new, char)


def _read_form(value: str) -> str:
    """Digits and masked positions of ``value`` in plain ASCII (a final X counts as a digit), without separators."""
    kept = (char for char in value.translate(_TO_ASCII) if char in _MASKED or char.isdecimal())
    return "".join("*" if char in _MASKED else char for char in kept)


def _lay_over(value: str, number: str) -> str | None:
    """Write ``number`` over the digit positions of ``value``; masks and separators stay, width is kept."""
    drawn = iter(number)
    out = [_lay_character(char, drawn, is_last=at == len(value) - 1) for at, char in enumerate(value)]
    text = "".join(out)
    return text if text != value else None


def _lay_character(char: str, drawn: Iterable[str], *, is_last: bool) -> str:
    plain = char.translate(_TO_ASCII)
    is_mask = plain in _MASKS or (plain in "xX" and not is_last)
    if not (is_mask or plain in "xX" or plain.isdecimal()):
        return char
    new = next(iter(drawn), "0")
    return char if is_mask else _widen(new, char)


def _widen(new: str, like: str) -> str:
    return chr(ord(new) + 0xFEE0) if ord(like) in _TO_ASCII else new


def _keep_parity(digit: str, draw: Draw) -> int:
    parity = int(digit) % 2 if digit.isdecimal() else draw.below(2)
    return 2 * draw.below(5) + parity


def _wrong_check_digit(body: str, draw: Draw) -> str:
    """Any of the ten characters that ISO 7064 MOD 11-2 does not give."""
    remainder = sum(int(digit) * weight for digit, weight in zip(body, _WEIGHTS, strict=True)) % 11
    return _CHECK_DIGITS[(remainder + 1 + draw.below(10)) % 11]

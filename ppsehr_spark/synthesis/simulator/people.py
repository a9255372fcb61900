"""Names, resident identity numbers and ways to reach a person, all fictional.

Knows: name statistics, GB 11643-1999 (identity numbers) and how hospitals write and mask them. Must not know: notes.
"""

from __future__ import annotations

from datetime import date

from ppsehr_spark.synthesis.simulator.datafiles import read_toml, split_weighted
from ppsehr_spark.synthesis.simulator.dice import Dice
from ppsehr_spark.synthesis.simulator.draft import Fragment, join, mark

_NAMES = read_toml("names")
_SURNAMES, _SURNAME_WEIGHTS = split_weighted(_NAMES["surnames"])
_KNOWN_SURNAMES = frozenset(_SURNAMES)
_PEOPLES = ("uyghur", "kazakh", "tibetan", "mongol", "yi")
_WORDS = {
    key: tuple(_NAMES[key].split())
    for key in (*(f"{people}_{sex}" for people in _PEOPLES for sex in ("male", "female")), "uyghur_father")
}
_ID_WEIGHTS = (7, 9, 10, 5, 8, 4, 2, 1, 6, 3, 7, 9, 10, 5, 8, 4, 2)
_FULL_WIDTH = str.maketrans("0123456789X-", "０１２３４５６７８９Ｘ－")
_MOBILE_HEADS = ("134", "135", "136", "137", "138", "139", "150", "151", "152", "157", "158", "159", "166", "176",
                 "178", "180", "182", "183", "186", "187", "188", "189", "191", "198", "199")  # fmt: skip
_AREA_CODES = (
    "010", "021", "022", "023", "024", "025", "027", "028", "029", "0311", "0351", "0371", "0411", "0512",
               "0531", "0551", "0571", "0574", "0591", "0731", "0755", "0771", "0791", "0851", "0871", "0931",
)  # fmt: skip
_MAIL_HOSTS = ("163.com", "126.com", "qq.com", "sina.com.cn", "outlook.com", "139.com", "hospital-mail.cn")
_SYLLABLES = ("wang", "li", "zhang", "liu", "chen", "yang", "xiao", "min", "hua", "jun", "feng", "mei", "lin", "tao")


def draw_surname(dice: Dice) -> str:
    """A surname by its share in the population."""
    return dice.weighted(_SURNAMES, _SURNAME_WEIGHTS)


def find_surname(name: str) -> str:
    """The surname of a Han name, ``""`` where a name has none (most minority names)."""
    for length in (2, 1):
        if name[:length] in _KNOWN_SURNAMES and 1 <= len(name) - length <= 2:
            return name[:length]
    return ""


def draw_name(dice: Dice, *, sex: str, birth_year: int, surname: str = "") -> str:
    """A full name that fits sex and generation; about 3% minority names, some with ``·``."""
    if not surname and dice.chance(0.03):
        return _draw_minority_name(dice, sex=sex)
    generation = "old" if birth_year < 1965 else "mid" if birth_year < 1998 else "new"
    pool: str = _NAMES[f"{generation}_{'male' if sex == 'M' else 'female'}"]
    given = dice.pick(pool) + (dice.pick(pool) if dice.chance(0.78) else "")
    return (surname or draw_surname(dice)) + given


def _draw_minority_name(dice: Dice, *, sex: str) -> str:
    people = dice.pick(_PEOPLES)
    given = dice.pick(_WORDS[f"{people}_{'male' if sex == 'M' else 'female'}"])
    return f"{given}·{dice.pick(_WORDS['uyghur_father'])}" if people in ("uyghur", "kazakh") else given


def compute_id_check(digits: str) -> str:
    """The 18th character of an identity number from its first 17 (ISO 7064 MOD 11-2)."""
    total = sum(int(digit) * weight for digit, weight in zip(digits, _ID_WEIGHTS, strict=True))
    return "10X98765432"[total % 11]


def draw_id_number(dice: Dice, *, division: str, birth: date, sex: str) -> str:
    """18 characters for a birth district, date and sex; about 6% carry a wrong check character, as real data do."""
    serial = dice.between(0, 499) * 2 + (1 if sex == "M" else 0)
    body = f"{division}{birth:%Y%m%d}{serial:03d}"
    check = compute_id_check(body)
    return body + (check if dice.chance(0.94) else str((int(check.replace("X", "0")) + dice.between(1, 8)) % 10))


def draw_residence_permit(dice: Dice, *, birth: date) -> str:
    """The 18 characters of a residence permit for residents of Hong Kong, Macao or Taiwan (81, 82, 83 0000)."""
    body = f"{dice.pick(('810000', '820000', '830000'))}{birth:%Y%m%d}{dice.between(0, 999):03d}"
    return body + compute_id_check(body)


def write_id(dice: Dice, number: str) -> Fragment:
    """The number as a clerk may write it: plain, masked, spaced, full-width, old 15 digits, lower-case x."""
    form = dice.uniform()
    if form < 0.66:
        written = number
    elif form < 0.78:
        stars = dice.pick((8, 10, 12))
        written = (
            number[: 14 - stars] + "*" * stars + number[14:] if stars < 12 else number[:3] + "*" * 12 + number[15:]
        )
    elif form < 0.85:
        written = f"{number[:6]} {number[6:14]} {number[14:]}"
    elif form < 0.91:
        written = number.translate(_FULL_WIDTH)
    elif form < 0.95 and number[6:8] == "19":
        written = number[:6] + number[8:17]
    else:
        written = number.replace("X", "x")
    return mark(written, "ID")


def draw_mobile(dice: Dice) -> str:
    """Eleven digits of a mobile number."""
    return dice.pick(_MOBILE_HEADS) + dice.digits(8)


def write_phone(dice: Dice, number: str) -> Fragment:
    """A mobile number as written on forms: plain, grouped, hyphened, full-width, with country code, masked."""
    form = dice.uniform()
    if form < 0.68:
        written = number
    elif form < 0.76:
        written = f"{number[:3]} {number[3:7]} {number[7:]}"
    elif form < 0.84:
        written = f"{number[:3]}-{number[3:7]}-{number[7:]}"
    elif form < 0.89:
        written = number.translate(_FULL_WIDTH)
    elif form < 0.93:
        written = f"+86 {number}"
    else:
        written = f"{number[:3]}****{number[7:]}"
    return mark(written, "CONTACT")


def write_landline(dice: Dice) -> Fragment:
    """A landline with area code, at times with an extension."""
    dash = dice.pick(("-", "-", "－", " "))
    number = f"{dice.pick(_AREA_CODES)}{dash}{dice.between(2, 8)}{dice.digits(7)}"
    if dice.chance(0.25):
        number += dice.pick(("转", "-", "转")) + str(dice.between(1001, 8999))
    return mark(number, "CONTACT")


def write_email(dice: Dice) -> Fragment:
    """An e-mail address."""
    local = dice.pick(_SYLLABLES) + dice.pick(("", "_", ".")) + dice.pick(_SYLLABLES) + dice.digits(dice.between(2, 4))
    return mark(f"{local}@{dice.pick(_MAIL_HOSTS)}", "CONTACT")


def write_wechat(dice: Dice) -> Fragment:
    """A WeChat id."""
    if dice.chance(0.4):
        return mark(f"wxid_{dice.digits(9)}", "CONTACT")
    return mark(f"{dice.pick(_SYLLABLES)}{dice.pick(_SYLLABLES)}{dice.pick(('', '-', '_'))}{dice.digits(4)}", "CONTACT")


def write_qq(dice: Dice) -> Fragment:
    """A QQ number of 7 to 10 digits."""
    return mark(str(dice.between(1, 9)) + dice.digits(dice.between(6, 9)), "CONTACT")


def write_anonymous(dice: Dice, surname: str) -> Fragment:
    """``张某``, ``李某某``, ``王XX``: half-hidden names are names."""
    return mark(surname + dice.pick(("某", "某", "某某", "某某")), "NAME")


def write_titled(dice: Dice, surname: str, titles: tuple[str, ...]) -> Fragment:
    """``王主任``: the surname is the mention, the title is not."""
    return join(mark(surname, "NAME"), dice.pick(titles))

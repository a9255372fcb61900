"""Who may spend how much: caps in total and per scope, as ``conf/privacy.toml`` states them.

Knows: the form of that file. Must not know: what has been spent. Delta of every cap lies below 1 / patients, for a
public upper bound on the patients; an infinite epsilon is for tests and never accepted from the file.
"""

from __future__ import annotations

import json
import math
import tomllib
from collections.abc import Mapping
from dataclasses import dataclass
from functools import lru_cache
from typing import Any

from ppsehr_spark.errors import ConfigurationError, PpsehrError
from ppsehr_spark.privacy.units import Budget, require_small_delta

PRIVACY_FILE = "privacy.toml"
#: Name of the cap over everything that was ever asked of the source.
TOTAL = "total"
_SCOPE_FIELDS = ("dataset", "purpose", "user")


@dataclass(frozen=True)
class Scope:
    """On whose account something is asked: data set, purpose and user, all named."""

    dataset: str
    purpose: str
    user: str

    def __post_init__(self) -> None:
        for name in _SCOPE_FIELDS:
            if not getattr(self, name).strip():
                raise ConfigurationError("SCOPE", field=name, hint="a scope names its data set, purpose and user")


@dataclass(frozen=True)
class Cap:
    """A limit over all events whose scope it covers together; an empty field covers every value."""

    name: str
    budget: Budget
    dataset: str = ""
    purpose: str = ""
    user: str = ""

    def covers(self, scope: Scope) -> bool:
        """True when an event of this scope counts against this cap."""
        return all(getattr(self, field) in ("", getattr(scope, field)) for field in _SCOPE_FIELDS)


@dataclass(frozen=True)
class Policy:
    """All caps in force; the first covers everything and is named ``total``."""

    caps: tuple[Cap, ...]

    def __post_init__(self) -> None:
        names = [cap.name for cap in self.caps]
        is_total = bool(self.caps) and self.caps[0] == Cap(TOTAL, self.caps[0].budget)
        if not is_total or len(set(names)) != len(names) or "" in names:
            raise ConfigurationError("PRIVACY_CAPS", hint="one cap named total over everything, then distinct names")

    @property
    def total(self) -> Budget:
        """The limit over everything."""
        return self.caps[0].budget


def parse_policy(files: Mapping[str, str]) -> Policy:
    """Read the caps out of ``conf/privacy.toml``.

    Args:
        files: path below ``conf/`` -> text.

    Raises:
        ConfigurationError: with the table and field at fault.
    """
    try:
        plain = tomllib.loads(files[PRIVACY_FILE])
    except KeyError:
        raise ConfigurationError("CONF_MISSING", file=PRIVACY_FILE) from None
    except tomllib.TOMLDecodeError as error:
        raise ConfigurationError("CONF_SYNTAX", file=PRIVACY_FILE, at=str(error)) from None
    _require_fields("file", plain, {"source", TOTAL}, {"cap"})
    _require_fields("source", plain["source"], {"max_patients"}, set())
    caps = [{"name": TOTAL, **plain[TOTAL]}, *plain.get("cap", [])]
    return Policy(tuple(_parse_cap(cap, plain["source"]["max_patients"]) for cap in caps))


def encode_policy(policy: Policy) -> str:
    """Canonical JSON for a ledger row."""
    return json.dumps([_to_plain(cap) for cap in policy.caps], ensure_ascii=False, separators=(",", ":"))


@lru_cache(maxsize=256)  # the rows of a ledger carry few different caps
def decode_policy(text: str) -> Policy:
    """The policy that ``encode_policy`` wrote.

    Raises:
        ConfigurationError: ``PRIVACY_CAPS`` when the text is not one.
    """
    try:
        caps = [dict(cap) for cap in json.loads(text)]
        return Policy(tuple(Cap(budget=Budget(cap.pop("epsilon"), cap.pop("delta")), **cap) for cap in caps))
    except (ValueError, TypeError, KeyError, PpsehrError):
        raise ConfigurationError("PRIVACY_CAPS", hint="the caps of a ledger row cannot be read") from None


def _parse_cap(plain: Mapping[str, Any], max_patients: int) -> Cap:
    where = str(plain.get("name", "cap"))
    _require_fields(where, plain, {"name", "epsilon", "delta"}, set(_SCOPE_FIELDS))
    try:
        budget = Budget(float(plain["epsilon"]), float(plain["delta"]))
        require_small_delta(budget, n_patients=max_patients)
    except (PpsehrError, TypeError, ValueError) as error:
        code = error.code if isinstance(error, PpsehrError) else "NUMBER"
        raise ConfigurationError(
            "PRIVACY_CAPS", file=PRIVACY_FILE, table=where, reason=code, hint="0 < delta < 1 / max_patients"
        ) from None
    if math.isinf(budget.epsilon):
        raise ConfigurationError("PRIVACY_CAPS", file=PRIVACY_FILE, table=where, hint="epsilon must be finite")
    return Cap(where, budget, **{field: str(plain[field]) for field in _SCOPE_FIELDS if field in plain})


def _require_fields(where: str, plain: Any, required: set[str], optional: set[str]) -> None:
    names = set(plain) if isinstance(plain, Mapping) else set()
    wrong = sorted((required - names) | (names - required - optional))
    if wrong:
        hint = "a key is missing or unknown"
        raise ConfigurationError("PRIVACY_CAPS", file=PRIVACY_FILE, table=where, keys=",".join(wrong), hint=hint)


def _to_plain(cap: Cap) -> dict[str, Any]:
    scope = {field: getattr(cap, field) for field in _SCOPE_FIELDS}
    return {"name": cap.name, "epsilon": cap.budget.epsilon, "delta": cap.budget.delta, **scope}

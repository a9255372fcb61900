"""Which operator protects which category at which tier: ``conf/protection.toml`` becomes Policy values.

Knows: the file's shape and the rule that nothing falls to ``keep`` by omission. Must not know: what an
operator does to text.
"""

from __future__ import annotations

import tomllib
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

from ppsehr_spark.domain.taxonomy import Category, ConfFiles
from ppsehr_spark.errors import ConfigurationError

PROTECTION_FILE = "protection.toml"
OPERATORS = ("keep", "placeholder", "mask", "surrogate", "generalise", "redact")
#: Kinds of fictional text; a bare kind is short for ``surrogate:<kind>``. ``form`` keeps the form of any code.
KINDS = ("person_name", "resident_id", "phone", "address", "hospital", "form")
_ARGUMENTS = {"generalise": ("province", "city", "county"), "surrogate": KINDS}
_TIERS = ("tier1", "tier2", "tier3")
_HIGHEST_TIER = 3


@dataclass(frozen=True)
class Operation:
    """One operator and its argument: ``generalise:city`` is ``Operation("generalise", "city")``."""

    operator: str
    argument: str = ""


@dataclass(frozen=True)
class Policy:
    """One ``[policy.<id>]`` table.

    Attributes:
        id: name used on the command line.
        name: Chinese name.
        description: Chinese, one or two sentences for whoever chooses.
        operations: category id -> one Operation, or three (tier 1, 2, 3).
        otherwise: for categories the policy does not name; ``None`` leaves it to the category file.
    """

    id: str
    name: str
    description: str
    operations: Mapping[str, tuple[Operation, ...]] = field(default_factory=dict)
    otherwise: Operation | None = None


def parse_protection(files: ConfFiles) -> dict[str, Any]:
    """``protection.toml`` as nested tables.

    Raises:
        ConfigurationError: the file is missing or not TOML.
    """
    if PROTECTION_FILE not in files:
        raise ConfigurationError("MISSING_FILE", file=PROTECTION_FILE)
    try:
        return tomllib.loads(files[PROTECTION_FILE])
    except tomllib.TOMLDecodeError as error:
        raise ConfigurationError("NOT_TOML", file=PROTECTION_FILE, hint=str(error)) from None


def load_policies(files: ConfFiles) -> dict[str, Policy]:
    """Every policy of ``protection.toml``, in file order.

    Raises:
        ConfigurationError: ``PROTECTION_POLICY`` with file and key for an unknown key, operator or tier, or an
            ``otherwise`` that keeps text.
    """
    tables = parse_protection(files).get("policy", {})
    return {policy_id: _build_policy(policy_id, table) for policy_id, table in tables.items()}


def choose_operation(policy: Policy, *, category_id: str, category: Category | None, tier: int | None) -> Operation:
    """The operation for a span of ``category_id`` at ``tier``; ``category`` is its file, where there is one.

    A tiered entry with ``tier`` None counts as tier 3. A category the policy does not name falls to the policy's
    ``otherwise``, then to the category file's ``surrogate``; an unknown category gets a placeholder. None of
    these fallbacks is ever ``keep``.
    """
    entry = policy.operations.get(category_id)
    if entry:
        at = (tier if tier in (1, 2, 3) else _HIGHEST_TIER) - 1
        return entry[at] if len(entry) == len(_TIERS) else entry[0]
    if policy.otherwise:
        return policy.otherwise
    fallback = parse_operation(category.surrogate) if category else None
    return fallback if fallback and fallback.operator != "keep" else Operation("placeholder")


def check_fallbacks(categories: Mapping[str, Category]) -> None:
    """Refuse a category file whose ``surrogate`` names no operator.

    Raises:
        ConfigurationError: ``CATEGORY_FILE`` with file and key.
    """
    for category in categories.values():
        if parse_operation(category.surrogate) is None:
            hint = f"must be one of {', '.join((*OPERATORS, *KINDS))}"
            raise ConfigurationError("CATEGORY_FILE", file=f"categories/{category.id}.toml", key="surrogate", hint=hint)


def parse_operation(text: str) -> Operation | None:
    """``operator``, ``operator:argument`` or a kind of surrogate; ``None`` when there is no such thing.

    ``generalise`` takes ``province``, ``city`` or ``county``, ``surrogate`` takes one of ``KINDS``.
    """
    operator, _, argument = text.partition(":")
    if text in KINDS:
        return Operation("surrogate", text)
    is_known = operator in OPERATORS and (not argument or argument in _ARGUMENTS.get(operator, ()))
    return Operation(operator, argument) if is_known else None


def _build_policy(policy_id: str, table: Mapping[str, Any]) -> Policy:
    key = f"policy.{policy_id}"
    for name in table:
        if name not in ("name", "description", "otherwise", "categories"):
            raise _refusal(f"{key}.{name}", "unknown key")
    if not table.get("name"):
        raise _refusal(f"{key}.name", "is required")
    otherwise = _read_operation(table["otherwise"], f"{key}.otherwise") if "otherwise" in table else None
    if otherwise and otherwise.operator == "keep":
        raise _refusal(f"{key}.otherwise", "must not be keep: what nobody named is not safe to keep")
    entries = table.get("categories", {})
    operations = {c: _read_entry(entry, f"{key}.categories.{c}") for c, entry in entries.items()}
    return Policy(policy_id, table["name"], table.get("description", ""), operations, otherwise)


def _read_entry(entry: object, key: str) -> tuple[Operation, ...]:
    if not isinstance(entry, Mapping):
        return (_read_operation(entry, key),)
    if set(entry) != set(_TIERS):
        raise _refusal(key, "a tiered entry names tier1, tier2 and tier3")
    return tuple(_read_operation(entry[tier], f"{key}.{tier}") for tier in _TIERS)


def _read_operation(text: object, key: str) -> Operation:
    operation = parse_operation(text) if isinstance(text, str) else None
    if operation is None:
        raise _refusal(key, f"must be one of {', '.join((*OPERATORS, *KINDS))}")
    return operation


def _refusal(key: str, hint: str) -> ConfigurationError:
    return ConfigurationError("PROTECTION_POLICY", file=PROTECTION_FILE, key=key, hint=hint)

"""A claim card as text for people, in any language that ``conf/claim/`` has.

Knows: the order of the sections and how a value is written. Must not know: a single sentence of any language, where
cards are kept. A card with a code that a language cannot word is refused: nothing is left out silently.
"""

from __future__ import annotations

import math
import re
import tomllib
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import Any

from ppsehr_spark.errors import ConfigurationError
from ppsehr_spark.privacy.claim import Choices, ClaimCard, Figure, PaidRelease

LANGUAGES = ("zh", "en")
_FOLDER = "claim/"
_CARD_FILE = f"{_FOLDER}card.toml"


@dataclass(frozen=True)
class Wording:
    """One language: the wording of every label, code and pattern, by key."""

    language: str
    words: Mapping[str, str]

    def say(self, key: str, **values: str) -> str:
        """The wording of a key with its places filled.

        Raises:
            ConfigurationError: ``CLAIM_WORDING`` when the language has no wording or the places do not fit.
        """
        try:
            return self.words[key].format(**values)
        except (KeyError, IndexError, ValueError):
            hint = "add the key, or mend its {places}"
            raise ConfigurationError(
                "CLAIM_WORDING", file=f"{_FOLDER}{self.language}.toml", key=key, hint=hint
            ) from None


def parse_wording(files: Mapping[str, str], language: str) -> Wording:
    """Read ``conf/claim/<language>.toml``; its tables are joined to keys such as ``label.unit``."""
    plain = _parse(files, f"{_FOLDER}{language}.toml")
    words = {f"{table}.{key}": str(text) for table, entries in plain.items() for key, text in entries.items()}
    return Wording(language, words)


def parse_choices(files: Mapping[str, str]) -> Choices:
    """Read ``conf/claim/card.toml``.

    Raises:
        ConfigurationError: ``CLAIM_CARD`` with the key at fault.
    """
    plain = _parse(files, _CARD_FILE)
    try:
        return Choices(
            bounds_enforced=str(plain["bounds_enforced"]),
            trust_model=str(plain["trust_model"]),
            refresh_policy=str(plain["refresh_policy"]),
            not_covered=tuple(map(str, plain["not_covered"])),
            audit_limits=tuple(map(str, plain["audit_limits"])),
            post_processing={name: tuple(map(str, codes)) for name, codes in plain["post_processing"].items()},
        )
    except (KeyError, TypeError, AttributeError) as error:
        key = str(error).strip("'") if isinstance(error, KeyError) else "post_processing"
        raise ConfigurationError("CLAIM_CARD", file=_CARD_FILE, key=key, hint="a key is missing or wrong") from None


def render_card(card: ClaimCard, wording: Wording) -> str:
    """The whole card, one line per statement, lists indented.

    Raises:
        ConfigurationError: ``CLAIM_WORDING``.
    """
    say = wording.say
    guarantee = [say(f"definition.{card.definition}"), *_state_epsilon(card, wording)]
    sections: list[tuple[str, Iterable[str]]] = [
        ("product", [say(f"product.{card.product}"), *card.tables, card.release_id]),
        ("unit", [say(f"unit.{card.unit}")]),
        ("neighbouring", [say(f"neighbouring.{card.neighbouring}")]),
        ("guarantee", guarantee),
        ("bounds", [say(f"bounds.{card.bounds_enforced}")]),
        ("paid_releases", [_state_release(each, wording) for each in card.paid_releases]),
        ("accountant", [say("pattern.accountant", accountant=card.accountant or "-", n=str(card.n_composed))]),
        ("sampling", [_state_sampling(each, wording) for each in card.sampling]),
        ("trust_model", [say(f"trust_model.{card.trust_model}")]),
        ("not_covered", [say(f"not_covered.{code}") for code in card.not_covered]),
        ("public_inputs", [f"{name} {version}".strip() for name, version in card.public_inputs.items()]),
        ("noise_source", [say(f"noise_source.{code}", version=v) for code, v in card.noise_source.items()]),
        ("post_processing", [say(f"post_processing.{code}") for code in card.post_processing]),
        ("allocation", [_state_allocation(each, wording) for each in card.allocation]),
        ("refresh_policy", [say(f"refresh_policy.{card.refresh_policy}")]),
        ("utility", [_state_figure(each, wording) for each in card.utility]),
        ("small_groups", [_state_figure(each, wording) for each in card.small_groups]),
        ("audit", _state_audit(card, wording)),
        ("audit_limits", [say(f"audit_limits.{code}") for code in card.audit_limits]),
        ("code_version", [card.code_version]),
        ("config_hash", [card.config_hash]),
        ("reviewer", [card.reviewer or say("pattern.no_reviewer")]),
        ("date", [card.date]),
    ]
    lines = [say("label.title")]
    for label, statements in sections:
        lines += [
            "",
            say(f"label.{label}"),
            *(f"  {statement}" for statement in list(statements) or [say("pattern.none")]),
        ]
    return "\n".join(lines) + "\n"


def to_markdown(text: str) -> str:
    """A rendered card as Markdown: title, one heading per section, one item per statement; the words are the same."""
    title, *lines = (re.sub(r"([\\`*_\[\]<>#|])", r"\\\1", line) for line in text.splitlines())
    marked = [f"* {line.strip()}" if line.startswith(" ") else f"## {line}\n" if line else "" for line in lines]
    return "\n".join([f"# {title}", *marked]) + "\n"


def _state_epsilon(card: ClaimCard, wording: Wording) -> list[str]:
    if card.source_epsilon is None:
        return [wording.say("pattern.source_unknown")]
    if card.epsilon is not None:
        lines = [
            wording.say("pattern.epsilon", epsilon=_number(card.epsilon), delta=_number(card.delta)),
            wording.say("pattern.product_epsilon", epsilon=_number(card.product_epsilon)),
        ]
    else:
        lines = [wording.say("pattern.source_epsilon", epsilon=_number(card.source_epsilon))]
    if card.pld_epsilon is not None:
        return [*lines, wording.say("pattern.pld_epsilon", epsilon=_number(card.pld_epsilon))]
    return [*lines, wording.say("pattern.no_pld")] if card.n_composed else lines


def _state_release(paid: PaidRelease, wording: Wording) -> str:
    parameters = ", ".join(_flatten_parameters(paid.event))
    state = "" if paid.is_committed else wording.say("pattern.not_committed")
    own = wording.say("pattern.is_part") if paid.is_part else ""
    known = f"mechanism.{paid.mechanism}"
    mechanism = wording.words.get(known) or " + ".join(
        wording.say(f"mechanism.{code}") for code in paid.mechanism.split(" + ")
    )
    return wording.say(
        "pattern.paid_release",
        query=f"{paid.ask_id}/{paid.query}",
        purpose=paid.purpose,
        mechanism=mechanism,
        parameters=parameters,
        max_cells=str(paid.max_cells),
        max_per_cell=str(paid.max_per_cell),
        l2=_number(paid.l2_sensitivity),
        notes=own + state,
    )


def _flatten_parameters(event: Mapping[str, Any]) -> list[str]:
    if isinstance(event.get("events"), list):
        return [text for part in event["events"] for text in _flatten_parameters(part)]
    return [f"{name} {_number(value)}" for name, value in event.items() if name != "event"]


def _state_sampling(code: str, wording: Wording) -> str:
    kind, _, rate = code.partition(" ")
    return wording.say(f"sampling.{kind}", rate=rate)


def _state_allocation(each: Any, wording: Wording) -> str:
    numbers = {name: _number(getattr(each, name)) for name in ("epsilon", "delta", "spent", "left")}
    return wording.say("pattern.allocation", cap=each.cap, **numbers)


def _state_figure(figure: Figure, wording: Wording) -> str:
    about = f"{wording.say(f'metric.{figure.metric}')}{f' [{figure.slice}]' if figure.slice else ''}"
    text = f"{about} {_number(figure.value)}"
    if figure.low is not None and figure.high is not None:
        text += f" ({_number(figure.low)} – {_number(figure.high)})"
    if figure.gate_limit is not None:
        outcome = wording.say("pattern.passed" if figure.is_passed else "pattern.failed")
        text += wording.say("pattern.gate", limit=_number(figure.gate_limit), outcome=outcome)
    return text


def _state_audit(card: ClaimCard, wording: Wording) -> list[str]:
    audit = card.audit
    lines = [wording.say(f"attack.{audit.attack}")]
    if audit.claimed_epsilon is not None and audit.auc_limit is not None:
        outcome = wording.say("pattern.passed" if audit.is_passed else "pattern.failed")
        epsilon, limit = _number(audit.claimed_epsilon), _number(audit.auc_limit)
        lines.append(wording.say("pattern.audit", epsilon=epsilon, limit=limit, outcome=outcome))
    return lines


def _number(value: Any) -> str:
    if isinstance(value, float):
        return "∞" if math.isinf(value) else f"{value:.4g}"
    return "-" if value is None else str(value)


def _parse(files: Mapping[str, str], path: str) -> dict[str, Any]:
    try:
        return tomllib.loads(files[path])
    except KeyError:
        raise ConfigurationError("CONF_MISSING", file=path) from None
    except tomllib.TOMLDecodeError as error:
        raise ConfigurationError("CONF_SYNTAX", file=path, at=str(error)) from None

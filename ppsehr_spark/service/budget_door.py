"""``ppsehr budget``: what of the privacy budget is spent and left, and budget for uses outside this product.

Knows: the arguments and how figures are laid out. Must not know: what an event costs or whether it is admitted
(``privacy.ledger``), how rows are kept (``lake.ledger_store``). Of a released value only the shape is shown, and a
refusal says what was requested and what remains, never anything of the data: none are read here.
"""

from __future__ import annotations

import argparse
import json
import secrets
import sys
from collections.abc import Callable, Mapping, Sequence
from typing import Any

from ppsehr_spark.errors import ExitCode, UsageError
from ppsehr_spark.lake.audit_log import append_entry
from ppsehr_spark.lake.ledger_check import check_ledger, describe_check
from ppsehr_spark.lake.ledger_store import open_ledger, read_entries
from ppsehr_spark.lake.schemas import PRIVACY_LEDGER
from ppsehr_spark.lake.tables import Lake
from ppsehr_spark.operations.tables import align_columns
from ppsehr_spark.privacy.book import Entry
from ppsehr_spark.privacy.events import Composed, Event, decode_event
from ppsehr_spark.privacy.grants import Query
from ppsehr_spark.privacy.ledger import OUTSIDE_RUN, Balance, Ledger
from ppsehr_spark.privacy.policy import Cap, Scope, parse_policy
from ppsehr_spark.privacy.units import ContributionBounds
from ppsehr_spark.service.arguments import add_settings_arguments, load_chosen_settings, make_parser, run_door

_MAX_NAME_CHARS = 100
_LISTED = ("row", "kind", "grant_id", "run_id", "query", "dataset", "purpose", "user", "event", "epsilon", "released")
_EXAMPLES = """  ppsehr budget show --lake .state/lake
  ppsehr budget reserve --lake .state/lake --name 手工评估 --dataset encounters --purpose evaluation --by dr.lin \\
      --event ZeroConcentrated:rho=0.01 --dry-run
  ppsehr budget release 0f3c... --lake .state/lake --by dr.lin --never-used
  ppsehr budget ledger --lake .state/lake --last 20
  ppsehr budget verify --lake .state/lake
events: ZeroConcentrated:rho=R  Gaussian:noise_multiplier=S  Laplace:noise_multiplier=S  PureEpsilon:epsilon=E
  SampledGaussian:noise_multiplier=S,sampling_rate=Q,n_steps=N  KeyThreshold:delta=D; several --event are one release
exit codes: 0 done, 2 usage, 4 the ledger does not hold, 5 budget refused, 7 try again"""


def main(argv: Sequence[str]) -> int:
    """Run ``ppsehr budget``; returns the exit code."""
    parser = make_parser("budget", "Shows, reserves and verifies privacy budget.", _EXAMPLES)
    commands = parser.add_subparsers(required=True, metavar="COMMAND")
    _add(commands, "show", _show, "spent and left under every cap")
    _add_reserve(_add(commands, "reserve", _reserve, "set budget aside for a use outside this product"))
    release = _add(commands, "release", _release, "give back what was set aside and never used")
    release.add_argument("grant_id", metavar="GRANT", help="as `budget reserve` printed it")
    release.add_argument("--by", required=True, metavar="ACCOUNT", help="the account that set it aside")
    release.add_argument("--never-used", action="store_true", required=True, help="say that nothing was drawn for it")
    ledger = _add(commands, "ledger", _list, "the entries, without released values")
    ledger.add_argument("--last", type=int, default=0, metavar="N", help="the newest N only")
    _add(commands, "verify", _verify, "recompute everything from the rows alone; exit 4 when something does not hold")
    options = parser.parse_args(argv)
    return run_door("budget", lambda: int(options.run(options)))


def _add(commands: Any, name: str, run: Callable[[argparse.Namespace], int], text: str) -> argparse.ArgumentParser:
    parser: argparse.ArgumentParser = commands.add_parser(name, help=text, description=text)
    parser.add_argument("--lake", required=True, metavar="URI", help="lake root")
    parser.add_argument("--json", action="store_true", help="for machines")
    add_settings_arguments(parser)
    parser.set_defaults(run=run)
    return parser


def _add_reserve(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("--name", required=True, help="what it is for, as it will stand in the ledger")
    parser.add_argument(
        "--event", action="append", required=True, metavar="KIND:FIELD=VALUE", help="see ppsehr budget --help"
    )
    parser.add_argument("--dataset", required=True, help="scope: data set")
    parser.add_argument("--purpose", required=True, help="scope: purpose, as caps in conf/privacy.toml name it")
    parser.add_argument("--by", required=True, metavar="ACCOUNT", help="scope: user; goes into the audit log")
    parser.add_argument("--max-cells", type=int, default=1, metavar="N", help="cells that one patient can touch")
    parser.add_argument("--max-per-cell", type=int, default=1, metavar="N", help="change of one cell by one patient")
    parser.add_argument("--dry-run", action="store_true", help="say whether it would be admitted, write nothing")


def _show(options: argparse.Namespace) -> int:
    balances = _ledger(options).balances(has_pld=True)
    rows = [_balance_row(balance) for balance in balances]
    if options.json:
        print(json.dumps(rows, ensure_ascii=False))
        return int(ExitCode.OK)
    shown = ("cap", "covers", "n_events", "epsilon", "epsilon_spent", "epsilon_left", "pld_epsilon", "delta")
    heads = ("cap", "covers", "events", "epsilon", "spent", "left", "PLD", "delta")
    print(align_columns([heads, *([_figure(row[name]) for name in shown] for row in rows)]))
    print("spent: RDP composition of every reservation, used or not; epsilons do not add, so left is no price list")
    return int(ExitCode.OK)


def _reserve(options: argparse.Namespace) -> int:
    ledger, query = _ledger(options), _outside_query(options)
    if options.dry_run:
        ledger.require_room([query])
        print("budget: it would be admitted; nothing was written", file=sys.stderr)
        return int(ExitCode.OK)
    entry = ledger.set_aside(query)
    _audit(options, "budget_reserve", entry)
    said = {"grant_id": entry.grant_id, "run_id": entry.run_id, "epsilon_after": entry.epsilon, "delta": entry.delta}
    print(json.dumps(said) if options.json else entry.grant_id)
    print(f"budget: set aside; epsilon {entry.epsilon:.6f} at delta {entry.delta:g} is spent now", file=sys.stderr)
    return int(ExitCode.OK)


def _release(options: argparse.Namespace) -> int:
    entry = _ledger(options).give_back(options.grant_id, user=options.by)
    _audit(options, "budget_release", entry)
    if options.json:
        print(json.dumps({"grant_id": entry.grant_id, "epsilon_after": entry.epsilon, "delta": entry.delta}))
    print(f"budget: given back; epsilon {entry.epsilon:.6f} at delta {entry.delta:g} is spent now", file=sys.stderr)
    return int(ExitCode.OK)


def _list(options: argparse.Namespace) -> int:
    entries = list(enumerate(read_entries(Lake(options.lake)), start=1))
    rows = [_entry_row(number, entry) for number, entry in (entries[-options.last :] if options.last > 0 else entries)]
    if options.json:
        print(json.dumps(rows, ensure_ascii=False))
    else:
        print(align_columns([_LISTED, *([_figure(row[name]) for name in _LISTED] for row in rows)]))
    return int(ExitCode.OK)


def _verify(options: argparse.Namespace) -> int:
    check = check_ledger(Lake(options.lake))
    lines = describe_check(check)
    print(json.dumps({"is_sound": check.is_sound, "said": lines}) if options.json else "\n".join(lines))
    return int(ExitCode.OK if check.is_sound else ExitCode.QUALITY_GATE)


def parse_event(text: str) -> Event:
    """The event that ``KIND:FIELD=VALUE,...`` names.

    Raises:
        UsageError: ``EVENT_TEXT``, ``UNKNOWN_EVENT`` or ``EVENT_PARAMETER``.
    """
    kind, _, fields = text.partition(":")
    plain: dict[str, object] = {"event": kind}
    for field in filter(None, fields.split(",")):
        name, _, value = field.partition("=")
        try:
            plain[name.strip()] = int(value) if value.isdecimal() else float(value)
        except ValueError:
            raise UsageError("EVENT_TEXT", hint="an event is KIND:FIELD=NUMBER,..., see ppsehr budget --help") from None
    return decode_event(json.dumps(plain))


def _ledger(options: argparse.Namespace) -> Ledger:
    return open_ledger(Lake(options.lake), parse_policy(load_chosen_settings(options).files))


def _outside_query(options: argparse.Namespace) -> Query:
    if max(map(len, (options.name, options.dataset, options.purpose, options.by))) > _MAX_NAME_CHARS:
        raise UsageError("NAME_TOO_LONG", hint=f"names in the ledger have at most {_MAX_NAME_CHARS} characters")
    events = tuple(parse_event(text) for text in options.event)
    scope = Scope(options.dataset, options.purpose, options.by)
    bounds = ContributionBounds(options.max_cells, options.max_per_cell)
    event = events[0] if len(events) == 1 else Composed(events)
    return Query(f"{OUTSIDE_RUN}{secrets.token_hex(8)}", options.name, scope, event, bounds)


def _audit(options: argparse.Namespace, action: str, entry: Entry) -> None:
    details = {
        "grant_id": entry.grant_id,
        "query": entry.query,
        "purpose": entry.purpose,
        "epsilon_after": entry.epsilon,
    }
    append_entry(
        Lake(options.lake), actor=options.by, action=action, target=PRIVACY_LEDGER.full_name, run_id=entry.run_id,
        details=details,
    )  # fmt: skip


def _balance_row(balance: Balance) -> dict[str, Any]:
    cap = balance.cap
    return {
        "cap": cap.name,
        "covers": _covered(cap),
        "n_events": balance.n_events,
        "epsilon": cap.budget.epsilon,
        "epsilon_spent": balance.epsilon_spent,
        "epsilon_left": balance.epsilon_left,
        "pld_epsilon": balance.pld_epsilon,
        "delta": cap.budget.delta,
    }


def _covered(cap: Cap) -> str:
    named = {name: getattr(cap, name) for name in ("dataset", "purpose", "user")}
    return " ".join(f"{name}={value}" for name, value in named.items() if value) or "everything"


def _entry_row(number: int, entry: Entry) -> dict[str, Any]:
    names = ("kind", "grant_id", "run_id", "query", "dataset", "purpose", "user", "event", "epsilon", "delta")
    shape = "" if entry.released is None else _shape(json.loads(entry.released))
    return {"row": number, **{name: getattr(entry, name) for name in names}, "released": shape}


def _shape(value: Any) -> str:
    """What kind of value was released, never which."""
    if isinstance(value, Mapping):
        return f"object of {len(value)}"
    if isinstance(value, Sequence) and not isinstance(value, str):
        return f"list of {len(value)}"
    return type(value).__name__


def _figure(value: object) -> str:
    if value is None:
        return "-"
    return f"{value:.6g}" if isinstance(value, float) else str(value)

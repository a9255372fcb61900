"""Arguments every ``ppsehr`` command shares, and the way its errors reach the shell.

Knows: argparse, exit codes. Must not know: what a command does.
"""

from __future__ import annotations

import argparse
import os
import sys
from collections.abc import Callable

from ppsehr_spark.config import Settings, load_settings
from ppsehr_spark.errors import ExitCode, PpsehrError


def make_parser(command: str, description: str, examples: str) -> argparse.ArgumentParser:
    """A parser whose ``--help`` ends with examples."""
    return argparse.ArgumentParser(
        prog=f"ppsehr {command}",
        description=description,
        epilog=f"examples:\n{examples}",
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )


def add_settings_arguments(parser: argparse.ArgumentParser) -> None:
    """``--profile``, ``--conf`` and ``--set``, as in every job."""
    default = os.environ.get("PPSEHR_PROFILE", "laptop")
    parser.add_argument("--profile", default=default, help=f"conf/profiles/<name>.toml (default {default})")
    parser.add_argument("--conf", default=None, metavar="DIR", help="conf folder (default: PPSEHR_CONF, else built in)")
    parser.add_argument("--set", action="append", default=[], metavar="SECTION.KEY=VALUE", help="overrides one setting")


def load_chosen_settings(options: argparse.Namespace) -> Settings:
    """Settings as the shared arguments ask for them."""
    return load_settings(options.profile, options.set, options.conf)


def run_door(command: str, body: Callable[[], int]) -> int:
    """Run a command; product errors become one line and their exit code, foreign ones class and place only."""
    try:
        return body()
    except PpsehrError as error:
        print(f"ppsehr {command}: {error}", file=sys.stderr)
        return int(error.exit_code)
    except BrokenPipeError:  # the reader of our standard output went away, such as `| head`
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        return int(ExitCode.OK)
    except KeyboardInterrupt:
        print(f"ppsehr {command}: interrupted; nothing was written", file=sys.stderr)
        return 130
    except Exception as error:
        place = error.__traceback__
        while place and place.tb_next:
            place = place.tb_next
        where = f"{os.path.basename(place.tb_frame.f_code.co_filename)}:{place.tb_lineno}" if place else "?"
        print(f"ppsehr {command}: UNEXPECTED error={type(error).__name__} at={where}", file=sys.stderr)
        return int(ExitCode.INFRASTRUCTURE)

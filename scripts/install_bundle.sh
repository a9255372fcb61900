#!/usr/bin/env bash
# Install ppsehr-spark from this folder, without any network. Usage: install.sh [TARGET]   (default: ~/ppsehr)
# Verifies every file first, makes TARGET/.venv, lays jars, weights and conf where the product looks for them, and ends
# with `ppsehr doctor`. Run it again to take up an installation that stopped; conf that is there already stays.
# PPSEHR_PROFILE: the profile that the doctor examines (default laptop). PPSEHR_PYTHON: a Python 3.11.
set -euo pipefail
here="$(cd "$(dirname "$0")" && pwd)"
target="${1:-$HOME/ppsehr}"
python="${PPSEHR_PYTHON:-python3.11}"

say() { printf 'install: %s\n' "$*" >&2; }
die() { say "$1"; exit "${2:-3}"; }

case "$target" in -h | --help) sed -n '2,6s/^# //p' "$0"; exit 0 ;; -*) die "unknown option $target; see --help" 2 ;; esac
command -v "$python" >/dev/null || die "Python 3.11 is missing. On Debian 12: apt-get install python3.11 (or set PPSEHR_PYTHON)"
"$python" -c 'import sys; sys.exit(sys.version_info[:2] != (3, 11))' || die "$python is not Python 3.11 (set PPSEHR_PYTHON)"

say "verifying checksums"
(cd "$here" && sha256sum --check --strict --quiet SHA256SUMS) || die "a file is missing or altered; copy the bundle again"
listed="$(sed -E 's/^[0-9a-f]+ [ *]//' "$here/SHA256SUMS" | sort)"
present="$(cd "$here" && find . -type f ! -name SHA256SUMS | sed 's|^\./||' | sort)"
[ "$listed" = "$present" ] || die "the bundle holds a file that SHA256SUMS does not name"

mkdir -p "$target"
target="$(cd "$target" && pwd)"
say "installing packages into $target/.venv (some minutes)"
[ -x "$target/.venv/bin/python" ] || "$python" -m venv --without-pip "$target/.venv"
pip=("$target/.venv/bin/python" "$(echo "$here"/wheels/pip-*.whl)/pip")
PIP_CONFIG_FILE=/dev/null "${pip[@]}" install --quiet --disable-pip-version-check --no-index --no-cache-dir --no-deps \
    --find-links "$here/wheels" --require-hashes -r "$here/requirements.txt" || die "packages could not be installed" 7

say "laying out jars, weights and conf"
mkdir -p "$target/.cache/jars" "$target/.cache/models" "$target/.state" "$target/requirements" "$target/scripts"
chmod 700 "$target/.state"
cp "$here"/jars/*.jar "$target/.cache/jars/"
[ ! -d "$here/models" ] || cp -r "$here"/models/. "$target/.cache/models/"
[ -d "$target/conf" ] || cp -r "$here/conf" "$target/conf"
for folder in deploy docs; do rm -rf "${target:?}/$folder" && cp -r "$here/$folder" "$target/$folder"; done
cp "$here/README.md" "$here/CHANGELOG.md" "$here/MANIFEST.json" "$here/spark-defaults.conf" "$target/"
cp "$here/requirements.txt" "$target/requirements/lock.txt"
cp "$here/requirements/jars.sha256" "$target/requirements/"
cp "$here/scripts/env.sh" "$target/scripts/"
cat >"$target/env.sh" <<'ENV'
# Source this before any command: the environment of this installation, and its own conf folder.
. "$(cd "$(dirname "${BASH_SOURCE[0]:-$0}")" && pwd)/scripts/env.sh"
export PPSEHR_CONF="${PPSEHR_CONF:-$PPSEHR_HOME/conf}"
ENV

cd "$target"
# shellcheck disable=SC1091
. ./env.sh
say "installed; every session starts with: cd $target && source env.sh"
exec ppsehr doctor --profile "${PPSEHR_PROFILE:-laptop}"

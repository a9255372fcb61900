#!/usr/bin/env bash
# All set-up, once; a second call compares hashes and ends in seconds. The only step of the product that uses the
# network. Usage: bootstrap.sh [--packages-only]
set -euo pipefail
cd "$(dirname "$0")/.."

PYTHON="${PPSEHR_PYTHON:-python3.11}"
UV_VERSION=0.13.9
MODELS="${PPSEHR_MODELS:-1.5B 0.5B}"
LOGS=.cache/logs
export UV_PYTHON_DOWNLOADS=never
# A site's own certificate authority stands in the system's store.
export UV_SYSTEM_CERTS="${UV_SYSTEM_CERTS:-true}"
# One mirror setting serves both installers.
if [ -n "${PIP_INDEX_URL:-}" ] && [ -z "${UV_DEFAULT_INDEX:-}" ]; then export UV_DEFAULT_INDEX="$PIP_INDEX_URL"; fi

say() { printf 'setup: %s\n' "$*" >&2; }
die() { say "$1"; exit 3; }

need_python() {
    command -v "$PYTHON" >/dev/null || die "Python 3.11 is missing. On Debian 12: apt-get install python3.11 python3-pip (or set PPSEHR_PYTHON)"
    "$PYTHON" -c 'import sys; sys.exit(sys.version_info[:2] != (3, 11))' || die "$PYTHON is not Python 3.11 (set PPSEHR_PYTHON)"
}

java_major() { java -version 2>&1 | sed -nE 's/.*version "([0-9]+).*/\1/p' | head -1; }

need_java() {
    if ! command -v java >/dev/null && [ "$(id -u)" = 0 ] && command -v apt-get >/dev/null; then
        say "installing Java 17 (Debian package openjdk-17-jre-headless)"
        (apt-get update && apt-get install -y --no-install-recommends openjdk-17-jre-headless) >"$LOGS/java.log" 2>&1 ||
            die "Java could not be installed; see $LOGS/java.log"
    fi
    command -v java >/dev/null || die "Java 17 is missing. On Debian 12: apt-get install openjdk-17-jre-headless"
    [ "$(java_major)" = 17 ] || die "Java 17 is needed, found $(java_major). Debian 12: apt-get install openjdk-17-jre-headless, then put it first on PATH"
}

need_uv() {
    export PATH="$PWD/.cache/bootstrap/bin:$PATH"
    command -v uv >/dev/null && return
    say "fetching uv $UV_VERSION"
    "$PYTHON" -m pip --version >/dev/null 2>&1 || die "pip is missing. On Debian 12: apt-get install python3-pip"
    "$PYTHON" -m pip install --quiet --disable-pip-version-check --target .cache/bootstrap "uv==$UV_VERSION"
}

# install_packages: .venv as the lock says it, and the project itself as a link to this checkout.
install_packages() {
    local lock project
    lock="$(sha256sum requirements/lock.txt | cut -c1-64)"
    project="$(cat pyproject.toml ppsehr_spark/__init__.py | sha256sum | cut -c1-64) $PWD"
    if [ "$(cat .venv/.lock-stamp 2>/dev/null)" != "$lock" ]; then
        need_uv
        say "installing packages into .venv (about 7.5 GB, a minute or two)"
        [ -x .venv/bin/python ] || uv venv --quiet --python "$PYTHON" .venv
        uv pip install --quiet --python .venv/bin/python --no-deps --require-hashes -r requirements/lock.txt
        printf '%s' "$lock" >.venv/.lock-stamp
    fi
    if [ "$(cat .venv/.project-stamp 2>/dev/null)" != "$project" ]; then
        need_uv
        uv pip install --quiet --python .venv/bin/python --no-deps --no-build-isolation --offline -e .
        printf '%s' "$project" >.venv/.project-stamp
    fi
}

# fetch_models: one process per model, side by side; each ends at once when its folder is complete.
fetch_models() {
    local size pids=() failed=0
    for size in $MODELS; do
        .venv/bin/python scripts/fetch_model.py --size "$size" &
        pids+=($!)
    done
    for pid in "${pids[@]}"; do wait "$pid" || failed=$?; done
    [ "$failed" = 0 ] || exit "$failed"
}

mkdir -p .cache "$LOGS" .state
chmod 700 .state
need_python
need_java
install_packages
[ "${1:-}" = --packages-only ] && exit 0
.venv/bin/python scripts/fetch_jars.py
fetch_models
.venv/bin/python scripts/compile_rules.py
say "ready"

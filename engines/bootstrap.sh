#!/bin/sh
# The environment of the project: .venv, as uv.lock says. Quick when it is current; as any user; Debian and macOS.
# `bootstrap.sh engines` also says, first, what the engines lack on this machine; words behind it go to `uv sync`.
# It takes uv from the PATH when that is new enough, else it brings the one of .env into the user's cache, once.
set -eu
cd "$(dirname "$0")/.."

fail() {
    printf '%s\n' "$1" >&2
    exit 1
}

is_right() { "$1" -c 'import sys; sys.exit(not (3, 11) <= sys.version_info[:2] < (3, 14))' 2>/dev/null; }

python=
for name in python3 python3.13 python3.12 python3.11; do
    if command -v "$name" >/dev/null && is_right "$name"; then
        python=$(command -v "$name")
        break
    fi
done
if [ -z "$python" ]; then
    there=$(python3 --version 2>/dev/null || echo "no python3")
    fail "Python 3.11, 3.12 or 3.13 is needed; here is $there. Debian: apt install python3 python3-venv; macOS: brew install python@3.13"
fi

if [ "${1:-}" = engines ]; then
    "$python" -m engines.tools || exit 1
    shift
fi

wanted=$(sed -n 's/^UV_VERSION=//p' .env)
is_new_enough() {
    "$1" --version 2>/dev/null | "$python" -c '
import re, sys
numbers = [tuple(map(int, re.findall(r"\d+", text)[:3])) for text in (sys.stdin.read(), sys.argv[1])]
sys.exit(numbers[0] < numbers[1])' "$wanted"
}

uv=$(command -v uv || true)
if [ -z "$uv" ] || ! is_new_enough "$uv"; then
    home=${XDG_CACHE_HOME:-$HOME/.cache}/vigie/uv-$wanted
    uv=$home/bin/uv
    if ! is_new_enough "$uv"; then
        "$python" -c 'import ensurepip, venv' 2>/dev/null ||
            fail "$python has no venv: Debian: apt install python3-venv (or install uv $wanted yourself: https://docs.astral.sh/uv)"
        echo "bringing uv $wanted into $home, once"
        rm -rf "$home"
        "$python" -m venv "$home"
        "$home/bin/pip" install --quiet --disable-pip-version-check "uv==$wanted" ||
            fail "uv $wanted could not be fetched from the package index: mend the network or pip's settings, then the same again"
    fi
fi

if [ ! -x .venv/bin/python ]; then
    echo "making .venv: once"
    UV_PYTHON=$python
    export UV_PYTHON
fi
exec "$uv" sync --frozen --quiet --compile-bytecode "$@"  # else each program may have to, at each start

#!/usr/bin/env bash
# Sets up, then runs the linter, the type checker and the tests. Options are passed on to pytest:
# `bash launch/test.sh tests/data -k idx`, say.
set -euo pipefail
cd "$(dirname "${BASH_SOURCE[0]}")/.."

bash launch/setup.sh
PATH="$PWD/.venv/bin:$PATH"

ruff check .
ruff format --check .
mypy
exec python -m pytest "$@"

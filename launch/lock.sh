#!/usr/bin/env bash
# Writes requirements.lock and requirements-gpu.lock anew from pyproject.toml, with the newest versions that it allows, and
# launch/mutants.txt, the tool for mutation testing. Needs uv.
set -euo pipefail
. "$(dirname "$(readlink -f "${BASH_SOURCE[0]}")")/begin.bash"
help_if_asked "$@"
[ $# -eq 0 ] || { echo "error: '$1' is not an option: launch/lock.sh takes none." >&2; exit 2; }
export UV_SYSTEM_CERTS=1

# Horovod is left out: it is pinned in launch/horovod.txt and built when all the rest is installed.
compile() {
  uv pip compile pyproject.toml --extra build --extra dev --universal --python-version 3.11 --generate-hashes \
    --no-emit-package horovod --no-emit-index-url --custom-compile-command "bash launch/lock.sh" --quiet "$@"
}

compile --extra cpu --upgrade --output-file requirements.lock
compile --extra gpu --upgrade --constraints requirements.lock --output-file requirements-gpu.lock
echo cosmic-ray==8.7.0 | uv pip compile - --universal --python-version 3.11 --generate-hashes --no-emit-index-url \
  --custom-compile-command "bash launch/lock.sh" --quiet --upgrade --output-file launch/mutants.txt

#!/usr/bin/env bash
# Regenerates requirements.lock and requirements-gpu.lock from pyproject.toml with the newest allowed versions, and
# launch/mutants.txt, the lock file of the mutation testing tool. Requires uv.
set -euo pipefail
. "$(dirname "$(readlink -f "${BASH_SOURCE[0]}")")/begin.bash"
help_if_asked "$@"
[ $# -eq 0 ] || { echo "error: unknown option '$1': launch/lock.sh takes none." >&2; exit 2; }
export UV_SYSTEM_CERTS=1

# Horovod is excluded: it is pinned in launch/horovod.txt, and built after everything else has been installed.
compile() {
  uv pip compile pyproject.toml --extra build --extra dev --universal --python-version 3.11 --generate-hashes \
    --no-emit-package horovod --no-emit-index-url --custom-compile-command "bash launch/lock.sh" --quiet "$@"
}

compile --extra cpu --upgrade --output-file requirements.lock
compile --extra gpu --upgrade --constraints requirements.lock --output-file requirements-gpu.lock
echo cosmic-ray==8.7.0 | uv pip compile - --universal --python-version 3.11 --generate-hashes --no-emit-index-url \
  --custom-compile-command "bash launch/lock.sh" --quiet --upgrade --output-file launch/mutants.txt

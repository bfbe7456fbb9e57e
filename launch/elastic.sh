#!/usr/bin/env bash
# Trains while workers come and go: `bash launch/elastic.sh ./hosts.sh --min 2 --max 8 -- --model vgg16 --run_dir runs/flowers`.
# hosts.sh prints the hosts that there are now, `a:4` on each line. `--help` lists the options.
set -euo pipefail
cd "$(dirname "${BASH_SOURCE[0]}")/.."
[ -x .venv/bin/python ] || { echo "error: there is no environment in $PWD/.venv: run launch/setup.sh." >&2; exit 2; }
exec "$PWD/.venv/bin/python" -m cnn.cluster.elastic_launcher "$@"

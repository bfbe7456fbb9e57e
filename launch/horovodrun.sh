#!/usr/bin/env bash
# Starts a job with Horovod's horovodrun, on this machine or on several: `bash launch/horovodrun.sh -H a:4,b:4 -- --model vgg16`.
# `--help` lists the options, `--dry_run` prints the command.
set -euo pipefail
cd "$(dirname "${BASH_SOURCE[0]}")/.."
[ -x .venv/bin/python ] || { echo "error: there is no environment in $PWD/.venv: run launch/setup.sh." >&2; exit 2; }
exec "$PWD/.venv/bin/python" -m cnn.cluster.launcher horovodrun "$@"

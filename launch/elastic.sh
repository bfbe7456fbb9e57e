#!/usr/bin/env bash
# Trains while workers join and leave: `bash launch/elastic.sh ./hosts.sh --min 2 --max 8 -- --model vgg16 --run_dir runs/flowers`.
# hosts.sh prints the current hosts, `a:4` on each line.
#
#   --min COUNT, --max COUNT   minimum number of ranks, with fewer training waits; maximum number
#   --wait SECONDS             how long to wait for --min ranks
#   --dry_run                  print the command instead of running it
#
# Arguments after -- are passed to jobs/train.py. After launch/setup.sh has been run, --help lists all options.
set -euo pipefail
. "$(dirname "$(readlink -f "${BASH_SOURCE[0]}")")/begin.bash"
need_environment "$@"
exec "$PWD/.venv/bin/python" -m cnn.launching.elastic_launcher "$@"

#!/usr/bin/env bash
# The container that prepares the data which CNN_DATA describes (a YAML file with the settings of the data), and then
# leaves a marker that launchers wait for. Done again it does nothing new. With --marker it only says where that is.
set -euo pipefail
. "$(dirname "$(readlink -f "${BASH_SOURCE[0]}")")/begin.bash"
help_if_asked "$@"

settings=$(cat "$CNN_DATA")
marker=$CNN_CACHE_DIR/prepared-$(sha256sum <<<"$settings" | cut -c1-16)
if [ "${1:-}" = --marker ]; then
  echo "$marker"
  exit
fi
python jobs/prepare.py --config "$CNN_DATA"
touch "$marker"

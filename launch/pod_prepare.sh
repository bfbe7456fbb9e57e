#!/usr/bin/env bash
# The container that prepares the data described by CNN_DATA, a YAML file with the data settings, and then creates a
# marker file that launchers wait for. Running it again does nothing new. --marker only prints the path of the marker.
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

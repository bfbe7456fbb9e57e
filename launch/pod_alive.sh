#!/usr/bin/env bash
# Fails if a rank in this container stands still: if it has been doing the same thing for longer than that may take, which is
# more for compilation, for example, than for a few training steps. Succeeds where no rank trains. It is a liveness probe.
set -euo pipefail
. "$(dirname "$(readlink -f "${BASH_SOURCE[0]}")")/begin.bash"
help_if_asked "$@"

[ -n "${CNN_HEARTBEAT_DIR:-}" ] || { echo "error: CNN_HEARTBEAT_DIR is not set: name the folder that ranks write to." >&2; exit 2; }
for file in "$CNN_HEARTBEAT_DIR"/rank-*; do
  [ -s "$file" ] || continue
  read -r process seconds activity <"$file"
  [ -d "/proc/$process" ] || continue  # it has ended
  age=$(($(date +%s) - $(stat --format %Y "$file")))
  if [ "$age" -gt "$seconds" ]; then
    echo "error: process $process, ${file##*/}, stands still: it has been in the same activity ($activity) for $age s." >&2
    exit 1
  fi
done

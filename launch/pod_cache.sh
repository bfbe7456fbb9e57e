#!/usr/bin/env bash
# An init container that copies the prepared data from a volume of all nodes to this node's own disk: `pod_cache.sh SHARED`
# copies SHARED to CNN_CACHE_DIR as soon as the data described by CNN_DATA are prepared there, a day later at most.
set -euo pipefail
. "$(dirname "$(readlink -f "${BASH_SOURCE[0]}")")/begin.bash"
. launch/pod_data.bash
help_if_asked "$@"
[ $# -eq 1 ] || { echo "error: give the folder to copy; --help shows the usage." >&2; exit 2; }

shared=$1 seconds=${CNN_WAIT_SECONDS:-86400}
trap 'exit 75' TERM INT  # no error, start it again
marker=$shared/$(basename "$(bash launch/pod_prepare.sh --marker)")
wait_for_data "$marker" "$seconds"
# In the background, as bash would not handle a signal before its end.
cp --recursive --preserve=timestamps "$shared"/* "$CNN_CACHE_DIR/" &
wait $! || { echo "error: $shared could not be copied to $CNN_CACHE_DIR: give that volume more room." >&2; exit 1; }

#!/usr/bin/env bash
# The launcher's container: `pod_launcher.sh RUN_DIR SETTINGS...` waits until the data are prepared and the workers are
# reachable, then trains with a rank per slot of the hostfile. `pod_launcher.sh --elastic MIN MAX RUN_DIR SETTINGS...`
# trains with the running workers, MIN to MAX of them. Started again, it resumes the run in RUN_DIR. SIGTERM makes all
# ranks save a checkpoint and stop. Exit codes as of jobs/train.py: 0 done, 2 a mistake (do not restart), 75 stopped on
# request (restart), all others: restart.
set -euo pipefail
. "$(dirname "$(readlink -f "${BASH_SOURCE[0]}")")/begin.bash"
. launch/pod_data.bash
help_if_asked "$@"
[ $# -gt 0 ] || { echo "error: RUN_DIR is missing; --help shows the usage." >&2; exit 2; }

seconds=${CNN_WAIT_SECONDS:-600}  # for the data, and then for the workers
[[ $seconds =~ ^[0-9]+$ ]] || { echo "error: CNN_WAIT_SECONDS '$seconds' is not a whole number of seconds: set it to 600, for example." >&2; exit 2; }
unset JOB_COMPLETION_INDEX  # of an Indexed Job: with it, a rank would be refused as one of several unconnected processes
restart=75
# Open MPI forwards SIGUSR1 to all ranks. Before they run, there is nothing to save, and the signal ends the launcher.
start=(launch/mpirun.sh --oversubscribe) stop_signal=USR1
if [ "$1" = --elastic ]; then
  start=(launch/elastic.sh /etc/mpi/discover_hosts.sh --min "$2" --max "$3") stop_signal=TERM
  shift 3
fi
run_dir=$1
shift

child="" requested=""
stop() {
  requested=yes
  [ -z "$child" ] || kill -"$stop_signal" "$child" 2>/dev/null || true
}
trap stop TERM INT

marker=$(bash launch/pod_prepare.sh --marker)
wait_for_data "$marker" "$seconds"

bash "${start[@]}" --wait "$seconds" -- --run_dir "$run_dir" --resume auto "$@" &
child=$!
[ -z "$requested" ] || stop  # a signal arrived before the child was started
wait "$child" || true
while kill -0 "$child" 2>/dev/null; do wait "$child" || true; done  # a signal interrupts wait, not the child
code=0
wait "$child" || code=$?
# Launchers ended by a signal have other exit codes.
[ -z "$requested" ] || [ "$code" -eq 0 ] || [ "$code" -eq 2 ] || code=$restart
exit "$code"

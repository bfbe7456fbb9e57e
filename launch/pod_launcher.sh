#!/usr/bin/env bash
# The launcher's container: `pod_launcher.sh RUN_DIR SETTINGS...` waits until the data are prepared and the workers can be
# entered, then trains, a rank for each slot of the hostfile. `pod_launcher.sh --elastic MIN MAX RUN_DIR SETTINGS...` trains
# with the workers that run, from MIN to MAX of them. Started again, it goes on with the run in RUN_DIR. SIGTERM stops all
# ranks at a checkpoint. Exit codes are those of jobs/train.py: 0 done, 2 a mistake (starting it again is no use), 75
# stopped when asked to (again), all others: again.
set -euo pipefail
. "$(dirname "$(readlink -f "${BASH_SOURCE[0]}")")/begin.bash"
help_if_asked "$@"
[ $# -gt 0 ] || { echo "error: RUN_DIR is missing; --help tells how this is called." >&2; exit 2; }

seconds=${CNN_WAIT_SECONDS:-600}  # for the data, and then for the workers
[[ $seconds =~ ^[0-9]+$ ]] || { echo "error: CNN_WAIT_SECONDS '$seconds' is not a whole number of seconds: set it to 600, for example." >&2; exit 2; }
again=75
# Open MPI passes SIGUSR1 on to all ranks. Before it does, there is nothing to save, and the signal ends it.
start=(launch/mpirun.sh --oversubscribe) ask=USR1
if [ "$1" = --elastic ]; then
  start=(launch/elastic.sh /etc/mpi/discover_hosts.sh --min "$2" --max "$3") ask=TERM
  shift 3
fi
run_dir=$1
shift

child="" asked=""
stop() {
  asked=yes
  [ -z "$child" ] || kill -"$ask" "$child" 2>/dev/null || true
}
trap stop TERM INT

marker=$(bash launch/pod_prepare.sh --marker)
for ((left = seconds; left > 0; left--)); do
  [ -z "$asked" ] || exit "$again"
  [ ! -e "$marker" ] || break
  ((left % 30)) || echo "waiting for the data to be prepared ($left s left)"
  sleep 1
done
if [ ! -e "$marker" ]; then
  echo "error: the data are not prepared after $seconds s ($marker is missing): look at the job that prepares them." >&2
  exit 1
fi

bash "${start[@]}" --wait "$seconds" -- --run_dir "$run_dir" --resume auto "$@" &
child=$!
[ -z "$asked" ] || stop  # a signal that came in between
wait "$child" || true
while kill -0 "$child" 2>/dev/null; do wait "$child" || true; done  # a signal ends a wait, not the child
code=0
wait "$child" || code=$?
# Launchers that a signal ends have codes of their own.
[ -z "$asked" ] || [ "$code" -eq 0 ] || [ "$code" -eq 2 ] || code=$again
exit "$code"

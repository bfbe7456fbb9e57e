#!/usr/bin/env bash
# Sets up the environment, then trains a LeNet-5 on real handwritten digits with two Horovod workers. Options are passed
# to jobs/train.py, whose --help lists them: `bash launch/quickstart.sh --epochs 5`, for example.
set -euo pipefail
. "$(dirname "$(readlink -f "${BASH_SOURCE[0]}")")/begin.bash"
help_if_asked "$@"

bash launch/setup.sh
PATH="$PWD/.venv/bin:$PATH"

# Open MPI requires two variables before it runs as root, which is common in containers.
export OMPI_ALLOW_RUN_AS_ROOT=1 OMPI_ALLOW_RUN_AS_ROOT_CONFIRM=1

echo "Training with two workers; equivalent command: horovodrun -np 2 python jobs/train.py --config jobs/recipes/quickstart.yaml"
# For the commands that training prints: outside of this script neither Python nor mpirun is on PATH.
export CNN_COMMAND_LINE="bash launch/quickstart.sh"
exec mpirun --oversubscribe -np 2 .venv/bin/python jobs/train.py --config jobs/recipes/quickstart.yaml "$@"

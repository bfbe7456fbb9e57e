#!/usr/bin/env bash
# Sets up, then runs the linter, the type checker and the tests. Options are passed on to pytest:
# `bash launch/test.sh tests/data -k idx`, for example.
#
# --cluster, given first, runs the tests that make hosts on this machine instead, three with an sshd each, a Slurm cluster
# of two, containers as Kubernetes would start them, and a Kubernetes cluster of one node: they need root's rights,
# kubectl, Go, and Debian's iproute2, openssh-server, slurm-wlm, munge, docker.io, debootstrap and
# containernetworking-plugins, and are skipped, saying so, without. The shortest of them are among the others.
#
# --faults, given first, kills and stops training at forty moments instead, and a process that saves at fifty (12
# minutes); a few of these are among the others.
#
# --gpu-build, given first, runs what needs TensorFlow for GPUs, but no GPU, instead: which operations of a step a GPU
# has, what a step copies between host and GPU, seen on a GPU that is only imagined, and whether a library that does not
# open is named (20 minutes). It needs the environment of `launch/setup.sh --gpu`.
#
# --repeats, given first, trains every network several times instead, in each precision, with one and two threads and
# workers, beside two processes that take the processor's time, and compares the bits (hours).
#
# --mutants, given first, makes a hundred small changes to what must be exact instead, of which the tests should notice
# most (30 minutes); it changes the files in place, so it wants a clone of its own.
set -euo pipefail
. "$(dirname "$(readlink -f "${BASH_SOURCE[0]}")")/begin.bash"
help_if_asked "$@"

bash launch/setup.sh
PATH="$PWD/.venv/bin:$PATH"

if [ "${1:-}" = --cluster ]; then
  shift
  exec python -m pytest -m cluster "$@"
fi

if [ "${1:-}" = --faults ]; then
  shift
  exec python -m pytest -m faults -s "$@"
fi

if [ "${1:-}" = --gpu-build ]; then
  shift
  [ "$(cat .venv/kind)" = gpu ] || {
    echo "test: TensorFlow in .venv has no CUDA: run \`bash launch/setup.sh --gpu\` first." >&2
    exit 2
  }
  exec python -m pytest -m gpu_build "$@"
fi

if [ "${1:-}" = --repeats ]; then
  shift
  exec python -m pytest -m repeats -s "$@"
fi

if [ "${1:-}" = --mutants ]; then
  shift
  tool=.venv/mutants  # beside the environment, which does not need it
  PATH="$PATH:$PWD/.venv/uv/bin" UV_SYSTEM_CERTS=1 uv pip install --quiet --python .venv/bin/python --target "$tool" --require-hashes -r launch/mutants.txt
  PYTHONPATH=$tool exec python tests/mutants.py "$@"
fi

ruff check .
ruff format --check .
mypy
# As many at once as there are processors and one more, as some tests wait, but four at most. The tests of a file share
# what they set up.
processes=$(($(nproc) < 3 ? $(nproc) + 1 : 4))
exec python -m pytest --numprocesses "$processes" --dist loadfile --no-loadscope-reorder -m "not (cluster or faults or gpu_build or repeats) or short" "$@"

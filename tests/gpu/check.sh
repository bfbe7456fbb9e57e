#!/usr/bin/env bash
# On a machine with a GPU that the kit in .gpu-kit has set up, in the project's folder: runs the checks, the most valuable
# first, each with a time limit of its own, and writes results.json, summary.txt and logs.tar.gz to a folder. A check that
# fails does not stop the others.
#
#   bash tests/gpu/check.sh --out FOLDER [--seconds 570] [--only NAME,...] [--skip NAME,...] [--from NAME] [--list]
set -euo pipefail
prefix=${TARGET:-/opt/cnn-gpu}
[ -x "$prefix/venv/bin/python" ] || { echo "check: $prefix/venv is missing: receive all pieces of the kit first" >&2; exit 2; }
project=$PWD
[ -f launch/setup.sh ] || { echo "check: run this in the project's folder" >&2; exit 2; }

# TensorFlow opens the driver's libcuda.so.1 and libnvidia-ml.so.1 by name.
if [ -e /dev/nvidia0 ] || [ -e /dev/nvidiactl ]; then
  for library in libcuda.so.1 libnvidia-ml.so.1; do
    ldconfig -p | grep -q "$library" && continue
    found=$(find / -xdev -name "$library" -not -path '*/stubs/*' -not -path "$prefix/*" 2>/dev/null | head -1 || true)
    [ -n "$found" ] || found=$(find /usr/local /usr/lib /lib /opt -name "$library" -not -path '*/stubs/*' 2>/dev/null | head -1 || true)
    if [ -n "$found" ]; then
      dirname "$found" >>/etc/ld.so.conf.d/zz-driver.conf
      ldconfig || true
      echo "check: $library was found in $(dirname "$found")" >&2
    else
      echo "check: no $library" >&2
    fi
  done
fi

# Open MPI's mpirun fails where there is neither ssh nor rsh, even on one host.
if ! command -v ssh >/dev/null && ! command -v rsh >/dev/null; then
  printf '#!/bin/sh\necho "there is no ssh here" >&2\nexit 255\n' >/usr/local/bin/ssh
  chmod +x /usr/local/bin/ssh
  echo "check: there is no ssh: /usr/local/bin/ssh stands in, because mpirun looks for it" >&2
fi

# The project in the environment, and the environment in the project, as launch/setup.sh would have it.
echo "$project" >"$("$prefix/venv/bin/python" -c 'import sysconfig; print(sysconfig.get_path("purelib"))')/cnn.pth"
if [ ! -e .venv ] || [ -L .venv ]; then
  ln -sfn "$prefix/venv" .venv
  echo gpu >"$prefix/venv/kind"
  inputs=$(sed -n 's/^inputs=(\(.*\))$/\1/p' launch/setup.sh)
  # The same words as in launch/setup.sh, which then finds nothing to do and needs no network.
  lock=requirements-gpu.lock horovod=(launch/horovod.txt launch/horovod.cmake launch/horovod_stream.cc)
  eval "inputs=($inputs)"
  printf '%s' "$PWD gpu $(cat "${inputs[@]}" | sha256sum)" >.venv/setup-complete
  made=$(cat launch/horovod.txt launch/horovod.cmake launch/horovod_stream.cc requirements-gpu.lock | sha256sum | cut -c1-16)
  [ "$made" = "$(cat "$prefix/made-from")" ] || echo "check: the kit was made from other locked packages than this project's" >&2
fi
export OMPI_ALLOW_RUN_AS_ROOT=1 OMPI_ALLOW_RUN_AS_ROOT_CONFIRM=1 PYTHONUNBUFFERED=1 TF_CPP_MIN_LOG_LEVEL=1
exec "$prefix/venv/bin/python" -m tests.gpu.check "$@"

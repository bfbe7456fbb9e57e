#!/usr/bin/env bash
# Builds Horovod's wheel for the environment in .venv, whose other packages are all there. Is called by
# launch/horovod.sh, as `horovod_wheel.sh UV KIND FOLDER`: the path of uv, cpu or gpu, and an empty folder, whose path has
# only letters, digits and . / - _, and in which the wheel is left.
set -euo pipefail
. "$(dirname "$(readlink -f "${BASH_SOURCE[0]}")")/begin.bash"
help_if_asked "$@"
[ $# -eq 3 ] || { echo "error: this is called by launch/setup.sh: run that." >&2; exit 2; }
uv=$1 kind=$2 plain=$3

# CMake, make and compilers take a path apart at a space, a comma or a $. They see this folder by a link without any;
# so do Open MPI's compilers, which would look up the real path if they were started by their own names.
mkdir "$plain/bin"
ln -s "$PWD" "$plain/here"
for name in mpicc mpicxx; do ln -s "$plain/here/.venv/bin/opal_wrapper" "$plain/bin/$name"; done

(
  PATH="$plain/here/.venv/bin:$PATH"
  # uv builds inside its cache. In a new one, nothing that was built in another way can be taken for this.
  export TMPDIR="$plain" UV_CACHE_DIR="$plain/cache" UV_PYTHON="$plain/here/.venv/bin/python"
  export MPI_HOME="$plain" OPAL_PREFIX="$plain/here/.venv" CMAKE_TOOLCHAIN_FILE="$plain/here/launch/horovod.cmake"
  export HOROVOD_WITH_TENSORFLOW=1 HOROVOD_WITHOUT_PYTORCH=1 HOROVOD_WITHOUT_MXNET=1
  export HOROVOD_WITH_MPI=1 HOROVOD_WITH_GLOO=1 MAKEFLAGS="-j$(nproc)"
  if [ "$kind" = gpu ]; then
    . launch/horovod_cuda.bash
    link_cuda "$(python -c 'import sysconfig; print(sysconfig.get_path("purelib"))')/nvidia" "$plain/cuda"
  fi
  "$uv" pip install --verbose --no-deps --no-build-isolation --no-binary horovod --target "$plain/built" \
    --require-hashes -r launch/horovod.txt
)

# The wheel again that uv has unpacked, without what an installation adds.
rm -rf "$plain/built"/{bin,.lock} "$plain/built"/*.dist-info/{RECORD,INSTALLER,REQUESTED,uv_*.json}
python -m wheel pack --dest-dir "$plain" "$plain/built"

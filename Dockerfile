# The training image: `docker build -t cnn:0.1.0 .`; for GPUs, `docker build --build-arg DEVICE=gpu -t cnn:0.1.0-gpu .`
# An earlier stage compiles Horovod, the final one has no compiler. BASE is Debian 12, whose Python is 3.11.
ARG BASE=debian:bookworm-20260918-slim@sha256:3783cc01769c7b2b1b83a5c5ad96c815348e28ed7da68e2e3687004faa906251

FROM ${BASE} AS python
RUN apt-get update \
    && apt-get upgrade -y \
    && apt-get install -y --no-install-recommends ca-certificates openssh-client openssh-server procps python3 \
    && apt-get clean && rm -rf /var/lib/apt/lists/* /var/log/apt /var/log/*.log /var/cache/ldconfig /etc/ssh/ssh_host_* \
    && useradd --uid 1000 --create-home --shell /bin/bash mpiuser \
    && install -d -o mpiuser -g mpiuser -m 700 /home/mpiuser/.ssh \
    && install -d -o mpiuser -g mpiuser /data /runs

FROM python AS build
RUN apt-get update && apt-get install -y --no-install-recommends g++ make python3-pip
WORKDIR /opt/cnn
# Only the files that the set-up reads, so that changes of the code do not rebuild Horovod.
COPY pyproject.toml requirements*.lock LICENSE ./
COPY launch/begin.bash launch/python.bash launch/setup.sh launch/uv.txt launch/horovod.* launch/horovod_* launch/
COPY cnn/__init__.py cnn/
COPY cnn/cluster/devices/cuda_libraries.py cnn/cluster/devices/
ARG DEVICE=cpu
RUN touch README.md && bash launch/setup.sh "--$DEVICE"
# Remove what only building and development need: their packages, headers, static libraries, tests, and the symbols of
# libraries that nothing links to; and large parts of packages that no program of the project uses: StableHLO's and XLA's
# operations for Python, SciPy's packages besides those for special functions and MATLAB's files, OpenCV's for video.
# Bytecode is made here, as it cannot be written on a read-only file system, and so that it does not depend on when the
# packages were installed.
COPY launch/imported_bytecode.py launch/opencv_without_video.py launch/unneeded_packages.py launch/
RUN packages=.venv/lib/python3.11/site-packages \
    && .venv/uv/bin/uv pip uninstall --quiet --python .venv/bin/python \
        libclang $(.venv/bin/python launch/unneeded_packages.py "$DEVICE") \
    && rm -rf .venv/uv "$packages/tensorflow/include" \
        "$packages/tensorflow/compiler/mlir/stablehlo/stablehlo_extension.so" \
        "$packages/tensorflow/compiler/tf2xla/ops/_xla_ops.so" \
    && (cd "$packages/scipy" && rm -r cluster datasets differentiate fft fftpack integrate interpolate misc ndimage odr \
        optimize signal spatial stats) \
    && .venv/bin/python -B launch/opencv_without_video.py \
    && find "$packages" -name '*.a' -delete \
    && find "$packages" \( -name tests -o -name __pycache__ \) -type d -prune -exec rm -rf {} + \
    && find "$packages/tensorflow" -name '*.so*' -type f -exec strip --strip-unneeded {} + \
    && find "$packages" -name '*.cpython-*.so' -type f -exec strip --strip-unneeded {} + \
    && .venv/bin/python -B launch/imported_bytecode.py

FROM python
ARG DEVICE=cpu
ENV PATH=/opt/cnn/.venv/bin:/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin \
    CNN_DEVICE=${DEVICE} \
    CNN_CACHE_DIR=/data \
    CNN_HEARTBEAT_DIR=/tmp/heartbeat \
    MPLCONFIGDIR=/tmp/matplotlib \
    PYTHONDONTWRITEBYTECODE=1 \
    NVIDIA_DRIVER_CAPABILITIES=compute,utility \
    # Containers cannot read each other's process memory, and not always their own.
    OMPI_MCA_btl_vader_single_copy_mechanism=none
WORKDIR /opt/cnn
COPY --from=build /opt/cnn/.venv .venv
COPY launch/ssh_config /etc/ssh/ssh_config.d/cnn.conf
COPY . .
RUN python -m compileall -q --invalidation-mode checked-hash cnn
USER 1000:1000
CMD ["python", "jobs/train.py", "--help"]

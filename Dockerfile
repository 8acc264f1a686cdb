# A workstation that runs `make demo` without a display: docker build --target cpu (or cuda) .
# What was tried of it, and how to run it: docs/container.md.

FROM python:3.11.13-slim-bookworm AS base
# What scripts/setup.sh would install by itself, as a layer that seldom changes.
RUN apt-get update \
    && apt-get install --yes --no-install-recommends \
        make gcc g++ libc6-dev linux-libc-dev cppzmq-dev \
        cmake libssl-dev nlohmann-json3-dev libegl1 libgl1 libglib2.0-0 \
    && rm -rf /var/lib/apt/lists/*
WORKDIR /fieldtune
# Any user may run it: caches (numba, matplotlib) go where everybody may write.
ENV HOME=/tmp PIP_NO_CACHE_DIR=1
RUN python3 -m venv .venv

FROM base AS cpu
# PyPI's torch brings CUDA's libraries, gigabytes that a machine without a GPU has no use for.
COPY constraints.txt .
RUN .venv/bin/python -m pip install --no-deps \
    --index-url https://download.pytorch.org/whl/cpu "$(grep '^torch==' constraints.txt)"
COPY . .
RUN make .venv/.installed && install -d -m 1777 demo data runs
USER 1000:1000
CMD ["make", "demo"]

FROM base AS cuda
# The driver is the host's; `graphics` is for pictures drawn on the GPU.
ENV NVIDIA_VISIBLE_DEVICES=all NVIDIA_DRIVER_CAPABILITIES=compute,utility,graphics
COPY . .
RUN make .venv/.installed && install -d -m 1777 demo data runs
USER 1000:1000
CMD ["make", "demo"]

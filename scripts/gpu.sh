#!/bin/sh
# The benchmark's rows that only a GPU can show, on a machine that has one and no network:
#
#   sh scripts/gpu.sh gather FOLDER [3.12]   # here: wheels for that machine's Python, about 4 MB
#   sh scripts/gpu.sh run FOLDER OUT         # there, in a copy of the checkout: JSON and a page
#
# There torch and numpy are as they are found; PYTHON chooses whose. Nothing is installed into it.
set -eu

what=$1 folder=$2
needed='annotated-types msgspec pydantic pydantic_core PyYAML typing-inspection typing_extensions'
case $what in
gather)
    version=${3:-3.12}
    pins=$(for name in $needed; do grep "^$name==" constraints.txt; done)
    # shellcheck disable=SC2086
    "${PYTHON:-python3}" -m pip download --quiet --no-deps --only-binary=:all: \
        --python-version "$version" --platform "manylinux_2_17_$(uname -m)" \
        --platform "manylinux2014_$(uname -m)" --platform "manylinux_2_28_$(uname -m)" \
        --dest "$folder" $pins
    ;;
run)
    out=$3 python=${PYTHON:-python3}
    "$python" -c 'import torch' || {
        echo "gpu.sh: $python has no torch: name one that has, with PYTHON=" >&2
        exit 1
    }
    # shellcheck disable=SC2086
    "$python" -m pip install --quiet --no-index --no-deps --find-links "$folder" \
        --target "$out/packages" --upgrade $needed
    PYTHONPATH=$PWD:$out/packages "$python" -m benchmarks gpu --out "$out"
    ;;
*)
    echo "gpu.sh: '$what': expected gather or run" >&2
    exit 2
    ;;
esac

#!/bin/sh
# Makes the virtual environment that `make` runs everything in: `setup.sh FOLDER`.
# Installs what Debian or Ubuntu lack for it (a compiler for evdev, which robosuite pulls in,
# off-screen rendering, and what the tests build servers/cpp with); elsewhere it says
# what is missing. PYTHON chooses the interpreter.
set -eu

folder=$1

usable() {
    "$1" -c 'import sys; sys.exit(not (3, 11) <= sys.version_info[:2] <= (3, 12))' 2>/dev/null
}

python=
for candidate in ${PYTHON:-python3 python3.11 python3.12}; do
    if usable "$candidate"; then
        python=$candidate
        break
    fi
done
if [ -z "$python" ]; then
    found=$("${PYTHON:-python3}" --version 2>&1 || true)
    echo "setup: Python 3.11 or 3.12 is needed, ${PYTHON:-python3} is: ${found:-missing}" >&2
    echo "setup: install one, or name it: make PYTHON=/path/to/python3.11 ..." >&2
    exit 1
fi

has_library() { "$python" -c "import ctypes; ctypes.CDLL('$1')" 2>/dev/null; }

has_headers() {
    "$python" -c 'import pathlib, sys, sysconfig
sys.exit(not pathlib.Path(sysconfig.get_path("include"), "Python.h").exists())'
}

missing=  # nothing works without these
wanted=   # without these only the tests of servers/cpp are skipped
if [ "$(uname)" = Linux ]; then
    command -v make >/dev/null || wanted="$wanted make"
    command -v g++ >/dev/null || wanted="$wanted g++"
    [ -e /usr/include/zmq.hpp ] || wanted="$wanted cppzmq-dev"
    command -v cmake >/dev/null || wanted="$wanted cmake"
    [ -e /usr/include/openssl/evp.h ] || wanted="$wanted libssl-dev"
    [ -e /usr/include/nlohmann/json.hpp ] || wanted="$wanted nlohmann-json3-dev"
    command -v gcc >/dev/null || missing="$missing gcc"
    [ -e /usr/include/stdio.h ] || missing="$missing libc6-dev"
    [ -e /usr/include/linux/input.h ] || missing="$missing linux-libc-dev"
    version=$("$python" -c 'import sys; print("%d.%d" % sys.version_info[:2])')
    has_headers || missing="$missing python$version-dev"
    "$python" -c 'import ensurepip' 2>/dev/null || missing="$missing python$version-venv"
    has_library libEGL.so.1 || missing="$missing libegl1"
    has_library libGL.so.1 || missing="$missing libgl1"
    has_library libgthread-2.0.so.0 || missing="$missing libglib2.0-0"
fi

# Installs Debian's packages, or says why it cannot.
install_packages() {
    if ! command -v apt-get >/dev/null; then
        echo "setup: install them (Debian's names) with this system's package tool" >&2
        return 1
    elif [ "$(id -u)" = 0 ]; then
        apt-get update && DEBIAN_FRONTEND=noninteractive apt-get install --yes "$@"
    elif command -v sudo >/dev/null; then
        sudo apt-get update && sudo DEBIAN_FRONTEND=noninteractive apt-get install --yes "$@"
    else
        echo "setup: ask an administrator to run: apt-get install --yes $*" >&2
        return 1
    fi
}

if [ -n "$missing$wanted" ]; then
    echo "setup: missing system packages:$missing$wanted"
    # shellcheck disable=SC2086  # each is a list of names
    if ! install_packages $missing $wanted; then
        [ -z "$missing" ] || exit 1
        echo "setup: going on without; the tests of servers/cpp will be skipped" >&2
    fi
fi

[ -x "$folder/bin/python" ] && usable "$folder/bin/python" || "$python" -m venv --clear "$folder"
echo "setup: installing into $folder (a few minutes the first time)"
"$folder/bin/python" -m pip install --quiet --constraint constraints.txt --editable '.[train,dev]'

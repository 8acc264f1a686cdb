#!/bin/sh
# Makes the environment that packages are made in, apart from .venv, whose versions are what is
# described and tested: `dist.sh FOLDER` (about 100 MB).
set -eu

folder=$1
[ -x "$folder/bin/python" ] || "${PYTHON:-python3}" -m venv --clear "$folder"
"$folder/bin/python" -m pip install --quiet \
    'build==1.6.1' 'twine==7.0.0' 'cyclonedx-bom==7.5.0' 'pip-licenses==5.5.5'
touch "$folder/.installed"

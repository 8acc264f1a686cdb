#!/bin/sh
# Makes an environment with LeRobot, whose pins clash with ours: `lerobot.sh FOLDER`.
# For the test of servers/serve_lerobot.py; about 8 GB, since LeRobot brings torch with CUDA.
set -eu

folder=$1
[ -x "$folder/bin/python" ] || "${PYTHON:-python3}" -m venv --clear "$folder"
"$folder/bin/python" -m pip install --quiet 'lerobot==0.4.4' 'pyzmq>=26'

#!/bin/sh
# Makes an environment with franky and franky-sim, which want mujoco 4: `franka.sh FOLDER`.
# For the tests of servers/serve_franka.py; about 700 MB. Beside an arm franky-control is enough.
set -eu

folder=$1
[ -x "$folder/bin/python" ] || "${PYTHON:-python3}" -m venv --clear "$folder"
"$folder/bin/python" -m pip install --quiet 'franky-control==2.0.0' 'franky-sim==1.0.4' 'pyzmq>=26'

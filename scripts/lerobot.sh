#!/bin/sh
# Makes an environment with LeRobot, whose pins clash with ours: `lerobot.sh FOLDER`.
# For the test of servers/serve_lerobot.py; about 8 GB, since LeRobot brings torch with CUDA.
# LeRobot's current release wants Python 3.12; an older Python gets the last one for it.
set -eu

folder=$1
python=${PYTHON:-python3}
for newer in "${PYTHON:-python3.12}" python3.13; do
    if "$newer" -c 'import sys, venv; sys.exit(sys.version_info < (3, 12))' 2>/dev/null; then
        python=$newer
        break
    fi
done
[ -x "$folder/bin/python" ] || "$python" -m venv --clear "$folder"
"$folder/bin/python" -m pip install --quiet 'pyzmq>=26' \
    "lerobot[feetech]==0.6.1; python_version >= '3.12'" \
    "lerobot[feetech]==0.4.4; python_version < '3.12'"

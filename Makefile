# Every target makes what it needs, in .venv; PYTHON=python3.11 chooses the interpreter.
VENV := .venv
DIST := .venv-dist
READY := $(VENV)/.installed
# What runs on a robot's computer, where Python may be 3.10: held to its syntax and its library.
ROBOT_SIDE := -p fieldtune.robot -p fieldtune.export -m serve_joints
export PYTHON

.PHONY: demo test lerobot franka check docs dist licences smoke clean

demo: $(READY)  ## the whole loop on a simulated arm, with a report at the end
	$(VENV)/bin/fieldtune demo

# One thread a process, as the launcher sets it: two that spin against each other crawl. A file's
# tests stay in one process, for what they make together, in the order of tests/conftest.py; four
# processes are enough beside robots in real time.
test: $(READY)
	OMP_NUM_THREADS=1 $(VENV)/bin/python -m pytest -n auto --maxprocesses 4 --dist loadfile \
		--no-loadscope-reorder $(ARGS)

lerobot: $(READY)  ## the server for LeRobot's robots, against LeRobot itself (about 8 GB, once)
	sh scripts/lerobot.sh .venv-lerobot
	OMP_NUM_THREADS=1 $(VENV)/bin/python -m pytest tests/robot/drivers/test_lerobot.py

franka: $(READY)  ## the server for a Franka, against Franka's protocol (about 700 MB, once)
	sh scripts/franka.sh .venv-franka
	OMP_NUM_THREADS=1 $(VENV)/bin/python -m pytest tests/robot/drivers/test_franka.py

check: $(READY)
	$(VENV)/bin/ruff check .
	$(VENV)/bin/ruff format --check .
	$(VENV)/bin/mypy
	$(VENV)/bin/mypy --python-version 3.10 $(ROBOT_SIDE)
	$(VENV)/bin/pyright --project pyproject.toml --pythonpath $(VENV)/bin/python

docs: $(READY)  ## the site, in build/site; reference pages are made from the code, dead links fail
	NO_MKDOCS_2_WARNING=1 $(VENV)/bin/python -m mkdocs build --quiet --strict
	@echo "open build/site/index.html"

dist: $(READY) $(DIST)/.installed  ## sdist, wheel, bills of materials and licences, in dist/
	rm -rf dist
	$(DIST)/bin/python -m build
	$(DIST)/bin/twine check --strict dist/*
	$(DIST)/bin/python -m scripts.sbom $(VENV) dist
	cp docs/licences.md dist

licences: $(READY) $(DIST)/.installed  ## docs/licences.md, from what the packages say
	$(DIST)/bin/python -m scripts.licences $(VENV)

smoke:  ## the wheel of `make dist`, in a clean environment of each Python that is found
	$${PYTHON:-python3} -m scripts.smoke

# EnvPool's pins are not ours: it gets an environment of its own (1 GB), or is left out.
bench: $(READY)  ## everything timed side by side, on an idle machine; ARGS=--resume goes on after a cut
	test -d .venv-envpool || $(VENV)/bin/python -m venv .venv-envpool
	.venv-envpool/bin/python -c "import envpool" 2>/dev/null \
		|| .venv-envpool/bin/pip install -q envpool==1.2.5 || true
	$(VENV)/bin/python -m benchmarks $(ARGS)

clean:
	rm -rf $(VENV) $(DIST) .venv-envpool build dist *.egg-info .pytest_cache .hypothesis .mypy_cache .ruff_cache
	find . -name __pycache__ -type d -prune -exec rm -rf {} +

$(READY): pyproject.toml constraints.txt scripts/setup.sh
	sh scripts/setup.sh $(VENV)
	touch $(READY)

$(DIST)/.installed: scripts/dist.sh | $(READY)
	PYTHON=$(VENV)/bin/python sh scripts/dist.sh $(DIST)

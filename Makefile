# Everything runs in .venv, which is made from constraints.txt on first use. Nothing needs to be activated.
VENV := .venv
BIN := $(VENV)/bin
PYTHON ?=
JOBS ?= 2

# One thread for each of JOBS processes: as fast, and the sums always come in the same order.
OMP_NUM_THREADS ?= 1
export OMP_NUM_THREADS
export PYTHONUNBUFFERED := 1
# Settings of an activated environment must not leak into ours.
unexport PYTHONPATH PYTHONHOME

.DEFAULT_GOAL := help
.PHONY: help env docs test lab data bench run readme clean

help:  ## list what can be made
	@sed -n 's/^\([a-z]*\):.*## /  make \1@/p' Makefile | awk -F@ '{printf "%-14s %s\n", $$1, $$2}'

$(VENV)/.ready: setup.py settings.ini constraints.txt tools/environment.sh
	@tools/environment.sh $(VENV) $(PYTHON)
	@touch $@

env: $(VENV)/.ready  ## make or update the environment in .venv

docs: env  ## run every chapter on the shipped data, then build the site in _docs
	@$(BIN)/python tools/run_chapters.py --jobs $(JOBS)
	@$(BIN)/python tools/build_site.py

test: env  ## run the tests in the notebooks, then those in tests/
	@echo "nbdev_test: the cells of every notebook"
	@$(BIN)/nbdev_test --n_workers $(JOBS) --do_print; cells=$$?; $(BIN)/python -m pytest -rs -n $(JOBS) --dist loadfile && exit $$cells

lab: env  ## open JupyterLab on the notebooks
	@$(BIN)/python -m jupyter lab --notebook-dir=nbs

data: env  ## simulate the shipped data again (hours)
	@$(BIN)/glassml simulate lancon-2d --out _build/data/glass_T0.30 --work _build/glass --jobs -1
	@$(BIN)/glassml simulate quick --out _build/data/quick_T0.40 --work _build/quick --jobs -1
	@cp -R _build/data/. glassml/data/

bench: env  ## run the measured comparisons in benchmarks/
	@set -e; for script in benchmarks/*.py; do echo "$$script"; $(BIN)/python "$$script"; done

run: env  ## for authors: run the notebooks in place, clean them, export the modules, write the README
	@$(BIN)/nbdev_export
	@$(BIN)/python tools/run_chapters.py --in-place --jobs $(JOBS)
	@$(BIN)/python tools/readme.py

readme: env  ## write README.md from nbs/index.ipynb
	@$(BIN)/python tools/readme.py

clean:  ## remove what was built; the environment and unfinished simulations stay
	@rm -rf _build/nbs _build/_proc _build/site _docs build dist

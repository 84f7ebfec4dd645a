# Everything happens in .venv; `make demo` and `make test` set it up by themselves. `make help` lists the rest.
#
#   PYTHON  which Python to make .venv with, 3.10 to 3.12; the first one found if not given
#   TORCH   what pip is asked for as torch: another version, or a wheel built for your GPU's driver
#
# Both count only while .venv is made: `make clean` first to change them.

TORCH ?= torch==2.13.0
PYTHON ?= $(shell for p in python3.11 python3.12 python3.10 python3; do \
	$$p -c $(IS_SUPPORTED) 2>/dev/null && echo $$p && break; done)

# Of `make fuzz` and `make attack`, at each call; another seed makes other files.
SECONDS ?= 600
SEED ?= 0
SHARE ?= 1

SHELL := bash
.SHELLFLAGS := -eu -o pipefail -c

IS_SUPPORTED := 'import sys, venv, ensurepip; sys.exit(not (3, 10) <= sys.version_info[:2] <= (3, 12))'
SAY_VERSION := 'import platform; print("Python " + platform.python_version())'
FAIRSEQ = $(shell sed -n 's/^FORK = "\(.*\)"/\1/p' vqw2v_plugin/stack.py)
# kenlm has no wheel and is compiled, a minute's work.
# In this order: torch before fairseq, whose build imports it and would otherwise be given a second one.
BUILD_TOOLS := numpy cython setuptools wheel
EXTRAS := dev,demo,report,decode
PY := .venv/bin/python
SIDE_BY_SIDE := -n auto --dist loadfile  # a process a core; a file's tests stay together
PIP := $(PY) -m pip install --no-input --disable-pip-version-check --no-build-isolation
LOG := .venv/setup.log

.PHONY: help setup demo test lint bench fuzz attack bugs clean named-python
.DEFAULT_GOAL := help

help: ## list the targets
	@sed -n 's/^\([a-z]*\):.*## /  make \1\t/p' Makefile | expand -t 14

setup: named-python .venv/.ready ## make .venv with all that the other targets need (2 to 6 minutes; no time if done)
	@echo "setup: .venv is ready; '. .venv/bin/activate' makes vqw2v and fairseq's programs known to a shell"

demo: setup ## run the whole pipeline on a small synthesized corpus, in runs/toy
	$(PY) examples/toy/recipe.py runs/toy

test: setup ## run the fast tests, then the slow ones
	$(PY) -m pytest -q $(SIDE_BY_SIDE)
	$(PY) -m pytest -q $(SIDE_BY_SIDE) -m slow

lint: setup ## check style and types
	$(PY) -m ruff check
	$(PY) -m ruff format --check
	$(PY) -m mypy

bench: setup ## compare speed and memory with stock fairseq, side by side
	$(PY) benchmarks/pretrain.py

fuzz: setup ## read damaged and malicious files for SECONDS=600; what is found goes to runs/fuzz
	OMP_NUM_THREADS=1 $(PY) tests/fuzz/campaign.py --seconds $(SECONDS) --seed $(SEED)

attack: setup ## give malicious and damaged files of all kinds to all commands; of the tries SHARE=1
	OMP_NUM_THREADS=1 $(PY) tests/attacks/attack.py --share $(SHARE) --seed $(SEED)

bugs: setup ## put thirteen hundred bugs into a copy, one at a time: which do the fast tests let live? (half a day)
	$(PY) tests/bugs/try_bugs.py

clean: ## remove .venv and all that tools left behind; runs/ stays
	rm -rf .venv build dist *.egg-info .mypy_cache .pytest_cache .ruff_cache .hypothesis
	find . -name __pycache__ -type d -prune -exec rm -rf {} +

# A PYTHON that the user named is looked at even when .venv exists, so that a wish is never silently ignored.
named-python:
ifneq ($(origin PYTHON),file)
	@$(FIND_PYTHON); [ ! -e .venv/.python ] || [ "$$($$python -V)" = "$$($(PY) -V)" ] || { \
		echo "setup: .venv has $$($(PY) -V) and PYTHON is $$($$python -V): 'make clean' first" >&2; exit 2; }
endif

define FIND_PYTHON
python="$(PYTHON)"; [ -n "$$python" ] && $$python -c $(IS_SUPPORTED) 2>/dev/null || { \
	version=$$($$python -c $(SAY_VERSION) 2>/dev/null || echo missing); \
	echo "setup: vqw2v_plugin needs Python 3.10 to 3.12 with its venv module," \
	"but $${python:-each of them} is $$version:" \
	"name one of those, for example 'make setup PYTHON=python3.11'" >&2; exit 2; }
endef

# Each step marks its end, so that a killed setup goes on where it stopped. A pip that outlived its make holds
# the lock on this file, and a package that pip was killed over has no RECORD yet: pip must not believe in it.
define LOCK
{ command -v flock >/dev/null && exec 9<Makefile && flock 9; } || true
endef

define INSTALL
@$(LOCK); echo "setup: $(1)"; begun=$$SECONDS; \
find .venv/lib -name '*.dist-info' -type d ! -exec test -e '{}/RECORD' ';' -prune -exec rm -rf '{}' +; \
$(3) $(PIP) $(2) >>$(LOG) 2>&1 || { status=$$?; tail -n 30 $(LOG) >&2; \
	echo "setup: pip failed; all it said is in $(LOG)" >&2; exit $$status; }; \
touch $@; echo "setup: … done in $$((SECONDS - begun)) s"
endef

.venv/.python:
	@$(FIND_PYTHON); $(LOCK); [ -e $@ ] || { \
		echo "setup: making .venv with $$($$python -V)"; $$python -m venv --clear .venv && touch $@; }

.venv/.torch: | .venv/.python
	$(call INSTALL,installing $(TORCH) (half a minute or several: it may be a large download),$(TORCH))

.venv/.build-tools: | .venv/.torch
	$(call INSTALL,installing what fairseq is built with (half a minute),$(BUILD_TOOLS))

# fairseq has wheels for some Pythons only. Most of its build is torch's headers, three times over, for parts that
# speech does not use: half the time without optimizing them for long. The parts that we use ask for -O3 themselves.
.venv/.fairseq: | .venv/.build-tools
	$(call INSTALL,building fairseq (1 to 3 minutes; seconds where it has a wheel),$(FAIRSEQ),CFLAGS="-g0 -O1 $${CFLAGS:-}")

.venv/.ready: setup.py vqw2v_plugin/stack.py | .venv/.fairseq
	$(call INSTALL,installing the plugin and its tools (a minute),-e '.[$(EXTRAS)]')
	@$(PY) -m vqw2v_plugin.stack || { rm -f $@; exit 2; }

# make demo: a film from a prompt. make test, make check, make bench: see each rule's comment.
PYTHON ?= python3
JOBS ?= auto
BIN := .venv/bin
OUT ?= demo.mp4
PROMPT ?= a red ball bounces on the grass at sunset
export PIP_DISABLE_PIP_VERSION_CHECK := 1

.PHONY: demo test check bench services clean

# A fresh machine needs Python 3.11 or newer and make; this makes the environment, installs, and generates a film.
demo: .venv/.runtime
	$(BIN)/videosyn generate "$(PROMPT)" -o "$(OUT)"
	@echo "The film is at $(abspath $(OUT))"

# As many processes as cores, a file of tests after the other in each. JOBS=0: all in one, in order.
test: .venv/.dev
	$(BIN)/python -m pytest -n $(JOBS) --maxprocesses 8 --dist loadfile

# A broker and a database on 127.0.0.1, and a browser: with them `make test` leaves nothing out. Debian: installs them.
services:
	tests/services

check: .venv/.dev
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/pyright
	$(BIN)/lint-imports
	$(BIN)/python -m pytest -n $(JOBS) --maxprocesses 8 --dist loadfile

# Each benchmark prints its figures; none of them fails the build. FOOTAGE: a folder of real videos with a footage.json.
# Two cores may need hours: paper_size_vae alone takes four models of that size through three rounds, twice.
bench: .venv/.dev
	@for file in sampling_overhead startup serve_startup "vae_speed --model nano" world_speed cost_model evaluation_memory \
	  "curation_speed --minutes 60" "curation_cuts $(if $(FOOTAGE),--footage $(FOOTAGE))" "curation_text $(FOOTAGE)" \
	  curation_table curation_kills "serve_load --seconds 60" "paper_size_vae --rounds 3 --long 257" \
	  "paper_size_vae --size 256 --rounds 3" compile_gain "paper_size_vdit --depth 4" \
	  "sampling_quality --prompts 6 --batch 2 --unjudged" predicted_memory captioner \
	  "training_rate --model tiny --buckets 17x64x64 --largest 16" "paper_size_film --model tiny --size 64x96 --frames 9 --steps 2"; do \
	  set -- $$file; echo "== benchmarks/$$*"; name=$$1; shift; \
	  $(BIN)/python "benchmarks/$$name.py" "$$@" || exit 1; done

.venv/bin/python:
	@$(PYTHON) -c 'import sys; sys.exit(sys.version_info < (3, 11))' \
	  || { echo "videosyn needs Python 3.11 or newer: make PYTHON=python3.11 ..." >&2; exit 2; }
	@echo "$(PYTHON) -m venv .venv"; $(PYTHON) -m venv .venv || { rm -rf .venv; \
	  echo "no environment was made: where venv is a package of its own, install it (Debian, Ubuntu: apt-get install" \
	  "python3-venv) and call make again" >&2; exit 2; }

.venv/.runtime: requirements/runtime.lock pyproject.toml | .venv/bin/python
	$(BIN)/python -m pip install -q -r requirements/runtime.lock
	$(BIN)/python -m pip install -q --no-deps -e .
	@touch $@

.venv/.dev: requirements/dev.lock requirements/curate.lock requirements/train.lock requirements/serve.lock .venv/.runtime
	$(BIN)/python -m pip install -q -r requirements/dev.lock
	@touch $@

clean:
	rm -rf .venv build dist src/*.egg-info

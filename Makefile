# Each target sets up what it needs on a fresh clone, then runs. A second call is quick: the stamps say what is there.
#   make demo      a textured human in out/demo
#   make test      the tests (with what they need of Blender and of the glTF validator)
#   make addon     the Blender extension in dist/, validated by Blender's own tool, and a repository to host it
#   make window    the tests in a real Blender window on a virtual screen (apt packages; as root on Debian or Ubuntu)
#   make bench     speed and memory of each stage
#   make bench-blender   what an artist waits for, in Blender's module beside a real server
# Another Python, or another build of torch (a CUDA card, Kaolin): make demo PYTHON=/path/python3.11 TORCH="torch==2.12.1"

PYTHON ?= python3.11
# One pinned, tested version. pyproject.toml accepts the whole range that the code supports.
TORCH ?= torch==2.13.0
VENV := .venv
BIN := $(VENV)/bin

PROMPT := a woman with short black hair in a red striped shirt, blue jeans and white sneakers

.PHONY: demo test addon window bench bench-blender setup setup-dev clean

demo: setup
	HF_HUB_OFFLINE=1 $(BIN)/vitruvian generate "$(PROMPT)" --out out/demo

test: setup-dev
	HF_HUB_OFFLINE=1 $(BIN)/python -m pytest $(PYTEST_ARGS)

addon:
	@PYTHON="$(PYTHON)" scripts/setup_blender_env.sh 4.5
	$(PYTHON) build_addon.py --check --repository

window: setup-dev
	@scripts/setup_blender_window.sh
	HF_HUB_OFFLINE=1 $(BIN)/python -m pytest -m window tests/window $(PYTEST_ARGS)

bench: setup
	HF_HUB_OFFLINE=1 $(BIN)/vitruvian bench

bench-blender: setup addon
	HF_HUB_OFFLINE=1 $(BIN)/vitruvian bench blender

setup: $(VENV)/.run-ready

setup-dev: $(VENV)/.dev-ready node_modules/.ready
	@PYTHON="$(PYTHON)" scripts/setup_blender_env.sh 4.5
	@scripts/setup_blender_env.sh 5.2

$(VENV)/.run-ready: pyproject.toml scripts/setup_venv.sh
	PYTHON="$(PYTHON)" TORCH="$(TORCH)" scripts/setup_venv.sh $(VENV)
	touch $@

$(VENV)/.dev-ready: $(VENV)/.run-ready
	$(BIN)/python -m pip install --quiet --editable ".[dev]"
	touch $@

node_modules/.ready: scripts/setup_gltf_validator.sh
	scripts/setup_gltf_validator.sh
	touch $@

clean:
	rm -rf $(VENV) .venv-blender .venv-blender-5.2 node_modules dist

# Every target but help and clean sets up as much of .venv as it needs; tools/bootstrap.py says how,
# and does nothing the second time.

# $(call python,ARGUMENTS) runs the environment's Python. The loop finds any Python 3 that really
# runs, to start the bootstrap.
python = @for python in "$$PYTHON" python3 python python3.13 python3.12 python3.11; do \
	if "$$python" -c "import sys; sys.exit(sys.version_info < (3, 6))" >/dev/null 2>&1; \
	then exec "$$python" tools/bootstrap.py $(1); fi; done; \
	echo "No Python 3 runs here: install Python 3.12 (with venv) and try again." >&2; exit 1

.PHONY: help install lab demo test test-browser docs docs-serve bench notebook readme lock \
	address clean

help: ## this list
	@grep -E '^[a-z-]+:.*##' Makefile | sed -E 's/:.*##/  /' \
		| awk '{ printf "  make %-13s", $$1; $$1 = ""; print }'

install: ## set up .venv with everything, at the tested versions
	$(call python)

lab: ## open the notebooks in JupyterLab
	$(call python,--for lab -m jupyterlab nbs/index.ipynb --ServerApp.root_dir=. \
		--LabApp.news_url=None \
		--LabApp.check_for_updates_class=jupyterlab.NeverCheckForUpdate)

demo: ## cut people out of the sample photos; prints IoU per photo and where the pictures are
	$(call python,--for demo examples/demo.py)

test: ## all tests but the slow ones, each notebook among them; choose some with PYTEST_ADDOPTS
	$(call python,-m pytest -n 2 --dist loadgroup)

test-browser: docs ## build the site, and test it in Chromium
	$(call python,-m pytest -m browser tests/house/test_browser.py tests/house/test_figures.py \
		tests/tool/test_video.py)

docs: ## build the site into docs/_build/html; with npm, the page that removes backgrounds too
	$(call python,docs/fetch.py)
	$(call python,docs/build.py)

docs-serve: ## serve the built site on http://localhost:8000
	$(call python,docs/serve.py)

COCO ?= nbs/samples/mini_coco
bench: ## measure quality, speed and growth on the samples, or on COCO=folder, and print one table
	$(call python,benchmarks/evaluate.py "$(COCO)")
	$(call python,benchmarks/preparation.py "$(COCO)")
	$(call python,benchmarks/batches.py "$(COCO)")
	$(call python,benchmarks/growth.py "$(COCO)")
	$(call python,benchmarks/first_step.py)
	$(call python,benchmarks/train_step.py)
	$(call python,benchmarks/together.py)
	$(call python,benchmarks/removal.py)
	$(call python,benchmarks/claims.py)

notebook: ## run one notebook, store its outputs, clean and export it: NAME=04_data_prep
	$(call python,tools/notebook.py "$(NAME)")

readme: ## render README.md from nbs/index.ipynb
	$(call python,tools/readme.py)

lock: ## find new exact versions for constraints.txt
	$(call python,tools/lock.py)

address: ## write the address of settings.ini into the notebooks: Colab badges, a cell for Colab
	$(call python,tools/address.py)

clean: ## remove what can be made again, all but .venv
	rm -rf build dist *.egg-info _proc docs/_build nbs/_work demo .pytest_cache .hypothesis
	find . -path ./.venv -prune -o -name __pycache__ -prune -exec rm -rf {} +

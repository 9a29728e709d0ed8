# The two commands that matter: `make demo` and `make test`. Everything else is in
# CMakePresets.json, which editors and continuous integration read too.
.DEFAULT_GOAL := help
.PHONY: help setup build test demo bench accuracy clean

help: ## say what can be made
	@awk -F ':.*## ' '/^[a-z]+:.*## / { printf "  make %-8s %s\n", $$1, $$2 }' $(MAKEFILE_LIST)

setup: ## install what the build and the tests need (apt, Debian and Ubuntu)
	@scripts/setup.sh test

build: ## build the program: build/kumihimo
	@scripts/build.sh

test: ## build everything and run every test
	@scripts/test.sh

demo: ## plan a 13B model on 64 GPUs and explain the best layout
	@scripts/demo.sh

bench: ## layouts and simulated actions per second on this machine
	@scripts/bench.sh

accuracy: build ## write docs/accuracy.md anew from published runs (KUMIHIMO_RUNS names their folder)
	@scripts/make_accuracy.py

clean: ## remove the build folders
	rm -rf build build-asan build-debug build-tsan

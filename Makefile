# Every command of this project. `make help` lists them; each is a small script in scripts/ with its own --help.
SHELL := /bin/bash
.DEFAULT_GOAL := help
.PHONY: help setup demo test lint audit fmt bench fuzz images clean uninstall

help: ## list the commands
	@awk -F ':.*## ' '/^[a-z]+:.*## /{printf "  make %-10s %s\n", $$1, $$2}' $(MAKEFILE_LIST)

setup: ## install what is missing, after asking (YES=1 agrees)
	@scripts/setup run demo test lint

demo: ## rent this machine to yourself, render on it, be paid
	@scripts/demo

test: ## every test, the ones with real outside parts too
	@scripts/test

lint: ## formatting, clippy, licences and sources, crate edges, scripts
	@scripts/lint

audit: ## known vulnerabilities of the dependencies (needs the network)
	@scripts/audit

fmt: ## format the code
	@cargo fmt --all

bench: ## measure the promised figures (NAME=… for one)
	@scripts/bench $(NAME)

fuzz: ## fuzz what reads input from outside (NAME=… for one, SECONDS=… each, 30)
	@FUZZ_SECONDS=$(or $(SECONDS),30) scripts/fuzz $(NAME)

images: ## build the image library and push it to the local registry
	@scripts/images build

clean: ## remove what the build made
	@cargo clean
	@rm -rf target

uninstall: ## remove what running made: containers, images, mounts, rules, state
	@scripts/uninstall

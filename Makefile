SHELL := /bin/bash
BIN := .lab/venv/bin
COLLECTION := .lab/collections/ansible_collections/cloudexit/ha_stack
.DEFAULT_GOAL := help

.PHONY: help
help: ## This list
	@awk -F':.*## ' '/^[a-z-]+:.*## /{printf "  make %-8s %s\n", $$1, $$2}' $(MAKEFILE_LIST)

.PHONY: site
site: venv ## The whole site on this machine, then the shop's address
	$(BIN)/python molecule/lab site

.PHONY: drill
drill: venv ## Cut the power of one node after the other of the running site, while customers order
	$(BIN)/python molecule/site/drill.py --rerun each

.PHONY: test
test: venv ## Every check and test (STEPS="lint unit redis_sentinel" for some of them)
	$(BIN)/python tests/run.py $(STEPS)

.PHONY: clean
clean: venv ## Remove everything that the lab made on this machine
	$(BIN)/python molecule/lab clean
	rm -rf .lab/secrets.json .lab/ssh

.PHONY: venv
venv: .lab/venv/.done $(COLLECTION) ## The virtualenv with the pinned tools (.lab/venv)

.lab/venv/.done: requirements.txt
	python3 -m venv .lab/venv
	$(BIN)/pip install --quiet --disable-pip-version-check -r requirements.txt
	touch $@

$(COLLECTION):
	mkdir -p $(dir $@)
	ln -sfn $(CURDIR) $@

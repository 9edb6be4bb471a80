SHELL := /bin/bash
BIN := .lab/venv/bin
COLLECTION := .lab/collections/ansible_collections/cloudexit/ha_stack
.DEFAULT_GOAL := help

.PHONY: help
help: ## This list
	@awk -F':.*## ' '/^[a-z-]+:.*## /{printf "  make %-9s %s\n", $$1, $$2}' $(MAKEFILE_LIST)

.PHONY: site
site: venv ## The whole site on this machine, then the shop's address
	$(BIN)/python molecule/lab site

.PHONY: drill
drill: venv ## Faults on every tier of the running site, under real clients; the report is .lab/reports/drill/report.html
	$(BIN)/ansible-playbook playbooks/drill.yml -i inventories/lab

.PHONY: times
times: venv ## Where the time of a run goes that has nothing to do on the running site, by role and task
	$(BIN)/python molecule/site/times.py

.PHONY: interrupt
interrupt: venv ## Kill the controller twenty times in the middle of site.yml on the running site, then run it to the end
	$(BIN)/python molecule/site/interrupt.py --parts

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

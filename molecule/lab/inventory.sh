#!/bin/sh
# The inventory of a lab, for ansible: of the molecule scenario that runs, else of the site.
root=$(dirname "$(readlink -f "$0")")/../..
exec "$root/.lab/venv/bin/python" "$root/molecule/lab" inventory "${LAB_NAME:-${MOLECULE_SCENARIO_NAME:-site}}"

#!/bin/sh
# How many times longer than on hosts of their own the nodes of a lab may take: outcome.slowness, for an inventory.
root=$(dirname "$(readlink -f "$0")")/../..
exec "$root/.lab/venv/bin/python" -c 'import sys; sys.path.insert(0, sys.argv[1]); from lab import outcome; print(round(outcome.slowness(), 1))' \
  "$root/molecule"

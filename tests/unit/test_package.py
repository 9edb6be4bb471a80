# Copyright (c) the cloudexit maintainers
# GNU General Public License v3.0-or-later (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
"""The collection as a user gets it: built, installed elsewhere, its playbooks called by name."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest
import yaml

ROOT = Path(__file__).resolve().parents[2]
BIN = Path(sys.executable).parent
# Refused by their inputs alone, so that no host is needed: nothing listens on these addresses.
INVENTORY = {
    "all": {
        "vars": {
            "ansible_connection": "local",
            "ansible_become": False,
            "gunicorn_supervisor_app_name": "shop",
            "gunicorn_supervisor_app_wsgi": "shop.wsgi:application",
            "gunicorn_supervisor_app_source": "/no/such/app",
            "redis_sentinel_password": "one",
        },
        "children": {
            "redis": {"hosts": {f"redis{n}": {"ansible_host": f"192.0.2.{n}"} for n in (1, 2)}},
            "sentinel": {"hosts": {"redis1": {}, "redis2": {}}},
            "memcached": {"hosts": {"cache1": {"ansible_host": "192.0.2.3", "memcached_pool_processes": 0}}},
            "web": {"hosts": {"web1": {"ansible_host": "192.0.2.4"}}},
        },
    }
}


@pytest.fixture(scope="module")
def installed(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The folder that a user would name in ANSIBLE_COLLECTIONS_PATH."""
    folder = tmp_path_factory.mktemp("package")
    galaxy = [str(BIN / "ansible-galaxy"), "collection"]
    subprocess.run([*galaxy, "build", "--output-path", str(folder)], cwd=ROOT, check=True, capture_output=True)
    (archive,) = folder.glob("cloudexit-ha_stack-*.tar.gz")
    install = ["install", "--offline", "--no-deps", "--collections-path", str(folder), str(archive)]
    subprocess.run([*galaxy, *install], cwd=folder, check=True, capture_output=True)
    return folder


def test_nothing_of_the_working_copy_is_in_it(installed: Path) -> None:
    collection = installed / "ansible_collections" / "cloudexit" / "ha_stack"
    assert {"roles", "plugins", "playbooks", "README.md", "LICENSE"} <= {path.name for path in collection.iterdir()}
    tracked = subprocess.run(
        ["git", "ls-files", "-z", "-co", "--exclude-standard"], cwd=ROOT, capture_output=True, check=True, text=True
    )
    known = {name.split("/")[0] for name in tracked.stdout.split("\0")} | {"MANIFEST.json", "FILES.json"}
    assert {path.name for path in collection.iterdir()} - known == set()


@pytest.mark.parametrize(
    ("playbook", "task", "heading"),
    [
        ("site", "Say all that is wrong", "Nothing was changed on any host. Wrong in the inventory:"),
        ("preflight", "Say all that was refused", "Nothing was changed on any host. Refused:"),
    ],
)
def test_it_refuses_on_all_tiers_at_once_by_name(installed: Path, playbook: str, task: str, heading: str) -> None:
    inventory = installed / "hosts.yml"
    inventory.write_text(yaml.safe_dump(INVENTORY), encoding="utf-8")
    run = subprocess.run(
        [str(BIN / "ansible-playbook"), "-i", str(inventory), f"cloudexit.ha_stack.{playbook}"],
        cwd=installed,
        env={**os.environ, "ANSIBLE_COLLECTIONS_PATH": str(installed), "ANSIBLE_NOCOLOR": "1"},
        check=False,
        capture_output=True,
        text=True,
    )
    assert run.returncode != 0
    said = " ".join(run.stdout[run.stdout.index(task) :].split()).replace("\\'", "'")
    for text in (
        heading,
        "redis_sentinel: 2 Sentinels; an odd number from 3 on is needed",
        "redis_sentinel_sentinel_password is not set",
        "memcached_pool: memcached_pool_processes is 0; at least 1",
        "gunicorn_supervisor: gunicorn_supervisor_app_source '/no/such/app' does not exist on the controller",
    ):
        assert text in said
    assert "changed=0" in said
    assert not any(f"changed={number}" in said for number in range(1, 10))

# Copyright (c) the cloudexit maintainers
# GNU General Public License v3.0-or-later (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
"""The whole site under test: built from nothing, run again, seen in a browser, drilled.

run.py [STEP …]     all steps (with LAB_SHORT all but those of LONG_ONLY), or those named; a table of times goes to
                    .lab/reports/site-test.md
"""

from __future__ import annotations

import json
import os
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path

ROOT = Path(__file__).resolve().parents[2]
sys.path.insert(0, str(ROOT / "molecule"))

from lab import daemon, site  # noqa: E402
from lab.definitions import LabError, load  # noqa: E402

REPORTS = ROOT / ".lab" / "reports"
# In a whole run, which has drilled each tier in its scenario; `make drill` holds all.
SHORT = ("firewall", "mysql")
# What a whole run leaves out: the second run says that nothing is to be done, and dry runs are seen on empty nodes.
LONG_ONLY = ("check on the finished site",)
BROWSER = {"chromium": "chromium", "chromedriver": "chromium-driver"}


def command(*arguments: str) -> None:
    code = subprocess.call([sys.executable, *arguments], cwd=ROOT)
    if code != 0:
        raise LabError(f"{' '.join(arguments)}: exit status {code}")


def nothing_changed(*arguments: str) -> None:
    number = site.changed(site.playbook(load("site"), "site", *arguments))
    if number:
        raise LabError(f"site.yml {' '.join(arguments)} on the finished site reports {number} changed tasks; must be 0")


def wrong_inputs() -> None:
    """What is wrong on any tier is said in one run, before anything is changed: site.yml begins with preflight.yml."""
    wrong = {
        "pcs_cluster_fence_devices": [],
        "drbd_pcs_mysql_vip": "192.0.2.1",
        "redis_sentinel_password": "",
        "redis_sentinel_sentinel_members": ["redis1", "redis2"],
        "rabbitmq_mirror_members": ["mq1", "mq2"],
        "mongo_replset_arbiter_members": [],
        "gunicorn_supervisor_members": ["web1", "web2", "web1"],
        "gunicorn_supervisor_app_source": "/no/such/app",
        "haproxy_lb_vip": "192.0.2.2",
        "nginx_cdn_rules": [{"path": "/", "origin": "nobody"}],
    }
    try:
        site.playbook(load("site"), "preflight", "--extra-vars", json.dumps(wrong))
    except LabError:
        pass
    else:
        raise LabError("preflight.yml took wrong inputs")
    output = (REPORTS / "site-preflight.log").read_text(encoding="utf-8")
    said = output[output.index("Say all that was refused") :]
    for text in (
        "fencing is enabled and no device is defined",
        "the VIP 192.0.2.1 is outside the members' subnet",
        "redis_sentinel_password is not set",
        "2 Sentinels; an odd number from 3 on is needed",
        "2 members; an odd number from 3 on is needed",
        "these are 2 voters, and an odd number is needed",
        "web1 is named more than once in gunicorn_supervisor_members",
        "'/no/such/app' does not exist on the controller",
        "192.0.2.2",
        "zentyal_nat_forwards[shop]: 192.0.2.2 is in the zone public",
        "names the origin nobody, which is not in nginx_cdn_origins",
    ):
        if text not in said:
            raise LabError(f"preflight.yml did not say: {text}")
    if site.changed(output):
        raise LabError("preflight.yml changed something although inputs were wrong")


def browser() -> None:
    daemon.install_packages(print, BROWSER)
    command("-m", "pytest", "molecule/site/tests")


STEPS: dict[str, Callable[[], object]] = {
    "no leftovers": lambda: command("molecule/lab", "down", "site"),
    "empty nodes": lambda: command("molecule/lab", "up", "site"),
    "wrong inputs": wrong_inputs,
    "check on empty nodes": lambda: site.playbook(load("site"), "site", "--check", "--diff"),
    "make site": lambda: command("molecule/lab", "site"),
    "second run": nothing_changed,
    "check on the finished site": lambda: nothing_changed("--check", "--diff"),
    "walls": lambda: site.playbook(load("site"), "walls", folder="molecule/site"),
    "browser": browser,
    "drills": lambda: command("molecule/site/drill.py", *(SHORT if "LAB_SHORT" in os.environ else ())),
}


def main() -> int:
    short = "LAB_SHORT" in os.environ
    chosen = sys.argv[1:] or [name for name in STEPS if not (short and name in LONG_ONLY)]
    rows = ["| step | seconds |", "|---|---|"]
    REPORTS.mkdir(parents=True, exist_ok=True)
    try:
        for name in chosen:
            print(f"\n==> site: {name}", flush=True)
            begin = time.monotonic()
            STEPS[name]()
            rows.append(f"| {name} | {time.monotonic() - begin:.0f} |")
            print(f"==> site: {name}: {time.monotonic() - begin:.0f} s", flush=True)
    except LabError as error:
        print(f"\nsite: {name} failed: {error}", flush=True)
        return 1
    finally:
        (REPORTS / "site-test.md").write_text("\n".join(rows) + "\n", encoding="utf-8")
    print("\n".join(rows))
    return 0


if __name__ == "__main__":
    sys.exit(main())

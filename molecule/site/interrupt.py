# Copyright (c) the cloudexit maintainers
# GNU General Public License v3.0-or-later (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
"""The controller dies again and again in the middle of site.yml, while clients write; then one run goes to the end.

    interrupt.py [LAB] [--times 20] [--seed N] [--within SECONDS] [--empty] [--parts]

Each run has something to do on every tier (CHANGES, other values each time, Redis restarted through its Sentinels), and
is killed with all that it started at a moment drawn at random (SIGKILL; what it began on the nodes goes on there). Then
the inventory's own settings again: that run must succeed, verify.yml too, and another run must change nothing. Nothing
that a client was told to be written may be lost, or be there twice.

    --within  moments are drawn up to this many seconds after a run's begin; by default as long as a whole run takes
    --empty   the lab is made anew: the site is born under the kills, its first run is one of those that are killed
    --parts   afterwards runs with --limit to one host of each tier and --tags of one tier, each with something to do

A table in .lab/reports/interrupt-LAB.md. Exit status 1: it is not so; 2: it could not be tried.
"""

from __future__ import annotations

import argparse
import contextlib
import json
import os
import random
import signal
import subprocess
import sys
import uuid
from pathlib import Path
from typing import Any

from redis.backoff import NoBackoff
from redis.exceptions import RedisError
from redis.retry import Retry
from redis.sentinel import Sentinel

ROOT = Path(__file__).resolve().parents[2]
sys.path.insert(0, str(ROOT / "molecule"))

from lab import inventory, outcome, state  # noqa: E402
from lab.definitions import Lab, LabError, load  # noqa: E402
from lab.records import Writer  # noqa: E402

LAB = [sys.executable, str(ROOT / "molecule" / "lab")]
# By group: a tag, and settings that are given one value in one run and the other in the next.
CHANGES: dict[str, tuple[str, dict[str, tuple[Any, Any]]]] = {
    "mysql": ("drbd_pcs_mysql", {"drbd_pcs_mysql_max_connections": (150, 160)}),
    "redis": (
        "redis_sentinel",
        {"redis_sentinel_memory": (96, 80), "redis_sentinel_restart_all": (True, True)},
    ),
    "memcached": ("memcached_pool", {"memcached_pool_connections": (2048, 3072)}),
    "rabbitmq": ("rabbitmq_mirror", {"rabbitmq_mirror_open_files": (60000, 65000)}),
    "web": ("gunicorn_supervisor", {"gunicorn_supervisor_threads": (2, 3)}),
    "cdn": ("nginx_cdn", {"nginx_cdn_lock_timeout": ("50s", "55s")}),
    "lb": ("haproxy_lb", {"haproxy_lb_hard_stop_after": ("8m", "9m")}),
}
PATIENCE = {"socket_timeout": 1.0, "socket_connect_timeout": 1.0, "retry": Retry(NoBackoff(), 0)}
LIMIT = 1800.0  # seconds that a run may take


def family(pid: int) -> list[int]:
    """A process and all that descend from it. Ansible's workers have sessions of their own: no group holds them."""
    children: dict[int, list[int]] = {}
    for file in Path("/proc").glob("[0-9]*/stat"):
        with contextlib.suppress(OSError):
            fields = file.read_text(encoding="utf-8").rpartition(")")[2].split()
            children.setdefault(int(fields[1]), []).append(int(file.parent.name))
    found = [pid]
    for parent in found:
        found += children.get(parent, [])
    return found


def kill(process: subprocess.Popen[bytes]) -> None:
    """End it with all its descendants, none of which may do a last thing."""
    os.kill(process.pid, signal.SIGSTOP)  # it begins nothing more
    for pid in family(process.pid):
        with contextlib.suppress(ProcessLookupError):
            os.kill(pid, signal.SIGKILL)
    process.wait()


class Site:
    """A lab under runs of site.yml."""

    def __init__(self, lab: Lab, sources: list[str], log: Path) -> None:
        self.lab, self.sources, self.log = lab, sources, log
        self.groups = {group for node in lab.nodes for group in node.groups}

    def changes(self, turn: int, tag: str = "") -> list[str]:
        """Arguments that give a run something to do, on all tiers or on that of a tag."""
        wanted = {
            name: values[turn % 2]
            for group, (own, settings) in CHANGES.items()
            if group in self.groups and tag in ("", own)
            for name, values in settings.items()
        }
        return ["-e", json.dumps(wanted)]

    def killed(self, arguments: list[str], after: float) -> bool:
        """Begin a run and kill it after so many seconds; whether it was still running."""
        environment = {**os.environ, "LAB_NAME": self.lab.name, "ANSIBLE_NOCOLOR": "1"}
        with self.log.open("ab") as out:
            process = subprocess.Popen(
                [str(outcome.BIN / "ansible-playbook"), "playbooks/site.yml", *self.sources, *arguments],
                cwd=ROOT,
                env=environment,
                stdin=subprocess.DEVNULL,
                stdout=out,
                stderr=out,
                start_new_session=True,
            )
            try:
                process.wait(after)
            except subprocess.TimeoutExpired:
                kill(process)
                return True
        return False

    def whole(self, playbook: str, *arguments: str) -> outcome.Play:
        """A run to its end; LabError with its last words if it fails."""
        log = self.log.with_suffix(".last.log")
        done = outcome.play(self.lab, f"playbooks/{playbook}.yml", [*self.sources, *arguments], log)
        if not done.good:
            words = log.read_text(encoding="utf-8")[-2500:]
            raise LabError(f"{playbook}.yml {' '.join(arguments)} fails after the interruptions: {words}")
        return done


class RedisClient:
    """Pushes numbers onto a list of the master that the Sentinels name."""

    def __init__(self, lab: Lab) -> None:
        secrets = state.lab_secrets(lab)
        user = "shop" if "redis_shop" in secrets else "app"
        at = [(node.address, 26379) for node in lab.nodes if "sentinel" in node.groups]
        sentinels = Sentinel(at, sentinel_kwargs={"password": secrets["sentinel"], **PATIENCE})
        self.master = sentinels.master_for("main", username=user, password=secrets[f"redis_{user}"], **PATIENCE)
        self.key = f"interrupt:{uuid.uuid4().hex[:8]}"
        self.writer = Writer(lambda number: bool(self.master.rpush(self.key, number)), (RedisError,), pause=0.02)

    def judged(self) -> dict[str, Any]:
        self.writer.stop()
        if not self.writer.acknowledged:
            raise LabError(f"Redis acknowledged nothing: {dict(self.writer.errors)}")
        report = self.writer.report(int(item) for item in self.master.lrange(self.key, 0, -1))
        self.master.unlink(self.key)
        return report


def parts(site: Site) -> list[tuple[str, int, float]]:
    """Runs of a part of the site, each with something to do, then the whole: what was run, changed, seconds."""
    done: list[tuple[str, int, float]] = []
    for turn, (group, (tag, _settings)) in enumerate(CHANGES.items()):
        if group not in site.groups:
            continue
        host = next(node.name for node in site.lab.nodes if group in node.groups)
        for arguments in (["--limit", host], ["--tags", tag]):
            run = site.whole("site", *arguments, *site.changes(turn + len(done), tag))
            done.append((" ".join(arguments), len(run.changed), run.seconds))
    return done


def main() -> int:
    parser = argparse.ArgumentParser()
    parser.add_argument("lab", nargs="?", default="site")
    parser.add_argument("--times", type=int, default=20)
    parser.add_argument("--seed", type=int, default=random.randrange(10**6))
    parser.add_argument("--within", type=float, default=0)
    parser.add_argument("--empty", action="store_true")
    parser.add_argument("--parts", action="store_true")
    given = parser.parse_args()
    lab = load(given.lab)
    if not any("redis" in node.groups for node in lab.nodes):
        raise LabError(f"the lab {lab.name} has no Redis, which is what the client writes to")
    if given.empty:
        given.within = given.within or 300.0
        for action in ("down", "up"):
            subprocess.run([*LAB, action, lab.name], check=True, capture_output=True)
    outcome.REPORTS.mkdir(parents=True, exist_ok=True)
    log = outcome.REPORTS / f"interrupt-{lab.name}.log"
    log.write_text("", encoding="utf-8")
    draw = random.Random(given.seed)
    results: dict[str, Any] = {"seed": given.seed, "killed_after_s": []}
    with inventory.sources(lab) as sources:
        site = Site(lab, sources, log)
        client = RedisClient(lab)
        client.writer.start()
        # How long a run takes that does all there is to do
        length = given.within or site.whole("site", *site.changes(0)).seconds
        for turn in range(10 * given.times):
            if len(results["killed_after_s"]) == given.times:
                break
            after = draw.uniform(1, length)
            if site.killed(site.changes(turn + 1), after):
                results["killed_after_s"].append(round(after, 1))
                print(f"killed after {after:.1f} s", flush=True)
            else:
                length = min(length, after)
        last = site.whole("site")
        site.whole("verify")
        results["part"] = parts(site) if given.parts else []
        if given.parts:
            site.whole("site")
        again = site.whole("site")
        results |= {"last_s": last.seconds, "again": again.changed, "again_s": again.seconds, "redis": client.judged()}
    redis = results["redis"]
    lines = [
        f"{len(results['killed_after_s'])} runs killed (seed {given.seed}), after "
        f"{', '.join(f'{after:g}' for after in results['killed_after_s'])} s. Then a run to the end: {last.seconds} s, "
        f"{len(last.changed)} tasks changed; verify.yml; another run: {again.seconds} s, {len(again.changed)} changed.",
        "",
        "| client | attempted | acknowledged | lost | unexpected | duplicated | longest gap |",
        "|---|---|---|---|---|---|---|",
        f"| Redis | {redis['attempted']} | {redis['acknowledged']} | {redis['lost']} | {redis['unexpected']} "
        f"| {redis['duplicated']} | {redis['gap']} s |",
    ]
    if results["part"]:
        lines += ["", "| part | changed | seconds |", "|---|---|---|"]
        lines += [f"| {what} | {changed} | {seconds} |" for what, changed, seconds in results["part"]]
    outcome.save(f"interrupt-{lab.name}", results, "\n".join(lines))
    print("\n".join(lines))
    wrong = [f"changed once more: {change}" for change in again.changed]
    wrong += [f"{redis[kind]} records of Redis {kind}" for kind in ("lost", "duplicated") if redis[kind]]
    if len(results["killed_after_s"]) < given.times:
        wrong.append(f"only {len(results['killed_after_s'])} of {given.times} runs were killed before they ended")
    wrong += [f"{what} changed nothing" for what, changed, _seconds in results["part"] if not changed]
    print("\n".join(f"NOT SO: {text}" for text in wrong))
    return 1 if wrong else 0


if __name__ == "__main__":
    outcome.end(main)

# Copyright (c) the cloudexit maintainers
# GNU General Public License v3.0-or-later (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
"""Cuts the power of the running site's nodes, one after the other, while customers order.

    drill.py [FAULT …]      all of them, or those named: firewall web lb memcached redis rabbitmq
                        queue mongo opinions mysql

For each fault: who is the victim is asked of the site itself; orders flow (orders.py); the power is cut; it is restored
when orders flow again; then all must become healthy, every acknowledged order must be there, once, and shipped by a
worker. While the queue or MongoDB is away altogether, the shop must say so and go on. After the last fault, or after
each (--rerun each), another run of playbooks/site.yml must change nothing and move no master. Results:
.lab/reports/drills.json and drills.md.

Exit status 1: an acknowledged order is lost, doubled or not shipped, a run changed something, a master moved. 2: the
drill itself could not be done.
"""

from __future__ import annotations

import argparse
import contextlib
import re
import subprocess
import sys
import time
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

ROOT = Path(__file__).resolve().parents[2]
sys.path[:0] = [str(ROOT / "molecule"), str(ROOT / "molecule" / "site")]

import orders  # noqa: E402
import redis  # noqa: E402
from lab import outcome, remote, state  # noqa: E402
from lab.definitions import Lab, load  # noqa: E402

REPORTS = outcome.REPORTS
BIN = Path(sys.executable).parent
SENTINEL_PORT = 26379
REDIS_MASTER = "main"
STEADY = 6  # seconds of undisturbed orders before a fault and at the end
FLOWING = 3  # seconds: orders flow if one was acknowledged in each of the last ones
OUTAGE = 20  # seconds that a victim stays dark at least
RECOVERY = 120  # seconds after which orders must flow again, or the drill is over
HEALTHY = 240  # seconds after which a restored victim must have rejoined


class DrillError(Exception):
    """The drill could not be done; this says nothing good about the site."""


@dataclass
class Site:
    """The running site: who is who now, and how to get at it."""

    lab: Lab
    secrets: dict[str, str]
    powered_off: set[str] = field(default_factory=set)

    def members(self, group: str) -> list[str]:
        return [node.name for node in self.lab.nodes if group in node.groups]

    def ssh(self, node: str, command: str, timeout: float = 20) -> str:
        """Output of a command on a node; DrillError if it fails or the node does not answer."""
        try:
            return remote.run(self.lab.node(node), command, timeout)
        except remote.RemoteError as error:
            raise DrillError(str(error)) from None

    def power(self, action: str, node: str) -> None:
        subprocess.run(
            [str(BIN / "python"), "molecule/lab", "power", action, self.lab.name, node], cwd=ROOT, check=True
        )
        (self.powered_off.add if action == "off" else self.powered_off.discard)(node)

    def vip_holder(self, group: str) -> str:
        """The member on which the VIP of its tier is."""
        vip = self.lab.vips[{"firewall": "shop"}.get(group, group)]
        for node in self.members(group):
            try:
                if f" {vip}/" in self.ssh(node, "ip -o -4 address"):
                    return node
            except DrillError:
                continue
        raise DrillError(f"{group}: no member has the VIP {vip}; ask one: crm_mon -1")

    def sentinel(self) -> redis.Redis:
        """The first Sentinel that answers."""
        for node in self.members("sentinel"):
            client = redis.Redis(
                self.lab.node(node).address,
                SENTINEL_PORT,
                password=self.secrets["sentinel"],
                socket_timeout=3,
                socket_connect_timeout=2,
                decode_responses=True,
                protocol=2,
            )
            try:
                client.ping()
            except redis.RedisError:
                continue
            return client
        raise DrillError("no Sentinel answers")

    def redis_master(self) -> str:
        address: Any = self.sentinel().sentinel_get_master_addr_by_name(REDIS_MASTER)
        for node in self.lab.nodes:
            if address and node.address == address[0]:
                return node.name
        raise DrillError(f"Sentinel says that the master is {address}, which is no node of the site")

    def health(self, node: str) -> tuple[int, dict[str, Any]]:
        """Status and answer of a web node's /healthz/deep. OSError and http.client.HTTPException pass through."""
        with contextlib.closing(orders.Shop(f"http://{self.lab.node(node).address}", "", 5)) as shop:
            return shop.ask("GET", "/healthz/deep")

    def mongo_primary(self) -> str:
        """As a web node that answers sees it."""
        for node in self.members("web"):
            with contextlib.suppress(OSError, orders.http.client.HTTPException):
                _status, answer = self.health(node)
                at = answer["backends"]["opinions"].get("primary", "")
                return next((n.name for n in self.lab.nodes if n.address == at.rpartition(":")[0]), "none")
        raise DrillError("no web node answers /healthz/deep")

    def queue_leader(self) -> str:
        """The node that leads the queue of orders."""
        for node in self.members("rabbitmq"):
            with contextlib.suppress(DrillError):
                leader = self.ssh(node, "rabbitmqctl --quiet list_queues -p shop --no-table-headers leader", 30).strip()
                return next(n.name for n in self.lab.nodes if n.address == leader.rpartition("@")[2])
        raise DrillError("no RabbitMQ node answers; ask one: rabbitmq-diagnostics cluster_status")

    def masters(self) -> dict[str, str]:
        return {
            "firewalls' addresses": self.vip_holder("firewall"),
            "mongo primary": self.mongo_primary(),
            "lb VIP": self.vip_holder("lb"),
            "mysql VIP": self.vip_holder("mysql"),
            "redis master": self.redis_master(),
        }

    def complaints(self) -> list[str]:
        """Whatever is not as it should be; empty if the site is whole."""
        found: list[str] = []
        for check in (self._firewall, self._lb, self._mysql, self._drbd, self._redis, self._shop):
            try:
                found += check()
            except (DrillError, redis.RedisError) as error:
                found.append(str(error))
        return found

    def _cluster(self, group: str) -> list[str]:
        xml = self.ssh(self.vip_holder(group), "crm_mon -1 -r --output-as=xml")
        return [f"{group}: {text}" for text in outcome.cluster_complaints(xml, self.members(group))]

    def _firewall(self) -> list[str]:
        return self._cluster("firewall")

    def _lb(self) -> list[str]:
        return self._cluster("lb")

    def _mysql(self) -> list[str]:
        return self._cluster("mysql")

    def _drbd(self) -> list[str]:
        states = re.findall(r"\bds:(\S+)", self.ssh(self.vip_holder("mysql"), "cat /proc/drbd"))
        return [f"mysql: DRBD is {s}" for s in states or ["absent"] if s != "UpToDate/UpToDate"]

    def _redis(self) -> list[str]:
        replicas = self.sentinel().sentinel_slaves(REDIS_MASTER)
        good = [r for r in replicas if r["flags"] == "slave" and r["master-link-status"] == "ok"]
        wanted = len(self.members("redis")) - 1
        return [f"redis: {len(good)} of {wanted} replicas in step"] if len(good) < wanted else []

    def _shop(self) -> list[str]:
        found: list[str] = []
        for node in self.members("web"):
            try:
                status, answer = self.health(node)
            except (OSError, orders.http.client.HTTPException) as error:
                found.append(f"{node}: {orders.kind(error)}")
                continue
            bad = {name: b.get("error") for name, b in answer.get("backends", {}).items() if not b["ok"]}
            if status != 200 or bad:
                found.append(f"{node}: /healthz/deep says {status} {bad}")
        return found

    def unsaid(self, fault: Fault) -> list[str]:
        """What the shop, without one of its backends, does not say or do as it should."""
        shop = orders.Shop(f"https://{self.lab.vips['shop']}", "", 10)
        try:
            status, answer = shop.ask("GET", "/healthz/deep")
            _status, catalogue = shop.page("/catalogue/")
            product = re.search(r'href="(/catalogue/[^"/]+_\d+/)"', catalogue)
            if product is None:
                return ["/catalogue/ shows no product"]
            # Nobody has asked for it like this, so that no cache has it.
            page, text = shop.page(f"{product[1]}?drill={time.time_ns()}")
        except (OSError, orders.http.client.HTTPException) as error:
            return [f"the shop does not answer: {orders.kind(error)}"]
        finally:
            shop.close()
        backend = answer.get("backends", {}).get(fault.away, {})
        found = []
        if (status, answer.get("status"), backend.get("ok")) != (200, "degraded", False):
            found.append(f"/healthz/deep says {status} {answer.get('status')}, of {fault.away} {backend}")
        if page != 200:
            found.append(f"{product[1]} has the status {page}")
        if fault.notice not in text:
            found.append(f"{product[1]} does not say {fault.notice!r}")
        return found


@dataclass(frozen=True)
class Fault:
    name: str
    what: str
    victim: Callable[[Site], str]
    cut: Callable[[Site, str], None]
    away: str = ""  # the backend that /healthz/deep must miss meanwhile
    notice: str = ""  # what a product's page must say meanwhile


def kill_memcached(site: Site, node: str) -> None:
    """The oldest of the node's memcached processes, with no time to say goodbye."""
    site.ssh(node, "kill -KILL $(pgrep -o -x memcached)")


def darken(group: str) -> Callable[[Site, str], None]:
    """Every node of a tier loses power."""

    def cut(site: Site, _victims: str) -> None:
        for node in site.members(group):
            site.power("off", node)

    return cut


def together(group: str) -> Callable[[Site], str]:
    return lambda site: ", ".join(site.members(group))


FAULTS = [
    Fault(
        *("firewall", "the active firewall loses power"),
        victim=lambda site: site.vip_holder("firewall"),
        cut=lambda site, node: site.power("off", node),
    ),
    Fault("web", "a web node loses power", lambda site: site.members("web")[0], lambda s, n: s.power("off", n)),
    Fault("lb", "the active balancer loses power", lambda s: s.vip_holder("lb"), lambda s, n: s.power("off", n)),
    Fault("memcached", "a memcached process is killed", lambda s: s.members("memcached")[0], kill_memcached),
    Fault("redis", "the Redis master loses power", Site.redis_master, lambda s, n: s.power("off", n)),
    Fault("rabbitmq", "the leader of the orders' queue loses power", Site.queue_leader, lambda s, n: s.power("off", n)),
    Fault("queue", "every RabbitMQ node loses power", together("rabbitmq"), darken("rabbitmq"), "queue"),
    Fault("mongo", "the MongoDB primary loses power", Site.mongo_primary, lambda s, n: s.power("off", n)),
    Fault(
        *("opinions", "every MongoDB node with data loses power", together("mongo"), darken("mongo"), "opinions"),
        notice="Reviews are away for the moment",
    ),
    Fault(
        "mysql", "the active database node loses power", lambda s: s.vip_holder("mysql"), lambda s, n: s.power("off", n)
    ),
]


def say(text: str) -> None:
    print(f"drill {time.strftime('%H:%M:%S')}  {text}", flush=True)


def flowing(times: list[float], now: float) -> bool:
    """An acknowledgement in each of the last seconds."""
    seconds = {int(now - t) for t in times[-500:] if t <= now}
    return set(range(FLOWING)) <= seconds


def wait(probe: orders.Probe, limit: float, done: Callable[[], bool]) -> float | None:
    """Seconds until it was done; None if it was not. The probe must live."""
    begin = time.monotonic()
    while time.monotonic() - begin < limit:
        probe.check()
        if done():
            return time.monotonic() - begin
        time.sleep(0.5)
    return None


def drill(site: Site, fault: Fault, rate: float, workers: int) -> dict[str, Any]:
    """One fault with customers, up to the count of their orders."""
    url = f"https://{site.lab.vips['shop']}"
    token = site.secrets["order_api_token"]
    log_path = REPORTS / f"drill-{fault.name}.jsonl"
    victim = fault.victim(site)
    before = site.masters()
    say(f"{fault.what}: {victim}; masters: {before}")
    with open(log_path, "w", encoding="utf-8") as log:
        probe = orders.Probe(url, token, log, rate, workers)
        probe.start()
        try:
            if wait(probe, 60, lambda: flowing(probe.acknowledged, time.monotonic())) is None:
                raise DrillError("no orders are acknowledged even before the fault: look at /healthz/deep")
            wait(probe, STEADY, lambda: False)
            cut = time.monotonic()
            fault.cut(site, victim)
            say(f"{victim}: cut")
            wait(probe, OUTAGE, lambda: False)
            back = wait(probe, RECOVERY, lambda: flowing(probe.acknowledged, time.monotonic()))
            say("orders flow" if back is not None else f"no orders for {RECOVERY} s")
            unsaid = site.unsaid(fault) if fault.away else []
            for node in list(site.powered_off):
                site.power("on", node)
            restored = time.monotonic()
            complaints: list[str] = []

            def healthy() -> bool:
                complaints[:] = site.complaints()
                return not complaints

            rejoined = wait(probe, HEALTHY, healthy)
            say(f"whole again {rejoined:.0f} s after" if rejoined is not None else f"not whole: {complaints}")
            wait(probe, STEADY, lambda: False)
        finally:
            probe.stop()
    events = orders.read_log(log_path)
    result = orders.analyse(events, *orders.stored(url, token, probe.run))
    acks = [event["t"] for event in events if event["event"] == "ack"]
    stop = next(event["t"] for event in events if event["event"] == "stop")
    gap, _at = orders.longest_gap(cut, min(restored, stop), acks)
    return {
        "fault": fault.name,
        "what": fault.what,
        "victim": victim,
        **result,
        "unshipped": orders.unshipped(url, token, probe.run),
        "gap_s": round(gap, 2),
        "whole_again_s": round(rejoined, 1) if rejoined is not None else None,
        "complaints": complaints,
        "unsaid": unsaid,
        "masters_before": before,
        "masters_after": site.masters(),
    }


def rerun(site: Site, name: str) -> dict[str, Any]:
    """Run site.yml once more: what it changed, how long it took, whether a master moved."""
    before = site.masters()
    log_path = REPORTS / f"drill-{name}-site.log"
    again = outcome.play(site.lab, "playbooks/site.yml", ["-i", "inventories/lab"], log_path)
    if not again.good:
        raise DrillError(f"site.yml failed after the drill {name}: see {log_path.relative_to(ROOT)}")
    after = site.masters()
    return {
        "changed": again.changed,
        "seconds": again.seconds,
        "moved": [f"{what}: {before[what]} → {after[what]}" for what in before if before[what] != after[what]],
    }


def table(results: list[dict[str, Any]]) -> str:
    lines = [
        "| fault | victim | longest gap | attempted | acknowledged | lost | doubled | not shipped | repeated "
        "| whole again | site.yml again: changed | moved |",
        "|---|---|---|---|---|---|---|---|---|---|---|---|",
    ]
    for r in results:
        again = r.get("rerun")
        rerun_text = (
            f"{len(again['changed'])} in {again['seconds']:.0f} s | {len(again['moved'])}" if again else "– | –"
        )
        whole = f"{r['whole_again_s']:.0f} s" if r["whole_again_s"] is not None else "no"
        lines.append(
            f"| {r['what']} | {r['victim']} | {r['gap_s']:.1f} s | {r['attempted']} | {r['acknowledged']} "
            f"| {r['lost']} | {r['duplicated']} | {r['unshipped']} | {r['repeated']} | {whole} | {rerun_text} |"
        )
    return "\n".join(lines) + "\n"


def failures(result: dict[str, Any]) -> list[str]:
    found = [f"{result[what]} {what}" for what in ("lost", "unexpected", "duplicated", "unshipped") if result[what]]
    if result["whole_again_s"] is None:
        found.append(f"not whole {HEALTHY} s after: {'; '.join(result['complaints'])}")
    found += result["unsaid"]
    again = result.get("rerun", {})
    found += [f"site.yml changed {what}" for what in again.get("changed", [])]
    found += [f"site.yml moved {what}" for what in again.get("moved", [])]
    return [f"{result['fault']}: {what}" for what in found]


def main() -> int:
    names = [fault.name for fault in FAULTS]
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("faults", nargs="*", metavar="FAULT", help=", ".join(names))
    parser.add_argument("--rate", type=float, default=10, help="orders a second")
    parser.add_argument("--workers", type=int, default=6, help="customers")
    parser.add_argument("--rerun", choices=("each", "last", "none"), default="last", help="site.yml after which faults")
    arguments = parser.parse_args()
    unknown = set(arguments.faults) - set(names)
    if unknown:
        raise DrillError(f"no fault is called {', '.join(sorted(unknown))}; there are {', '.join(names)}")
    lab = load("site")
    site = Site(lab, state.lab_secrets(lab))
    REPORTS.mkdir(parents=True, exist_ok=True)
    complaints = site.complaints()
    if complaints:
        raise DrillError("the site is not whole, so nothing is cut: " + "; ".join(complaints))
    results: list[dict[str, Any]] = []
    try:
        chosen = [fault for fault in FAULTS if not arguments.faults or fault.name in arguments.faults]
        for fault in chosen:
            result = drill(site, fault, arguments.rate, arguments.workers)
            results.append(result)
            if arguments.rerun == "each" or (arguments.rerun == "last" and fault is chosen[-1]):
                result["rerun"] = rerun(site, fault.name)
            outcome.save("drills", results, table(results))
            print(table([result]), flush=True)
    finally:
        for node in list(site.powered_off):
            site.power("on", node)
    print(table(results))
    wrong = [text for result in results for text in failures(result)]
    print("\n".join(f"FAILED {text}" for text in wrong) or "nothing was lost, nothing changed, no master moved")
    return 1 if wrong else 0


if __name__ == "__main__":
    outcome.end(main, DrillError, orders.ProbeError)

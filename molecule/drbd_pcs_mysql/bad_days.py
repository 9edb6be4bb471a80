# Copyright (c) the cloudexit maintainers
# GNU General Public License v3.0-or-later (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
"""Bad days of a database pair, one after the other, under writers.

    bad_days.py [DAY …] [--short] [--list] [--rerun all|some|none]        all days, those named, or a few

The lab must run and be configured: molecule converge -s drbd_pcs_mysql. Each day: a client writes numbered records
through the VIP, a client on each member writes through that member's socket (watch.py), something bad happens, is
mended, and the pair must become whole by itself while the writing goes on. Then every acknowledged record must be there
once; at no instant two members were primary, or took writes; both disks are equal, byte for byte. After some of the
days, or all, another run of playbooks/mysql.yml changes nothing and moves nothing. Results: .lab/reports/bad_days.json
and bad_days.md.

Exit status 1: something of that is not so, or the writer's gap is longer than drbd_pcs_mysql_rto_seconds allows.
2: a day could not be held.
"""

from __future__ import annotations

import argparse
import concurrent.futures
import contextlib
import itertools
import os
import sys
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import yaml

ROOT = Path(__file__).resolve().parents[2]
sys.path[:0] = [str(ROOT / "molecule" / part) for part in ("", "drbd_pcs_mysql")]

import watch  # noqa: E402
from lab import daemon, outcome  # noqa: E402
from lab.definitions import LabError, load  # noqa: E402
from pair import REPORTS, VARIABLES, Pair, Writing  # noqa: E402

LAB = "drbd_pcs_mysql"
DEFAULTS = ROOT / "roles" / "drbd_pcs_mysql" / "defaults" / "main.yml"
REPLICATION, CLUSTER = "tcp/7788", "udp/5405"
MOUNT = "/srv/mysql"
STEADY = 2  # seconds of undisturbed writes before and after
RECOVERY = 300  # seconds after which writes must flow again, or the day is over
WHOLE = 300  # seconds after which the pair must be whole
BULK_MIB = 48  # what a member misses while it is away, so that its resync takes a while


class Day:
    """One bad day as it happens: who is who, what can be done to them, what must be true in between."""

    def __init__(self, pair: Pair, writing: Writing, watcher: watch.Watcher) -> None:
        self.pair, self.writing, self.watcher = pair, writing, watcher
        self.active = pair.active()
        self.passive = pair.other(self.active)
        self.begin = time.time()
        self.said: list[str] = []
        self.gap: tuple[float, float] | None = None  # what counts as the gap, if not the longest of the day

    def say(self, text: str) -> None:
        print(f"bad days {time.strftime('%H:%M:%S')}  {text}", flush=True)

    def must(self, true: bool, text: str) -> None:
        """Something that has to be so on this day; if it is not, the day has failed and goes on."""
        if not true:
            self.said.append(text)
            self.say(f"NOT SO: {text}")

    def ssh(self, member: str, command: str, timeout: float = 20) -> str:
        return self.pair.ssh(member, command, timeout)

    def power(self, action: str, *members: str) -> None:
        """All of them at once."""
        with concurrent.futures.ThreadPoolExecutor() as pool:
            list(pool.map(lambda member: self.pair.power(action, member), members))

    def cut(self, member: str, *ports: str) -> None:
        self.pair.lab_command("link", "cut", LAB, member, "--to", self.pair.other(member), "--port", *ports)

    def mend(self, member: str) -> None:
        self.pair.lab_command("link", "restore", LAB, member)

    def wait(self, what: str, true: Callable[[], bool], limit: float = RECOVERY) -> float:
        begin = time.monotonic()
        while not true():
            if time.monotonic() - begin > limit:
                raise LabError(f"{what}: not within {limit:g} s; the pair: {'; '.join(self.pair.complaints())}")
            time.sleep(0.5)
        return time.monotonic() - begin

    def acknowledged(self, since: float) -> list[float]:
        return [note.at for note in self.writing.notes() if note.kind == "ack" and note.at > since]

    def flows(self, since: float) -> None:
        """Wait for writes that were acknowledged after `since`, several in a row."""
        self.wait("writes are acknowledged again", lambda: len(self.acknowledged(since)) > 5)

    def stall_and_flow(self, since: float) -> None:
        """Wait until writes flow again after what was done at `since`, which need not have interrupted them at once."""
        self.wait("the fault shows, or writes go on", lambda: bool(self.acknowledged(since + 12)) or self._back(since))

    def _back(self, since: float) -> bool:
        """Whether a pause of a second or more is over."""
        times = [note.at for note in self.writing.notes() if note.kind == "ack" and note.at > since - 1]
        return any(b - a > 1 for a, b in itertools.pairwise(times)) and len(times) > 5

    def answers(self, member: str) -> bool:
        with contextlib.suppress(LabError):
            self.ssh(member, "true", 6)
            return True
        return False

    def returns(self, member: str) -> None:
        """It boots, and its cluster has got as far as it gets alone: to a coordinator, which could decide something."""
        self.wait(f"{member} is back", lambda: self.answers(member))
        ask = "crmadmin --dc_lookup --timeout=2s 2>/dev/null && echo yes || true"
        self.wait(f"{member} runs a cluster", lambda: "yes" in self.ssh(member, ask))
        self.wait(f"{member} is watched", lambda: bool(self.watcher.now(member)))

    def whole(self) -> bool:
        """The members' own DRBD is asked first, because the cluster's state is dear to ask for on a slow machine."""
        return self.watcher.whole() and not self.pair.complaints()

    def boots(self, member: str) -> int:
        return len(self.power_events("start").get(member, []))

    def power_events(self, kind: str) -> dict[str, list[float]]:
        """When the members' power came (`start`) or went (`die`) since the day began, as Docker tells."""
        names = {self.pair.lab.node(member).container: member for member in self.pair.members}
        found: dict[str, list[float]] = {}
        events = daemon.connect().events(
            since=int(self.begin),
            until=int(time.time()) + 1,
            decode=True,
            filters={"container": [*names], "event": kind},
        )
        for event in events:
            member = names.get(event["Actor"]["Attributes"]["name"])
            at = event["timeNano"] / 1e9
            if member and at >= self.begin:
                found.setdefault(member, []).append(at)
        return found

    def write_much(self, member: str) -> None:
        """What the other member will have to be brought up to date with; in pieces, as an application would."""
        insert = "INSERT INTO shop.bulk VALUES (RANDOM_BYTES(1024)), (REPEAT(RANDOM_BYTES(1024), 1023));"
        make = "CREATE OR REPLACE TABLE shop.bulk (piece LONGBLOB);"
        self.ssh(member, f"(echo '{make}'; for n in $(seq {BULK_MIB}); do echo '{insert}'; done) | mariadb", 120)

    def sync_seen(self, since: float) -> None:
        """A resynchronisation ran, and writes were acknowledged while it did."""
        times = [s.at for s in self.watcher.samples() if s.kind == "role" and "/SyncSource" in s.text and s.at > since]
        self.must(bool(times), "no resynchronisation was seen")
        if times:
            during = [at for at in self.acknowledged(times[0]) if at < times[-1]]
            self.say(f"resynchronisation of {times[-1] - times[0]:.1f} s, {len(during)} writes acknowledged in it")
            self.must(bool(during), "no write was acknowledged during the resynchronisation")


@dataclass(frozen=True)
class Plan:
    name: str
    what: str
    act: Callable[[Day], None]
    moves: bool | None  # whether the database is to move to the other member; None: either
    fenced: int | None = None  # how many members lose their power, by the drill or by fencing
    objective: bool = True  # whether drbd_pcs_mysql_rto_seconds applies
    more: int = 0  # seconds that come on top of it
    again: bool = False  # whether playbooks/mysql.yml is run afterwards even if only some runs are asked for
    short: bool = False  # one of the few that try what drbd_pcs_mysql (a power cut) does not


def active_loses_power(day: Day) -> None:
    day.power("off", day.active)
    day.flows(day.power_events("die")[day.active][-1])


def passive_loses_power(day: Day) -> None:
    """It misses much, comes back and is brought up to date while writes go on."""
    day.power("off", day.passive)
    day.stall_and_flow(day.power_events("die")[day.passive][-1])
    day.write_much(day.active)
    day.wait("the disks are equal again", day.whole)
    day.sync_seen(day.begin)


def server_killed(day: Day) -> None:
    day.ssh(day.active, "kill -KILL $(pidof mariadbd)")
    day.stall_and_flow(time.time())


def server_hangs(day: Day) -> None:
    day.ssh(day.active, "kill -STOP $(pidof mariadbd)")
    day.flows(time.time())


def replication_cut(day: Day) -> None:
    since = time.time()
    day.cut(day.passive, REPLICATION)
    day.stall_and_flow(since)
    day.write_much(day.active)
    day.must("Primary" not in day.watcher.now(day.passive), "the member behind the cut became primary")
    day.must(not day.power_events("die"), "a member was fenced for a replication link")
    since = time.time()
    day.mend(day.passive)
    day.wait("the disks are equal again", day.whole)
    day.sync_seen(since)


def hiccup(day: Day) -> None:
    """DRBD fences a peer that is back before anything was missed: no resync lifts the fence, which must go as well.

    The handler is called as the kernel calls it; a cut link heals too early or too late to hit that moment each time.
    """
    fence = "cibadmin --query --xpath '//rsc_location[starts-with(@id,\"drbd-fence-by-handler\")]' 2>/dev/null || true"
    handler = f"/usr/local/sbin/drbd-fence-peer {day.active} {day.passive}"
    day.ssh(day.active, f"DRBD_RESOURCE=mysql DRBD_MINOR=0 {handler}; test $? = 4")
    day.must("rsc_location" in day.ssh(day.active, fence), "the handler placed no constraint")
    day.wait("the fence is lifted", lambda: "rsc_location" not in day.ssh(day.active, fence))
    day.flows(time.time())


def isolated(day: Day, *ports: str) -> None:
    """The active member's links are cut: it fences the other one, which must stay quiet until the links are whole."""
    day.cut(day.active, *ports)
    day.wait("a member is fenced", lambda: bool(day.power_events("die")))
    fenced = next(iter(day.power_events("die")))
    day.say(f"{fenced} was fenced")
    survivor = day.pair.other(fenced)
    day.flows(day.power_events("die")[fenced][-1])
    day.wait(f"{fenced} is back", lambda: day.answers(fenced))
    day.wait(
        f"{fenced} runs a cluster", lambda: "yes" in day.ssh(fenced, "crmadmin -D 2>/dev/null && echo yes || true")
    )
    time.sleep(8)  # long enough to fence or promote, if it were to
    day.must("Primary" not in day.watcher.now(fenced), f"{fenced} came back without the other one and became primary")
    day.must(day.boots(fenced) == 1, f"{fenced} was fenced {day.boots(fenced)} times")
    day.must(not day.power_events("die").get(survivor), f"{survivor} was fenced by a member without quorum")
    day.must(bool(day.acknowledged(time.time() - 2)), "writes do not flow while the other member is alone")
    day.mend(survivor)


def cluster_cut(day: Day) -> None:
    isolated(day, CLUSTER)


def both_cut(day: Day) -> None:
    isolated(day, CLUSTER, REPLICATION)


def both_off(day: Day, first: Callable[[Day], str]) -> None:
    """The passive member's power goes first, it misses writes; then both are dark; one comes back, later the other."""
    day.power("off", day.passive)
    day.stall_and_flow(time.time())
    day.power("off", day.passive, day.active)
    early = first(day)
    late = day.pair.other(early)
    day.power("on", early)
    day.returns(early)
    time.sleep(5)
    day.must("Primary" not in day.watcher.now(early), f"{early} became primary alone, without knowing of the other one")
    since = time.time()
    day.power("on", late)
    day.flows(since)
    day.gap = (since, day.acknowledged(since)[0])


def good_first(day: Day) -> None:
    both_off(day, lambda d: d.active)


def old_first(day: Day) -> None:
    both_off(day, lambda d: d.passive)


def disk_full(day: Day) -> None:
    pid = day.ssh(day.active, "pidof mariadbd")
    day.ssh(
        day.active,
        f"fallocate -l $(df --output=avail -B1 {MOUNT} | tail -1) {MOUNT}/ballast; "
        f"dd if=/dev/zero of={MOUNT}/ballast2 bs=4k 2>/dev/null; df {MOUNT} >&2; true",
        60,
    )
    day.wait("the server refuses writes", lambda: not day.acknowledged(time.time() - 2))
    time.sleep(20)  # two looks of the cluster at the server
    day.must(day.ssh(day.active, "pidof mariadbd") == pid, "the server did not survive a full disk")
    freed = time.time()
    day.ssh(day.active, f"rm -f {MOUNT}/ballast {MOUNT}/ballast2")
    day.flows(freed)
    day.gap = (freed, day.acknowledged(freed)[0])
    day.must(day.ssh(day.active, "pidof mariadbd") == pid, "the server was restarted")


def kernel_hangs(day: Day) -> None:
    day.power("freeze", day.active)
    day.flows(time.time())


PLANS = (
    Plan("active_power", "the active member loses power", active_loses_power, True, 1, again=True),
    Plan("passive_power", "the passive member loses power, returns behind", passive_loses_power, False, 1),
    Plan("server_killed", "the server is killed", server_killed, False, 0),
    Plan("server_hangs", "the server hangs", server_hangs, False, 0, short=True),
    Plan("replication_cut", "the replication link is cut", replication_cut, False, 0, short=True),
    Plan("hiccup", "the replication link is lost for a moment, nothing is missed", hiccup, False, 0, short=True),
    Plan("cluster_cut", "the cluster link is cut", cluster_cut, None, 1),
    Plan("both_cut", "both links are cut", both_cut, None, 1, short=True),
    Plan("both_off_good_first", "both lose power, the one with all data returns first", good_first, None, 2, False),
    Plan("both_off_old_first", "both lose power, the one with old data returns first", old_first, None, 2, False),
    # MariaDB looks for room once in a minute.
    Plan("disk_full", "the data's filesystem is full", disk_full, False, 0, more=60),
    Plan("kernel_hangs", "the active member's kernel hangs", kernel_hangs, True, 1, again=True),
)


def objective() -> int:
    """drbd_pcs_mysql_rto_seconds as the lab has it."""
    known: dict[str, Any] = {}
    for file in (DEFAULTS, VARIABLES):
        known |= yaml.safe_load(file.read_text(encoding="utf-8"))
    return int(known["drbd_pcs_mysql_rto_seconds"])


def equal_disks(pair: Pair, active: str) -> list[str]:
    """Read both members' disks below DRBD, while nothing is written, and compare; DRBD itself is not asked."""
    size = int(pair.ssh(active, "blockdev --getsize64 /dev/drbd0"))
    read = f"dd if=/dev/ubdb iflag=direct,count_bytes bs=4M count={size} status=none | md5sum"
    pair.ssh(active, f"sync; fsfreeze --freeze {MOUNT}")
    try:
        with concurrent.futures.ThreadPoolExecutor() as pool:
            sums = dict(
                zip(pair.members, pool.map(lambda member: pair.ssh(member, read, 120), pair.members), strict=True)
            )
    finally:
        pair.ssh(active, f"fsfreeze --unfreeze {MOUNT}")
    return [] if len(set(sums.values())) == 1 else [f"the disks differ: {sums}"]


def hold(pair: Pair, plan: Plan, again: bool) -> dict[str, Any]:
    """One day, from a whole pair to a whole pair."""
    pair.wait_healthy(60)
    active = pair.active()
    pair.ssh(active, f"mariadb -e 'CREATE OR REPLACE TABLE {watch.TABLE} (id VARCHAR(60) PRIMARY KEY)'")
    load = os.getloadavg()[0]
    with (
        watch.Watcher(pair.lab, pair.members, REPORTS) as watcher,
        Writing(pair, f"bad-day-{plan.name}", 900) as writing,
    ):
        day = Day(pair, writing, watcher)
        day.say(f"{plan.name}: {plan.what}; {day.active} is active")
        day.wait("writes flow before anything happens", lambda: len(day.acknowledged(0)) > 20, 30)
        time.sleep(STEADY)
        pair.ssh(day.active, "sync")
        plan.act(day)
        whole = day.wait("the pair is whole", day.whole, WHOLE)
        time.sleep(STEADY)
    load = max(load, os.getloadavg()[0])
    samples = watcher.samples()
    deaths = day.power_events("die")
    after = pair.active()
    report = writing.report()
    local = {s.text for s in samples if s.kind == "ack"}
    kept = set(pair.ssh(after, f"mariadb -NB -e 'SELECT id FROM {watch.TABLE}'").split())
    gap = round(day.gap[1] - day.gap[0], 2) if day.gap else report["gap_seconds"]
    limit = round((objective() + plan.more) * outcome.slowness(load), 1)
    reigns = watch.reigns(samples, deaths)
    result: dict[str, Any] = {
        "day": plan.name,
        "what": plan.what,
        "active": f"{day.active} → {after}" if after != day.active else day.active,
        **report,
        "acknowledged": report["acknowledged"] + len(local),
        "attempted": report["attempted"] + len(local),
        "lost": report["lost"] + len(local - kept),
        "gap_seconds": gap,
        "gap_allowed": limit if plan.objective else None,
        "load": round(load, 1),
        "whole_again_seconds": round(whole, 1),
        "power_cuts": {member: len(times) for member, times in deaths.items()},
        "samples": sum(s.kind == "role" for s in samples),
        "reigns": reigns,
    }
    wrong = day.said
    wrong += [f"{result[what]} {what}" for what in ("lost", "duplicated", "unexpected") if result[what]]
    wrong += [f"two primaries: {text}" for text in watch.overlaps(reigns)]
    turns = {"the local clients": watch.served(samples), "the VIP's client": report["servers"]}
    wrong += [f"{who} saw servers take turns: {spans}" for who, spans in turns.items() if watch.twice(spans)]
    if plan.moves is not None and (after != day.active) != plan.moves:
        wrong.append(f"the database {'moved' if after != day.active else 'did not move'}")
    if plan.fenced is not None and len(deaths) != plan.fenced:
        wrong.append(f"power cuts: {deaths}, expected for {plan.fenced} members")
    if plan.objective and gap > result["gap_allowed"]:
        wrong.append(f"the writer waited {gap} s, {result['gap_allowed']} s are allowed")
    wrong += equal_disks(pair, after)
    if again:
        log = REPORTS / f"bad-day-{plan.name}-again.log"
        run = pair.play("playbooks/mysql.yml", log)
        wrong += [] if run.good else [f"playbooks/mysql.yml failed: {log.relative_to(ROOT)}"]
        wrong += [f"playbooks/mysql.yml changed {what}" for what in run.changed]
        wrong += [f"playbooks/mysql.yml moved the database to {pair.active()}"] if pair.active() != after else []
        result["again_seconds"] = run.seconds
    # An operator does this when he has seen what was wrong; the next day begins without a history.
    pair.ssh(after, "crm_resource --cleanup >/dev/null 2>&1", 60)
    result["wrong"] = wrong
    return result


def table(results: Sequence[dict[str, Any]]) -> str:
    lines = [
        "| bad day | active | longest gap (allowed) | acknowledged | lost | duplicated | unexpected "
        "| whole again after | disks | mysql.yml again |",
        "|---|---|---|---|---|---|---|---|---|---|",
    ]
    for r in results:
        again = [text for text in r["wrong"] if "playbooks/mysql.yml" in text]
        limit = f" ({r['gap_allowed']:.0f} s)" if r["gap_allowed"] else ""
        lines.append(
            f"| {r['what']} | {r['active']} | {r['gap_seconds']:.1f} s{limit} | {r['acknowledged']} | {r['lost']} "
            f"| {r['duplicated']} | {r['unexpected']} | {r['whole_again_seconds']:.0f} s "
            f"| {'differ' if any('disks differ' in text for text in r['wrong']) else 'equal'} "
            + (f"| {len(again)} changed in {r['again_seconds']:.0f} s |" if "again_seconds" in r else "| – |")
        )
    return "\n".join(lines) + "\n"


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("days", nargs="*", metavar="DAY", help=", ".join(plan.name for plan in PLANS))
    parser.add_argument("--short", action="store_true", help="the few days that try what the others are made of")
    parser.add_argument("--list", action="store_true", help="say which days there are")
    parser.add_argument("--rerun", choices=("all", "some", "none"), default="some", help="of playbooks/mysql.yml")
    arguments = parser.parse_args()
    if arguments.list:
        print("\n".join(f"{plan.name:20} {plan.what}" for plan in PLANS))
        return 0
    unknown = set(arguments.days) - {plan.name for plan in PLANS}
    if unknown:
        raise LabError(f"no day {', '.join(sorted(unknown))}; there are {', '.join(plan.name for plan in PLANS)}")
    pair = Pair(load(LAB))
    results: list[dict[str, Any]] = []
    for plan in PLANS:
        if (arguments.days and plan.name not in arguments.days) or (arguments.short and not plan.short):
            continue
        results.append(hold(pair, plan, arguments.rerun == "all" or (arguments.rerun == "some" and plan.again)))
        outcome.save("bad_days", results, table(results))
        print(table(results[-1:]), *(f"FAILED {text}" for text in results[-1]["wrong"]), sep="\n", flush=True)
    print(table(results))
    wrong = [f"FAILED {r['day']}: {text}" for r in results for text in r["wrong"]]
    print("\n".join(wrong) or "nothing was lost, never two primaries, both disks equal, nothing changed")
    return 1 if wrong else 0


if __name__ == "__main__":
    outcome.end(main)

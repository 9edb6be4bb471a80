# Copyright (c) the cloudexit maintainers
# GNU General Public License v3.0-or-later (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
"""Faults of a drill as shell scripts: is it possible here, the fault, its way back. The module drill_fault runs them.

A way back may be run at any time and more than once; it ends well where there is nothing to do.
"""

from __future__ import annotations

import shlex
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

UNIT = "cloudexit-drill"  # timer and service of the way back: one fault on a host at a time
BALLAST = f"{UNIT}-ballast"
OPTIONS = f"/run/{UNIT}.options"  # what the fence agent reads, for root only
CLOCK = f"/run/{UNIT}.clock"
TABLE = "inet cloudexit_drill"
KINDS = (
    "process_killed",
    "process_hung",
    "power",
    "network_peers",
    "network_out",
    "network_clients",
    "disk_full",
    "disk_slow",
    "clock",
)


class FaultError(Exception):
    """The fault cannot be made of what was given."""


@dataclass(frozen=True)
class Plan:
    """`conditions`: read-only commands that must succeed, and what it means if one does not."""

    say: str
    fault: str
    back: str
    conditions: Sequence[tuple[str, str]] = ()
    files: Mapping[str, str] = field(
        default_factory=dict
    )  # path to text; readable by root only, removed by the way back


def q(text: Any) -> str:
    return shlex.quote(str(text))


def plan(kind: str, given: Mapping[str, Any]) -> Plan:
    """The plan of a fault; `given` are the options of the module drill_fault. FaultError if one is missing."""
    makers = {
        "process_killed": killed,
        "process_hung": hung,
        "power": power,
        "network_peers": peers,
        "network_out": out,
        "network_clients": clients,
        "disk_full": full,
        "disk_slow": slow,
        "clock": clock,
    }
    return makers[kind](given)


# Processes --------------------------------------------------------------------


def _signal(given: Mapping[str, Any], name: str) -> str:
    if given.get("unit"):
        return f"systemctl kill --signal={name} {q(given['unit'])}"
    if given.get("process"):
        return f"pkill -{name} -x {q(given['process'])}"
    raise FaultError("neither unit nor process says what runs")


def _runs(given: Mapping[str, Any]) -> tuple[str, str]:
    if given.get("unit"):
        return f"systemctl is-active --quiet {q(given['unit'])}", f"the unit {given['unit']} does not run"
    return f"pgrep -x {q(given.get('process'))} >/dev/null", f"no process is called {given.get('process')}"


def killed(given: Mapping[str, Any]) -> Plan:
    """The way back starts the unit unless something else (Pacemaker) does."""
    unit = q(given.get("unit") or "")
    starts = given.get("unit") and given.get("restart", True)
    back = f"systemctl is-active --quiet {unit} || {{ systemctl reset-failed {unit}; systemctl start {unit}; }}"
    what = given.get("unit") or given.get("process")
    return Plan(
        f"every process of {what} is killed", _signal(given, "KILL"), back if starts else "true", [_runs(given)]
    )


def hung(given: Mapping[str, Any]) -> Plan:
    what = given.get("unit") or given.get("process")
    back = f"{_signal(given, 'CONT')} || true"
    return Plan(f"every process of {what} stands still", _signal(given, "STOP"), back, [_runs(given)])


# Power ------------------------------------------------------------------------


def fence_options(parameters: Mapping[str, Any]) -> str:
    """What a fence agent reads from its standard input: a line for each parameter."""
    texts = {name: str(int(value)) if isinstance(value, bool) else str(value) for name, value in parameters.items()}
    wrong = [name for name, text in texts.items() if "\n" in text]
    if wrong:
        raise FaultError(f"the fence parameter {wrong[0]} has more than one line")
    return "".join(f"{name}={text}\n" for name, text in texts.items())


def power(given: Mapping[str, Any]) -> Plan:
    """Runs on another host than the victim, which can call the fence agent."""
    agent, victim = given.get("agent"), given.get("victim")
    if not agent or not victim:
        raise FaultError("agent and victim say whose power is cut, and by which fence agent")

    def act(action: str) -> str:
        return f"{{ cat {OPTIONS}; echo action={action}; }} | {q(agent)}"

    missing = f"{agent} is not on this host: install Debian's package {agent.replace('fence_', 'fence-agents-')}"
    return Plan(
        f"the power of {victim} is cut through {agent}",
        act("off"),
        f"test ! -e {OPTIONS} || {{ {act('on')} && rm -f {OPTIONS}; }}",
        [(f"command -v {q(agent)} >/dev/null", f"{missing}, or name another host in drill_power_hosts")],
        {OPTIONS: fence_options({**(given.get("agent_options") or {}), **(given.get("agent_secrets") or {})})},
    )


# Network ----------------------------------------------------------------------


def rules(addresses: Sequence[str], sides: Sequence[str]) -> str:
    """A script for nft that loses packets without a word. `sides`: in, out."""
    parts = []
    for side, hook, end in (("in", "input", "saddr"), ("out", "output", "daddr")):
        if side not in sides:
            continue
        four = [a for a in addresses if ":" not in a]
        six = [a for a in addresses if ":" in a]
        drops = [
            f"{family} {end} {{ {', '.join(some)} }} drop" for family, some in (("ip", four), ("ip6", six)) if some
        ]
        parts.append(_chain(hook, drops))
    return f"table {TABLE} {{ {' '.join(parts)} }}"


def client_rules(spared: Sequence[str], ports: Sequence[int]) -> str:
    """All but the spared cannot talk to these TCP ports."""
    some = ", ".join(str(port) for port in ports)
    four = f"ip saddr != {{ {', '.join(spared)} }} " if spared else ""
    back = f"ip daddr != {{ {', '.join(spared)} }} " if spared else ""
    chains = [
        _chain("input", [f"{four}tcp dport {{ {some} }} drop"]),
        _chain("output", [f"{back}tcp sport {{ {some} }} drop"]),
    ]
    return f"table {TABLE} {{ {' '.join(chains)} }}"


def _chain(hook: str, drops: Sequence[str]) -> str:
    return f"chain {hook} {{ type filter hook {hook} priority -300; {'; '.join(drops)}; }};"


def _cut(say: str, script: str, routes: str = "", unroute: str = "") -> Plan:
    """By nftables where the kernel has it, else by routes that lead nowhere, if the cut can be made of these."""
    nft = f"nft --check {q(script)} 2>/dev/null"
    remove = f"nft delete table {TABLE} 2>/dev/null"
    if not routes:
        why = "the kernel has no nftables for this, or the package nftables is missing (nft): apt-get install nftables"
        return Plan(say, f"nft {q(script)}", f"{remove} || true", [(nft, why)])
    return Plan(
        say,
        f"if {nft}; then nft {q(script)}; else {routes}; fi",
        f"{remove}; {unroute}; true",
        [(f"{nft} || ip route show table all >/dev/null", "neither nft nor ip is there: apt-get install nftables")],
    )


def _addresses(given: Mapping[str, Any]) -> list[str]:
    found = list(given.get("peers") or [])
    if not found:
        raise FaultError("peers is empty: there is nobody to be cut from")
    return found


def _blackholes(verb: str, addresses: Sequence[str]) -> str:
    return "; ".join(f"ip route {verb} blackhole {q(address)}" for address in addresses)


def peers(given: Mapping[str, Any]) -> Plan:
    """A route that leads nowhere also drops what comes in, once the kernel checks where it came from."""
    some = _addresses(given)
    keep = "sysctl -n net.ipv4.conf.all.rp_filter >/run/cloudexit-drill.rp; sysctl -qw net.ipv4.conf.all.rp_filter=1"
    give = "test ! -e /run/cloudexit-drill.rp || sysctl -qw net.ipv4.conf.all.rp_filter=$(cat /run/cloudexit-drill.rp)"
    return _cut(
        f"no packet from or to {', '.join(some)}",
        rules(some, ("in", "out")),
        f"{keep}; {_blackholes('add', some)}",
        f"{_blackholes('del', some)} 2>/dev/null; {give}; rm -f /run/cloudexit-drill.rp",
    )


def out(given: Mapping[str, Any]) -> Plan:
    some = _addresses(given)
    unroute = f"{{ {_blackholes('del', some)}; }} 2>/dev/null"
    say = f"what is sent to {', '.join(some)} is lost, what comes from there arrives"
    return _cut(say, rules(some, ("out",)), _blackholes("add", some), unroute)


def clients(given: Mapping[str, Any]) -> Plan:
    ports = given.get("ports") or []
    if not ports:
        raise FaultError("ports is empty: clients cannot be cut off by port")
    spared = list(given.get("peers") or [])
    say = f"no client reaches the ports {', '.join(map(str, ports))}, the other members do"
    return _cut(say, client_rules(spared, ports))


# Disk and clock ---------------------------------------------------------------

FILL = """
import os, sys, time
path = sys.argv[1] + "/.cloudexit-drill"
fd = os.open(path, os.O_RDWR | os.O_CREAT | os.O_EXCL, 0o600)
os.unlink(path)
size, step = 0, 1 << 30
while step >= 4096:
    try:
        os.posix_fallocate(fd, size, step)
        size += step
    except OSError:
        step //= 2
open("/run/cloudexit-drill.full", "w").close()
time.sleep(86400)
"""


def full(given: Mapping[str, Any]) -> Plan:
    """The ballast has no name and ends with the process that holds it: not even a power cut leaves it behind."""
    path, most = given.get("path"), int(given.get("max_mib") or 0)
    if not path:
        raise FaultError("path is empty: no folder says which filesystem is filled")
    hold = int(given["seconds"])
    start = f"systemd-run --quiet --collect --unit={BALLAST} --property=RuntimeMaxSec={hold}"
    free = f"test $(df --output=avail -m {q(path)} | tail -1) -le {most}"
    flag = "/run/cloudexit-drill.full"
    return Plan(
        f"the filesystem of {path} is filled to its last block",
        f"rm -f {flag}; {start} python3 -c {q(FILL)} {q(path)}; "
        f"for _try in $(seq 100); do test -e {flag} && exit 0; sleep 0.1; done; exit 1",
        f"systemctl stop {BALLAST}.service 2>/dev/null; rm -f {flag}; true",
        [
            (f"test -d {q(path)}", f"there is no folder {path}"),
            (
                f'test "$(stat -f -c %T {q(path)})" != overlayfs',
                f"the filesystem of {path} is an overlay, which a container shares with its machine",
            ),
            (free, f"the filesystem of {path} has more than {most} MiB free (drill_disk_max_mib)"),
        ],
    )


def slow(given: Mapping[str, Any]) -> Plan:
    unit, path, iops = given.get("unit"), given.get("path"), int(given.get("iops") or 20)
    if not unit or not path:
        raise FaultError("a slow disk needs a unit of systemd and a path on the disk")
    device = f"$(findmnt --noheadings --first-only --nofsroot --output SOURCE --target {q(path)})"
    limit = f'IOReadIOPSMax="{device} {iops}" IOWriteIOPSMax="{device} {iops}"'
    group = f"/sys/fs/cgroup$(systemctl show --property=ControlGroup --value {q(unit)})/io.max"
    return Plan(
        f"the disk of {path} does {iops} reads and {iops} writes a second for {unit}",
        f"systemctl set-property --runtime {q(unit)} {limit} && grep -q wiops={iops} {group}",
        f"systemctl set-property --runtime {q(unit)} IOReadIOPSMax= IOWriteIOPSMax= || true",
        [
            (
                "grep -qw io /sys/fs/cgroup/cgroup.controllers 2>/dev/null",
                "the kernel limits no unit's disk (cgroup2, io)",
            ),
            (f"test -b {device}", f"{path} is not on a block device of its own"),
            _runs(given),
        ],
    )


def clock(given: Mapping[str, Any]) -> Plan:
    """The way back sets the clock by the one that cannot be set, whatever a time service did meanwhile."""
    jump = float(given.get("jump") or 0)
    if not jump:
        raise FaultError("jump is 0: the clock would stay")
    python = "import time; r, b = time.CLOCK_REALTIME, time.CLOCK_BOOTTIME; "
    keep = f"{python}print(time.clock_gettime(r) - time.clock_gettime(b))"
    move = f"{python}time.clock_settime(r, time.clock_gettime(r) + {jump})"
    give = f"{python}time.clock_settime(r, time.clock_gettime(b) + float(open('{CLOCK}').read()))"
    return Plan(
        f"the clock jumps by {jump:+g} s",
        f"python3 -c {q(keep)} >{CLOCK} && python3 -c {q(move)}",
        f"test ! -e {CLOCK} || {{ python3 -c {q(give)} && rm -f {CLOCK}; }}",
        [
            ("! systemd-detect-virt --quiet --container", "a container has the clock of its machine"),
            ("python3 -c 'import time; time.clock_gettime(time.CLOCK_BOOTTIME)'", "python3 is missing"),
        ],
    )


def arm(seconds: float, back: str) -> list[str]:
    """The way back as a timer of systemd, which needs no controller."""
    return [
        *("systemd-run", "--quiet", "--collect", f"--unit={UNIT}", f"--on-active={seconds:g}s"),
        *("--timer-property=AccuracySec=100ms", "--service-type=oneshot", "/bin/sh", "-c", back.replace("$", "$$")),
    ]

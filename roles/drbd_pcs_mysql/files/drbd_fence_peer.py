# Copyright (c) the cloudexit maintainers
# GNU General Public License v3.0-or-later (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
"""DRBD's fence-peer handler for a pair under Pacemaker: drbd_fence_peer.py NODE NODE

DRBD has lost the peer and has frozen writes, or is asked to become primary without it. This asks the cluster what
became of the peer, and waits until the answer is certain:

  alive        only the replication is gone: the peer is forbidden to become primary (exit 4)
  down         fenced, or stopped in good order: the same, and writes go on (exit 7)
  not certain  fencing is still under way: wait. Writes stay frozen until somebody knows.

drbd-utils' crm-fence-peer.sh does the same up to Pacemaker 2.1.6. Later ones write times where it expects the words
"online" and "true", so that it takes every peer for uncertain, and the failover runs into the promotion's timeout.
The constraint has the same name as there, so that crm-unfence-peer.sh removes it: after the resynchronisation, or,
where nothing was missed and there is none, when DRBD's resource agent finds all disks up to date. Both scripts' lock
keeps that from happening between DRBD's loss of the peer and the constraint.
"""

from __future__ import annotations

import contextlib
import fcntl
import os
import re
import subprocess
import sys
import syslog
import time
import xml.etree.ElementTree as ET
from collections.abc import Iterator
from pathlib import Path
from typing import TextIO

ALIVE, DOWN, UNCERTAIN = "alive", "down", "uncertain"
# DRBD's exit codes of this handler
PEER_FORBIDDEN, PEER_UNREACHABLE, PEER_FENCED, BROKEN = 4, 5, 7, 1
PATIENCE_SECONDS = 3600
PAUSE_SECONDS = 0.2
LOCKS = Path("/var/lock/drbd")
LOCK_SECONDS = 30


def is_set(value: str | None) -> bool:
    """Up to 2.1.6 a word, later the time since when, 0 for not."""
    return value in ("true", "online") or ((value or "").isdigit() and value != "0")


def peer_state(cib: ET.Element, peer: str) -> str:
    """What the cluster knows of the peer. ALIVE may be out of date by the time the cluster needs to notice a loss."""
    node = next((state for state in cib.iter("node_state") if state.get("uname") == peer), None)
    if node is None:
        return UNCERTAIN
    member, process = is_set(node.get("in_ccm")), is_set(node.get("crmd"))
    if member and process:
        return ALIVE
    if not member and not process and node.get("expected", "down") == "down":
        return DOWN
    return UNCERTAIN


def clone_of(cib: ET.Element, resource: str) -> str:
    """The promotable clone whose instances are this DRBD resource."""
    for kind in ("clone", "master"):
        for clone in cib.iter(kind):
            for pair in clone.iterfind("./primitive/instance_attributes/nvpair[@name='drbd_resource']"):
                if pair.get("value") == resource:
                    return clone.get("id", "")
    return ""


def constraint(clone: str, resource: str, node: str) -> ET.Element:
    """Nobody but this node may be promoted."""
    name = f"drbd-fence-by-handler-{resource}"
    location = ET.Element("rsc_location", {"rsc": clone, "id": f"{name}-{clone}"})
    rule = ET.SubElement(location, "rule", {"role": "Promoted", "score": "-INFINITY", "id": f"{name}-rule-{clone}"})
    ET.SubElement(
        rule,
        "expression",
        {
            "attribute": "#uname",
            "operation": "ne",
            "value": node,
            "id": f"{name}-expr-{clone}",
        },
    )
    return location


def owner(cib: ET.Element, wanted: ET.Element) -> str | None:
    """For whom such a constraint is there already."""
    for location in cib.iter("rsc_location"):
        if location.get("id") == wanted.get("id"):
            return next((e.get("value", "") for e in location.iter("expression")), "")
    return None


def disk_state(proc: str, events: str, minor: str) -> str:
    """My disk: DRBD 8.4 says it in /proc/drbd, 9 in drbdsetup's events."""
    match = re.search(rf"^\s*{minor}: cs:\S+ ro:\S+ ds:(\w+)/", proc, re.MULTILINE)
    match = match or re.search(rf"^exists device .*\bminor:{minor}\b.*\bdisk:(\w+)", events, re.MULTILINE)
    return match.group(1) if match else "Unconfigured"


def run(*argv: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run(argv, capture_output=True, text=True, check=False)


def log(text: str) -> None:
    syslog.syslog(syslog.LOG_NOTICE, text)


def query() -> ET.Element | None:
    """The CIB as the coordinator has it; None while there is none, as right after it was lost."""
    answer = run("cibadmin", "--query", "--timeout=2")
    return ET.fromstring(answer.stdout) if answer.returncode == 0 else None


def wait_for_certainty(peer: str) -> tuple[str, ET.Element | None]:
    deadline = time.monotonic() + PATIENCE_SECONDS
    told = ""
    while time.monotonic() < deadline:
        cib = query()
        state = UNCERTAIN if cib is None else peer_state(cib, peer)
        if state == DOWN:
            return state, cib
        # Its own word counts, not what the cluster still believes.
        if state == ALIVE and run("crmadmin", "--timeout=2s", "--status", peer).returncode == 0:
            return state, cib
        if state != told:
            log(f"{peer} is {state}, waiting for the cluster; writes stay frozen")
            told = state
        time.sleep(PAUSE_SECONDS)
    return UNCERTAIN, None


def my_disk(resource: str) -> str:
    try:
        with open("/proc/drbd", encoding="utf-8") as source:
            proc = source.read()
    except OSError:
        proc = ""
    # 8.4 must not be asked over netlink here: it may be waiting for this very answer.
    events = "" if " cs:" in proc else run("drbdsetup", "events2", "--now", resource).stdout
    return disk_state(proc, events, os.environ.get("DRBD_MINOR") or os.environ.get("DRBD_MINOR_0") or "0")


@contextlib.contextmanager
def locked(resource: str) -> Iterator[None]:
    """crm-unfence-peer.sh holds this lock from its look at the disks to the removal of the constraint.

    Going on without it, after a while, is better than frozen writes.
    """
    with contextlib.ExitStack() as opened:
        try:
            LOCKS.mkdir(mode=0o700, parents=True, exist_ok=True)
            path = LOCKS / f"fence.{resource.replace('/', '_')}"
            wait_for_lock(opened.enter_context(open(path, "w", encoding="utf-8")))
        except OSError as error:
            log(f"going on without the lock: {error}")
        yield


def wait_for_lock(file: TextIO) -> None:
    """BlockingIOError, an OSError, if somebody else has it for LOCK_SECONDS."""
    deadline = time.monotonic() + LOCK_SECONDS
    while True:
        try:
            return fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            if time.monotonic() > deadline:
                raise
            time.sleep(PAUSE_SECONDS)


def fence(resource: str, peer: str, me: str) -> int:
    state, cib = wait_for_certainty(peer)
    with locked(resource):
        return forbid(resource, peer, me, state, cib)


def forbid(resource: str, peer: str, me: str, state: str, cib: ET.Element | None) -> int:
    """Place the constraint that the peer's state asks for; DRBD's exit code."""
    if cib is None:
        log(
            f"the cluster did not say for {PATIENCE_SECONDS} s what became of {peer}; writes stay frozen. "
            f"If it is off for certain: `pcs stonith confirm {peer}`, then `drbdadm resume-io {resource}`"
        )
        return BROKEN
    clone = clone_of(cib, resource)
    if not clone:
        log(f"no promotable clone with drbd_resource={resource} in the cluster; writes stay frozen")
        return BROKEN
    disk = my_disk(resource)
    if disk != "UpToDate" and not (disk == "Consistent" and state == ALIVE):
        log(f"{peer} is {state}, and my disk is {disk}: I may not have the last data, so I stay secondary")
        return PEER_UNREACHABLE
    wanted = constraint(clone, resource, me)
    holder = owner(cib, wanted)
    # Mine may have been removed since the cluster was asked, which was before the lock.
    if holder in (None, me):
        made = run("cibadmin", "--create", "--scope=constraints", "--xml-text", ET.tostring(wanted, encoding="unicode"))
        again = query() if made.returncode else None
        holder = me if not made.returncode else (owner(again, wanted) if again is not None else None)
    if holder != me:
        log(f"{peer} is {state}, but the constraint {wanted.get('id')} is {f'for {holder}' if holder else 'not made'}")
        return BROKEN
    log(f"{peer} is {state}, my disk is {disk}: {me} alone may be primary of {resource} until {peer} has caught up")
    return PEER_FENCED if state == DOWN else PEER_FORBIDDEN


def main() -> int:
    syslog.openlog("drbd-fence-peer", syslog.LOG_PID, syslog.LOG_DAEMON)
    me = os.uname().nodename
    peers = [node for node in sys.argv[1:] if node != me]
    if len(peers) != 1:
        log(f"called with {sys.argv[1:]}: exactly one of two nodes must be this one ({me})")
        return BROKEN
    return fence(os.environ["DRBD_RESOURCE"], peers[0], me)


if __name__ == "__main__":
    sys.exit(main())

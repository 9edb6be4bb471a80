# Copyright (c) the cloudexit maintainers
# GNU General Public License v3.0-or-later (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
"""Pacemaker resource agent ocf:cloudexit:nginx_cdn: the CDN's Nginx as a systemd unit that must answer, not only exist.

A process that died is restarted by systemd within a fraction of a second; the agent waits for that. One that hangs is
killed while the address is still here, so that its clients hear of it, and reported as failed, as is one that systemd
has given up on: the cluster moves the address away. The question goes to a socket of its own. A worker answers it, so
one whose origin is away is as good as any: the cache answers for it. A worker with a flood of clients may be late with
the answer. As long as it computes it is not taken for hung, five times as long as one that does nothing.
"""

from __future__ import annotations

import os
import socket
import subprocess
import sys
import time

SUCCESS, GENERIC, UNIMPLEMENTED, NOT_INSTALLED, NOT_RUNNING = 0, 1, 3, 5, 7
UNIT = "nginx-cdn.service"
BINARY = "/usr/sbin/nginx"
CONFIG = "/etc/nginx-cdn/current/nginx.conf"
PID = "/run/nginx-cdn/nginx.pid"
PAUSE = 0.1
BUSY_FACTOR = 5
META_DATA = """<?xml version="1.0"?>
<!DOCTYPE resource-agent SYSTEM "ra-api-1.dtd">
<resource-agent name="nginx_cdn" version="1.0">
  <version>1.1</version>
  <longdesc lang="en">The CDN's Nginx as the systemd unit nginx-cdn.service, asked over its status socket.</longdesc>
  <shortdesc lang="en">Nginx that answers</shortdesc>
  <parameters>
    <parameter name="socket" unique="0" required="0">
      <longdesc lang="en">Status socket of Nginx.</longdesc>
      <shortdesc lang="en">Status socket</shortdesc>
      <content type="string" default="/run/nginx-cdn/status.sock"/>
    </parameter>
    <parameter name="patience" unique="0" required="0">
      <longdesc lang="en">Seconds without an answer after which Nginx counts as hung.</longdesc>
      <shortdesc lang="en">Seconds to wait for an answer</shortdesc>
      <content type="string" default="3"/>
    </parameter>
  </parameters>
  <actions>
    <action name="start" timeout="30s"/>
    <action name="stop" timeout="30s"/>
    <action name="monitor" timeout="20s" interval="2s" depth="0"/>
    <action name="meta-data" timeout="5s"/>
    <action name="validate-all" timeout="5s"/>
  </actions>
</resource-agent>"""


def parameter(name: str, default: str) -> str:
    return os.environ.get(f"OCF_RESKEY_{name}", default)


def systemctl(*arguments: str) -> str:
    """What systemctl says; its complaints go to the cluster's log."""
    done = subprocess.run(("systemctl", *arguments), stdout=subprocess.PIPE, text=True, check=False)
    return done.stdout.strip()


def state() -> str:
    """active, activating (also while systemd is about to restart it), reloading, deactivating, inactive or failed."""
    return systemctl("show", "--property=ActiveState", "--value", UNIT)


def answers(path: str, patience: float) -> bool:
    """Whether a worker says something in time."""
    try:
        with socket.socket(socket.AF_UNIX, socket.SOCK_STREAM) as client:
            client.settimeout(max(patience, PAUSE))
            client.connect(path)
            client.sendall(b"GET /generation HTTP/1.0\r\nHost: localhost\r\n\r\n")
            return client.recv(32).startswith(b"HTTP/1.1 200")
    except OSError:
        return False


def computing() -> dict[str, int]:
    """Time of the processor that each worker has had, in ticks; empty if there are none."""
    found = {}
    try:
        with open(PID, encoding="ascii") as file:
            master = file.read().strip()
        with open(f"/proc/{master}/task/{master}/children", encoding="ascii") as file:
            workers = file.read().split()
        for worker in workers:
            with open(f"/proc/{worker}/stat", encoding="utf-8", errors="replace") as file:
                fields = file.read().rpartition(")")[2].split()
            if fields[0] not in "TtZ":
                found[worker] = int(fields[11]) + int(fields[12])
    except (OSError, IndexError, ValueError):
        return {}
    return found


def monitor() -> int:
    path = parameter("socket", "/run/nginx-cdn/status.sock")
    patience = float(parameter("patience", "3"))
    begin = time.monotonic()
    deadline, last = begin + patience, begin + BUSY_FACTOR * patience
    before = computing()
    while True:
        if answers(path, deadline - time.monotonic()):
            return SUCCESS
        now = state()
        if now in ("inactive", "failed", ""):
            return NOT_RUNNING
        if time.monotonic() >= deadline and deadline < last:
            after = computing()
            if any(after[worker] > ticks for worker, ticks in before.items() if worker in after):
                before, deadline = after, min(last, deadline + patience)
                continue
        if time.monotonic() >= deadline:
            print(f"nginx-cdn is {now} but did not answer on {path}", file=sys.stderr)
            return GENERIC
        time.sleep(PAUSE)


def start() -> int:
    # The cluster limits the time of this action.
    systemctl("reset-failed", UNIT)
    systemctl("start", UNIT)
    while (result := monitor()) == GENERIC:
        pass
    if result != SUCCESS:
        print(f"nginx-cdn did not start: journalctl -u {UNIT}; nginx -t -c {CONFIG}", file=sys.stderr)
        return GENERIC
    return SUCCESS


def check() -> int:
    result = monitor()
    if result == GENERIC and state() in ("active", "reloading"):
        systemctl("kill", "--signal=KILL", UNIT)
    return result


def stop() -> int:
    check()
    systemctl("stop", UNIT)
    return SUCCESS if state() in ("inactive", "failed", "") else GENERIC


def main() -> int:
    action = sys.argv[1] if len(sys.argv) > 1 else ""
    if action == "meta-data":
        print(META_DATA)
        return SUCCESS
    if not os.access(BINARY, os.X_OK):
        return NOT_RUNNING if action == "stop" else NOT_INSTALLED
    actions = {"start": start, "stop": stop, "monitor": check, "validate-all": lambda: SUCCESS}
    return actions.get(action, lambda: UNIMPLEMENTED)()


if __name__ == "__main__":
    sys.exit(main())

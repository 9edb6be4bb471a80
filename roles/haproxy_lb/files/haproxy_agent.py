# Copyright (c) the cloudexit maintainers
# GNU General Public License v3.0-or-later (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
"""Pacemaker resource agent ocf:cloudexit:haproxy_lb: HAProxy as a systemd unit that must answer, not only exist.

A process that died is restarted by systemd within a fraction of a second; the agent waits for that. One that hangs is
killed while the address is still here, so that its clients hear of it, and reported as failed, as is one that systemd
has given up on: the cluster moves the address away. The question goes to the admin socket, which answers even while all
connections are taken: a flood of clients is no failure.
"""

from __future__ import annotations

import os
import socket
import subprocess
import sys
import time

SUCCESS, GENERIC, UNIMPLEMENTED, NOT_INSTALLED, NOT_RUNNING = 0, 1, 3, 5, 7
UNIT = "haproxy.service"
BINARY = "/usr/sbin/haproxy"
PAUSE = 0.1
META_DATA = """<?xml version="1.0"?>
<!DOCTYPE resource-agent SYSTEM "ra-api-1.dtd">
<resource-agent name="haproxy_lb" version="1.0">
  <version>1.1</version>
  <longdesc lang="en">HAProxy as the systemd unit haproxy.service, asked over its admin socket.</longdesc>
  <shortdesc lang="en">HAProxy that answers</shortdesc>
  <parameters>
    <parameter name="socket" unique="0" required="0">
      <longdesc lang="en">Admin socket of HAProxy.</longdesc>
      <shortdesc lang="en">Admin socket</shortdesc>
      <content type="string" default="/run/haproxy/admin.sock"/>
    </parameter>
    <parameter name="patience" unique="0" required="0">
      <longdesc lang="en">Seconds without an answer after which HAProxy counts as hung.</longdesc>
      <shortdesc lang="en">Seconds to wait for an answer</shortdesc>
      <content type="string" default="2"/>
    </parameter>
  </parameters>
  <actions>
    <action name="start" timeout="30s"/>
    <action name="stop" timeout="30s"/>
    <action name="monitor" timeout="10s" interval="2s" depth="0"/>
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
    """Whether HAProxy's event loop says something on its admin socket in time."""
    try:
        with socket.socket(socket.AF_UNIX, socket.SOCK_STREAM) as client:
            client.settimeout(max(patience, PAUSE))
            client.connect(path)
            client.sendall(b"show info desc\n")
            return bool(client.recv(1))
    except OSError:
        return False


def monitor() -> int:
    path, deadline = parameter("socket", ""), time.monotonic() + float(parameter("patience", "2"))
    while True:
        if answers(path, deadline - time.monotonic()):
            return SUCCESS
        now = state()
        if now in ("inactive", "failed", ""):
            return NOT_RUNNING
        if time.monotonic() >= deadline:
            print(f"haproxy is {now} but did not answer on {path}", file=sys.stderr)
            return GENERIC
        time.sleep(PAUSE)


def start() -> int:
    # The cluster limits the time of this action.
    systemctl("reset-failed", UNIT)
    systemctl("start", UNIT)
    while (result := monitor()) == GENERIC:
        pass
    if result != SUCCESS:
        print(f"haproxy did not start: journalctl -u {UNIT}; haproxy -c -f /etc/haproxy/haproxy.cfg", file=sys.stderr)
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

# Copyright (c) the cloudexit maintainers
# GNU General Public License v3.0-or-later (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
"""Real connections between the hosts around the firewall: which get through, and whom the other side sees.

Prints one JSON object: case → the address that the other side saw, "yes" for an answered ping, or "" for nothing.
"""

from __future__ import annotations

import json
import subprocess
import sys
import time

LISTEN = """
import socket, sys, threading
def serve(port):
    s = socket.socket(); s.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1); s.bind(("", port)); s.listen(16)
    while True:
        c, peer = s.accept(); c.sendall(peer[0].encode()); c.close()
for port in sys.argv[1:]:
    threading.Thread(target=serve, args=(int(port),)).start()
print("ready", flush=True)
"""
ASK = """
import socket, sys
try:
    s = socket.create_connection((sys.argv[1], int(sys.argv[2])), timeout=2)
    print(s.recv(64).decode())
except OSError:
    print("")
"""
LISTENERS = {"internet": ["80", "81"], "app": ["8443", "8444"], "data": ["3306", "3307"]}
# Case: from which host, to which address and port (0 is a ping).
CASES = {
    "application to MySQL": ("app", "10.20.0.100", 3306),
    "application to another port of data": ("app", "10.20.0.100", 3307),
    "application pings data": ("app", "10.20.0.100", 0),
    "data to application": ("data", "10.10.0.41", 8443),
    "internet to the shop's VIP": ("internet", "203.0.113.100", 443),
    "internet to another port of the VIP": ("internet", "203.0.113.100", 8444),
    "internet to the web server past the VIP": ("internet", "10.10.0.41", 8443),
    "internet to data": ("internet", "10.20.0.100", 3306),
    "application out": ("app", "203.0.113.50", 80),
    "application out to another port": ("app", "203.0.113.50", 81),
    "data out": ("data", "203.0.113.50", 80),
    "ssh from the internet": ("internet", "203.0.113.11", 22),
    "ssh from the application": ("app", "10.10.0.11", 22),
    "web interface from the application": ("app", "10.10.0.11", 8443),
    "application pings the firewall": ("app", "10.10.0.11", 0),
}


def at(host: str) -> list[str]:
    return ["ip", "netns", "exec", host]


def ask(host: str, address: str, port: int) -> subprocess.Popen[str]:
    program = [sys.executable, "-c", ASK, address, str(port)] if port else ["ping", "-c", "2", "-W", "2", address]
    return subprocess.Popen([*at(host), *program], stdout=subprocess.PIPE, stderr=subprocess.DEVNULL, text=True)


def main() -> None:
    listeners = [
        subprocess.Popen([*at(host), sys.executable, "-c", LISTEN, *ports], stdout=subprocess.PIPE, text=True)
        for host, ports in LISTENERS.items()
    ]
    try:
        for listener in listeners:
            assert listener.stdout and listener.stdout.readline()
        # The firewall's own listener: what is closed to it is closed by rules.
        time.sleep(0.1)
        asked = {case: ask(*what) for case, what in CASES.items()}
        found = {}
        for case, process in asked.items():
            out = process.communicate()[0].strip()
            found[case] = (
                ("" if process.returncode else "yes") if CASES[case][2] == 0 else out.splitlines()[0] if out else ""
            )
        print(json.dumps(found))
    finally:
        for listener in listeners:
            listener.kill()


if __name__ == "__main__":
    main()

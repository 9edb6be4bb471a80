# Copyright (c) the cloudexit maintainers
# GNU General Public License v3.0-or-later (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
"""The single server of the case study: made by hand with data, which is read on another member of the set it became.

    standalone.py make ADDRESS     a server without users, keys and TLS, on a unit of its own, and records in it
    standalone.py read ADDRESS     exit status 0 if they are all on this member

On standard input, as JSON: program for make; ca, user and password for read.
"""

from __future__ import annotations

import json
import subprocess
import sys
import tempfile
from pathlib import Path
from typing import Any

from pymongo import MongoClient

ROOT = Path(__file__).resolve().parents[2]
sys.path[:0] = [str(ROOT / "molecule")]

from lab import state  # noqa: E402

RECORDS = 5000
UNIT = """[Service]
User=mongodb
ExecStart=/usr/local/bin/mongod --dbpath /var/lib/mongodb --bind_ip_all --wiredTigerCacheSizeGB 0.25
[Install]
WantedBy=multi-user.target
"""
SETUP = f"""set -e
apt-get update -q; apt-get install -qy --no-install-recommends libcurl4 libssl3
useradd --system mongodb
install -d -o mongodb /var/lib/mongodb
cat > /usr/local/bin/mongod && chmod 755 /usr/local/bin/mongod
printf '%s' '{UNIT}' > /etc/systemd/system/mongod.service
systemctl enable --now mongod
"""


def make(address: str, given: dict[str, Any]) -> int:
    options = ["-oBatchMode=yes", f"-oUserKnownHostsFile={state.known_hosts()}", "-i", str(state.client_key())]
    with open(given["program"], "rb") as program:
        # The shell reads its commands from its arguments, so that standard input is left for `cat`.
        command = ["ssh", *options, f"root@{address}", SETUP.replace("apt-get ", "apt-get </dev/null ")]
        subprocess.run(command, stdin=program, check=True, stdout=sys.stderr)
    with MongoClient[dict[str, Any]](address, directConnection=True, serverSelectionTimeoutMS=30000) as client:
        client.shop.reviews.insert_many([{"n": number} for number in range(RECORDS)])
    return 0


def read(address: str, given: dict[str, Any]) -> int:
    with tempfile.NamedTemporaryFile("w", suffix=".pem", encoding="utf-8") as ca:
        ca.write(given["ca"])
        ca.flush()
        login: dict[str, Any] = {"username": given["user"], "password": given["password"], "tls": True}
        login |= {"tlsCAFile": ca.name, "readPreference": "secondaryPreferred"}
        with MongoClient[dict[str, Any]](address, directConnection=True, **login) as client:
            found = sorted(document["n"] for document in client.shop.reviews.find())
    print(f"{len(found)} of {RECORDS} records are on {address}")
    return 0 if found == list(range(RECORDS)) else 1


if __name__ == "__main__":
    sys.exit({"make": make, "read": read}[sys.argv[1]](sys.argv[2], json.load(sys.stdin)))

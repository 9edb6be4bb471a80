# Copyright (c) the cloudexit maintainers
# GNU General Public License v3.0-or-later (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
"""Uses the database as a client does. Called with one JSON object; prints what is wrong, one thing per line.

open   on the active member, over the socket: an account for this verification; prints its password
use    on any member, through the VIP: writes a record, reads it back over a second connection
close  on the active member: removes the account
where  on any member: what the cluster runs where
"""

from __future__ import annotations

import json
import os
import secrets
import subprocess
import sys
import xml.etree.ElementTree as ET
from typing import Any

SCHEMA = ACCOUNT = "ha_stack_verify"


def connect(**how: Any) -> Any:
    import pymysql

    return pymysql.connect(autocommit=True, connect_timeout=5, read_timeout=10, write_timeout=10, **how)


def open_account(wish: dict[str, Any]) -> list[str]:
    password = secrets.token_urlsafe(24)
    with connect(unix_socket=wish["socket"], user="root").cursor() as cursor:
        cursor.execute(f"CREATE DATABASE IF NOT EXISTS {SCHEMA}")
        cursor.execute(
            f"CREATE TABLE IF NOT EXISTS {SCHEMA}.records "
            "(member VARCHAR(64) PRIMARY KEY, number BIGINT NOT NULL, token VARCHAR(64) NOT NULL)"
        )
        cursor.execute(f"DROP USER IF EXISTS {ACCOUNT}@%s", (wish["clients"],))
        cursor.execute(f"CREATE USER {ACCOUNT}@%s IDENTIFIED BY %s", (wish["clients"], password))
        cursor.execute(f"GRANT SELECT, INSERT, UPDATE ON {SCHEMA}.records TO {ACCOUNT}@%s", (wish["clients"],))
    return [password]


def close_account(wish: dict[str, Any]) -> list[str]:
    with connect(unix_socket=wish["socket"], user="root").cursor() as cursor:
        cursor.execute(f"DROP USER IF EXISTS {ACCOUNT}@%s", (wish["clients"],))
    return []


def use(wish: dict[str, Any]) -> list[str]:
    how = {
        "host": wish["vip"],
        "port": wish["port"],
        "user": ACCOUNT,
        "password": os.environ["VERIFY_PASSWORD"],
        "database": SCHEMA,
    }
    token = secrets.token_hex(16)
    with connect(**how).cursor() as cursor:
        cursor.execute(
            "INSERT INTO records VALUES (%s, 1, %s) ON DUPLICATE KEY UPDATE number = number + 1, token = VALUES(token)",
            (wish["member"], token),
        )
    with connect(**how).cursor() as cursor:
        cursor.execute(
            "SELECT token, @@innodb_flush_log_at_trx_commit, @@sync_binlog, @@log_bin, @@hostname"
            " FROM records WHERE member = %s",
            (wish["member"],),
        )
        row = cursor.fetchone()
    wrong = []
    if not row or row[0] != token:
        wrong.append(f"the record written through {wish['vip']} was not read back: wrote {token}, found {row}")
    elif row[1:4] != (1, 1, 1):
        wrong.append(f"commits are not safe: innodb_flush_log_at_trx_commit, sync_binlog, log_bin are {row[1:4]}")
    elif row[4] != wish["active"]:
        wrong.append(f"{wish['vip']} leads to {row[4]}, the cluster runs the server on {wish['active']}")
    return wrong


def where(wish: dict[str, Any]) -> list[str]:
    status = ET.fromstring(
        subprocess.run(["crm_mon", "--one-shot", "--output-as=xml"], capture_output=True, text=True, check=True).stdout
    )
    return misplaced(status, wish["name"], wish["members"])


def misplaced(status: ET.Element, name: str, members: list[str]) -> list[str]:
    wrong = []
    places: dict[str, list[tuple[str, str]]] = {}
    for resource in status.iter("resource"):
        for node in resource.iterfind("node"):
            identifier = resource.get("id", "").split(":")[0]
            places.setdefault(identifier, []).append((node.get("name", ""), resource.get("role", "")))
    disks = places.get(f"{name}-drbd", [])
    primaries = [node for node, role in disks if role in ("Promoted", "Master")]
    if len(primaries) != 1:
        wrong.append(f"exactly one member must be primary, these are: {', '.join(primaries) or 'none'}")
    running = sorted({node for node, _role in disks})
    if running != sorted(members):
        wrong.append(f"DRBD must run on {', '.join(sorted(members))}; it runs on {', '.join(running) or 'no member'}")
    for part in ("fs", "vip", "server"):
        nodes = [node for node, _role in places.get(f"{name}-{part}", [])]
        if nodes != primaries:
            wrong.append(
                f"{name}-{part} runs on {', '.join(nodes) or 'no member'}, the primary is "
                f"{', '.join(primaries) or 'nowhere'}"
            )
    for failure in status.iter("failure"):
        if failure.get("op_key", "").startswith(f"{name}-"):
            wrong.append(
                f"failed action {failure.get('op_key')} on {failure.get('node')}: {failure.get('exitreason')} (when the"
                f" cause is known: `pcs resource cleanup {failure.get('op_key', '').rsplit('_', 2)[0]}`)"
            )
    return wrong


def main() -> None:
    wish = json.loads(sys.argv[1])
    for line in {"open": open_account, "close": close_account, "use": use, "where": where}[wish["do"]](wish):
        print(line)


if __name__ == "__main__":
    main()

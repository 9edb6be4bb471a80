# Copyright (c) the cloudexit maintainers
# GNU General Public License v3.0-or-later (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
"""What the modules haproxy_lb_config and haproxy_lb_info know about HAProxy's files and its admin socket."""

from __future__ import annotations

import csv
import hashlib
import re
import socket

CONFIG = "/etc/haproxy/haproxy.cfg"
CERTIFICATES = "/etc/haproxy/certs"
SOCKET = "/run/haproxy/admin.sock"
STATE = "/run/haproxy/server-state"
MARK = "description haproxy_lb "
PLACEHOLDER = "@digest@"
OURS = re.compile(r"[A-Za-z0-9_.:-]+-[0-9a-f]{12}\.pem")


def ask(command: str, path: str = SOCKET, timeout: float = 5) -> str | None:
    """HAProxy's answer on its admin socket; None if there is none."""
    parts: list[bytes] = []
    try:
        with socket.socket(socket.AF_UNIX, socket.SOCK_STREAM) as client:
            client.settimeout(timeout)
            client.connect(path)
            client.sendall(command.encode() + b"\n")
            while part := client.recv(65536):
                parts.append(part)
    except OSError:
        return None
    return b"".join(parts).decode("utf-8", "replace")


def sealed(config: str) -> str:
    """The configuration with a digest of itself as its description, which the running process repeats."""
    return config.replace(PLACEHOLDER, hashlib.sha256(config.encode()).hexdigest()[:16])


def written_digest(config: str) -> str:
    """The digest that a configuration carries; empty if this role did not write it."""
    match = re.search(rf"^\s*{MARK}(\S+)$", config, re.MULTILINE)
    return match.group(1) if match else ""


def running_digest(info: str | None) -> str:
    """The digest out of the answer to `show info`; empty if nothing of ours runs."""
    match = re.search(rf"^{MARK.replace(' ', ': ', 1)}(\S+)$", info or "", re.MULTILINE)
    return match.group(1) if match else ""


def complaints(output: str, candidate: str, config: str) -> list[str]:
    """What `haproxy -c` objects to, each with the line it is about."""
    lines, found = config.splitlines(), []
    for match in re.finditer(r"^\[(ALERT|WARNING)\]\s*(?:\(\d+\)|\S+)\s*:\s*(.+)$", output, re.MULTILINE):
        text = re.sub(r"^config\s*:\s*", "", match.group(2))
        where = re.search(rf"\[?{re.escape(candidate)}:(\d+)\]?", text)
        if where and 0 < int(where.group(1)) <= len(lines):
            number = int(where.group(1))
            text = re.sub(rf"(?:parsing )?\[?{re.escape(candidate)}:\d+\]?\s*:?\s*", "", text)
            text = f"line {number} `{lines[number - 1].strip()}`: {text}"
        if "error(s) found in configuration" not in text.lower() and "fatal errors found" not in text.lower():
            found.append(f"{match.group(1).lower()}: {text}")
    return list(dict.fromkeys(found))


def obsolete(existing: list[str], wanted: list[str]) -> list[str]:
    """Certificate files that this role wrote under the same names before and that nothing uses any more."""
    names = {file[:-17] for file in wanted}
    return sorted(f for f in existing if OURS.fullmatch(f) and f[:-17] in names and f not in wanted)


def server_states(stat: str | None) -> dict[str, str]:
    """Out of the answer to `show stat`: backend/server and its state with the last check, if it is not up."""
    rows = csv.DictReader((stat or "").lstrip("# ").splitlines())
    return {
        f"{row['pxname']}/{row['svname']}": " ".join(filter(None, (row["status"], row.get("check_status") or "")))
        for row in rows
        if row.get("svname") not in (None, "FRONTEND", "BACKEND")
    }

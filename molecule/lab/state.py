# Copyright (c) the cloudexit maintainers
# GNU General Public License v3.0-or-later (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
"""What the lab keeps between runs, outside git: keys, secrets, what it started on the host."""

from __future__ import annotations

import base64
import contextlib
import fcntl
import json
import os
import secrets
import subprocess
import tempfile
from collections.abc import Iterator
from pathlib import Path

from cryptography.hazmat.primitives.asymmetric.x25519 import X25519PrivateKey

from .definitions import STATE, Lab

SSH = STATE / "ssh"
SECRETS = STATE / "secrets.json"
WIREGUARD = "wireguard_"


@contextlib.contextmanager
def lock(name: str, shared_by_all_clones: bool = False) -> Iterator[None]:
    """An exclusive lock that a killed process cannot leave behind."""
    folder = Path(tempfile.gettempdir()) if shared_by_all_clones else STATE
    folder.mkdir(parents=True, exist_ok=True)
    with open(folder / f"cloudexit-{name}.lock", "w", encoding="utf-8") as handle:
        fcntl.flock(handle, fcntl.LOCK_EX)
        yield


def _key(path: Path) -> None:
    if not path.exists():
        path.parent.mkdir(parents=True, exist_ok=True, mode=0o700)
        subprocess.run(
            ["ssh-keygen", "-q", "-t", "ed25519", "-N", "", "-C", "cloudexit-lab", "-f", str(path)], check=True
        )


def client_key() -> Path:
    _key(SSH / "id_ed25519")
    return SSH / "id_ed25519"


def host_key() -> Path:
    """All nodes of a lab share one host key, so that known_hosts can be written before they exist."""
    _key(SSH / "host_ed25519")
    return SSH / "host_ed25519"


def known_hosts() -> Path:
    path = SSH / "known_hosts"
    wanted = f"* {host_key().with_suffix('.pub').read_text(encoding='utf-8')}"
    if not path.exists() or path.read_text(encoding="utf-8") != wanted:
        path.write_text(wanted, encoding="utf-8")
    return path


def _new_secret(name: str) -> str:
    if name.startswith(WIREGUARD):
        return base64.b64encode(secrets.token_bytes(32)).decode()
    return secrets.token_urlsafe(24)


def public_keys(known: dict[str, str]) -> dict[str, str]:
    """What `wg pubkey` makes of those of a lab's secrets that are WireGuard's."""
    found = {}
    for name, key in known.items():
        if name.startswith(WIREGUARD):
            private = X25519PrivateKey.from_private_bytes(base64.b64decode(key))
            found[name] = base64.b64encode(private.public_key().public_bytes_raw()).decode()
    return found


def lab_secrets(lab: Lab) -> dict[str, str]:
    """The lab's generated secrets by name; made on first use, kept until .lab is removed.

    Passwords, and WireGuard's private keys under names that begin with C(wireguard_).
    """
    with lock("secrets"):
        known: dict[str, dict[str, str]] = {}
        if SECRETS.exists():
            known = json.loads(SECRETS.read_text(encoding="utf-8"))
        mine = known.setdefault(lab.name, {})
        missing = [name for name in lab.secrets if name not in mine]
        if missing:
            mine.update({name: _new_secret(name) for name in missing})
            fresh = SECRETS.with_suffix(".new")
            with open(os.open(fresh, os.O_WRONLY | os.O_CREAT | os.O_TRUNC, 0o600), "w", encoding="utf-8") as out:
                json.dump(known, out, indent=1)
            fresh.replace(SECRETS)
    return {name: mine[name] for name in lab.secrets}

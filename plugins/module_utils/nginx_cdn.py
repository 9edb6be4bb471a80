# Copyright (c) the cloudexit maintainers
# GNU General Public License v3.0-or-later (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
"""What the modules of nginx_cdn know about its files, its cache and its figures."""

from __future__ import annotations

import hashlib
import os
import re
import urllib.parse
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path

HOME = Path("/etc/nginx-cdn")
CURRENT = HOME / "current"
CERTIFICATES = HOME / "certs"
UNIT = "nginx-cdn.service"
BINARY = "/usr/sbin/nginx"
PID = Path("/run/nginx-cdn/nginx.pid")
LOGS = Path("/var/log/nginx-cdn")
STATUS_SOCKET = "/run/nginx-cdn/status.sock"
PLACEHOLDER = "@generation@"
OURS = re.compile(r"[A-Za-z0-9_.:-]+-[0-9a-f]{12}\.pem")
GENERATION = re.compile(r"[0-9a-f]{16}")

ENTRY = re.compile(r"[0-9a-f]{32}")
KEY_MARK = b"\nKEY: "
# Nginx' header before the key is some 340 bytes; a key is as long as a request line may be, which is 8 KiB.
FIRST_READ, LONGEST_READ = 1024, 16384
UNRESERVED = re.compile(rb"[A-Za-z0-9/._~-]")


# --- configuration --------------------------------------------------------------------------------------------------


def generation(files: Mapping[str, str]) -> str:
    """A name for a set of configuration files, by their contents."""
    digest = hashlib.sha256()
    for name, text in sorted(files.items()):
        digest.update(f"{name}\0{len(text)}\0{text}".encode())
    return digest.hexdigest()[:16]


def sealed(files: Mapping[str, str]) -> tuple[str, dict[str, str]]:
    """The name of the generation, and its files, which repeat that name where they have the placeholder."""
    name = generation(files)
    return name, {file: text.replace(PLACEHOLDER, name) for file, text in files.items()}


def complaints(output: str, folder: str, files: Mapping[str, str]) -> list[str]:
    """What `nginx -t` objects to, each with the line that it is about."""
    found = []
    for match in re.finditer(
        r"^(?:nginx:|\S+ \S+) \[(emerg|alert|crit|error|warn)\] (?:\d+#\d+: )?(.+)$", output, re.MULTILINE
    ):
        level, text = match.groups()
        where = re.search(r" in (\S+):(\d+)$", text)
        if where and where[1].startswith(f"{folder}/"):
            lines = files.get(where[1][len(folder) + 1 :], "").splitlines()
            number = int(where[2])
            line = lines[number - 1].strip() if 0 < number <= len(lines) else ""
            text = f"line {number} `{line}`: {text[: where.start()]}"
        found.append(f"{level}: {text}")
    return list(dict.fromkeys(found))


def obsolete(existing: Iterable[str], wanted: Iterable[str]) -> list[str]:
    """Certificate files that this role wrote under the same names before and that nothing uses any more."""
    wanted = list(wanted)
    names = {file[:-17] for file in wanted}
    return sorted(f for f in existing if OURS.fullmatch(f) and f[:-17] in names and f not in wanted)


# --- the cache ------------------------------------------------------------------------------------------------------


@dataclass(frozen=True)
class Entry:
    """A file of the cache: what it holds, and how large it is."""

    file: str
    origin: str
    path: str
    query: str
    part: str
    size: int


def canonical(path: str) -> str:
    """A path as the cache's keys have it: decoded, without dots and double slashes, each other byte encoded again."""
    raw = urllib.parse.unquote_to_bytes(path.encode("utf-8", "surrogateescape"))
    parts: list[bytes] = []
    for part in raw.split(b"/"):
        if part == b"..":
            parts = parts[:-1]
        elif part not in (b"", b"."):
            parts.append(part)
    tail = b"/" if parts and raw.rsplit(b"/", 1)[-1] in (b"", b".", b"..") else b""
    whole = b"/" + b"/".join(parts) + tail
    return "".join(chr(byte) if UNRESERVED.match(bytes([byte])) else f"%{byte:02X}" for byte in whole)


def url_path(url: str) -> str:
    """The canonical path of a URL, or of a path; ValueError for what is neither."""
    text = url.strip()
    whole = "://" in text
    text = (urllib.parse.urlsplit(text).path or "/") if whole else re.split(r"[?#]", text, maxsplit=1)[0]
    if not text.startswith("/"):
        raise ValueError(f"'{url}' is neither a URL nor a path that begins with /")
    return canonical(text)


def parse_key(key: str) -> tuple[str, str, str, str] | None:
    """origin:/path?query#range as its four parts; None for what this role did not write."""
    match = re.fullmatch(r"([A-Za-z0-9_-]+):(/[^?]*)\?([^#]*)#(.*)", key)
    return (match[1], match[2], match[3], match[4]) if match else None


def read_key(file: str) -> str | None:
    """The key in a file of the cache; None if it has none, or has just gone."""
    try:
        with open(file, "rb", buffering=0) as cached:
            head = cached.read(FIRST_READ)
            begin = head.find(KEY_MARK)
            if begin >= 0 and head.find(b"\n", begin + len(KEY_MARK)) < 0:
                head += cached.read(LONGEST_READ)
    except OSError:
        return None
    end = head.find(b"\n", begin + len(KEY_MARK)) if begin >= 0 else -1
    return head[begin + len(KEY_MARK) : end].decode("utf-8", "surrogateescape") if end >= 0 else None


def entries(folder: str) -> Iterator[Entry]:
    """Everything in the cache. Files may come and go meanwhile; others than the cache's are passed over."""
    waiting = [folder]
    while waiting:
        try:
            with os.scandir(waiting.pop()) as found:
                children = list(found)
        except OSError:
            continue
        for child in children:
            try:
                if child.is_dir(follow_symlinks=False):
                    waiting.append(child.path)
                    continue
                if not ENTRY.fullmatch(child.name) or not child.is_file(follow_symlinks=False):
                    continue
                key = read_key(child.path)
                parts = parse_key(key) if key is not None else None
                if parts:
                    yield Entry(child.path, *parts, child.stat(follow_symlinks=False).st_size)
            except OSError:
                continue


def matches(entry: Entry, paths: set[str], prefixes: tuple[str, ...]) -> bool:
    """Whether an entry is one of the paths, with any query and any part of it, or below a prefix."""
    return entry.path in paths or entry.path.startswith(prefixes)


# --- figures --------------------------------------------------------------------------------------------------------

SAMPLE = re.compile(r"^([a-z_]+)(?:\{([^}]*)\})? (\S+)$", re.MULTILINE)


def parse_metrics(text: str) -> dict[str, object]:
    """The metrics page as {name: value} and {name: {labels' values, joined: value}}."""
    found: dict[str, object] = {}
    labelled: dict[str, dict[str, float]] = {}
    for name, labels, value in SAMPLE.findall(text):
        number = float(value)
        if not labels:
            found[name] = number
            continue
        labelled.setdefault(name, {})["/".join(re.findall(r'"([^"]*)"', labels))] = number
    return found | labelled


SERVED = ("HIT", "STALE", "UPDATING", "REVALIDATED")


def ratio(counts: Mapping[str, float]) -> float | None:
    """Share of the requests for objects that the cache answered, from counts by its status."""
    total = sum(value for status, value in counts.items() if status != "-")
    return round(sum(counts.get(status, 0) for status in SERVED) / total, 4) if total else None

# Copyright (c) the cloudexit maintainers
# GNU General Public License v3.0-or-later (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
"""What a client may expect of the CDN, tried through one address: behaviour.py VIP ORIGIN_NODE EDGE_NODE…

Reads what reached the origin from the origin's log and changes objects on its disk, through docker. Prints what it
found, and ends with 1 at the first thing that is otherwise.
"""

from __future__ import annotations

import gzip
import http.client
import json
import ssl
import subprocess
import sys
import time
import urllib.parse
from dataclasses import dataclass
from pathlib import Path

sys.path.insert(0, str(Path(__file__).parent))
import origin as files

LOG = "/var/log/nginx/origin.log"
EXPIRED_SECONDS = 3.5  # 2 s in the rule; Nginx counts whole seconds
SLICE = 256 * 1024
RUN = f"{time.time_ns():x}"  # names of its own, so that it can be tried again
CONTEXT = ssl._create_unverified_context()


@dataclass
class Answer:
    status: int
    headers: dict[str, str]
    body: bytes

    @property
    def cache(self) -> str:
        return self.headers.get("x-cache", "")


class Cdn:
    """One address of the CDN, and the origin behind it."""

    def __init__(self, address: str, origin: str) -> None:
        self.address, self.origin = address, origin

    def ask(self, path: str, method: str = "GET", **headers: str) -> Answer:
        connection = http.client.HTTPSConnection(self.address, timeout=30, context=CONTEXT)
        try:
            connection.request(method, path, headers={k.replace("_", "-"): v for k, v in headers.items()})
            answer = connection.getresponse()
            return Answer(answer.status, {k.lower(): v for k, v in answer.getheaders()}, answer.read())
        finally:
            connection.close()

    def on_origin(self, command: str, text: bytes = b"") -> bytes:
        done = subprocess.run(
            ["docker", "exec", "-i", self.origin, "sh", "-c", command], input=text, stdout=subprocess.PIPE, check=True
        )
        return done.stdout

    def reached(self, path: str) -> list[dict[str, str]]:
        """Requests for an object that reached the origin, from its log."""
        uri = f"/shop{path}"
        lines = self.on_origin(f"cat {LOG}").decode().splitlines()
        return [entry for line in lines if (entry := json.loads(line))["uri"] == uri]

    def put(self, path: str, content: bytes) -> None:
        where = f"{files.PRIVATE}{path}"
        self.on_origin(f"mkdir -p $(dirname {where}) && cat > {where}.new && mv {where}.new {where}", content)


def check(good: bool, text: str) -> None:
    if not good:
        raise SystemExit(f"nginx_cdn behaves otherwise: {text}")


def objects(cdn: Cdn) -> str:
    """Every object is what the origin has, whatever its name."""
    odd = 0
    for path, content in files.objects().items():
        private = path.is_relative_to(files.PRIVATE)
        name = str(path.relative_to(files.PRIVATE if private else files.PUBLIC / "files"))
        if name.startswith(("zipf/", "slow/", "wrong/", "short/", "versioned/")):
            continue
        answer = cdn.ask("/" + urllib.parse.quote(name))
        check(answer.status == 200 and answer.body == content, f"{name}: {answer.status}, {len(answer.body)} bytes")
        if name.startswith("odd/"):
            odd += 1
            # The same object under another spelling of its name is the same entry of the cache.
            again = cdn.ask("/" + urllib.parse.quote(name, safe="/+()!*',;:@&=$"))
            check(again.cache == "HIT" and again.body == content, f"{name} spelled otherwise: {again.cache}")
    head = cdn.ask("/pages/100k", "HEAD")
    check(head.status == 200 and head.headers["content-length"] == "102400", f"HEAD: {head}")
    return f"objects as they are at the origin, {odd} of them with odd names"


def protected(cdn: Cdn) -> str:
    """Nothing of a client reaches the origin, nothing of the origin's pages a client."""
    cdn.put(f"/fresh/private-{RUN}.txt", b"mine\n")
    answer = cdn.ask(
        f"/fresh/private-{RUN}.txt?list-type=2&x=1", Cookie="a=b", Authorization="Basic Zm9v", User_Agent="spy"
    )
    check(answer.status == 200, f"with a query: {answer.status}")
    entry = cdn.reached(f"/fresh/private-{RUN}.txt")
    check(len(entry) == 1 and not entry[0]["cookie"] and not entry[0]["agent"], f"reached the origin: {entry}")
    check(entry[0]["authorization"].startswith("AWS4-HMAC-SHA256 "), f"authorization: {entry[0]['authorization']}")
    check(
        not [name for name in answer.headers if name.startswith(("x-amz", "set-cookie"))], f"headers {answer.headers}"
    )
    check(answer.headers["strict-transport-security"] == "max-age=86400", "no HSTS")
    for path in ("/", "/pages/", "/?list-type=2", "/pages/../", "/pages/%2e%2e/", "/nothing-here", "/pages/1k/x"):
        answer = cdn.ask(path)
        check(answer.status == 404 and answer.body == b"not found\n", f"{path}: {answer.status} {answer.body[:80]!r}")
    for method in ("POST", "PUT", "DELETE", "OPTIONS", "PROPFIND"):
        check((got := cdn.ask("/pages/1k", method).status) == 405, f"{method}: {got}")
    unsigned = cdn.on_origin("curl -sk -o /dev/null -w '%{http_code}' https://localhost:9443/shop/pages/1k").decode()
    check(unsigned in ("400", "403"), f"the private bucket without a signature: {unsigned}")
    return f"lists, other methods, clients' headers and arguments stop at the edge; unsigned: {unsigned}"


def keys(cdn: Cdn) -> str:
    """Which arguments are part of the key, what clients are told, what varies."""
    cdn.put(f"/versioned/k-{RUN}.txt", b"one\n")
    check(cdn.ask(f"/versioned/k-{RUN}.txt?v=1").body == b"one\n", "v=1")
    cdn.put(f"/versioned/k-{RUN}.txt", b"two\n")
    got = [cdn.ask(f"/versioned/k-{RUN}.txt?{query}").body for query in ("v=1&utm=x", "utm=y&v=1", "v=2")]
    check(got == [b"one\n", b"one\n", b"two\n"], f"by argument: {got}")
    css = cdn.ask("/static/app.css")
    check(css.headers["cache-control"] == "public, max-age=31536000, immutable", f"cache-control {css.headers}")
    check(css.headers["access-control-allow-origin"] == "*", "header of a rule")
    plain = len(css.body)
    zipped, brotli = (cdn.ask("/static/app.css", Accept_Encoding=kind) for kind in ("gzip", "br"))
    check(gzip.decompress(zipped.body) == css.body, "gzip")
    check(
        brotli.headers.get("content-encoding") == "br" and "accept-encoding" in brotli.headers["vary"].lower(), "brotli"
    )
    same = cdn.ask("/static/app.css", If_None_Match=css.headers["etag"])
    check(same.status == 304 and not same.body, f"conditional: {same.status}")
    check(brotli.cache == zipped.cache == "HIT", "one entry, however it is compressed")
    kept = [cdn.ask("/x.never").cache for _try in range(2)]
    check(kept == ["BYPASS", "BYPASS"], f"what is never kept: {kept}")
    return f"keys, headers, compression: {plain} bytes plain, {len(zipped.body)} gzip, {len(brotli.body)} brotli"


def ranges(cdn: Cdn) -> str:
    """Parts of a large object, byte by byte, and only the parts that are needed from the origin."""
    whole = next(content for path, content in files.objects().items() if path.name == "big.bin")
    cdn.put(f"/video/parts-{RUN}.bin", whole)
    before = len(cdn.reached(f"/video/parts-{RUN}.bin"))
    part = cdn.ask(f"/video/parts-{RUN}.bin", Range=f"bytes={SLICE - 10}-{SLICE + 9}")
    check(part.status == 206 and part.body == whole[SLICE - 10 : SLICE + 10], f"over a boundary: {part.status}")
    check((asked := len(cdn.reached(f"/video/parts-{RUN}.bin")) - before) == 2, f"two parts cost {asked} requests")
    for text, expected in (
        ("bytes=0-0", whole[:1]),
        (f"bytes={3 * SLICE}-{5 * SLICE}", whole[3 * SLICE : 5 * SLICE + 1]),
        ("bytes=5242880-", whole[5242880:]),
        ("bytes=-100", whole[-100:]),
    ):
        part = cdn.ask(f"/video/parts-{RUN}.bin", Range=text)
        check(part.status == 206 and part.body == expected, f"{text}: {part.status}, {len(part.body)} bytes")
    beyond = cdn.ask(f"/video/parts-{RUN}.bin", Range="bytes=99999999-")
    check(beyond.status == 416, f"beyond the end: {beyond.status}")
    all_of_it = cdn.ask(f"/video/parts-{RUN}.bin")
    check(all_of_it.status == 200 and all_of_it.body == whole, f"all of it: {all_of_it.status} {len(all_of_it.body)}")
    check(
        len({e["range"] for e in cdn.reached(f"/video/parts-{RUN}.bin") if e["status"] == 206}) == 21,
        "parts at the origin",
    )
    twice = [e["range"] for e in cdn.reached(f"/video/parts-{RUN}.bin") if e["status"] == 206]
    check(len(twice) == 21, f"{len(twice)} requests for 21 parts")
    lie = cdn.ask("/wrong/parts.bin")
    check(lie.status == 502, f"a part sent as the whole: {lie.status}")
    plain = cdn.ask("/pages/100k", Range="bytes=1000-1999")
    check(plain.status == 206 and len(plain.body) == 1000, f"a part of an object without slices: {plain.status}")
    return f"{len(whole)} bytes in any range, byte by byte; each of their 21 parts fetched once"


def freshness(cdn: Cdn) -> str:
    """Stale while revalidated: nobody waits, and the new content comes with the second request."""
    cdn.put(f"/short/f-{RUN}.txt", b"one\n")
    check(cdn.ask(f"/short/f-{RUN}.txt").body == b"one\n", "first")
    cdn.put(f"/short/f-{RUN}.txt", b"two\n")
    time.sleep(EXPIRED_SECONDS)
    stale = cdn.ask(f"/short/f-{RUN}.txt")
    check(
        stale.cache in ("STALE", "UPDATING") and stale.body == b"one\n", f"after its time: {stale.cache} {stale.body!r}"
    )
    deadline = time.monotonic() + 10
    while (now := cdn.ask(f"/short/f-{RUN}.txt")).body != b"two\n" and time.monotonic() < deadline:
        time.sleep(0.1)
    check(now.body == b"two\n", f"never renewed: {now.cache} {now.body!r}")
    time.sleep(EXPIRED_SECONDS)
    cdn.ask(f"/short/f-{RUN}.txt")
    time.sleep(1)
    asked = cdn.reached(f"/short/f-{RUN}.txt")
    check(asked[-1]["status"] == 304 and bool(asked[-1]["since"]), f"renewed without a body: {asked[-1]}")
    return f"stale while revalidated; an unchanged object is renewed with {asked[-1]['status']}"


def connections(cdn: Cdn) -> str:
    """Connections to the origin are kept."""
    for number in range(20):
        cdn.put(f"/kept-{RUN}/{number}", b"x\n")
    for number in range(20):
        cdn.ask(f"/kept-{RUN}/{number}")
    used = {cdn.reached(f"/kept-{RUN}/{number}")[0]["connection"] for number in range(20)}
    check(len(used) <= 6, f"20 requests over {len(used)} connections")
    return f"20 requests reached the origin over {len(used)} connections"


def main() -> int:
    cdn = Cdn(sys.argv[1], sys.argv[2])
    for step in (objects, protected, keys, ranges, freshness, connections):
        print(step(cdn), flush=True)
    return 0


if __name__ == "__main__":
    sys.exit(main())

# Copyright (c) the cloudexit maintainers
# GNU General Public License v3.0-or-later (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
"""What nginx_cdn decides: keys, the purge, sizes, inputs, figures. Recorded with Nginx 1.26.3 of Debian 13."""

from __future__ import annotations

import importlib.util
from pathlib import Path
from types import ModuleType
from typing import Any

import pytest
from ansible_collections.cloudexit.ha_stack.plugins.filter import nginx_cdn as decide
from ansible_collections.cloudexit.ha_stack.plugins.module_utils import nginx_cdn as cdn

ROLE = Path(__file__).resolve().parents[2] / "roles" / "nginx_cdn"
GIB = 1 << 30


# --- keys and the purge ---------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("path", "expected"),
    [
        ("/a/b.css", "/a/b.css"),
        ("/a//b/./c/../d", "/a/b/d"),
        ("/a/..", "/"),
        ("/plus+plus (1).txt", "/plus%2Bplus%20%281%29.txt"),
        ("/%61%2fb", "/a/b"),
        ("/ü", "/%C3%BC"),
        ("/%c3%bc", "/%C3%BC"),
        ("/100%25", "/100%25"),
        ("/a/", "/a/"),
        ("/", "/"),
        ("/tilde~star*", "/tilde~star%2A"),
    ],
)
def test_a_path_is_one_entry_however_it_is_spelled(path: str, expected: str) -> None:
    assert cdn.canonical(path) == expected


def test_a_url_and_a_path_mean_the_same_object() -> None:
    assert cdn.url_path("https://cdn.example.com/a%20b.css?v=1#x") == cdn.url_path("/a b.css") == "/a%20b.css"
    with pytest.raises(ValueError, match=r"'a\.css' is neither a URL nor a path"):
        cdn.url_path("a.css")


def cached(folder: Path, number: int, key: str, body: bytes = b"x" * 10) -> Path:
    """A file as Nginx writes it: a binary header, the key, the answer's header, its body."""
    name = f"{number:032x}"
    path = folder / name[-1] / name[-3:-1] / name
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_bytes(b"\x05\0\0\0" + b"\0\x0a" * 160 + b"\nKEY: " + key.encode() + b"\nHTTP/1.1 200 OK\r\n\r\n" + body)
    return path


def test_entries_are_found_by_their_keys_and_nothing_else_is_touched(tmp_path: Path) -> None:
    cached(tmp_path, 1, "shop:/a.css?v=1#")
    cached(tmp_path, 2, "shop:/a.css?v=2#")
    cached(tmp_path, 3, "shop:/video/b.mp4?#bytes=0-262143")
    cached(tmp_path, 4, "shop:/video/b.mp4?#bytes=262144-524287")
    cached(tmp_path, 5, f"shop:/{'long/' * 900}a?#")
    cached(tmp_path, 6, "http://somebody.example/else")
    (tmp_path / "a" / "notes.txt").parent.mkdir(exist_ok=True)
    (tmp_path / "a" / "notes.txt").write_text("\nKEY: shop:/a.css?#\n")
    (tmp_path / "0" / f"{7:032x}.0000000012").parent.mkdir(exist_ok=True)
    (tmp_path / "0" / f"{7:032x}.0000000012").write_bytes(b"")
    found = list(cdn.entries(str(tmp_path)))
    assert len(found) == 5
    one = [entry for entry in found if cdn.matches(entry, {"/a.css"}, ())]
    assert sorted(entry.query for entry in one) == ["v=1", "v=2"]
    parts = [entry for entry in found if cdn.matches(entry, set(), ("/video/",))]
    assert sorted(entry.part for entry in parts) == ["bytes=0-262143", "bytes=262144-524287"]
    assert sum(cdn.matches(entry, set(), ("/",)) for entry in found) == 5
    assert not any(cdn.matches(entry, set(), ()) for entry in found)


def test_a_file_without_a_key_is_no_entry(tmp_path: Path) -> None:
    empty = tmp_path / f"{1:032x}"
    empty.write_bytes(b"\x05\0\0\0")
    assert cdn.read_key(str(empty)) is None
    assert cdn.read_key(str(tmp_path / "gone")) is None
    assert list(cdn.entries(str(tmp_path))) == []


# --- configuration --------------------------------------------------------------------------------------------------


def test_a_generation_is_named_after_its_contents() -> None:
    name, files = cdn.sealed({"nginx.conf": "return 200 @generation@;\n", "s3.js": "x"})
    assert cdn.GENERATION.fullmatch(name) and files["nginx.conf"] == f"return 200 {name};\n"
    assert cdn.sealed({"nginx.conf": "return 200 @generation@;\n", "s3.js": "y"})[0] != name
    assert cdn.generation({"a": "bc"}) != cdn.generation({"ab": "c"})


def test_what_nginx_objects_to_comes_with_its_line() -> None:
    output = (
        '2026/11/27 21:22:21 [emerg] 29#29: unknown directive "no_such_option" in /etc/nginx-cdn/104e/nginx.conf:2\n'
        "nginx: configuration file /etc/nginx-cdn/104e/nginx.conf test failed\n"
    )
    files = {"nginx.conf": "http {\n    no_such_option 1;\n}\n"}
    assert cdn.complaints(output, "/etc/nginx-cdn/104e", files) == [
        'emerg: line 2 `no_such_option 1;`: unknown directive "no_such_option"'
    ]
    early = 'nginx: [emerg] host not found in upstream "s3.example:443" in /etc/nginx-cdn/104e/nginx.conf:9\n'
    assert cdn.complaints(early, "/etc/nginx-cdn/104e", files) == [
        'emerg: line 9 ``: host not found in upstream "s3.example:443"'
    ]


# --- inputs ---------------------------------------------------------------------------------------------------------

PRIVATE = {
    "name": "shop",
    "endpoints": [{"host": "s3.example"}],
    "bucket": "shop",
    "access_key": "A",
    "secret_key": "S",
}
HOSTVARS = {"cdn1": {"ansible_host": "192.0.2.11"}, "cdn2": {"ansible_host": "192.0.2.12"}}


def info(**changed: Any) -> dict[str, Any]:
    known = {
        "node": "cdn1",
        "prefix": 24,
        "clustered": True,
        "certificates": {},
        "filesystem": {"total": 100 * GIB, "free": 50 * GIB},
        "memory": 16 * GIB,
        "foreign": [],
        "vips": [],
        "stale": False,
    }
    return {**known, **changed}


def wish(**changed: Any) -> dict[str, Any]:
    known: dict[str, Any] = {
        "members": ["cdn1", "cdn2"],
        "host": "cdn1",
        "vips": [{"address": "192.0.2.100", "member": "cdn1"}],
        "origins": [PRIVATE],
        "rules": [{"path": "/", "origin": "shop"}],
        "index": "",
        "checks": [],
        "port": 443,
        "redirect_from": 0,
        "health_path": "/.cdn/health",
        "certificate": {},
        "renew_days": 30,
        "folder": "/",
        "cache_path": "/var/cache/nginx-cdn",
        "cache_percent": 60,
        "min_free_percent": 10,
        "cache_size": "",
        "keys_zone": 0,
        "admin_address": "127.0.0.1",
        "admin_port": 8405,
        "present": ["cdn1", "cdn2"],
    }
    return {**known, **changed}


def problems(look: dict[str, Any] | None = None, **changed: Any) -> list[str]:
    hostvars = {name: {**host, "look": look or info(node=name)} for name, host in HOSTVARS.items()}
    return decide.plan(wish(**changed), hostvars, "look")["problems"]


def test_good_inputs_are_taken() -> None:
    assert problems() == []


@pytest.mark.parametrize(
    ("changed", "text"),
    [
        ({"members": ["cdn1"]}, "nginx_cdn_members has 1 member (cdn1)"),
        ({"vips": []}, "nginx_cdn_vips is empty"),
        ({"vips": [{"address": "192.0.2.12"}]}, "the address of cdn2. The VIP is an address of its own"),
        ({"vips": [{"address": "198.51.100.1"}]}, "outside the members' subnet 192.0.2.0/24"),
        ({"vips": [{"address": "192.0.2.100", "member": "cdn9"}]}, "prefers cdn9, which is not in nginx_cdn_members"),
        ({"origins": [{**PRIVATE, "secret_key": ""}]}, "the origin shop has no secret_key"),
        ({"origins": [{**PRIVATE, "tls": False}]}, "is private and has tls: false"),
        ({"origins": [{**PRIVATE, "bucket": "a b"}]}, "has the bucket 'a b', which cannot be one"),
        ({"origins": [{**PRIVATE, "endpoints": []}]}, "has no endpoints"),
        ({"origins": [{**PRIVATE, "endpoints": [{"host": "a;b"}]}]}, "has the endpoint 'a;b'"),
        ({"origins": [{**PRIVATE, "ca": "nonsense"}]}, "is not a certificate in PEM form"),
        ({"origins": [PRIVATE, PRIVATE]}, "two entries called shop"),
        ({"rules": []}, "nginx_cdn_rules is empty"),
        ({"rules": [{"path": "static", "origin": "shop"}]}, "must have a path that begins with /"),
        (
            {"rules": [{"path": "/", "origin": "other"}]},
            "names the origin other, which is not in nginx_cdn_origins (shop)",
        ),
        ({"rules": [{"path": "/", "origin": "shop", "ttl": {200: "1 hour"}}]}, "has the ttl 1 hour"),
        ({"rules": [{"path": "/", "origin": "shop", "query": ["a&b"]}]}, "has the query argument 'a&b'"),
        ({"rules": [{"path": "/", "origin": "shop", "slice": "1 MB"}]}, "has slice: 1 MB"),
        ({"rules": [{"path": "/", "origin": "shop", "headers": {"X": 'a"; deny'}}]}, "which cannot be one"),
        ({"cache_path": "/var"}, "Give a folder of its own"),
        (
            {"cache_size": "200g"},
            "do not fit into the file system of /var/cache/nginx-cdn on cdn1, which has 102400 MiB",
        ),
        ({"redirect_from": 80}, "there is no https to send to"),
        ({"look": info(foreign=["lib"])}, "holds what is no cache of Nginx (lib)"),
        ({"look": info(ports_taken={"443": "haproxy"})}, "port 443 on cdn1 is taken by haproxy"),
        ({"look": info(node="other")}, "calls itself other"),
        (
            {"look": info(clustered=False, vips_held_by={"192.0.2.100": "aa:bb"})},
            "is in use already, aa:bb answers for it",
        ),
        (
            {"look": info(clustered=False), "present": ["cdn1"]},
            "setting it up needs all members in one run; missing: cdn2",
        ),
    ],
)
def test_wrong_inputs_are_refused_in_words(changed: dict[str, Any], text: str) -> None:
    assert any(text in problem for problem in problems(**changed)), problems(**changed)


def test_the_cache_is_as_large_as_its_share_of_the_file_system() -> None:
    assert decide.sizes(wish(), info()) == {"cache": 61440, "min_free": 10240, "keys": 122}
    assert decide.sizes(wish(cache_size="1g"), info())["cache"] == 1024
    assert decide.sizes(wish(), info(memory=GIB))["keys"] == 102  # a tenth of the memory
    assert decide.sizes(wish(cache_size="500m"), info())["keys"] == decide.LEAST_ZONE_MIB
    assert decide.sizes(wish(keys_zone=7), info())["keys"] == 7


def test_an_origin_is_called_by_its_name_whatever_its_address() -> None:
    path = {**PRIVATE, "endpoints": [{"host": "192.0.2.21", "port": 9443}], "host": "s3.example", "prefix": "a b/c"}
    (seen,) = decide.origins([path])
    assert seen["servers"] == ["192.0.2.21:9443"]
    assert (seen["host"], seen["tls_name"]) == ("s3.example:9443", "s3.example")
    assert seen["url"] == "https://cdn_shop/shop/a%20b/c"
    assert decide.signing([path], "")["private"]["shop"]["base"] == "/shop/a%20b/c"
    (virtual,) = decide.origins([{**PRIVATE, "style": "virtual"}])
    assert (virtual["host"], virtual["url"]) == ("shop.s3.example", "https://cdn_shop")
    public = {key: value for key, value in PRIVATE.items() if not key.endswith("_key")}
    assert decide.signing([public], "")["private"] == {}


def test_times_by_status_are_laid_over_the_defaults() -> None:
    assert decide.ttl({200: "7d", "any": "1m", 404: "2s"}) == [
        ("200", "7d"),
        ("403", "30s"),
        ("404", "2s"),
        ("416", "30s"),
        ("any", "1m"),
    ]


def test_a_tier_without_its_address_is_found_out() -> None:
    seen = info(answers=[], running="a", written="a")
    hostvars = {name: {**host, "look": seen} for name, host in HOSTVARS.items()}
    assert decide.findings(wish(), hostvars, "look") == [
        "the VIP 192.0.2.100 is on no member that was reached, it should be on one: `pcs status`"
    ]
    both = {name: {**host, "look": {**seen, "vips": ["192.0.2.100"]}} for name, host in HOSTVARS.items()}
    assert "is on cdn1, cdn2, it should be on one" in decide.findings(wish(), both, "look")[0]
    old = {name: {**host, "look": {**seen, "vips": ["192.0.2.100"], "running": "b"}} for name, host in HOSTVARS.items()}
    assert any("Nginx runs the configuration b, on disk is a" in text for text in decide.findings(wish(), old, "look"))
    wrong = {"name": "VIP", "address": "192.0.2.100", "port": 443, "path": "/", "status": 404, "got": 200, "error": ""}
    assert decide.answer_problem(wrong) == "GET VIP (192.0.2.100:443/) answers 200, not 404"


# --- figures --------------------------------------------------------------------------------------------------------


@pytest.fixture
def metrics() -> ModuleType:
    spec = importlib.util.spec_from_file_location("nginx_cdn_metrics", ROLE / "files" / "nginx_cdn_metrics.py")
    assert spec and spec.loader
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


LINE = 'HIT 200 1363 0.000 - - 2026-11-27T21:24:55+00:00 10.203.7.1 HTTP/2.0 "GET /pages/1k HTTP/2.0" "-" "-" "curl"\n'


def test_the_log_is_counted_over_its_rotation(
    metrics: ModuleType, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    log = tmp_path / "access.log"
    log.write_text(LINE)
    monkeypatch.setattr(metrics, "LOG", str(log))
    monkeypatch.setattr(metrics, "STATUS_SOCKET", str(tmp_path / "nobody"))
    counts = metrics.Counts()
    counts.update(first=True)
    assert not counts.requests, "what was there before does not count"
    with log.open("a") as out:
        out.write(LINE + LINE.replace("HIT", "MISS") + LINE.replace("HIT 200", "- 404") + "nonsense\n" + LINE[:20])
    counts.update()
    with log.open("a") as out:
        out.write(LINE[20:])
    log.rename(tmp_path / "access.log.1")
    log.write_text(LINE.replace("HIT 200", "STALE 200"))
    counts.update()
    assert counts.requests == {"HIT": 2, "MISS": 1, "-": 1, "STALE": 1}
    assert counts.unreadable == 1
    page = cdn.parse_metrics(metrics.page(counts, str(tmp_path)))
    assert page["nginx_cdn_requests_total"] == {"HIT": 2, "MISS": 1, "-": 1, "STALE": 1}
    assert page["nginx_cdn_hit_ratio"] == 0.75
    assert page["nginx_cdn_up"] == 0
    assert cdn.ratio({"HIT": 2, "MISS": 1, "-": 1, "STALE": 1}) == 0.75
    assert cdn.ratio({"-": 3}) is None

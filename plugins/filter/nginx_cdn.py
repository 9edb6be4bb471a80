# Copyright (c) the cloudexit maintainers
# GNU General Public License v3.0-or-later (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
"""What the role nginx_cdn decides on the controller: inputs, sizes, origins as Nginx sees them, what is wrong."""

from __future__ import annotations

import base64
import datetime
import re
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any

from ansible.errors import AnsibleFilterError
from ansible.utils.display import Display
from ansible_collections.cloudexit.ha_stack.plugins.filter import haproxy_lb as certificates
from ansible_collections.cloudexit.ha_stack.plugins.module_utils import members
from ansible_collections.cloudexit.ha_stack.plugins.module_utils.members import address_of, is_address, twice
from ansible_collections.cloudexit.ha_stack.plugins.module_utils.nginx_cdn import canonical

ROLE = "nginx_cdn"
NAME = re.compile(r"[A-Za-z0-9_-]+")
BUCKET = re.compile(r"[A-Za-z0-9][A-Za-z0-9._-]{1,254}")
HOST = re.compile(r"[A-Za-z0-9]([A-Za-z0-9.-]*[A-Za-z0-9])?")
TIME = re.compile(r"[1-9][0-9]*(ms|s|m|h|d|w|M|y)?|0")
SIZE = re.compile(r"[1-9][0-9]*[kKmMgG]")
ARGUMENT = re.compile(r"[A-Za-z0-9_]+")
HEADER = re.compile(r"[A-Za-z0-9-]+")
REGEX = re.compile(r"~\*?\s*(\S.*)")
UNITS = {"k": 1 << 10, "m": 1 << 20, "g": 1 << 30}
TTL = {"200": "1h", "403": "30s", "404": "30s", "416": "30s"}
CERTIFICATE = "cdn"  # the name of the certificate's file

# One entry of the cache for each so many bytes is what the zone of keys is made for, and what Nginx says a MiB holds.
BYTES_PER_ENTRY, KEYS_PER_MIB = 64 << 10, 8000
LEAST_ZONE_MIB, LARGEST_ZONE_MIB = 16, 512
MIB = 1 << 20


def number(size: Any) -> int:
    """Bytes of a size in Nginx' notation."""
    text = str(size)
    return int(text[:-1]) * UNITS[text[-1].lower()] if SIZE.fullmatch(text) else int(text)


def in_brackets(host: str) -> str:
    return f"[{host}]" if ":" in host else host


# --- origins --------------------------------------------------------------------------------------------------------


def host_of(origin: Mapping[str, Any]) -> str:
    """The name that the origin is called by: in the request, in TLS, and in its certificate."""
    endpoints = origin.get("endpoints") or []
    host = str(origin.get("host") or (endpoints[0].get("host") if endpoints else "") or "")
    return f"{origin['bucket']}.{host}" if origin.get("style") == "virtual" else host


def with_tls(origin: Mapping[str, Any]) -> bool:
    return bool(origin.get("tls", True))


def port_of(origin: Mapping[str, Any], endpoint: Mapping[str, Any]) -> int:
    return int(endpoint.get("port") or (443 if with_tls(origin) else 80))


def base_of(origin: Mapping[str, Any]) -> str:
    """What comes before an object's path in the origin's URLs, encoded."""
    parts = [] if origin.get("style") == "virtual" else [str(origin["bucket"])]
    parts += [part for part in str(origin.get("prefix") or "").split("/") if part]
    return canonical("/" + "/".join(parts)) if parts else ""


def is_private(origin: Mapping[str, Any]) -> bool:
    return bool(origin.get("access_key") or origin.get("secret_key"))


def origins(wished: Iterable[Mapping[str, Any]]) -> list[dict[str, Any]]:
    """Each origin as the template needs it."""
    found = []
    for origin in wished:
        endpoints = [(str(e["host"]), port_of(origin, e)) for e in origin["endpoints"]]
        port = endpoints[0][1]
        host = host_of(origin)
        default = 443 if with_tls(origin) else 80
        found.append(
            {
                "name": origin["name"],
                "servers": [f"{in_brackets(host)}:{port}" for host, port in endpoints],
                "host": in_brackets(host) + ("" if port == default else f":{port}"),
                "tls_name": str(origin.get("tls_name") or host),
                "tls": with_tls(origin),
                "ca": bool(origin.get("ca")),
                "url": f"{'https' if with_tls(origin) else 'http'}://cdn_{origin['name']}{base_of(origin)}",
                "private": is_private(origin),
                "keepalive": int(origin.get("keepalive") or 32),
                "connect_timeout": origin.get("connect_timeout") or "2s",
                "read_timeout": origin.get("read_timeout") or "15s",
            }
        )
    return found


def signing(wished: Iterable[Mapping[str, Any]], index: str) -> dict[str, Any]:
    """What s3.js reads: how to sign for each private origin, and the name of an index."""
    wished = list(wished)
    return {
        "index": index,
        "private": {
            origin["name"]: {
                "access_key": str(origin["access_key"]),
                "secret_key": str(origin["secret_key"]),
                "region": str(origin.get("region") or "us-east-1"),
                "host": as_seen["host"],
                "base": base_of(origin),
            }
            for origin, as_seen in zip(wished, origins(wished), strict=True)
            if is_private(origin)
        },
    }


def ttl(wished: Mapping[Any, Any]) -> list[tuple[str, str]]:
    """How long an answer is fresh, by status, those of `any` last; YAML reads a status as a number."""
    times = {**TTL, **{str(status): str(time) for status, time in wished.items()}}
    return sorted(times.items(), key=lambda each: (each[0] == "any", each[0]))


# --- sizes ----------------------------------------------------------------------------------------------------------


def sizes(wish: Mapping[str, Any], info: Mapping[str, Any]) -> dict[str, int]:
    """MiB of the cache, of what it leaves free, and of the zone of its keys."""
    total = int(info["filesystem"]["total"]) // MIB
    most = number(wish["cache_size"]) // MIB if wish["cache_size"] else total * int(wish["cache_percent"]) // 100
    free = total * int(wish["min_free_percent"]) // 100
    zone = most * MIB // BYTES_PER_ENTRY // KEYS_PER_MIB
    limit = min(LARGEST_ZONE_MIB, max(LEAST_ZONE_MIB, int(info["memory"]) // MIB // 10))
    return {
        "cache": most,
        "min_free": free,
        "keys": int(wish["keys_zone"]) or max(LEAST_ZONE_MIB, min(limit, zone)),
    }


# --- certificate ----------------------------------------------------------------------------------------------------


def given(certificate: Mapping[str, Any], kind: str, folder: str) -> tuple[str, str]:
    """Text of the certificate or the key, and where it is from."""
    variable = f"nginx_cdn_certificate.{kind}"
    path = certificate.get(f"{kind}_file")
    if not path:
        text = str(certificate.get(kind) or "")
        if not text.strip():
            raise certificates.Unusable(
                f"{variable} is missing or empty: give {kind}_file (a path on the controller) or {kind} (its text, "
                "from the vault)"
            )
        return text, variable
    where = Path(folder, Path(path).expanduser())
    try:
        return where.read_text(encoding="ascii"), str(where)
    except (OSError, ValueError) as err:
        raise certificates.Unusable(f"cannot read {where}, set as {variable}_file: {err}") from err


def given_pem(certificate: Mapping[str, Any], folder: str, now: datetime.datetime) -> str:
    """Certificate, chain and key in one text; Unusable if they do not fit or are not valid now."""
    cert_text, cert_from = given(certificate, "certificate", folder)
    key_text, key_from = given(certificate, "key", folder)
    leaf = certificates.read_certificate(cert_text, cert_from)
    key = certificates.read_key(key_text, key_from)
    pair = [certificates.fingerprint(each.public_key()) for each in (leaf, key)]
    if pair[0] != pair[1]:
        raise certificates.Unusable(
            f"the certificate {cert_from} does not match the key {key_from}: their public keys are {pair[0]} and "
            f"{pair[1]}. Compare `openssl x509 -noout -pubkey -in CERTIFICATE` (its first one counts) with "
            "`openssl pkey -pubout -in KEY`, and set nginx_cdn_certificate to a pair"
        )
    if leaf.not_valid_after_utc <= now:
        raise certificates.Unusable(
            f"the certificate {cert_from} expired on {leaf.not_valid_after_utc:%Y-%m-%d %H:%M} UTC: renew it, and set "
            "nginx_cdn_certificate"
        )
    return f"{cert_text.strip()}\n{key_text.strip()}\n"


def certificate_plan(
    wish: Mapping[str, Any], infos: Mapping[str, Any], now: datetime.datetime
) -> tuple[dict[str, Any], list[str]]:
    """Which file has the certificate, who must make or fetch it, and what is wrong with it."""
    certificate = wish["certificate"]
    plan: dict[str, Any] = {"file": "", "generate": [], "fetch": []}
    if not certificate:
        return plan, []
    until = now + datetime.timedelta(days=int(wish["renew_days"]))
    if not certificate.get("generate"):
        try:
            pem = given_pem(certificate, wish["folder"], now)
        except certificates.Unusable as err:
            return plan, [str(err)]
        ends = certificates.read_certificate(pem, CERTIFICATE).not_valid_after_utc
        if ends <= until:
            Display().warning(f"nginx_cdn: the certificate ends on {ends:%Y-%m-%d}: renew it")
        return {**plan, "file": certificates.file_name(CERTIFICATE, pem)}, []
    named = {"name": CERTIFICATE, "names": certificate.get("names") or [vip["address"] for vip in wish["vips"]]}
    file = certificates.live_file(named, "", infos, until)
    if file is None:
        return {**plan, "generate": [named]}, []
    having = [member for member, seen in infos.items() if seen and file in seen["certificates"]]
    missing = any(seen and file not in seen["certificates"] for seen in infos.values())
    return {**plan, "file": file, "fetch": [{"file": file, "member": having[0]}] if missing else []}, []


def contents(
    wish: Mapping[str, Any], planned: Mapping[str, Any], fetched: Mapping[str, Any], generated: Mapping[str, Any]
) -> dict[str, str | None]:
    """Text of the certificate's file by its name; None if the member has it already."""
    if generated:
        return {made["file"]: made["pem"] for made in generated.values()}
    if not planned["file"]:
        return {}
    if not wish["certificate"].get("generate"):
        return {planned["file"]: given_pem(wish["certificate"], wish["folder"], datetime.datetime.now(datetime.UTC))}
    for result in fetched.get("results") or []:
        if result.get("content"):
            return {planned["file"]: base64.b64decode(result["content"]).decode()}
    return {planned["file"]: None}


# --- inputs ---------------------------------------------------------------------------------------------------------


def vip_problems(wish: Mapping[str, Any], hostvars: Mapping[str, Any], info: Mapping[str, Any] | None) -> list[str]:
    if not wish["vips"]:
        return [
            "nginx_cdn_vips is empty. Give the tier a free address in the members' subnet, as {address: 192.0.2.100}"
        ]
    vips = [str(vip.get("address", "")) for vip in wish["vips"]]
    found = [f"nginx_cdn_vips has {address} twice" for address in twice(vips)]
    for vip in vips:
        found += members.vip_problems(ROLE, "nginx_cdn_vips", vip, wish["members"], hostvars)
    found += [
        f"the VIP {vip.get('address', '')} prefers {vip['member']}, which is not in nginx_cdn_members "
        f"({', '.join(wish['members'])})"
        for vip in wish["vips"]
        if vip.get("member") and vip["member"] not in wish["members"]
    ]
    if info:
        own = address_of(ROLE, wish["host"], hostvars)
        found += members.subnet_problems(ROLE, "nginx_cdn_vips", vips, wish["host"], own, info.get("prefix"))
    return found


def origin_problems(wish: Mapping[str, Any]) -> list[str]:
    found = []
    if not wish["origins"]:
        found.append("nginx_cdn_origins is empty. Say where the objects are (README.md has an example)")
    for origin in wish["origins"]:
        name = origin["name"]
        if not origin.get("endpoints"):
            found.append(f"the origin {name} has no endpoints. Give it at least one, as {{host: s3.example.com}}")
        for endpoint in origin.get("endpoints") or []:
            host = str(endpoint.get("host", ""))
            if not is_address(host) and not HOST.fullmatch(host):
                found.append(
                    f"the origin {name} has the endpoint '{host}', which is neither a host name nor an address"
                )
        if not BUCKET.fullmatch(str(origin.get("bucket") or "")):
            found.append(f"the origin {name} has the bucket '{origin.get('bucket') or ''}', which cannot be one")
        if origin.get("style", "path") not in ("path", "virtual"):
            found.append(f"the origin {name} has the style {origin['style']}. Choose path or virtual")
        if origin.get("style") == "virtual" and is_address(str(origin.get("host") or "")):
            found.append(f"the origin {name} is an address, which has no names below it. Set its style to path")
        if bool(origin.get("access_key")) != bool(origin.get("secret_key")):
            missing = "secret_key" if origin.get("access_key") else "access_key"
            found.append(
                f"the origin {name} has no {missing}. Give both, from a vault, for a private bucket, and neither for a "
                "public one"
            )
        if is_private(origin) and not with_tls(origin) and not origin.get("plain_allowed"):
            found.append(
                f"the origin {name} is private and has tls: false: whoever listens between could read its objects. "
                "Give it TLS, or set plain_allowed: true if the way there is trusted"
            )
        ca = str(origin.get("ca") or "")
        if ca:
            try:
                certificates.read_certificate(ca, f"nginx_cdn_origins[{name}].ca")
            except certificates.Unusable as err:
                found.append(str(err))
    return found


def rule_problems(wish: Mapping[str, Any]) -> list[str]:
    found = []
    names = [origin["name"] for origin in wish["origins"]]
    if not wish["rules"]:
        found.append("nginx_cdn_rules is empty. Say which path is served from which origin, as {path: /, origin: …}")
    found += [
        f"nginx_cdn_rules has two entries for {path}" for path in twice(str(r.get("path", "")) for r in wish["rules"])
    ]
    for rule in wish["rules"]:
        path = str(rule.get("path", ""))
        regex = REGEX.fullmatch(path)
        where = f"the rule for '{path}'"
        if not regex and not path.startswith("/"):
            found.append(f"{where} must have a path that begins with /, or ~ and a regular expression")
        if re.search(r'[\s{};"\\]', path) and not regex:
            found.append(f"{where} has a path with spaces, quotes or braces")
        if rule.get("origin") not in names:
            found.append(
                f"{where} names the origin {rule.get('origin')}, which is not in nginx_cdn_origins "
                f"({', '.join(names) or 'empty'})"
            )
        for status, ttl in (rule.get("ttl") or {}).items():
            if not re.fullmatch(r"[1-5][0-9][0-9]|any", str(status)):
                found.append(f"{where} has a ttl for '{status}', which is no status")
            if not TIME.fullmatch(str(ttl)):
                found.append(f"{where} has the ttl {ttl}. Write it as 30s, 10m, 1h or 7d")
        found += [
            f"{where} has the query argument '{argument}', which cannot be a name"
            for argument in rule.get("query") or []
            if not ARGUMENT.fullmatch(str(argument))
        ]
        if rule.get("slice") and not SIZE.fullmatch(str(rule["slice"])):
            found.append(f"{where} has slice: {rule['slice']}. Write it as 1m, or leave it out")
        for header, value in {**(rule.get("headers") or {}), "Cache-Control": rule.get("cache_control") or ""}.items():
            if not HEADER.fullmatch(str(header)) or re.search(r'["\\\n$]', str(value)):
                found.append(f"{where} has the header {header}: {value}, which cannot be one")
    return found


def size_problems(wish: Mapping[str, Any], info: Mapping[str, Any]) -> list[str]:
    found = []
    if wish["cache_size"] and not SIZE.fullmatch(str(wish["cache_size"])):
        return [f"nginx_cdn_cache_size is '{wish['cache_size']}'. Write it as 500m or 40g, or leave it empty"]
    if not 1 <= int(wish["cache_percent"]) <= 95 or not 0 <= int(wish["min_free_percent"]) <= 50:
        found.append(
            f"nginx_cdn_cache_percent is {wish['cache_percent']} (1 to 95) and nginx_cdn_min_free_percent is "
            f"{wish['min_free_percent']} (0 to 50)"
        )
    elif (sized := sizes(wish, info))["cache"] + sized["min_free"] > int(info["filesystem"]["total"]) // MIB:
        found.append(
            f"the cache of {sized['cache']} MiB and the {sized['min_free']} MiB to be left free do not fit into the "
            f"file system of {wish['cache_path']} on {wish['host']}, which has "
            f"{int(info['filesystem']['total']) // MIB} MiB. Lower nginx_cdn_cache_size or nginx_cdn_cache_percent"
        )
    if not str(wish["cache_path"]).startswith("/") or len(Path(str(wish["cache_path"])).parts) < 3:
        found.append(
            f"nginx_cdn_cache_path is {wish['cache_path']}. Give a folder of its own, such as /var/cache/nginx-cdn"
        )
    if info.get("foreign"):
        found.append(
            f"{wish['cache_path']} on {wish['host']} holds what is no cache of Nginx ({', '.join(info['foreign'])}), "
            "and Nginx would remove what it does not know. Set nginx_cdn_cache_path to an empty folder"
        )
    return found


def state_problems(wish: Mapping[str, Any], info: Mapping[str, Any], clustered: bool, absent: list[str]) -> list[str]:
    found = []
    if info["node"] != wish["host"]:
        found.append(
            f"the host {wish['host']} calls itself {info['node']}. Pacemaker goes by that name: "
            f"`hostnamectl set-hostname {wish['host']}`"
        )
    for address, holder in (info.get("vips_held_by") or {}).items():
        if not clustered:
            found.append(
                f"the VIP {address} is in use already, {holder} answers for it, and the cluster does not know it yet. "
                f"Find it with `ip neighbour show {address}`, or choose another one in nginx_cdn_vips"
            )
    for port, user in (info.get("ports_taken") or {}).items():
        found.append(
            f"port {port} on {wish['host']} is taken by {user}. Stop that, or set nginx_cdn_port or "
            "nginx_cdn_redirect_from to another port"
        )
    if absent and not clustered:
        found.append(
            f"the cluster does not know the address yet, and setting it up needs all members in one run; missing: "
            f"{', '.join(absent)}. Start them, and run without --limit"
        )
    return found


def name_problems(wish: Mapping[str, Any]) -> list[str]:
    names = [str(origin.get("name", "")) for origin in wish["origins"]]
    found = [f"nginx_cdn_origins has two entries called {name}" for name in twice(names)]
    found += [
        f"the name '{name}' in nginx_cdn_origins has characters other than letters, digits, _ and -"
        for name in names
        if not NAME.fullmatch(name)
    ]
    return found


def infos_of(wish: Mapping[str, Any], hostvars: Mapping[str, Any], register: str) -> dict[str, Any]:
    found: dict[str, Any] = {}
    for member in wish["members"]:
        info = hostvars[member].get(register) if member in hostvars else None
        found[member] = info if info and not info.get("failed") and not info.get("unreachable") else None
    return found


def plan(
    wish: Mapping[str, Any], hostvars: Mapping[str, Any], register: str, now: datetime.datetime | None = None
) -> dict[str, Any]:
    """What is wrong, how large the cache is, and which certificate the members get from where."""
    now = now or datetime.datetime.now(datetime.UTC)
    infos = infos_of(wish, hostvars, register)
    info = infos.get(wish["host"])
    clustered = any(seen and seen["clustered"] for seen in infos.values())
    absent = [m for m in dict.fromkeys(wish["members"]) if m in hostvars and m not in wish["present"]]
    problems = members.member_problems(ROLE, "cdn", wish["host"], list(wish["members"]), hostvars) + name_problems(wish)
    if not problems:
        problems = origin_problems(wish) + rule_problems(wish)
    sized = {"cache": 0, "min_free": 0, "keys": 0}
    problems += vip_problems(wish, hostvars, info)
    if info:
        problems += size_problems(wish, info)
        problems += state_problems(wish, info, clustered, absent)
        if not size_problems(wish, info):
            sized = sizes(wish, info)
    if not is_address(wish["admin_address"]):
        problems.append(f"nginx_cdn_admin_address is not an IP address: {wish['admin_address']}")
    if not wish["certificate"] and wish["redirect_from"]:
        problems.append(
            "nginx_cdn_redirect_from is set, and there is no https to send to without nginx_cdn_certificate"
        )
    certificate, wrong = certificate_plan(wish, infos, now)
    return {"problems": problems + wrong, "sizes": sized, "clustered": clustered, **certificate}


# --- verification ---------------------------------------------------------------------------------------------------


def endpoints(vips: Iterable[Mapping[str, Any]], port: int | str, check: str) -> list[dict[str, Any]]:
    """name, address, port and check of each VIP."""
    try:
        return [
            {
                "name": str(vip.get("name") or f"cdn-{index}"),
                "address": vip["address"],
                "port": int(port),
                "check": check,
            }
            for index, vip in enumerate(vips, 1)
        ]
    except (AttributeError, KeyError, TypeError, ValueError) as err:
        raise AnsibleFilterError(f"nginx_cdn_endpoints: a VIP needs an address ({err})") from err


def questions(wish: Mapping[str, Any], hostvars: Mapping[str, Any]) -> list[dict[str, Any]]:
    """What a member asks as a client: health, a refused method, a refused list, of each VIP and of itself."""
    own = address_of(ROLE, wish["host"], hostvars)
    places = [(f"VIP {vip['address']}", str(vip["address"])) for vip in wish["vips"]] + [(wish["host"], own)]
    asked: list[dict[str, Any]] = []
    for name, address in places:
        common = {"name": name, "address": address, "port": int(wish["port"]), "tls": bool(wish["certificate"])}
        asked.append({**common, "path": wish["health_path"], "status": 200})
        asked.append({**common, "path": wish["health_path"], "method": "POST", "status": 405})
        if not wish["index"]:
            asked.append({**common, "path": "/?list-type=2", "status": 404})
        for check in wish["checks"]:
            asked.append({**common, "path": check["path"], "status": int(check.get("status", 200)), "object": True})
        if wish["redirect_from"]:
            asked.append({**common, "tls": False, "port": int(wish["redirect_from"]), "path": "/x", "status": 301})
    asked.append(
        {
            "name": "figures",
            "address": wish["admin_address"],
            "port": int(wish["admin_port"]),
            "path": "/metrics",
            "status": 200,
        }
    )
    return asked


def answer_problem(answer: Mapping[str, Any]) -> str | None:
    where = f"{answer['name']} ({answer['address']}:{answer['port']}{answer['path']})"
    if answer["error"]:
        return f"{where} does not answer: {answer['error']}"
    if answer["got"] != answer["status"]:
        method = answer.get("method") or "GET"
        return f"{method} {where} answers {answer['got']}, not {answer['status']}"
    if answer["status"] == 301 and not str(answer["location"]).startswith("https://"):
        return f"{where} redirects to {answer['location']}, not to https"
    return None


def findings(wish: Mapping[str, Any], hostvars: Mapping[str, Any], register: str) -> list[str]:
    """What is wrong with the running tier, as seen by this member."""
    infos = infos_of(wish, hostvars, register)
    info = infos[wish["host"]]
    found = [problem for answer in info["answers"] if (problem := answer_problem(answer))]
    for vip in wish["vips"]:
        holders = [member for member, seen in infos.items() if seen and vip["address"] in seen["vips"]]
        if len(holders) != 1:
            where = f"on {', '.join(holders)}" if holders else "on no member that was reached"
            found.append(f"the VIP {vip['address']} is {where}, it should be on one: `pcs status`")
    if not info["running"]:
        found.append("Nginx does not answer on its status socket: `systemctl status nginx-cdn`")
    elif info["running"] != info["written"]:
        found.append(
            f"Nginx runs the configuration {info['running']}, on disk is {info['written']}: "
            "`systemctl reload nginx-cdn`, then `journalctl -u nginx-cdn`"
        )
    return found


def stale(wish: Mapping[str, Any], hostvars: Mapping[str, Any], register: str) -> list[str]:
    """The members, of those that were looked at, that run an older program than is installed."""
    return [member for member, info in infos_of(wish, hostvars, register).items() if info and info["stale"]]


class FilterModule:
    """Filters of the role nginx_cdn."""

    def filters(self) -> dict[str, Any]:
        return {
            "nginx_cdn_endpoints": endpoints,
            "nginx_cdn_origins": origins,
            "nginx_cdn_signing": signing,
            "nginx_cdn_ttl": ttl,
            "nginx_cdn_plan": plan,
            "nginx_cdn_contents": contents,
            "nginx_cdn_questions": questions,
            "nginx_cdn_findings": findings,
            "nginx_cdn_stale": stale,
        }

# Copyright (c) the cloudexit maintainers
# GNU General Public License v3.0-or-later (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
"""What the role haproxy_lb decides on the controller: inputs, certificates, and whether the result serves."""

from __future__ import annotations

import base64
import contextlib
import datetime
import hashlib
import ipaddress
import re
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any

from ansible.errors import AnsibleFilterError
from ansible.utils.display import Display
from ansible_collections.cloudexit.ha_stack.plugins.module_utils import members
from ansible_collections.cloudexit.ha_stack.plugins.module_utils.members import address_of, is_address, twice

with contextlib.suppress(ImportError):  # ansible-core cannot be without it, its import test can
    from cryptography import x509
    from cryptography.hazmat.primitives import hashes, serialization
    from cryptography.hazmat.primitives.asymmetric import ec
    from cryptography.x509.oid import ExtendedKeyUsageOID, NameOID

ROLE = "haproxy_lb"
NAME = re.compile(r"[A-Za-z0-9_.:-]+")
GENERATED_DAYS = 825  # browsers accept no more of a certificate that was imported by hand


class Unusable(Exception):
    """A certificate or key that cannot be used; the text says why."""


# --- certificates ---------------------------------------------------------------------------------------------------


def file_name(name: str, pem: str) -> str:
    """A name that changes with the content, so that no file that is in use is ever overwritten."""
    return f"{name}-{hashlib.sha256(pem.encode()).hexdigest()[:12]}.pem"


def part(certificate: Mapping[str, Any], kind: str, folder: str) -> tuple[str, str]:
    """Text of the certificate or the key, and where it is from."""
    variable = f"haproxy_lb_certificates[{certificate['name']}].{kind}"
    path = certificate.get(f"{kind}_file")
    if not path:
        text = str(certificate.get(kind) or "")
        if not text.strip():
            raise Unusable(
                f"{variable} is missing or empty: give {kind}_file (a path on the controller) "
                f"or {kind} (its text, from the vault)"
            )
        return text, variable
    where = Path(folder, Path(path).expanduser())
    try:
        return where.read_text(encoding="ascii"), str(where)
    except (OSError, ValueError) as err:
        raise Unusable(f"cannot read {where}, set as {variable}_file: {err}") from err


def fingerprint(public_key: Any) -> str:
    """A short fingerprint of a public key, the same for a certificate and the key that belongs to it."""
    encoded = public_key.public_bytes(serialization.Encoding.DER, serialization.PublicFormat.SubjectPublicKeyInfo)
    return "SHA256:" + hashlib.sha256(encoded).hexdigest()[:16]


def read_certificate(text: str, where: str) -> x509.Certificate:
    """The first certificate of the text, which HAProxy shows to clients."""
    try:
        return x509.load_pem_x509_certificates(text.encode())[0]
    except ValueError as err:
        raise Unusable(f"{where} is not a certificate in PEM form: {err}") from err


def read_key(text: str, where: str) -> Any:
    try:
        return serialization.load_pem_private_key(text.encode(), None)
    except TypeError as err:
        raise Unusable(
            f"the key {where} is encrypted with a passphrase, which nobody could type when HAProxy starts: "
            f"`openssl pkey -in {where} -out plain.key`, and keep that in a vault"
        ) from err
    except ValueError as err:
        raise Unusable(f"{where} is not a private key in PEM form: {err}") from err


def given_pem(certificate: Mapping[str, Any], folder: str, now: datetime.datetime) -> str:
    """Certificate, chain and key as HAProxy reads them; Unusable if they do not fit or are not valid now."""
    cert_text, cert_from = part(certificate, "certificate", folder)
    key_text, key_from = part(certificate, "key", folder)
    leaf, key = read_certificate(cert_text, cert_from), read_key(key_text, key_from)
    of_cert, of_key = fingerprint(leaf.public_key()), fingerprint(key.public_key())
    if of_cert != of_key:
        raise Unusable(
            f"the certificate {cert_from} does not match the key {key_from}: their public keys are {of_cert} and "
            f"{of_key}. Compare `openssl x509 -noout -pubkey -in CERTIFICATE` (its first one counts) with "
            f"`openssl pkey -pubout -in KEY`, and set haproxy_lb_certificates[{certificate['name']}] to a pair"
        )
    if leaf.not_valid_after_utc <= now:
        raise Unusable(
            f"the certificate {cert_from} expired on {leaf.not_valid_after_utc:%Y-%m-%d %H:%M} UTC: "
            f"renew it, and set haproxy_lb_certificates[{certificate['name']}]"
        )
    if leaf.not_valid_before_utc > now:
        raise Unusable(
            f"the certificate {cert_from} is valid from {leaf.not_valid_before_utc:%Y-%m-%d %H:%M} UTC only: "
            "is the controller's clock right?"
        )
    return f"{cert_text.strip()}\n{key_text.strip()}\n"


def wanted_names(certificate: Mapping[str, Any], vip: str) -> list[str]:
    """Names that a generated certificate is for."""
    return [str(name) for name in certificate.get("names") or [vip]]


def general_name(name: str) -> x509.GeneralName:
    try:
        return x509.IPAddress(ipaddress.ip_address(name))
    except ValueError:
        return x509.DNSName(name)


def names_of(certificate: x509.Certificate) -> set[str]:
    try:
        found = certificate.extensions.get_extension_for_class(x509.SubjectAlternativeName).value
    except x509.ExtensionNotFound:
        return set()
    return {str(name.value) for name in found}


def self_signed(certificates: Iterable[Mapping[str, Any]], vip: str) -> dict[str, dict[str, str]]:
    """A new certificate with its key, by name, for each one that is to be generated."""
    done = {}
    begin = datetime.datetime.now(datetime.UTC) - datetime.timedelta(hours=1)
    for wish in certificates:
        names = wanted_names(wish, vip)
        subject = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, names[0][:64])])
        key = ec.generate_private_key(ec.SECP256R1())
        certificate = (
            x509.CertificateBuilder()
            .subject_name(subject)
            .issuer_name(subject)
            .public_key(key.public_key())
            .serial_number(x509.random_serial_number())
            .not_valid_before(begin)
            .not_valid_after(begin + datetime.timedelta(days=GENERATED_DAYS))
            .add_extension(x509.SubjectAlternativeName([general_name(name) for name in names]), critical=False)
            .add_extension(x509.BasicConstraints(ca=False, path_length=None), critical=True)
            .add_extension(x509.ExtendedKeyUsage([ExtendedKeyUsageOID.SERVER_AUTH]), critical=False)
            .sign(key, hashes.SHA256())
        )
        pem = (
            certificate.public_bytes(serialization.Encoding.PEM)
            + key.private_bytes(
                serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, serialization.NoEncryption()
            )
        ).decode()
        done[str(wish["name"])] = {"file": file_name(wish["name"], pem), "pem": pem}
    return done


def live_file(
    certificate: Mapping[str, Any],
    vip: str,
    infos: Mapping[str, Mapping[str, Any] | None],
    until: datetime.datetime,
) -> str | None:
    """The file of a generated certificate that members have and that is still good; the one that lasts longest."""
    pattern = re.compile(re.escape(str(certificate["name"])) + r"-[0-9a-f]{12}\.pem")
    found: list[tuple[datetime.datetime, str]] = []
    for info in infos.values():
        for file, text in ((info or {}).get("certificates") or {}).items():
            if not pattern.fullmatch(file):
                continue
            try:
                leaf = read_certificate(text, file)
            except Unusable:
                continue
            if leaf.not_valid_after_utc > until and names_of(leaf) == set(wanted_names(certificate, vip)):
                found.append((leaf.not_valid_after_utc, file))
    return max(found)[1] if found else None


# --- inputs ---------------------------------------------------------------------------------------------------------


def vip_problems(wish: Mapping[str, Any], hostvars: Mapping[str, Any], info: Mapping[str, Any] | None) -> list[str]:
    vip, own = str(wish["vip"]), address_of(ROLE, wish["host"], hostvars)
    if not vip:
        return ["haproxy_lb_vip is not set. Give the tier a free address in the members' subnet"]
    found = members.vip_problems(ROLE, "haproxy_lb_vip", vip, wish["members"], hostvars)
    if found or not info:
        return found
    return members.subnet_problems(ROLE, "haproxy_lb_vip", [vip], wish["host"], own, info.get("prefix"))


def limit_problems(name: str, mode: str, limits: Mapping[str, Any]) -> list[str]:
    found = []
    if limits.get("requests") and mode != "http":
        found.append(f"the frontend {name} limits requests, which {mode} does not have. Limit connections")
    if limits and not limits.get("requests") and not limits.get("connections"):
        found.append(f"the frontend {name} has limits without a limit. Set requests or connections")
    for text in limits.get("exempt") or []:
        try:
            ipaddress.ip_network(text)
        except ValueError as err:
            found.append(f"the frontend {name} exempts {text} from its limits, which is no network: {err}")
    return found


def frontend_problems(wish: Mapping[str, Any]) -> list[str]:
    found = []
    backends = {backend["name"]: backend for backend in wish["backends"]}
    certificates = {certificate["name"] for certificate in wish["certificates"]}
    sockets: list[tuple[str, int, str]] = []
    if not wish["frontends"]:
        found.append("haproxy_lb_frontends is empty. Say where clients connect (README.md has an example)")
    for frontend in wish["frontends"]:
        name, mode = frontend["name"], frontend.get("mode", "http")
        address = str(frontend.get("address") or wish["vip"])
        sockets.append((address, int(frontend["port"]), name))
        targets = [choice["backend"] for choice in frontend.get("backends") or []]
        if frontend.get("backend"):
            targets.append(frontend["backend"])
        if not targets:
            found.append(f"the frontend {name} has no backend. Set its backend to a name out of haproxy_lb_backends")
        for target in targets:
            if target not in backends:
                found.append(
                    f"the frontend {name} points to the backend {target}, which is not in haproxy_lb_backends "
                    f"({', '.join(backends) or 'empty'})"
                )
            elif backends[target].get("mode", "http") != mode:
                found.append(f"the frontend {name} speaks {mode}, its backend {target} does not. Give both one mode")
        found += limit_problems(name, mode, frontend.get("limits") or {})
        for certificate in frontend.get("certificates") or []:
            if certificate not in certificates:
                found.append(
                    f"the frontend {name} shows the certificate {certificate}, which is not in "
                    f"haproxy_lb_certificates ({', '.join(sorted(certificates)) or 'empty'})"
                )
        if frontend.get("redirect_from"):
            sockets.append((address, int(frontend["redirect_from"]), f"{name} (redirect_from)"))
        for option in ("redirect_from", "hsts"):
            if frontend.get(option) and not frontend.get("certificates"):
                found.append(f"the frontend {name} has {option} but no certificates, so there is no https to send to")
    sockets.append((str(wish["admin_address"]), int(wish["admin_port"]), "haproxy_lb_admin_port"))
    for address, port in twice((address, port) for address, port, _name in sockets):
        users = [name for where, number, name in sockets if (where, number) == (address, port)]
        found.append(f"{' and '.join(users)} both want {address}:{port}. Choose another port")
    return found


def backend_problems(wish: Mapping[str, Any]) -> list[str]:
    found = []
    for backend in wish["backends"]:
        name, servers = backend["name"], list(backend.get("servers") or [])
        if not servers:
            found.append(
                f"the backend {name} has no servers. Give it the endpoints of a tier, and see that the tier's group "
                "in the inventory is not empty"
            )
            continue
        for what in ("name", "address"):
            keys = [(s.get(what), s.get("port") if what == "address" else 0) for s in servers]
            found += [f"the backend {name} has the server {key[0]} twice" for key in twice(keys)]
        for server in servers:
            if not is_address(server.get("address", "")):
                found.append(
                    f"the server {server.get('name')} of the backend {name} has the address "
                    f"'{server.get('address', '')}'. Give an IP address: names are not resolved while HAProxy runs"
                )
        if backend.get("mode", "http") == "http" and not health_path(backend):
            found.append(
                f"the backend {name} has no health check: set check.path in haproxy_lb_backends, or servers with check"
            )
    return found


def name_problems(wish: Mapping[str, Any]) -> list[str]:
    found = []
    for kind in ("frontends", "backends", "certificates"):
        names = [str(entry.get("name", "")) for entry in wish[kind]]
        found += [f"haproxy_lb_{kind} has two entries called {name}" for name in twice(names)]
        found += [
            f"the name '{name}' in haproxy_lb_{kind} has characters other than letters, digits and . : _ -"
            for name in names
            if not NAME.fullmatch(name)
        ]
    return found


def health_path(backend: Mapping[str, Any]) -> str:
    servers = list(backend.get("servers") or [])
    path = (backend.get("check") or {}).get("path") or (servers[0].get("check") if servers else "")
    return str(path) if str(path or "").startswith("/") else ""


def state_problems(wish: Mapping[str, Any], info: Mapping[str, Any], clustered: bool, absent: list[str]) -> list[str]:
    found = []
    if info["node"] != wish["host"]:
        found.append(
            f"the host {wish['host']} calls itself {info['node']}. Pacemaker goes by that name: "
            f"`hostnamectl set-hostname {wish['host']}`"
        )
    if info.get("vip_held_by") and not clustered:
        found.append(
            f"the VIP {wish['vip']} is in use already, {info['vip_held_by']} answers for it, and the cluster does not "
            f"know it yet. Find it with `ip neighbour show {wish['vip']}`, or choose another haproxy_lb_vip"
        )
    if absent and not clustered:
        found.append(
            f"the cluster does not know the address yet, and setting it up needs all members in one run; missing: "
            f"{', '.join(absent)}. Start them, and run without --limit"
        )
    return found


def infos_of(wish: Mapping[str, Any], hostvars: Mapping[str, Any], register: str) -> dict[str, Any]:
    found: dict[str, Any] = {}
    for member in wish["members"]:
        info = hostvars[member].get(register) if member in hostvars else None
        found[member] = info if info and not info.get("failed") and not info.get("unreachable") else None
    return found


def plan(
    wish: Mapping[str, Any],
    hostvars: Mapping[str, Any],
    register: str,
    now: datetime.datetime | None = None,
) -> dict[str, Any]:
    """What is wrong, and which certificate files the members get from where."""
    now = now or datetime.datetime.now(datetime.UTC)
    until = now + datetime.timedelta(days=int(wish["renew_days"]))
    infos = infos_of(wish, hostvars, register)
    info = infos.get(wish["host"])
    clustered = any(seen and seen["clustered"] for seen in infos.values())
    absent = [m for m in dict.fromkeys(wish["members"]) if m in hostvars and m not in wish["present"]]
    problems = members.member_problems(ROLE, "lb", wish["host"], list(wish["members"]), hostvars) + name_problems(wish)
    if not problems:
        problems = frontend_problems(wish) + backend_problems(wish)
    problems += vip_problems(wish, hostvars, info)
    if info:
        problems += state_problems(wish, info, clustered, absent)
    admin = str(wish["admin_address"])
    if not is_address(admin):
        problems.append(f"haproxy_lb_admin_address is not an IP address: {admin}")
    elif not ipaddress.ip_address(admin).is_loopback and not wish["has_admin_password"]:
        problems.append(
            f"haproxy_lb_admin_password is not set, and the statistics are shown on {admin}: put a long random text "
            "into the vault, or leave haproxy_lb_admin_address on 127.0.0.1"
        )
    files: dict[str, str] = {}
    generate, fetch = [], []
    for certificate in wish["certificates"]:
        name = str(certificate.get("name", ""))
        if not certificate.get("generate"):
            try:
                files[name] = file_name(name, pem := given_pem(certificate, wish["folder"], now))
                ends = read_certificate(pem, name).not_valid_after_utc
                if ends <= until:
                    Display().warning(f"haproxy_lb: the certificate {name} ends on {ends:%Y-%m-%d}: renew it")
            except Unusable as err:
                problems.append(str(err))
            continue
        file = live_file(certificate, wish["vip"], infos, until)
        if file is None:
            generate.append(dict(certificate))
            continue
        files[name] = file
        having = [member for member, seen in infos.items() if seen and file in seen["certificates"]]
        if any(seen and file not in seen["certificates"] for seen in infos.values()):
            fetch.append({"file": file, "member": having[0]})
    return {"problems": problems, "files": files, "generate": generate, "fetch": fetch, "clustered": clustered}


def contents(
    wish: Mapping[str, Any],
    planned: Mapping[str, Any],
    fetched: Mapping[str, Any],
    generated: Mapping[str, Mapping[str, str]],
) -> dict[str, str | None]:
    """Text of each certificate file; None if the member has it already."""
    now = datetime.datetime.now(datetime.UTC)
    found: dict[str, str | None] = {}
    for certificate in wish["certificates"]:
        name = str(certificate["name"])
        if not certificate.get("generate"):
            found[planned["files"][name]] = given_pem(certificate, wish["folder"], now)
        elif name in generated:
            found[generated[name]["file"]] = generated[name]["pem"]
        else:
            found[planned["files"][name]] = None
    for result in fetched.get("results") or []:
        if result.get("content"):
            found[result["item"]["file"]] = base64.b64decode(result["content"]).decode()
    return found


# --- verification ---------------------------------------------------------------------------------------------------


def check_of(frontend: Mapping[str, Any], backends: Iterable[Mapping[str, Any]]) -> str:
    """The path that is asked through a frontend; tcp or tls if it does not speak HTTP."""
    if frontend.get("mode", "http") != "http":
        return "tls" if frontend.get("certificates") else "tcp"
    check = frontend.get("check") or {}
    if check.get("path"):
        return str(check["path"])
    by_name = {backend["name"]: backend for backend in backends}
    return health_path(by_name.get(str(frontend.get("backend")), {})) or "/"


def endpoints(
    frontends: Iterable[Mapping[str, Any]], vip: str, backends: Iterable[Mapping[str, Any]] = ()
) -> list[dict[str, Any]]:
    """name, address, port and check of each frontend."""
    backends = list(backends)
    try:
        return [
            {
                "name": frontend["name"],
                "address": frontend.get("address") or vip,
                "port": int(frontend["port"]),
                "check": check_of(frontend, backends),
            }
            for frontend in frontends
        ]
    except (KeyError, TypeError, ValueError) as err:
        raise AnsibleFilterError(f"haproxy_lb_endpoints: a frontend needs a name and a port ({err})") from err


def questions(wish: Mapping[str, Any], hostvars: Mapping[str, Any]) -> list[dict[str, Any]]:
    """What a member asks as a client: each frontend, each redirect, and ports that must be closed."""
    backends = {backend["name"]: backend for backend in wish["backends"]}
    asked: list[dict[str, Any]] = []
    for frontend, end in zip(
        wish["frontends"], endpoints(wish["frontends"], wish["vip"], wish["backends"]), strict=True
    ):
        check = {**(backends.get(str(frontend.get("backend")), {}).get("check") or {}), **(frontend.get("check") or {})}
        http = frontend.get("mode", "http") == "http"
        common = {"name": end["name"], "address": end["address"], "host": str(check.get("host", "localhost"))}
        asked.append(
            common
            | {
                "port": end["port"],
                "tls": bool(frontend.get("certificates")),
                "path": end["check"] if http else "",
                "status": int(check.get("status", 200)) if http else 0,
                "hsts": bool(frontend.get("hsts")),
            }
        )
        if frontend.get("redirect_from"):
            asked.append(common | {"port": int(frontend["redirect_from"]), "path": end["check"], "status": 301})
    addresses = [*(address_of(ROLE, member, hostvars) for member in wish["members"]), wish["vip"]]
    asked += [
        {"name": "statistics", "address": address, "port": int(wish["admin_port"]), "closed": True}
        for address in addresses
        if address
        not in [str(hostvars[m].get("haproxy_lb_admin_address") or wish["admin_address"]) for m in wish["members"]]
    ]
    asked.append(
        {
            "name": "statistics",
            "address": wish["admin_address"],
            "port": int(wish["admin_port"]),
            "path": "/",
            "status": 401 if wish["has_admin_password"] else 200,
        }
    )
    return asked


def answer_problem(answer: Mapping[str, Any]) -> str | None:
    where = f"{answer['name']} ({answer['address']}:{answer['port']}{answer.get('path') or ''})"
    if answer.get("closed"):
        return None if answer["error"] else f"{where} is open and should be reachable on the admin address only"
    if answer["error"]:
        return f"{where} does not answer: {answer['error']}"
    if answer["got"] != (answer.get("status") or 0):
        return f"{where} answers {answer['got']}, not {answer['status']}"
    if answer.get("status") == 301 and not str(answer["location"]).startswith("https://"):
        return f"{where} redirects to {answer['location']}, not to https"
    if answer.get("hsts") and not answer["hsts_seen"]:
        return f"{where} does not send Strict-Transport-Security"
    return None


def findings(wish: Mapping[str, Any], hostvars: Mapping[str, Any], register: str) -> list[str]:
    """What is wrong with the running tier, as seen by this member."""
    infos = infos_of(wish, hostvars, register)
    info = infos[wish["host"]]
    found = [problem for answer in info["answers"] if (problem := answer_problem(answer))]
    holders = [member for member, seen in infos.items() if seen and seen["has_vip"]]
    if len(holders) != 1:
        where = f"on {', '.join(holders)}" if holders else "on no member that was reached"
        found.append(f"the VIP {wish['vip']} is {where}, it should be on one: `pcs status`")
    if not info["running"]:
        found.append("HAProxy does not answer on its admin socket: `systemctl status haproxy`")
    elif info["running"] != info["written"]:
        found.append(
            f"HAProxy runs the configuration {info['running']}, on disk is {info['written']}: "
            "`systemctl reload haproxy`, then `journalctl -u haproxy`"
        )
    return found


class FilterModule:
    """Filters of the role haproxy_lb."""

    def filters(self) -> dict[str, Any]:
        return {
            "haproxy_lb_endpoints": endpoints,
            "haproxy_lb_plan": plan,
            "haproxy_lb_contents": contents,
            "haproxy_lb_self_signed": self_signed,
            "haproxy_lb_questions": questions,
            "haproxy_lb_findings": findings,
        }

# Copyright (c) the cloudexit maintainers
# GNU General Public License v3.0-or-later (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
"""haproxy_lb on the controller: inputs that are refused and in which words, certificates, findings."""

from __future__ import annotations

import copy
import datetime
from pathlib import Path
from typing import Any

import pytest
from ansible.errors import AnsibleFilterError
from ansible_collections.cloudexit.ha_stack.plugins.filter import haproxy_lb
from cryptography import x509

NOW = datetime.datetime.now(datetime.UTC)
WEB = [
    {"name": "web1", "address": "192.0.2.21", "port": 80, "check": "/healthz"},
    {"name": "web2", "address": "192.0.2.22", "port": 80, "check": "/healthz"},
]
HOSTVARS = {"lb1": {"ansible_host": "192.0.2.11"}, "lb2": {"ansible_host": "192.0.2.12"}}
INFO = {"node": "lb1", "prefix": 24, "clustered": False, "vip_held_by": "", "certificates": {}}
WISH = {
    "members": ["lb1", "lb2"],
    "host": "lb1",
    "vip": "192.0.2.100",
    "frontends": [{"name": "shop", "port": 443, "certificates": ["shop"], "redirect_from": 80, "backend": "web"}],
    "backends": [{"name": "web", "servers": WEB}],
    "certificates": [{"name": "shop", "generate": True}],
    "folder": "/playbooks",
    "renew_days": 30,
    "admin_address": "127.0.0.1",
    "admin_port": 8404,
    "has_admin_password": False,
    "present": ["lb1", "lb2"],
}


def pair(name: str = "shop.example", days: int | None = None) -> tuple[str, str]:
    """A certificate and its key."""
    before = haproxy_lb.GENERATED_DAYS
    try:
        haproxy_lb.GENERATED_DAYS = before if days is None else days
        pem = haproxy_lb.self_signed([{"name": "x", "names": [name]}], "")["x"]["pem"]
    finally:
        haproxy_lb.GENERATED_DAYS = before
    certificate, key = pem.split("-----BEGIN PRIVATE KEY-----")
    return certificate, f"-----BEGIN PRIVATE KEY-----{key}"


def plan(info: dict[str, Any] | None = None, other: dict[str, Any] | None = None, **changes: Any) -> dict[str, Any]:
    wish = copy.deepcopy(WISH) | changes
    hosts: dict[str, Any] = copy.deepcopy(HOSTVARS)
    hosts["lb1"]["look"] = INFO | (info or {})
    hosts["lb2"]["look"] = INFO | {"node": "lb2"} | (other or {})
    return haproxy_lb.plan(wish, hosts, "look")


def problem(info: dict[str, Any] | None = None, **changes: Any) -> str:
    """The one thing that is wrong."""
    problems = plan(info, **changes)["problems"]
    assert len(problems) == 1, problems
    return problems[0]


def frontend(**changes: Any) -> list[dict[str, Any]]:
    return [{**WISH["frontends"][0], **changes}]  # type: ignore[index]


def backend(**changes: Any) -> list[dict[str, Any]]:
    return [{**WISH["backends"][0], **changes}]  # type: ignore[index]


def test_good_inputs_have_no_problems() -> None:
    assert plan()["problems"] == []


@pytest.mark.parametrize(
    ("changes", "text"),
    [
        ({"vip": ""}, "haproxy_lb_vip is not set. Give the tier a free address in the members' subnet"),
        ({"vip": "lb.example"}, "haproxy_lb_vip is not an IP address: lb.example"),
        (
            {"vip": "198.51.100.1"},
            "the VIP 198.51.100.1 is outside the members' subnet 192.0.2.0/24. "
            "Set haproxy_lb_vip to a free address in it",
        ),
        (
            {"vip": "192.0.2.12"},
            "haproxy_lb_vip 192.0.2.12 is the address of lb2. The VIP is an address of its own, which moves",
        ),
        (
            {"members": ["lb1", "lb2", "lb1"]},
            "haproxy_lb_members names lb1 twice (lb1, lb2, lb1). Name different hosts",
        ),
        (
            {"members": ["lb1"]},
            "haproxy_lb_members has 1 member (lb1), an address that moves needs two. "
            "Fill the group lb, or set haproxy_lb_members",
        ),
        (
            {"members": ["lb1", "lb2", "lb9"]},
            "lb9 in haproxy_lb_members is not in the inventory. Add it, or take it out of the list",
        ),
        (
            {"frontends": []},
            "haproxy_lb_frontends is empty. Say where clients connect (README.md has an example)",
        ),
        (
            {"frontends": frontend(backend="shop")},
            "the frontend shop points to the backend shop, which is not in haproxy_lb_backends (web)",
        ),
        (
            {"frontends": frontend(backend="")},
            "the frontend shop has no backend. Set its backend to a name out of haproxy_lb_backends",
        ),
        (
            {"frontends": frontend(mode="tcp")},
            "the frontend shop speaks tcp, its backend web does not. Give both one mode",
        ),
        (
            {"frontends": frontend(limits={"period": 5})},
            "the frontend shop has limits without a limit. Set requests or connections",
        ),
        (
            {"frontends": frontend(limits={"connections": 5, "exempt": ["10.0.0.1/8"]})},
            "the frontend shop exempts 10.0.0.1/8 from its limits, which is no network: 10.0.0.1/8 has host bits set",
        ),
        (
            {"frontends": frontend(certificates=["other"])},
            "the frontend shop shows the certificate other, which is not in haproxy_lb_certificates (shop)",
        ),
        (
            {"frontends": frontend(certificates=[])},
            "the frontend shop has redirect_from but no certificates, so there is no https to send to",
        ),
        (
            {"frontends": frontend(redirect_from=443)},
            "shop and shop (redirect_from) both want 192.0.2.100:443. Choose another port",
        ),
        (
            {"backends": backend(servers=[])},
            "the backend web has no servers. Give it the endpoints of a tier, and see that the tier's group in the "
            "inventory is not empty",
        ),
        (
            {"backends": backend(servers=[*WEB, WEB[0] | {"name": "web3"}])},
            "the backend web has the server 192.0.2.21 twice",
        ),
        (
            {"backends": backend(servers=[WEB[0] | {"address": "web1.example"}])},
            "the server web1 of the backend web has the address 'web1.example'. Give an IP address: names are not "
            "resolved while HAProxy runs",
        ),
        (
            {"backends": backend(servers=[WEB[0] | {"check": "http"}])},
            "the backend web has no health check: set check.path in haproxy_lb_backends, or servers with check",
        ),
        ({"backends": [*backend(), *backend()]}, "haproxy_lb_backends has two entries called web"),
        (
            {"frontends": frontend(name="the shop")},
            "the name 'the shop' in haproxy_lb_frontends has characters other than letters, digits and . : _ -",
        ),
        (
            {"admin_address": "192.0.2.11"},
            "haproxy_lb_admin_password is not set, and the statistics are shown on 192.0.2.11: put a long random text "
            "into the vault, or leave haproxy_lb_admin_address on 127.0.0.1",
        ),
        (
            {"present": ["lb1"]},
            "the cluster does not know the address yet, and setting it up needs all members in one run; missing: lb2. "
            "Start them, and run without --limit",
        ),
    ],
)
def test_a_wrong_input_is_refused_in_words(changes: dict[str, Any], text: str) -> None:
    assert problem(**changes) == text


def test_a_stranger_on_the_vip_is_refused_before_the_cluster_knows_it_and_not_afterwards() -> None:
    held = {"vip_held_by": "02:42:0a:cb:06:1f"}
    assert problem(held) == (
        "the VIP 192.0.2.100 is in use already, 02:42:0a:cb:06:1f answers for it, and the cluster does not know it "
        "yet. Find it with `ip neighbour show 192.0.2.100`, or choose another haproxy_lb_vip"
    )
    assert plan(held | {"clustered": True})["problems"] == []
    assert plan(held, other={"clustered": True})["problems"] == []


def test_a_host_with_another_name_or_address_is_refused() -> None:
    assert problem({"node": "debian"}) == (
        "the host lb1 calls itself debian. Pacemaker goes by that name: `hostnamectl set-hostname lb1`"
    )
    assert problem({"prefix": 0}) == (
        "lb1 does not have the address '192.0.2.11'. Set haproxy_lb_address to its own in the tier"
    )


def test_a_member_that_is_down_does_not_stop_a_clustered_tier() -> None:
    assert plan({"clustered": True}, present=["lb1"])["problems"] == []


def test_a_certificate_and_key_from_files_are_taken(tmp_path: Path) -> None:
    certificate, key = pair()
    (tmp_path / "shop.crt").write_text(certificate)
    (tmp_path / "shop.key").write_text(key)
    wish = {"name": "shop", "certificate_file": "shop.crt", "key_file": str(tmp_path / "shop.key")}
    planned = plan(certificates=[wish], folder=str(tmp_path))
    assert planned["problems"] == []
    file = planned["files"]["shop"]
    assert haproxy_lb.contents(WISH | {"certificates": [wish], "folder": str(tmp_path)}, planned, {}, {}) == {
        file: f"{certificate.strip()}\n{key.strip()}\n"
    }


def test_a_certificate_that_does_not_match_its_key_is_refused(tmp_path: Path) -> None:
    (certificate, _key), (_certificate, key) = pair(), pair()
    (tmp_path / "shop.crt").write_text(certificate)
    (tmp_path / "shop.key").write_text(key)
    files = {"certificate_file": "shop.crt", "key_file": "shop.key"}
    said = problem(certificates=[{"name": "shop", **files}], folder=str(tmp_path))
    assert said.startswith(f"the certificate {tmp_path}/shop.crt does not match the key {tmp_path}/shop.key: ")
    prints = [
        haproxy_lb.fingerprint(x509.load_pem_x509_certificate(certificate.encode()).public_key()),
        haproxy_lb.fingerprint(haproxy_lb.read_key(key, "").public_key()),
    ]
    assert f"their public keys are {prints[0]} and {prints[1]}. Compare `openssl x509 -noout -pubkey" in said


def test_an_expired_certificate_is_refused() -> None:
    certificate, key = pair(days=0)
    wish = {"name": "shop", "certificate": certificate, "key": key}
    end = haproxy_lb.read_certificate(certificate, "").not_valid_after_utc
    assert problem(certificates=[wish]) == (
        f"the certificate haproxy_lb_certificates[shop].certificate expired on {end:%Y-%m-%d %H:%M} UTC: renew it, and "
        "set haproxy_lb_certificates[shop]"
    )


def test_a_missing_key_names_the_variable() -> None:
    wish = {"name": "shop", "certificate": pair()[0], "key": ""}
    assert problem(certificates=[wish]) == (
        "haproxy_lb_certificates[shop].key is missing or empty: give key_file (a path on the controller) or key (its "
        "text, from the vault)"
    )


def test_a_missing_file_and_something_that_is_no_key_are_refused() -> None:
    wish = {"name": "shop", "certificate_file": "no.crt", "key": "x"}
    assert problem(certificates=[wish]).startswith(
        "cannot read /playbooks/no.crt, set as haproxy_lb_certificates[shop].certificate_file: [Errno 2]"
    )
    wish = {"name": "shop", "certificate": pair()[0], "key": "x"}
    assert "haproxy_lb_certificates[shop].key is not a private key in PEM form" in problem(certificates=[wish])


def generated(names: list[str]) -> tuple[str, str]:
    made = haproxy_lb.self_signed([{"name": "shop", "names": names}], "")["shop"]
    return made["file"], made["pem"].split("-----BEGIN PRIVATE KEY-----")[0]


def test_a_generated_certificate_is_made_once_and_shared() -> None:
    file, text = generated(["192.0.2.100"])
    nobody = plan()
    assert (nobody["generate"], nobody["fetch"], nobody["files"]) == (WISH["certificates"], [], {})
    one = plan(other={"certificates": {file: text}})
    assert (one["generate"], one["fetch"]) == ([], [{"file": file, "member": "lb2"}])
    both = plan({"certificates": {file: text}}, {"certificates": {file: text}})
    assert (both["generate"], both["fetch"], both["files"]) == ([], [], {"shop": file})
    assert haproxy_lb.contents(WISH, both, {}, {}) == {file: None}


def test_a_generated_certificate_for_other_names_or_near_its_end_is_replaced() -> None:
    file, text = generated(["old.example"])
    assert plan({"certificates": {file: text}})["generate"] == WISH["certificates"]
    file, text = generated(["192.0.2.100"])
    assert plan({"certificates": {file: text}}, renew_days=haproxy_lb.GENERATED_DAYS)["generate"]


def test_endpoints() -> None:
    frontends = [*frontend(), {"name": "raw", "port": 9000, "mode": "tcp", "address": "192.0.2.101"}]
    assert haproxy_lb.endpoints(frontends, "192.0.2.100", backend()) == [
        {"name": "shop", "address": "192.0.2.100", "port": 443, "check": "/healthz"},
        {"name": "raw", "address": "192.0.2.101", "port": 9000, "check": "tcp"},
    ]
    with pytest.raises(AnsibleFilterError, match="needs a name and a port"):
        haproxy_lb.endpoints([{"name": "shop"}], "")


def verified(**changes: Any) -> dict[str, Any]:
    return {"answers": [], "has_vip": False, "running": "aa", "written": "aa", "servers": {}} | changes


def found(mine: dict[str, Any], other: dict[str, Any]) -> list[str]:
    hosts: dict[str, Any] = copy.deepcopy(HOSTVARS)
    hosts["lb1"]["verified"], hosts["lb2"]["verified"] = mine, other
    return haproxy_lb.findings(WISH, hosts, "verified")


def test_a_tier_that_serves_has_no_findings() -> None:
    assert found(verified(has_vip=True), verified()) == []


def test_findings_say_what_to_do() -> None:
    assert found(verified(), verified()) == [
        "the VIP 192.0.2.100 is on no member that was reached, it should be on one: `pcs status`"
    ]
    assert found(verified(has_vip=True), verified(has_vip=True)) == [
        "the VIP 192.0.2.100 is on lb1, lb2, it should be on one: `pcs status`"
    ]
    assert found(verified(has_vip=True, written="bb"), verified()) == [
        "HAProxy runs the configuration aa, on disk is bb: `systemctl reload haproxy`, then `journalctl -u haproxy`"
    ]


def test_answers_are_judged() -> None:
    asked = haproxy_lb.questions(WISH, HOSTVARS)
    assert [(a["address"], a["port"], a.get("path"), a.get("status"), a.get("closed")) for a in asked] == [
        ("192.0.2.100", 443, "/healthz", 200, None),
        ("192.0.2.100", 80, "/healthz", 301, None),
        ("192.0.2.11", 8404, None, None, True),
        ("192.0.2.12", 8404, None, None, True),
        ("192.0.2.100", 8404, None, None, True),
        ("127.0.0.1", 8404, "/", 200, None),
    ]
    answer = asked[0] | {"error": "", "got": 503, "location": "", "hsts_seen": False}
    assert haproxy_lb.answer_problem(answer) == "shop (192.0.2.100:443/healthz) answers 503, not 200"
    answer = asked[1] | {"error": "", "got": 301, "location": "http://x/", "hsts_seen": False}
    assert haproxy_lb.answer_problem(answer) == ("shop (192.0.2.100:80/healthz) redirects to http://x/, not to https")
    answer = asked[2] | {"error": "", "got": 0}
    assert haproxy_lb.answer_problem(answer) == (
        "statistics (192.0.2.11:8404) is open and should be reachable on the admin address only"
    )
    assert haproxy_lb.answer_problem(asked[2] | {"error": "Connection refused", "got": 0}) is None

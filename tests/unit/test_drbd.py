# Copyright (c) the cloudexit maintainers
# GNU General Public License v3.0-or-later (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
"""What drbd_resource decides, from what DRBD 8.4.11 printed and what DRBD 9 prints by its documentation."""

from __future__ import annotations

import json

import pytest
from ansible_collections.cloudexit.ha_stack.plugins.module_utils import drbd

HEAD = "version: 8.4.11 (api:1/proto:86-101)\nsrcversion: DA6B55A41DED5E58CDBAB30 \n"
FORMING = HEAD + (
    " 0: cs:Connected ro:Secondary/Secondary ds:Inconsistent/Inconsistent C r-----\n"
    "    ns:0 nr:0 dw:0 dr:0 al:8 bm:0 lo:0 pe:0 ua:0 ap:0 ep:1 wo:f oos:2097052\n"
)
ALONE = HEAD + (
    " 0: cs:WFConnection ro:Secondary/Unknown ds:Inconsistent/DUnknown C r----s\n"
    "    ns:0 nr:0 dw:0 dr:0 al:8 bm:0 lo:0 pe:0 ua:0 ap:0 ep:1 wo:f oos:2097052\n"
)
HEALTHY = HEAD + (
    " 0: cs:Connected ro:Primary/Secondary ds:UpToDate/UpToDate C r-----\n"
    "    ns:456 nr:0 dw:2163044 dr:847 al:114 bm:0 lo:0 pe:0 ua:0 ap:0 ep:1 wo:f oos:0\n"
)
FROZEN = HEAD + (
    " 0: cs:NetworkFailure ro:Primary/Unknown ds:UpToDate/DUnknown C s-----\n"
    "    ns:456 nr:0 dw:2163044 dr:847 al:114 bm:0 lo:0 pe:0 ua:0 ap:0 ep:1 wo:f oos:24\n"
)
SYNCING = HEAD + (
    " 0: cs:SyncTarget ro:Secondary/Primary ds:Inconsistent/UpToDate C r-----\n"
    "    ns:0 nr:53248 dw:53248 dr:0 al:0 bm:0 lo:2 pe:1 ua:2 ap:0 ep:1 wo:f oos:2043804\n"
    "\t[>....................] sync'ed:  2.7% (2043804/2097052)K\n"
    "\tfinish: 0:01:16 speed: 26,624 (26,624) want: 20,480 K/sec\n"
)
TWO = HEAD + (
    " 0: cs:Unconfigured\n"
    " 1: cs:StandAlone ro:Primary/Unknown ds:UpToDate/DUnknown   r-----\n"
    "    ns:0 nr:0 dw:4 dr:0 al:1 bm:0 lo:0 pe:0 ua:0 ap:0 ep:1 wo:f oos:4096\n"
)


def nine(**changes: object) -> str:
    """drbdsetup status --json of DRBD 9 as its documentation has it (not recorded), one volume, one peer."""
    peer_device = {
        "volume": 0,
        "replication-state": "Established",
        "peer-disk-state": "UpToDate",
        "peer-client": False,
        "resync-suspended": "no",
        "received": 0,
        "sent": 331776,
        "out-of-sync": 0,
        "pending": 0,
        "unacked": 0,
        "has-sync-details": False,
        "percent-in-sync": 100.00,
    }
    connection = {
        "peer-node-id": 1,
        "name": "db2",
        "connection-state": "Connected",
        "congested": False,
        "peer-role": "Secondary",
        "ap-in-flight": 0,
        "rs-in-flight": 0,
        "peer_devices": [peer_device],
    }
    resource = {
        "name": "mysql",
        "node-id": 0,
        "role": "Primary",
        "suspended": False,
        "write-ordering": "flush",
        "devices": [{"volume": 0, "minor": 0, "disk-state": "UpToDate", "client": False, "quorum": True}],
        "connections": [connection],
    }
    for where in (peer_device, connection, resource, resource["devices"][0]):  # type: ignore[index]
        for key in where:
            if key.replace("-", "_") in changes:
                where[key] = changes[key.replace("-", "_")]
    return json.dumps([{"name": "other", "role": "Secondary", "devices": [], "connections": []}, resource])


def view(proc: str = "", **more: object) -> drbd.View:
    seen = drbd.View(name="mysql", device="/dev/vdb", minor=0, status=drbd.parse_proc(proc, 0) if proc else None)
    for name, value in more.items():
        setattr(seen, name, value)
    seen.klass = drbd.classify(seen)
    return seen


@pytest.mark.parametrize(
    "text, version",
    [
        (HEAD, (8, 4, 11)),
        ("8.4.11\n", (8, 4, 11)),
        ("version: 9.2.12 (api:2/proto:118-122)\nGIT-hash: 2da6f528 build by @buildsystem\n", (9, 2, 12)),
        ("DRBDADM_API_VERSION=1\nDRBD_KERNEL_VERSION_CODE=0x08040b\nDRBDADM_VERSION=9.22.0\n", (8, 4, 11)),
        ("DRBD_KERNEL_VERSION_CODE=0x000000\n", ()),
        ("", ()),
    ],
)
def test_version(text: str, version: tuple[int, ...]) -> None:
    assert drbd.parse_version(text) == version


def test_both_versions_give_one_status() -> None:
    old, new = drbd.parse_proc(HEALTHY, 0), drbd.parse_json(nine(), "mysql")
    assert (
        old
        == new
        == drbd.Status(
            role="Primary",
            disk="UpToDate",
            connection="Connected",
            replication="Established",
            peer_role="Secondary",
            peer_disk="UpToDate",
        )
    )


def test_not_configured_is_no_status() -> None:
    assert drbd.parse_proc(HEAD, 0) is None
    assert drbd.parse_proc(TWO, 0) is None
    assert drbd.parse_json(nine(), "absent") is None
    assert drbd.parse_json("", "mysql") is None


def test_minors_are_not_mixed_up() -> None:
    status = drbd.parse_proc(TWO, 1)
    assert status is not None
    assert (status.connection, status.role, status.out_of_sync_kib) == ("StandAlone", "Primary", 4096)


def test_progress_and_frozen_writes() -> None:
    syncing, frozen, alone = (drbd.parse_proc(text, 0) for text in (SYNCING, FROZEN, ALONE))
    assert syncing and (syncing.done_percent, syncing.out_of_sync_kib) == (2.7, 2043804)
    assert frozen and frozen.suspended
    assert alone and not alone.suspended, "the s at the end is the activity log's"
    new = drbd.parse_json(
        nine(replication_state="SyncSource", peer_disk_state="Inconsistent", percent_in_sync=3.55), "mysql"
    )
    assert new and new.done_percent == 3.55


def test_fresh_metadata() -> None:
    gone = ":0000000000000000:0000000000000000:0000000000000000:0:0:0:0:0:0:0"
    assert drbd.is_fresh("0000000000000004" + gone)
    assert not drbd.is_fresh("6EEA3A3FA6EE0C1B" + gone)
    assert not drbd.is_fresh("")


@pytest.mark.parametrize(
    "seen, word",
    [
        (view(device_found=False), "missing"),
        (view(), "absent"),
        (view(signatures=["ext4"]), "foreign"),
        (view(busy=True), "foreign"),
        (view(signatures=["drbd"]), "foreign"),
        (view(signatures=["drbd"], configured=True), "stopped"),
        (view(FORMING, fresh=True), "forming"),
        (view(FORMING, fresh=False), "degraded"),
        (view(ALONE, fresh=True), "forming"),
        (view(HEALTHY), "connected"),
        (view(SYNCING), "syncing"),
        (view(FROZEN), "degraded"),
        (
            view(HEALTHY.replace("cs:Connected", "cs:StandAlone").replace("UpToDate/UpToDate", "UpToDate/DUnknown")),
            "standalone",
        ),
        (view(HEALTHY.replace("UpToDate/UpToDate", "Diskless/UpToDate")), "diskless"),
    ],
)
def test_one_word(seen: drbd.View, word: str) -> None:
    assert seen.klass == word


def test_a_reinstalled_host_can_adopt_its_disk() -> None:
    assert drbd.classify(view(signatures=["drbd"]), adopt=True) == "stopped"


@pytest.mark.parametrize(
    "seen, wanted, words",
    [
        (view(device_found=False), "present", ["/dev/vdb is not there"]),
        (
            view(signatures=["ext4"]),
            "present",
            ["/dev/vdb holds data (found: ext4)", "`wipefs /dev/vdb`", "drbd_pcs_mysql_allow_wipe: true"],
        ),
        (view(signatures=["drbd"]), "present", ["drbd_pcs_mysql_adopt: true instead"]),
        (view(signatures=["xfs"], busy=True, mounted_at="/home"), "present", ["mounted at /home", "never"]),
        (view(signatures=["gpt"], busy=True), "present", ["in use: a partition", "`lsblk /dev/vdb`", "never"]),
        (
            view(TWO.replace(" 1:", " 0:", 1).replace(" 0: cs:Unconfigured\n", "")),
            "present",
            ["StandAlone", "journalctl -k", "drbdadm connect --discard-my-data mysql"],
        ),
        (
            view(HEALTHY.replace("UpToDate/UpToDate", "Diskless/UpToDate")),
            "present",
            ["without its disk /dev/vdb", "drbdadm attach mysql"],
        ),
        (view(FROZEN), "initialized", ["degraded", "both halves must be connected"]),
    ],
)
def test_refusals_say_what_to_do(seen: drbd.View, wanted: str, words: list[str]) -> None:
    why = drbd.refusal(seen, wanted, "drbd_pcs_mysql_allow_wipe")
    assert all(word in why for word in words), why


@pytest.mark.parametrize(
    "seen",
    [
        view(),
        view(FORMING, fresh=True),
        view(HEALTHY),
        view(SYNCING),
        view(FROZEN),
        view(signatures=["drbd"], configured=True),
    ],
)
def test_nothing_speaks_against_it(seen: drbd.View) -> None:
    assert drbd.refusal(seen, "present", "allow_wipe") == ""


@pytest.mark.parametrize(
    "seen, skip",
    [
        (view(FORMING, fresh=True), True),
        (view(FORMING, fresh=False), False),
        (view(ALONE, fresh=True), False),
        (view(HEALTHY, fresh=True), False),
        (view(SYNCING, fresh=True), False),
        (view(), False),
    ],
)
def test_the_first_sync_is_skipped_only_between_two_empty_disks(seen: drbd.View, skip: bool) -> None:
    assert drbd.first_sync(seen) is skip


MEMBERS = [drbd.Member("db1", "192.0.2.11", "/dev/vdb"), drbd.Member("db2", "192.0.2.12", "/dev/vdc")]


def rendered(version: tuple[int, ...]) -> str:
    hooks = drbd.handlers(version, "/bin/fence db1 db2", "")
    net, disk = {"ping-int": 2, "verify-alg": "crc32c"}, {"on-io-error": "detach"}
    return drbd.render("mysql", 0, 7788, MEMBERS, version, net, disk, "resource-and-stonith", hooks)


def test_resource_file_of_8_4() -> None:
    text = rendered((8, 4, 11))
    assert "node-id" not in text
    net, rest = text.split("disk {", maxsplit=1)
    disk = rest.split("}", maxsplit=1)[0]
    assert "fencing resource-and-stonith;" in disk and "fencing" not in net
    assert "protocol C;" in net
    assert 'fence-peer "/bin/fence db1 db2";' in text
    assert 'after-resync-target "/usr/lib/drbd/crm-unfence-peer.sh --role=Promoted";' in text
    assert "disk /dev/vdc;" in text.split("on db2")[1]


def test_resource_file_of_9() -> None:
    text = rendered((9, 2, 12))
    assert "node-id 0;" in text and "node-id 1;" in text
    assert "fencing resource-and-stonith;" in text.split("disk {", maxsplit=1)[0]
    assert 'unfence-peer "/usr/lib/drbd/crm-unfence-peer.9.sh --role=Promoted";' in text
    assert "after-resync-target" not in text


def test_no_handlers_without_fencing() -> None:
    assert drbd.handlers((9, 2, 12), "", "") == {}

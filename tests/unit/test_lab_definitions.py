# Copyright (c) the cloudexit maintainers
# GNU General Public License v3.0-or-later (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
"""nodes.yml is read as written, and refused with the entry that is wrong."""

from __future__ import annotations

import pytest
from lab import definitions, nodes, site
from lab.definitions import LabError, parse


def document(**changes):
    node = {"address": 11, "groups": ["mysql"]}
    lab = {"subnet": "10.9.0.0/24", "debian": 12, "vips": {"mysql": 100}, "nodes": {"db1": {**node, **changes}}}
    return {"site": lab}


def test_addresses_come_from_the_subnet():
    lab = parse(document(), "site")
    assert lab.node("db1").address == "10.9.0.11"
    assert lab.vips == {"mysql": "10.9.0.100"}
    assert lab.node("db1").container == "cloudexit-site-db1"


def test_the_release_is_the_labs_the_nodes_or_the_environments():
    assert parse(document(), "site").node("db1").release == "12"
    assert parse(document(debian=13), "site").node("db1").release == "13"
    assert parse(document(), "site", debian="13").node("db1").release == "13"


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"kind": "cloud"}, "lab site, node db1: kind 'cloud' is neither container nor vm"),
        ({"debian": 11}, "lab site, node db1: Debian '11' is not one of 12, 13"),
        ({"address": 100}, "lab site: address 10.9.0.100 is used twice or reserved"),
        ({"address": 1}, "lab site: address 10.9.0.1 is used twice or reserved"),
    ],
)
def test_a_wrong_node_is_refused(changes, message):
    with pytest.raises(LabError, match=message):
        parse(document(**changes), "site")


def test_an_unknown_lab_or_node_names_the_known_ones():
    with pytest.raises(LabError, match=r"no lab 'stie' in nodes.yml; it has site"):
        parse(document(), "stie")
    with pytest.raises(LabError, match=r"no node 'db9'; it has db1"):
        parse(document(), "site").node("db9")


def test_all_labs_of_the_repository_are_sound_and_do_not_overlap():
    labs = [parse(definitions.document(), name) for name in definitions.document()]
    for one in labs:
        others = [subnet for other in labs if other is not one for subnet in other.subnets]
        assert not [subnet for subnet in one.subnets if any(subnet.overlaps(other) for other in others)]


def test_a_taken_subnet_is_refused_with_the_route():
    lab = parse(document(), "site")
    nodes.check_subnet(lab, lab.subnet, [{"dst": "default", "dev": "eth0"}, {"dst": "10.8.0.0/16", "dev": "tun0"}])
    with pytest.raises(LabError, match=r"subnet 10.9.0.0/24 overlaps 10.9.0.0/16 on tun0: remove that route or change"):
        nodes.check_subnet(lab, lab.subnet, [{"dst": "10.9.0.0/16", "dev": "tun0"}])


def test_too_little_room_is_refused_before_anything_is_made(monkeypatch, tmp_path):
    lab = parse(document(kind="vm", memory=10**9), "site")
    with pytest.raises(LabError, match=r"lab site needs 1000000000 MiB of memory, \d+ MiB are available"):
        nodes.check_room(lab, str(tmp_path))
    monkeypatch.setattr(nodes.shutil, "disk_usage", lambda _path: type("Usage", (), {"free": 2**30})())
    with pytest.raises(LabError, match=r"lab site needs 5 GiB in .*, 1.0 GiB are free: `make clean`"):
        nodes.check_room(parse(document(), "site"), str(tmp_path))


def test_the_reason_of_a_failure_is_found_in_ansibles_output():
    output = "ok: [db1]\n[ERROR]: Task failed: VIP 10.1.1.1 is outside\nfatal: [db1]: FAILED! =>\n    msg: x\n"
    assert site.reasons(output) == ["[ERROR]: Task failed: VIP 10.1.1.1 is outside", "fatal: [db1]: FAILED! =>"]
    assert site.changed("db1 : ok=3 changed=2 x\ndb2 : ok=3 changed=1 x") == 3

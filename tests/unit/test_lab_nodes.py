# Copyright (c) the cloudexit maintainers
# GNU General Public License v3.0-or-later (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
"""How nodes are made and found again, without Docker."""

from __future__ import annotations

import io
import os
import socket
import subprocess
import tarfile
from types import SimpleNamespace

import docker.errors
import pytest
from lab import cache, definitions, images, nodes, uml
from lab.definitions import Lab, LabError, Node, parse
from lab.files import archive


def lab(**node) -> Lab:
    spec = {"address": 11, "kind": "vm", "memory": 512, "disks": ["3G", "1G"], **node}
    return parse({"site": {"subnet": "10.9.0.0/24", "debian": 12, "nodes": {"db1": spec}}}, "site")


class Container(SimpleNamespace):
    def remove(self, **_options) -> None:
        self.removed = True

    def start(self) -> None:
        self.status = "running"


def client(container: Container | None = None, networks: tuple = ()) -> SimpleNamespace:
    def get(_name):
        if container is None:
            raise docker.errors.NotFound("no")
        return container

    return SimpleNamespace(
        containers=SimpleNamespace(get=get), networks=SimpleNamespace(list=lambda names: list(networks))
    )


def quiet(_text: str) -> None:
    """Nobody listens."""


def test_a_node_with_a_kernel_of_its_own_is_unprivileged_but_for_its_network():
    args = uml.container_args(lab(), lab().node("db1"), "guest-12-abc.ext4")
    assert args["cap_add"] == ["NET_ADMIN"]
    assert args["devices"] == ["/dev/net/tun"]
    assert not {"privileged", "security_opt", "pid_mode", "network_mode"} & set(args)
    assert args["volumes"] == {uml.VOLUME: {"bind": "/images", "mode": "ro"}}
    assert args["tmpfs"] == {"/uml": "exec,size=768m"}
    environment = args["environment"]
    assert environment["NODE_GUEST"] == "guest-12-abc.ext4"
    assert (environment["NODE_MEMORY"], environment["NODE_DISKS"]) == ("512M", "3G 1G")


def test_nodes_take_turns_on_the_cpus_that_there_are(monkeypatch):
    monkeypatch.setattr(os, "sched_getaffinity", lambda _pid: {3, 5})
    cpus = [
        uml.container_args(lab(), Node(lab="x", name="n", address="10.9.0.1", index=index), "g")["environment"][
            "NODE_CPU"
        ]
        for index in range(3)
    ]
    assert cpus == ["3", "5", "3"]


def test_a_guest_gets_name_servers_that_it_can_reach(tmp_path):
    loopback, upstream, missing = tmp_path / "stub", tmp_path / "upstream", tmp_path / "missing"
    loopback.write_text("nameserver 127.0.0.53\nnameserver ::1\nsearch example\n")
    upstream.write_text("# x\nnameserver 192.0.2.1\nnameserver 192.0.2.2\nnameserver 192.0.2.3\nnameserver 192.0.2.4\n")
    assert uml.resolvers([loopback, missing, upstream]) == ["192.0.2.1", "192.0.2.2", "192.0.2.3"]
    assert uml.resolvers([loopback]) == list(uml.PUBLIC_DNS)


def test_another_kernel_or_release_makes_another_guest():
    def guest(kernel: str, release: str) -> str:
        found = SimpleNamespace(images=SimpleNamespace(get=lambda _name: SimpleNamespace(id=kernel)))
        return uml.guest(found, release)  # type: ignore[arg-type]

    assert guest("a", "12") == guest("a", "12")
    assert len({guest("a", "12"), guest("b", "12"), guest("a", "13")}) == 3


def test_what_goes_into_a_container_is_complete_and_private():
    with tarfile.open(fileobj=io.BytesIO(archive(uml.files(archive({"root/key": ("secret", 0o600)}))))) as outer:
        assert {info.name: info.mode for info in outer} == {"boot.sh": 0o755, "seed.tar": 0o600}
        seed = outer.extractfile("seed.tar")
        assert seed is not None
        with tarfile.open(fileobj=io.BytesIO(seed.read())) as inner:
            assert {info.name: info.mode for info in inner} == {"root/key": 0o600}


@pytest.mark.parametrize("script", sorted(path.name for path in uml.HERE.glob("*.sh")))
def test_the_guests_scripts_are_sound(script):
    text = (uml.HERE / script).read_text(encoding="utf-8")
    shell = text.splitlines()[0].removeprefix("#!").split()
    subprocess.run([*shell, "-n", str(uml.HERE / script)], check=True)
    assert "\nset -eu\n" in text


def test_a_node_with_links_gets_addresses_but_where_vlans_are_made():
    spec = {"address": 11, "kind": "vm", "links": {"out": 11, "trunk": 12}, "gateway": "out"}
    networks = {"out": {"subnet": "10.9.1.0/24"}, "trunk": {"subnet": "10.9.2.0/24", "bare": True}}
    made = parse({"site": {"subnet": "10.9.0.0/24", "networks": networks, "nodes": {"fw1": spec}}}, "site")
    node = made.node("fw1")
    environment = uml.container_args(made, node, "guest")["environment"]
    assert environment["NODE_LINKS"] == "10.9.0.11 10.9.1.11 10.9.2.12"
    assert environment["NODE_BARE"] == "10.9.2.12"
    assert environment["NODE_GATEWAY"] == "10.9.1.1"
    assert made.networks["trunk"].internal and not made.networks["out"].internal
    assert node.definition.startswith("vm 10.9.0.11, out 10.9.1.11, trunk 10.9.2.12, Debian 12, 1024 MiB")


def behind_a_router(**node) -> Lab:
    networks = {"public": {"subnet": "10.9.1.0/24"}, "data": {"subnet": "10.9.2.0/24", "router": 254}}
    spec = {"subnet": "10.9.0.0/24", "networks": networks, "cache": "public", "nodes": {"n": {"address": 11, **node}}}
    return parse({"site": {**spec, "vips": {"mysql": {"data": 100}}}}, "site")


def test_a_node_behind_a_router_goes_out_through_it_and_no_other_way():
    made = behind_a_router(network="data")
    assert (made.node("n").address, made.vips) == ("10.9.2.11", {"mysql": "10.9.2.100"})
    files = nodes.network_files(made, made.node("n"))
    assert files["usr/local/sbin/lab-network"][0] == "ip route replace default via 10.9.2.254\n"
    assert [network.name for network in made.homes] == ["cloudexit-site", "cloudexit-site-data"]
    assert "10.9.1.3" in nodes.files_for(made)["usr/local/bin/lab-apt-proxy"][0]
    assert uml.container_args(made, made.node("n"), "guest")["environment"]["NODE_GATEWAY"] == "10.9.2.254"


def test_a_containers_further_interfaces_are_called_as_their_networks():
    made = behind_a_router(links={"public": 12, "data": 12}, gateway="public", routes=True)
    script = nodes.network_files(made, made.node("n"))["usr/local/sbin/lab-network"][0]
    subprocess.run(["sh", "-n"], input=script, text=True, check=True)
    assert [line for line in script.splitlines() if line.startswith("ip link set")] == [
        "ip link set public up",
        "ip link set data up",
    ]
    assert script.endswith(
        "ip route replace default via 10.9.1.1\nmount -o remount,rw /proc/sys\n"
        "/lib/systemd/systemd-sysctl --prefix=/net || true\n"
    )
    assert made.node("n").definition.startswith("container 10.9.0.11, public 10.9.1.12, data 10.9.2.12, routes")


def test_docker_leaves_alone_what_a_router_of_the_lab_passes_on():
    mark = "-m comment --comment cloudexit-lab-site -j ACCEPT"
    assert nodes.routed_rules(behind_a_router()) == [
        f"POSTROUTING -s 10.9.0.0/24 -d 10.9.2.0/24 {mark}",
        f"POSTROUTING -s 10.9.1.0/24 -d 10.9.2.0/24 {mark}",
    ]
    assert nodes.routed_rules(lab()) == []


def test_a_plain_node_needs_nothing_of_it():
    plain = parse({"site": {"subnet": "10.9.0.0/24", "nodes": {"n": {"address": 11}}}}, "site")
    assert nodes.network_files(plain, plain.node("n")) == {}


def test_a_node_that_was_never_started_is_made_again():
    half_made = Container(status="created", removed=False)
    assert nodes.find_started(client(half_made), "x") is None  # type: ignore[arg-type]
    assert half_made.removed


def test_a_node_that_is_there_is_only_started():
    there = lab()
    container = Container(status="exited", labels={definitions.LABEL_DEFINITION: there.node("db1").definition})
    nodes.ensure_node(client(container), there, there.node("db1"), quiet)  # type: ignore[arg-type]
    assert container.status == "running"


def test_a_node_that_was_made_differently_is_refused_not_replaced():
    container = Container(
        status="running", labels={definitions.LABEL_DEFINITION: lab(memory=1024).node("db1").definition}
    )
    with pytest.raises(LabError) as refusal:
        nodes.ensure_node(client(container), lab(), lab().node("db1"), quiet)  # type: ignore[arg-type]
    assert str(refusal.value) == (
        "node db1 was made as 'vm 10.9.0.11, Debian 12, 1024 MiB, disks 3G 1G' and is "
        "'vm 10.9.0.11, Debian 12, 512 MiB, disks 3G 1G' now: "
        "`molecule/lab down site` removes the old nodes with their data, then run the same again"
    )


def test_a_network_of_another_working_copy_or_subnet_is_refused():
    def network(subnet: str, clone: str) -> SimpleNamespace:
        ipam = {"Config": [{"Subnet": subnet}]}
        return SimpleNamespace(name="cloudexit-site", attrs={"Labels": {definitions.LABEL_CLONE: clone}, "IPAM": ipam})

    mine = network("10.9.0.0/24", str(definitions.ROOT))
    nodes.ensure_networks(client(networks=(mine,)), lab(), quiet)  # type: ignore[arg-type]
    with pytest.raises(LabError, match=r"lab site was made from /elsewhere, whose keys its nodes know: `molecule/lab"):
        nodes.ensure_networks(client(networks=(network("10.9.0.0/24", "/elsewhere"),)), lab(), quiet)  # type: ignore[arg-type]
    with pytest.raises(LabError, match=r"network cloudexit-site has another subnet than 10.9.0.0/24"):
        other = network("10.8.0.0/24", str(definitions.ROOT))
        nodes.ensure_networks(client(networks=(other,)), lab(), quiet)  # type: ignore[arg-type]


def test_nodes_that_run_need_no_further_room(monkeypatch):
    monkeypatch.setattr(nodes.shutil, "disk_usage", lambda _path: SimpleNamespace(free=0))
    full = lab(memory=10**9)
    with pytest.raises(LabError, match="needs 1000000000 MiB of memory"):
        nodes.check_room(full, "/")
    nodes.check_room(full, "/", {"cloudexit-site-db1"})


def test_only_unused_older_definitions_of_the_same_image_are_dropped():
    removed = []

    def remove(tag: str) -> None:
        if tag.endswith("used"):
            raise docker.errors.APIError("conflict: unable to remove repository reference, a container is using it")
        removed.append(tag)

    tags = ["node:12-new", "node:12-old", "node:12-used", "node:13-old"]
    found = [SimpleNamespace(tags=[tag]) for tag in tags]
    fake = SimpleNamespace(images=SimpleNamespace(list=lambda **_options: found, remove=remove))
    images.drop_others(fake, "node:12-new", "12-")  # type: ignore[arg-type]
    assert removed == ["node:12-old"]


def test_apt_asks_the_cache_and_goes_straight_to_the_mirrors_without_it(tmp_path):
    address = "127.0.0.86"
    script, _mode = cache.node_files(address)["/usr/local/bin/lab-apt-proxy"]
    detect = tmp_path / "detect"
    detect.write_text(script)

    def answer() -> str:
        return subprocess.run(["sh", str(detect)], check=True, capture_output=True, text=True).stdout.strip()

    assert answer() == "DIRECT"
    with socket.create_server((address, cache.PORT)):
        assert answer() == f"http://{address}:{cache.PORT}"

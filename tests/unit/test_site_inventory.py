# Copyright (c) the cloudexit maintainers
# GNU General Public License v3.0-or-later (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
"""Good inventories pass without a word; of bad ones, good ones with one change, is said what is wrong with each."""

from __future__ import annotations

import json
import os
import re
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import NamedTuple

import pytest
from ansible_collections.cloudexit.ha_stack.plugins.module_utils import site_inventory as checks
from spoiling import INVENTORIES, ROOT, Inventory, secret_names, vault

BIN = Path(sys.executable).parent
SECRET = "never-shown-0123456789"


@pytest.mark.parametrize("name", ["staging", "production"])
def test_good_inventories_pass(name: str) -> None:
    inventory = Inventory(name)
    assert inventory.findings() == []
    assert inventory.unchecked() == []


@pytest.mark.parametrize("name", ["staging", "production"])
def test_examples_name_exactly_the_secrets_that_are_used(name: str) -> None:
    used = {
        one
        for path in (INVENTORIES / name).rglob("*.yml")
        for one in re.findall(r"\bvault_\w+", path.read_text(encoding="utf-8"))
    }
    assert used == set(secret_names(name))


class Bad(NamedTuple):
    """A change to a good inventory, the check that sees it, and what it says, or a part of it."""

    name: str
    spoil: Callable[[Inventory], None]
    check: Callable[..., object]
    says: str
    of: str = "staging"


def extra(**values: object) -> Callable[[Inventory], None]:
    return lambda inventory: inventory.set("all", **values)


def on(where: str, **values: object) -> Callable[[Inventory], None]:
    return lambda inventory: inventory.set(where, **values)


def without(group: str, *hosts: str) -> Callable[[Inventory], None]:
    return lambda inventory: inventory.remove(group, *hosts)


def within(group: str, *hosts: str, **values: object) -> Callable[[Inventory], None]:
    return lambda inventory: inventory.add(group, *hosts, **values)


def renamed(group: str, new: str) -> Callable[[Inventory], None]:
    def spoil(inventory: Inventory) -> None:
        hosts = [host.name for host in inventory.manager.get_hosts(group)]
        inventory.remove(group, *hosts)
        inventory.add(new, *hosts)

    return spoil


def emptied(inventory: Inventory) -> None:
    for group in checks.TIER_GROUPS:
        if group in inventory.manager.groups:
            inventory.remove(group, *[host.name for host in inventory.manager.get_hosts(group)])


def of_nobody(inventory: Inventory) -> None:
    emptied(inventory)
    inventory.add("mysql_replica", "stage3")


def evaluated(site: checks.Site) -> list[checks.Finding]:
    return [*checks.input_findings(site), *checks.evaluation_findings(site)]


TWO = "2 members; an odd number from 3 on is needed, so that a majority survives a host and two halves never tie"
BAD = (
    # --- names
    Bad("no tier at all", emptied, checks.group_findings, "inventory: no host is in a group of this collection"),
    Bad(
        "a group's typo",
        renamed("memcached", "memcache"),
        checks.group_findings,
        "group memcache: no playbook works on it, and stage3, stage4 is not in memcached. Did you mean memcached?",
    ),
    Bad(
        "a replica of nobody",
        of_nobody,
        checks.group_findings,
        "group mysql_replica: stage3 would follow a pair, and the group mysql is empty.",
    ),
    Bad(
        "balancers before one web host",
        without("web", "stage4"),
        checks.group_findings,
        "group web: there is 1 host (stage3) behind the balancers, and nothing answers while it is away.",
    ),
    Bad(
        "a host's name with an underscore",
        within("memcached", "stage_5", ansible_host="10.30.0.15"),
        checks.host_name_findings,
        "stage_5: the name 'stage_5' cannot be a host's: small letters, digits and -",
    ),
    Bad(
        "a host's name in capitals",
        within("memcached", "Stage5", ansible_host="10.30.0.15"),
        checks.host_name_findings,
        "Stage5: the name 'Stage5' cannot be a host's",
    ),
    Bad(
        "a host called as a group",
        within("web", "memcached", ansible_host="10.30.0.15"),
        checks.host_name_findings,
        "memcached: a group has the same name, and patterns such as --limit would mean both. Rename one of them",
    ),
    Bad(
        "two hosts with one short name",
        within("web", "stage3.example.com", ansible_host="10.30.0.15"),
        checks.host_name_findings,
        "stage3, stage3.example.com: these hosts have the same short name stage3",
    ),
    Bad(
        "a variable's typo",
        on("sentinel", redis_sentinel_quorom=2),
        checks.variable_findings,
        "stage1, stage3, stage4: redis_sentinel_quorom is no variable of the role redis_sentinel. Did you mean "
        "redis_sentinel_quorum?",
    ),
    Bad(
        "a typo in the role's part of a variable",
        on("sentinel", redis_sentinal_quorum=2),
        checks.variable_findings,
        "redis_sentinal_quorum is no variable of this collection. Did you mean redis_sentinel_quorum?",
    ),
    Bad(
        "a variable of a former version",
        on("web", gunicorn_supervisor_apache_modules=["wsgi"]),
        checks.variable_findings,
        "gunicorn_supervisor_apache_modules is no variable of the role gunicorn_supervisor. "
        "roles/gunicorn_supervisor/README.md lists them; take it out",
    ),
    Bad(
        "a typo in the inventory's own variables",
        on("stage1", site_zones="a"),
        checks.variable_findings,
        "stage1: site_zones is no variable of this collection. Did you mean site_zone?",
    ),
    # --- members and counts
    Bad("three for a pair", within("mysql", "stage3"), checks.input_findings, "a DRBD pair has exactly two members"),
    Bad("one of a pair", without("lb", "stage2"), checks.input_findings, "haproxy_lb_members has 1 member (stage1)"),
    Bad("one edge", without("cdn", "stage4"), checks.input_findings, "nginx_cdn_members has 1 member (stage3)"),
    Bad("one firewall", without("firewall", "fw2"), checks.cluster_findings, "needs at least 2 members", "production"),
    Bad("one Redis", without("redis", "stage4"), checks.input_findings, "1 data server; a failover needs at least 2"),
    Bad("two Sentinels", without("sentinel", "stage1"), checks.input_findings, "2 Sentinels; an odd number from 3 on"),
    Bad("four Sentinels", within("sentinel", "stage2"), checks.input_findings, "4 Sentinels; an odd number from 3 on"),
    Bad("two RabbitMQ", without("rabbitmq", "stage1"), checks.input_findings, TWO),
    Bad(
        "MongoDB without its arbiter",
        without("mongo_arbiter", "stage1"),
        checks.input_findings,
        "data members: 2, arbiters: 0; these are 2 voters, and an odd number is needed",
    ),
    Bad(
        "a quorum that nobody reaches",
        on("sentinel", redis_sentinel_quorum=4),
        checks.input_findings,
        "redis_sentinel_quorum is 4 with 3 Sentinels; it must be between 1 and their number",
    ),
    Bad(
        "a replica in the pair",
        within("mysql_replica", "stage1"),
        checks.input_findings,
        "stage1 is a member of the pair and cannot be its replica as well",
    ),
    Bad(
        "members that are not the group",
        on("rabbitmq", rabbitmq_mirror_members=["stage1", "stage3", "stage2"]),
        checks.member_findings,
        "stage1, stage3, stage4: rabbitmq_mirror_members is stage1, stage3, stage2 and the group rabbitmq is stage1, "
        "stage3, stage4: the playbooks work on the group, the role configures its members",
    ),
    # --- shapes
    Bad(
        "a text for a number",
        on("memcached", memcached_pool_processes="two"),
        checks.input_findings,
        "memcached_pool: argument 'memcached_pool_processes' is of type str and we were unable to convert to int",
    ),
    Bad(
        "a misspelled key",
        on("rabbitmq", rabbitmq_mirror_queues=[{"nam": "orders"}]),
        checks.input_findings,
        "rabbitmq_mirror: missing required arguments: name found in rabbitmq_mirror_queues",
    ),
    Bad(
        "a rule for an origin that is not there",
        on("cdn", nginx_cdn_rules=[{"path": "/", "origin": "nobody"}]),
        checks.input_findings,
        "nginx_cdn: the rule for '/' names the origin nobody, which is not in nginx_cdn_origins (shop)",
    ),
    Bad(
        "a frontend without its backend",
        on("lb", haproxy_lb_backends=[]),
        checks.input_findings,
        "haproxy_lb: the frontend shop points to the backend web, which is not in haproxy_lb_backends (empty)",
    ),
    # --- clusters
    Bad(
        "one host in two clusters",
        on("stage3", pcs_cluster_name="shop-cdn"),
        checks.cluster_findings,
        "stage3, stage4: a host is in one corosync cluster only, and these are to be in shop-cdn of stage3, stage4 and "
        "in staging-two of stage3, stage4. Set pcs_cluster_name and pcs_cluster_members once",
    ),
    Bad(
        "a cluster without a host of the tier",
        on("stage3", pcs_cluster_members=["stage3", "stage1"]),
        checks.cluster_findings,
        "stage3: pcs_cluster_members of the tier cdn is stage3, stage1, without stage4",
    ),
    Bad(
        "two clusters with one name",
        extra(pcs_cluster_name="shop"),
        checks.cluster_findings,
        "pcs_cluster_name shop: two clusters have this name, of stage1, stage2 and stage3, stage4",
    ),
    Bad(
        "a cluster's name that is too long",
        on("pair_one", pcs_cluster_name="staging-pair-one"),
        checks.cluster_findings,
        "pcs_cluster: pcs_cluster_name 'staging-pair-one' is not 1 to 15 letters",
    ),
    Bad(
        "nobody can fence",
        extra(pcs_cluster_fence_devices=[]),
        checks.cluster_findings,
        "pcs_cluster: fencing is enabled and no device is defined",
    ),
    Bad(
        "one cannot be fenced",
        extra(pcs_cluster_fence_devices=[{"name": "hypervisor", "agent": "fence_pve", "plugs": {"stage1": 1}}]),
        checks.cluster_findings,
        "stage1, stage2: pcs_cluster: no fence device can fence stage2",
    ),
    # --- addresses
    Bad(
        "an address twice",
        on("stage4", ansible_host="10.30.0.13"),
        checks.address_findings,
        "stage3, stage4: ansible_host is 10.30.0.13 for each of them. Give each host its own address",
    ),
    Bad(
        "a VIP that is a host's",
        extra(haproxy_lb_vip="10.30.0.13"),
        checks.address_findings,
        "tier lb: the VIP 10.30.0.13 is the address of stage3",
    ),
    Bad(
        "a VIP for two tiers",
        extra(haproxy_lb_vip="10.30.0.100"),
        checks.address_findings,
        "tiers mysql and lb: the VIP 10.30.0.100 is used 2 times. Give each its own",
    ),
    Bad(
        "a VIP elsewhere",
        extra(drbd_pcs_mysql_vip="10.31.0.100"),
        checks.address_findings,
        "stage1, stage2: the VIP 10.31.0.100 of the tier mysql is outside the host's site_network 10.30.0.0/24",
    ),
    Bad("no VIP", extra(haproxy_lb_vip=""), checks.input_findings, "haproxy_lb: haproxy_lb_vip is not set"),
    Bad(
        "a VIP that is none",
        extra(drbd_pcs_mysql_vip="db.example.com"),
        checks.input_findings,
        "drbd_pcs_mysql: drbd_pcs_mysql_vip is not an IPv4 address: db.example.com",
    ),
    Bad(
        "a host outside its network",
        on("stage2", ansible_host="10.31.0.12"),
        checks.address_findings,
        "stage2: ansible_host 10.31.0.12 is not in its site_network 10.30.0.0/24",
    ),
    Bad(
        "a network that is none",
        on("stage2", site_network="10.30.0.12/24"),
        checks.address_findings,
        "stage2: site_network is '10.30.0.12/24', which is no network",
    ),
    Bad(
        "a name for an address",
        on("stage1", ansible_host="stage1.example.com"),
        checks.cluster_findings,
        "pcs_cluster: member stage1: address 'stage1.example.com' is not an IP address",
    ),
    # --- zones
    Bad(
        "a pair in one zone",
        on("stage2", site_zone="a"),
        checks.zone_findings,
        "group mysql, group lb: stage1, stage2 are all in the zone a, and fail together.",
    ),
    Bad(
        "a majority in one zone",
        on("stage4", site_zone="a"),
        checks.zone_findings,
        "tier rabbitmq: 2 of 3 voters (stage1, stage4) are in the zone a; without it there is no majority",
    ),
    Bad(
        "a host without a zone",
        on("stage4", site_zone=""),
        checks.zone_findings,
        "stage4: no site_zone, 3 other hosts have one. Say what they fail with",
    ),
    # --- secrets
    Bad(
        "a secret that nobody set",
        lambda inventory: inventory.forget("vault_mongo_shop_password"),
        checks.vault_findings,
        "vault: not set: vault_mongo_shop_password. Set them in group_vars/all/vault.yml",
    ),
    Bad(
        "a secret left empty",
        extra(vault_redis_password=""),
        checks.secret_findings,
        "stage3, stage4, stage1: redis_sentinel_password is empty. Put a long random text into the vault",
    ),
    Bad(
        "a placeholder",
        extra(vault_hacluster_password="CHANGE_ME"),
        checks.secret_findings,
        "pcs_cluster_hacluster_password is still an example's placeholder",
    ),
    Bad(
        "a short secret",
        extra(vault_mysql_shop_password="shop123"),
        checks.secret_findings,
        "drbd_pcs_mysql_users[shop].password has 7 characters, at least 12 are wanted",
    ),
    Bad(
        "one secret for two",
        extra(vault_redis_password=SECRET, vault_rabbitmq_password=SECRET),
        checks.secret_findings,
        "rabbitmq_mirror_password, redis_sentinel_password: these secrets are equal: who knows one knows the others",
    ),
    Bad(
        "what the application needs",
        extra(vault_django_secret_key=""),
        checks.input_findings,
        "gunicorn_supervisor: the application needs SECRET_KEY and it is not set",
    ),
    # --- shared hosts
    Bad(
        "two on one port",
        on("web", gunicorn_supervisor_port=443),
        checks.port_findings,
        "stage3, stage4: gunicorn_supervisor_port and nginx_cdn_port both want port 443",
    ),
    Bad(
        "balancers beside the shop",
        within("web", "stage1"),
        checks.port_findings,
        "stage1: gunicorn_supervisor_port and haproxy_lb_frontends[shop].redirect_from both want port 80",
    ),
    Bad(
        "processes over another's port",
        on("memcached", memcached_pool_port=6378, memcached_pool_processes=2),
        checks.port_findings,
        "stage3, stage4: redis_sentinel_port and memcached_pool_port both want port 6379",
    ),
    Bad(
        "shares of one memory",
        on("all", redis_sentinel_memory=0, mongo_replset_cache=0),
        checks.memory_findings,
        "stage3, stage4: its tiers plan with",
    ),
    Bad(
        "more than the host has",
        on("stage1", site_memory=1024),
        checks.memory_findings,
        "stage1: its tiers plan with 100% of the memory of 1024 MiB "
        "(drbd_pcs_mysql_settings.innodb_buffer_pool_size 512 MiB, rabbitmq_mirror_memory 512 MiB)",
    ),
    Bad(
        "DRBD on an array that is not there",
        on("mysql", drbd_pcs_mysql_device="/dev/md/mysqll"),
        checks.device_findings,
        "db1, db2: drbd_pcs_mysql_device is /dev/md/mysqll, and raid10_disk_arrays has mysql",
        "production",
    ),
    Bad(
        "DRBD below its array",
        on("mysql", drbd_pcs_mysql_device="/dev/vdb"),
        checks.device_findings,
        "drbd_pcs_mysql_device /dev/vdb is a disk of the array mysql. Put DRBD on the array: /dev/md/mysql",
        "production",
    ),
    # --- who needs whom
    Bad(
        "a tier that the shop uses",
        renamed("memcached", "caches"),
        checks.need_findings,
        "stage3, stage4: its tier web uses memcached_pool_endpoints, and the group memcached has no hosts",
    ),
    Bad(
        "a flow that the firewalls drop",
        on("firewall", zentyal_nat_flows=[]),
        checks.need_findings,
        "web1, web2: the firewalls would drop what web asks of mysql-write, 10.20.0.100:3306 "
        "(drbd_pcs_mysql_endpoints). Add a flow to zentyal_nat_flows",
        "production",
    ),
    Bad(
        "Sentinels without their Redis",
        lambda inventory: inventory.drop_flow("redis"),
        checks.need_findings,
        "the firewalls would drop what web asks of redis1, 10.20.0.21:6379 (redis_sentinel_endpoints)",
        "production",
    ),
    Bad(
        "a replica whose health nobody may ask",
        lambda inventory: inventory.drop_flow("mysql-health"),
        checks.need_findings,
        "lb1, lb2: the firewalls would drop what lb asks of db3, 10.20.0.13:9201 (drbd_pcs_mysql_read_endpoints)",
        "production",
    ),
    Bad(
        "a policy that cannot be applied",
        on("firewall", zentyal_nat_out=["dmz"]),
        checks.need_findings,
        "group firewall: zentyal_nat: zentyal_nat_out has 'dmz', which is no zone",
        "production",
    ),
    Bad(
        "MySQL's users from elsewhere",
        extra(drbd_pcs_mysql_clients=""),
        checks.client_findings,
        "web1: its address 10.10.0.21 is not in 10.20.0.0/24, from where MySQL lets its users in",
        "production",
    ),
    Bad(
        "a certificate for a URL",
        on("lb", haproxy_lb_certificates=[{"name": "shop", "generate": True, "names": ["https://shop.example.com"]}]),
        checks.tls_findings,
        "haproxy_lb_certificates is for 'https://shop.example.com', which is neither a host name nor an address",
    ),
    Bad(
        "a name of nothing",
        on("web", gunicorn_supervisor_environment={"X": "{{ site_shop_nmae }}"}),
        evaluated,
        "stage3, stage4: site_shop_nmae is not set, and gunicorn_supervisor_environment needs it",
    ),
    Bad(
        "a template that fails",
        on("web", gunicorn_supervisor_environment={"X": "{{ [] | first }}"}),
        evaluated,
        "stage3, stage4: gunicorn_supervisor_environment cannot be evaluated: No first item, sequence was empty",
    ),
)


@pytest.mark.parametrize("bad", BAD, ids=[bad.name for bad in BAD])
def test_bad_inventory(bad: Bad) -> None:
    inventory = Inventory(bad.of)
    bad.spoil(inventory)
    found = inventory.findings(bad.check)
    assert any(bad.says in text for text in found), "\n".join(found) or "nothing was found"
    assert SECRET not in str(found)


# --- as it is called -------------------------------------------------------------------------------------------------


def play(playbook: str, inventory: str, *arguments: str, **over: object) -> subprocess.CompletedProcess[str]:
    """A playbook on hosts that nobody has: whatever speaks to one fails with `unreachable`."""
    command = [str(BIN / "ansible-playbook"), "-i", f"inventories/{inventory}", f"playbooks/{playbook}.yml", *arguments]
    values = json.dumps({**vault(inventory), "ansible_ssh_common_args": "-o ConnectTimeout=1", **over})
    environment = {**os.environ, "NO_COLOR": "1", "PATH": f"{BIN}:{os.environ['PATH']}"}
    return subprocess.run(
        [*command, "-e", values], cwd=ROOT, env=environment, capture_output=True, text=True, check=False
    )


@pytest.mark.parametrize("name", ["staging", "production"])
def test_it_passes_without_reaching_anybody(name: str) -> None:
    run = play("check_inventory", name)
    assert run.returncode == 0, run.stdout + run.stderr
    assert "Not checked" not in run.stdout


def test_all_that_is_wrong_is_said_at_once_and_no_secret() -> None:
    run = play(
        "check_inventory",
        "production",
        haproxy_lb_vip="10.20.0.100",
        rabbitmq_mirror_members=["mq1", "mq2"],
        redis_sentinel_quorom=2,
        vault_redis_password=SECRET,
        vault_rabbitmq_password=SECRET,
    )
    assert run.returncode == 2
    said = " ".join(run.stdout.split())
    for text in (
        "Nothing was changed on any host. Wrong in the inventory:",
        "tiers mysql and lb: the VIP 10.20.0.100 is used 2 times",
        "rabbitmq_mirror: 2 members; an odd number from 3 on is needed",
        "every host: redis_sentinel_quorom is no variable of the role redis_sentinel. Did you mean",
        "rabbitmq_mirror_password, redis_sentinel_password: these secrets are equal",
    ):
        assert text in said, text
    assert SECRET not in run.stdout + run.stderr
    assert "unreachable=0" in run.stdout


def test_the_site_is_not_begun_with_a_bad_inventory() -> None:
    run = play("site", "staging", "--limit", "stage2", pcs_cluster_fence_devices=[])
    assert run.returncode == 2
    assert "stage1, stage2, stage3, stage4: pcs_cluster: fencing is enabled and no device is defined" in run.stdout
    assert "unreachable=0" in run.stdout and "The database" not in run.stdout


def test_without_zones_networks_and_memory_it_says_what_it_did_not_look_at() -> None:
    inventory = Inventory("staging")
    inventory.set("all", site_zone="", site_memory="")
    inventory.set("stage1", site_network="")
    assert inventory.findings() == []
    assert inventory.unchecked() == [
        "site_zone is not set for any host: whether pairs and voters are in different zones",
        "site_network is not set for stage1: whether VIPs are in their hosts' networks",
        "site_memory is not set for any host: whether the tiers of a shared host fit into its memory",
    ]

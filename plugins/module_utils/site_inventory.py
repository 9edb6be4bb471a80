# Copyright (c) the cloudexit maintainers
# GNU General Public License v3.0-or-later (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
"""What is wrong with an inventory, seen without asking a host: all of it at once.

C(findings) takes a C(Site), an inventory as the roles would see it, and returns C(Finding)s. What a role says of its
own inputs is taken from the role; here is what no role sees alone: tiers that share hosts, clusters, addresses, zones
and secrets, and who needs whom through which firewall.

An inventory may say of a host, as variables that no role reads:

site_zone     what fails as a whole (a rack, a room, a zone of the provider); any text
site_network  the network of the host's C(ansible_host), such as 192.0.2.0/24
site_memory   the host's memory in MiB
"""

from __future__ import annotations

import difflib
import ipaddress
import re
from collections import Counter, defaultdict
from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import dataclass
from typing import Any, NamedTuple, Protocol

from ansible_collections.cloudexit.ha_stack.plugins.module_utils import pcs_cluster, zentyal_nat

# A host's name, which is its node's name in Pacemaker: RFC 1123, of which capitals are left out.
LABEL = r"[a-z0-9]([a-z0-9-]{0,61}[a-z0-9])?"
HOST_NAME = re.compile(rf"{LABEL}(\.{LABEL})*")
TLS_NAME = re.compile(rf"(\*\.)?{LABEL}(\.{LABEL})*", re.IGNORECASE)
SITE_VARIABLES = ("site_zone", "site_network", "site_memory")
# Set by roles for playbooks and roles of the same run.
SET_BY_ROLES = ("pcs_cluster_online", "zentyal_nat_table")
PLACEHOLDER = re.compile(
    r"\W*(change.?(me|it|this)?|to.?do|fix.?me|replace.?me|example|placeholder|secret|password|passw0rd|dummy|default|test"
    r"|admin|guest|root|x{3,}|1234\d*|.*\b(change|replace) ?me\b.*|<.*>)?\W*",
    re.IGNORECASE | re.DOTALL,
)
SHORTEST_SECRET = 12
# Secrets that are the copy of somebody else's, or not chosen by anybody here.
COPIES = re.compile(
    r"gunicorn_supervisor_secret_environment|pcs_cluster_fence_secrets|access_key|rclone|tls_|certificate"
)
# Share of a host's memory that all tiers on it may plan with; the rest is the system's.
MEMORY_SHARE = 0.9
WORKER_MIB = 150  # of Gunicorn, as its role counts
VAULT = re.compile(r"\bvault_\w+")
ANY = "*"  # an address: all of the host


class Unknown:
    """Stands for a value that cannot be evaluated; why is said once, apart."""


class Site(Protocol):
    """An inventory as the roles see it.

    groups   group to its hosts
    given    host to its variables as they are written
    specs    role to its argument specs
    missing  variable that is set nowhere, to (host, variable that needs it)
    failures (expression, error) to hosts: what else could not be evaluated
    """

    groups: dict[str, list[str]]
    given: dict[str, Any]
    specs: dict[str, Any]
    missing: dict[str, set[tuple[str, str]]]
    failures: dict[tuple[str, str], set[str]]

    def value(self, host: str, expression: str, tier: Tier | None = None) -> Any:
        """A variable or an expression as `host` would see it in a play of `tier`, or Unknown."""

    def spec_errors(self, host: str, tier: Tier, role: str, entry: str) -> list[str]:
        """What the role's argument spec has against the host's variables."""


class Finding(NamedTuple):
    """One thing that is wrong: where (hosts, a group, a role), what, with the value seen, and what to do about it."""

    where: str
    wrong: str
    remedy: str = ""

    def __str__(self) -> str:
        return f"{self.where}: {self.wrong}" + (f". {self.remedy}" if self.remedy else "")


@dataclass(frozen=True)
class Tier:
    """A play of the site: the groups it runs on, the role, and which of the role's variables say who its members are.

    inputs  expressions, each a list of what the role refuses about its inputs
    voters  a majority of these groups' hosts must live
    pair    hosts of this group stand in for each other
    """

    name: str
    role: str
    groups: tuple[str, ...]
    inputs: tuple[str, ...]
    members: tuple[tuple[str, str], ...]
    clustered: bool = False
    pairs: tuple[str, ...] = ()
    voters: tuple[str, ...] = ()
    vips: str = "[]"


TIERS = (
    Tier(
        name="mysql",
        role="drbd_pcs_mysql",
        groups=("mysql",),
        inputs=("__drbd_pcs_mysql_wrong_inputs", "(raid10_disk_arrays | cloudexit.ha_stack.raid_arrays).wrong"),
        members=(("drbd_pcs_mysql_members", "mysql"),),
        clustered=True,
        pairs=("mysql",),
        vips="[drbd_pcs_mysql_vip]",
    ),
    Tier(
        name="mysql_replica",
        role="drbd_pcs_mysql",
        groups=("mysql_replica",),
        inputs=("__drbd_pcs_mysql_replica_wrong_inputs",),
        members=(("drbd_pcs_mysql_replicas", "mysql_replica"),),
    ),
    Tier(
        name="redis",
        role="redis_sentinel",
        groups=("redis", "sentinel"),
        inputs=("__redis_sentinel_refusals",),
        members=(("redis_sentinel_data_members", "redis"), ("redis_sentinel_sentinel_members", "sentinel")),
        pairs=("redis",),
        voters=("sentinel",),
    ),
    Tier(
        name="memcached",
        role="memcached_pool",
        groups=("memcached",),
        inputs=("__memcached_pool_refusals",),
        members=(("memcached_pool_members", "memcached"),),
        pairs=("memcached",),
    ),
    Tier(
        name="rabbitmq",
        role="rabbitmq_mirror",
        groups=("rabbitmq",),
        inputs=("__rabbitmq_mirror_refusals",),
        members=(("rabbitmq_mirror_members", "rabbitmq"),),
        voters=("rabbitmq",),
    ),
    Tier(
        name="mongo",
        role="mongo_replset",
        groups=("mongo", "mongo_arbiter"),
        inputs=("__mongo_replset_refusals",),
        members=(("mongo_replset_data_members", "mongo"), ("mongo_replset_arbiter_members", "mongo_arbiter")),
        pairs=("mongo",),
        voters=("mongo", "mongo_arbiter"),
    ),
    Tier(
        name="cdn",
        role="nginx_cdn",
        groups=("cdn",),
        inputs=("__nginx_cdn_plan.problems",),
        members=(("nginx_cdn_members", "cdn"),),
        clustered=True,
        pairs=("cdn",),
        vips="nginx_cdn_vips | map(attribute='address')",
    ),
    Tier(
        name="web",
        role="gunicorn_supervisor",
        groups=("web",),
        inputs=("__gunicorn_supervisor_refusals",),
        members=(("gunicorn_supervisor_members", "web"),),
        pairs=("web",),
    ),
    Tier(
        name="lb",
        role="haproxy_lb",
        groups=("lb",),
        inputs=("__haproxy_lb_plan.problems",),
        members=(("haproxy_lb_members", "lb"),),
        clustered=True,
        pairs=("lb",),
        vips="[haproxy_lb_vip]",
    ),
    Tier(
        name="firewall",
        role="zentyal_nat",
        groups=("firewall",),
        inputs=(),
        members=(("zentyal_nat_members", "firewall"),),
        clustered=True,
        pairs=("firewall",),
        vips="zentyal_nat_zones | selectattr('vip', 'defined') | map(attribute='vip')",
    ),
)
TIER_GROUPS = tuple(group for tier in TIERS for group in tier.groups)
# Groups that other playbooks of the collection work on.
OTHER_GROUPS = ("mysql_backup", "mysql_restore", "all", "ungrouped")


# --- small things -----------------------------------------------------------------------------------------------------


def listed(names: Iterable[Any], none: str = "none") -> str:
    return ", ".join(str(name) for name in names) or none


def did_you_mean(name: str, known: Iterable[str], cutoff: float = 0.75) -> str:
    close = difflib.get_close_matches(name, list(known), n=1, cutoff=cutoff)
    return close[0] if close else ""


def hosts_of(site: Site, groups: Iterable[str]) -> list[str]:
    return list(dict.fromkeys(host for group in groups for host in site.groups.get(group, [])))


def present(site: Site) -> Iterator[tuple[Tier, list[str]]]:
    """Each tier that has hosts, with them."""
    for tier in TIERS:
        if hosts := hosts_of(site, tier.groups):
            yield tier, hosts


def address(value: Any) -> ipaddress.IPv4Address | ipaddress.IPv6Address | None:
    try:
        return ipaddress.ip_address(str(value))
    except ValueError:
        return None


def address_range(value: Any) -> ipaddress.IPv4Network | ipaddress.IPv6Network | None:
    try:
        return ipaddress.ip_network(str(value))
    except ValueError:
        return None


def members(value: Any) -> list[str]:
    return [str(one) for one in value] if isinstance(value, list | tuple) else []


def together(found: Iterable[Finding]) -> list[Finding]:
    """What is the same on several hosts, once."""
    where: dict[tuple[str, str], list[str]] = defaultdict(list)
    for finding in found:
        where[finding.wrong, finding.remedy].append(finding.where)
    return [Finding(listed(dict.fromkeys(places)), *text) for text, places in where.items()]


# --- names ------------------------------------------------------------------------------------------------------------


def group_findings(site: Site) -> Iterator[Finding]:
    if not any(True for _tier in present(site)):
        yield Finding(
            "inventory",
            f"no host is in a group of this collection; there are the groups {listed(sorted(site.groups))}",
            f"Name the right inventory with -i, or put hosts into {listed(TIER_GROUPS)}",
        )
    for group, hosts in site.groups.items():
        meant = did_you_mean(group, TIER_GROUPS)
        if group in (*TIER_GROUPS, *OTHER_GROUPS) or not meant:
            continue
        if strays := [host for host in hosts if host not in site.groups.get(meant, [])]:
            yield Finding(
                f"group {group}",
                f"no playbook works on it, and {listed(strays)} is not in {meant}",
                f"Did you mean {meant}? If the group is meant for something else, give it a name less like that",
            )
    if site.groups.get("mysql_replica") and not site.groups.get("mysql"):
        yield Finding(
            "group mysql_replica",
            f"{listed(site.groups['mysql_replica'])} would follow a pair, and the group mysql is empty",
            "Put the pair into the group mysql, or empty mysql_replica",
        )
    if site.groups.get("lb") and len(site.groups.get("web", [])) == 1:
        yield Finding(
            "group web",
            f"there is 1 host ({site.groups['web'][0]}) behind the balancers, and nothing answers while it is away",
            "Add another host",
        )


def host_name_findings(site: Site) -> Iterator[Finding]:
    hosts = hosts_of(site, TIER_GROUPS)
    for host in hosts:
        if not HOST_NAME.fullmatch(host):
            yield Finding(
                host,
                f"the name {host!r} cannot be a host's: small letters, digits and -, up to 63 in a part (RFC 1123)",
                "Rename it in the inventory and with hostnamectl; Pacemaker and the roles go by that name",
            )
        if host in site.groups:
            yield Finding(
                host, "a group has the same name, and patterns such as --limit would mean both", "Rename one of them"
            )
    short = Counter(host.split(".")[0].lower() for host in hosts)
    for name, times in short.items():
        if times > 1:
            same = [host for host in hosts if host.split(".")[0].lower() == name]
            yield Finding(
                listed(same),
                f"these hosts have the same short name {name}",
                "Give each a name that differs before the dot",
            )


def variable_findings(site: Site) -> Iterator[Finding]:
    """Variables that look like a role's and are none of it."""
    known = {
        role: {name for entry in spec.values() for name in entry.get("options", {})}
        for role, spec in site.specs.items()
    }
    every = {*SITE_VARIABLES, *SET_BY_ROLES}.union(*known.values())
    where: dict[str, list[str]] = defaultdict(list)
    for host, variables in site.given.items():
        for name in variables:
            if name not in every:
                where[name].append(host)
    for name, hosts in where.items():
        role = next((one for one in sorted(known, key=len, reverse=True) if name.startswith(f"{one}_")), "")
        # The role's name is the same in all of its variables: compared is what follows it.
        ends = {one.removeprefix(role): one for one in (known[role] if role else every)}
        meant = ends.get(did_you_mean(name.removeprefix(role), ends, 0.8 if role else 0.88), "")
        if role or meant:
            yield Finding(
                "every host" if len(hosts) == len(site.given) > 1 else listed(hosts),
                f"{name} is no variable of " + (f"the role {role}" if role else "this collection"),
                f"Did you mean {meant}?" if meant else f"roles/{role}/README.md lists them; take it out",
            )


# --- members, counts, what roles say of their inputs ------------------------------------------------------------------


def member_findings(site: Site) -> Iterator[Finding]:
    for tier, hosts in present(site):
        for variable, group in tier.members:
            wanted = site.groups.get(group, [])
            for host in hosts:
                value = site.value(host, variable, tier)
                if value is not Unknown and sorted(set(members(value))) != sorted(wanted):
                    yield Finding(
                        host,
                        f"{variable} is {listed(members(value))} and the group {group} is {listed(wanted)}: the "
                        "playbooks work on the group, the role configures its members",
                        f"Take {variable} out, so that it is the group, or mend the group",
                    )


def input_findings(site: Site) -> Iterator[Finding]:
    """What the roles themselves say, and their argument specs."""
    for tier, hosts in present(site):
        roles = [tier.role, *(["pcs_cluster"] if tier.clustered else [])]
        if "mysql" in tier.groups:
            roles.append("raid10_disk")
        for host in hosts:
            for role in roles:
                for error in site.spec_errors(host, tier, role, "main"):
                    yield Finding(host, f"{role}: {error}", f"roles/{role}/README.md has the shapes of its variables")
            for expression in tier.inputs:
                for text in members(site.value(host, expression, tier)):
                    yield Finding(host, f"{tier.role}: {text.rstrip('.')}")


# --- clusters ---------------------------------------------------------------------------------------------------------


def cluster_of(site: Site, host: str, tier: Tier) -> tuple[str, list[str]] | None:
    name, who = site.value(host, "pcs_cluster_name", tier), site.value(host, "pcs_cluster_members", tier)
    return None if Unknown in (name, who) else (str(name), members(who))


def cluster_findings(site: Site) -> Iterator[Finding]:
    clusters: dict[str, set[tuple[str, tuple[str, ...]]]] = defaultdict(set)  # host to (name, members) of its clusters
    for tier, hosts in present(site):
        for host in hosts if tier.clustered else ():
            cluster = cluster_of(site, host, tier)
            if cluster is None:
                continue
            name, who = cluster
            for one in dict.fromkeys((host, *who)):
                clusters[one].add((name, tuple(sorted(who))))
            wish = site.value(host, "__pcs_cluster_wish | cloudexit.ha_stack.pcs_cluster_wish(hostvars)", tier)
            if wish is not Unknown:
                for text in pcs_cluster.check_wish(wish):
                    yield Finding(host, f"pcs_cluster: {text}")
            if outside := [one for one in hosts if one not in who]:
                yield Finding(
                    host,
                    f"pcs_cluster_members of the tier {tier.name} is {listed(who)}, without {listed(outside)}",
                    "Name all hosts of the tier: its addresses move between members of one cluster only",
                )
    for host, several in clusters.items():
        if len(several) > 1:
            told = " and in ".join(f"{name} of {listed(who)}" for name, who in sorted(several))
            yield Finding(
                host,
                f"a host is in one corosync cluster only, and these are to be in {told}",
                "Set pcs_cluster_name and pcs_cluster_members once, for a group with all tiers' hosts of this pair",
            )
    by_name: dict[str, set[tuple[str, ...]]] = defaultdict(set)
    for name, together_with in sorted({one for several in clusters.values() for one in several}):
        by_name[name].add(together_with)
    for name, sets in by_name.items():
        if len(sets) > 1:
            told = " and ".join(listed(who) for who in sorted(sets))
            yield Finding(
                f"pcs_cluster_name {name}",
                f"two clusters have this name, of {told}",
                "Give each its own: a host that hears the other's messages would take them for its own cluster's",
            )


# --- addresses --------------------------------------------------------------------------------------------------------


def address_findings(site: Site) -> Iterator[Finding]:
    owners: dict[str, list[str]] = defaultdict(list)
    for host in hosts_of(site, TIER_GROUPS):
        if (own := site.value(host, "ansible_host")) is not Unknown:
            owners[str(own)].append(host)
    for own, hosts in owners.items():
        if len(hosts) > 1:
            yield Finding(listed(hosts), f"ansible_host is {own} for each of them", "Give each host its own address")
    yield from vip_findings(site, owners)
    for host in hosts_of(site, TIER_GROUPS):
        declared, own = network_of(site, host), address(site.value(host, "ansible_host"))
        if isinstance(declared, str):
            yield Finding(host, f"site_network is {declared!r}, which is no network", "Write it as 192.0.2.0/24")
        elif declared and own and own not in declared:
            yield Finding(
                host,
                f"ansible_host {own} is not in its site_network {declared}",
                "Set ansible_host to its address in the tier's network, or mend site_network",
            )


def network_of(site: Site, host: str) -> ipaddress.IPv4Network | ipaddress.IPv6Network | str | None:
    """The network that the inventory gives a host; the text, if it is none; None if it says nothing."""
    text = site.given[host].get("site_network") and site.value(host, "site_network")
    return None if not text or text is Unknown else address_range(text) or str(text)


def vip_findings(site: Site, owners: Mapping[str, list[str]]) -> Iterator[Finding]:
    users: dict[str, list[str]] = defaultdict(list)
    for tier, hosts in present(site):
        vips = members(site.value(hosts[0], tier.vips, tier))
        for vip in vips:
            users[vip].append(tier.name)
            if others := [host for host in owners.get(vip, []) if host not in hosts]:
                yield Finding(
                    f"tier {tier.name}",
                    f"the VIP {vip} is the address of {listed(others)}",
                    "Give the tier a free address, which nobody has for himself",
                )
        if tier.role == "zentyal_nat":  # has its own networks, and checks them
            continue
        for host in hosts:
            network = network_of(site, host)
            for vip in vips:
                one = address(vip)
                if one and network and not isinstance(network, str) and one not in network:
                    yield Finding(
                        host,
                        f"the VIP {vip} of the tier {tier.name} is outside the host's site_network {network}",
                        "Give the tier a free address in its members' network: it could not be reached on this host",
                    )
    for vip, tiers in users.items():
        if vip and len(tiers) > 1:
            yield Finding(
                f"tiers {' and '.join(tiers)}" if len(set(tiers)) > 1 else f"tier {tiers[0]}",
                f"the VIP {vip} is used {len(tiers)} times",
                "Give each its own: one address can be in one place only",
            )


# --- zones ------------------------------------------------------------------------------------------------------------


def zone_findings(site: Site) -> Iterator[Finding]:
    """Whether one zone's loss is survived; nothing is said where no host has a zone."""
    hosts = hosts_of(site, TIER_GROUPS)
    zones = {host: str(site.value(host, "site_zone")) for host in hosts if site.given[host].get("site_zone")}
    if zones and (without := [host for host in hosts if host not in zones]):
        yield Finding(listed(without), f"no site_zone, {len(zones)} other hosts have one", "Say what they fail with")
    for tier, _hosts in present(site):
        for group in tier.pairs:
            where = [zones.get(host) for host in site.groups.get(group, [])]
            if len(where) > 1 and where[0] and len(set(where)) == 1:
                yield Finding(
                    f"group {group}",
                    f"{listed(site.groups[group])} are all in the zone {where[0]}, and fail together",
                    "Move one to another zone (site_zone)",
                )
        voters = hosts_of(site, tier.voters)
        count = Counter(zones[host] for host in voters if host in zones)
        for zone, number in count.items():
            if len(voters) > 2 and len(voters) - number <= len(voters) // 2:
                inside = [host for host in voters if zones.get(host) == zone]
                yield Finding(
                    f"tier {tier.name}",
                    f"{number} of {len(voters)} voters ({listed(inside)}) are in the zone {zone}; without it "
                    "there is no majority",
                    "Spread the voters over three zones, so that each has less than half of them",
                )


# --- secrets ----------------------------------------------------------------------------------------------------------


def secrets(options: Mapping[str, Any], values: Mapping[str, Any], path: str = "") -> Iterator[tuple[str, str]]:
    """(path, text) of each value that an argument spec calls secret."""
    for name, option in options.items():
        value, here = values.get(name), f"{path}{name}"
        if value is None or value is Unknown:
            continue
        if option.get("no_log"):
            yield from leaves(value, here)
        elif "options" in option:
            entries = value if isinstance(value, list | tuple) else [value]
            for number, entry in enumerate(entries):
                if isinstance(entry, Mapping):
                    yield from secrets(option["options"], entry, f"{here}[{entry.get('name', number)}].")


def leaves(value: Any, path: str) -> Iterator[tuple[str, str]]:
    if isinstance(value, Mapping):
        for key, one in value.items():
            yield from leaves(one, f"{path}.{key}")
    elif isinstance(value, list | tuple):
        for one in value:
            yield from leaves(one, path)
    elif value is not None:
        yield path, str(value)


def secret_findings(site: Site) -> Iterator[Finding]:
    uses: dict[str, set[str]] = defaultdict(set)  # a secret's text, where it is used
    for tier, hosts in present(site):
        for role in [tier.role, *(["pcs_cluster"] if tier.clustered else [])]:
            options = site.specs[role]["main"]["options"]
            for host in hosts:
                values = {name: site.value(host, name, tier) for name in options if name in site.given[host]}
                for path, text in secrets(options, values):
                    if PLACEHOLDER.fullmatch(text):
                        yield Finding(
                            host,
                            f"{path} is " + ("empty" if not text.strip() else "still an example's placeholder"),
                            "Put a long random text into the vault: openssl rand -hex 24",
                        )
                    elif not COPIES.search(path):
                        uses[text].add(path)
                        if len(text) < SHORTEST_SECRET:
                            yield Finding(
                                host,
                                f"{path} has {len(text)} characters, at least {SHORTEST_SECRET} are wanted",
                                "Put a long random text into the vault: openssl rand -hex 24",
                            )
    for paths in uses.values():
        if len(paths) > 1:
            yield Finding(
                listed(sorted(paths)), "these secrets are equal: who knows one knows the others", "Give each its own"
            )


# --- hosts that are shared --------------------------------------------------------------------------------------------


class Socket(NamedTuple):
    """What listens on a host: on which address (ANY: all), on which port."""

    who: str
    address: str
    port: int


def sockets(site: Site, host: str) -> Iterator[Socket]:
    """What the tiers of a host listen on."""

    def value(tier: str, expression: str) -> Any:
        found = site.value(host, expression, next(one for one in TIERS if one.name == tier))
        return None if found is Unknown else found

    def ports(who: str, where: Any, *numbers: Any) -> Iterator[Socket]:
        for one in where if isinstance(where, list) else [where]:
            for number in numbers:
                if str(number or "").isdigit() and int(number):
                    yield Socket(who, str(one), int(number))

    def on(group: str) -> bool:
        return host in site.groups.get(group, [])

    if on("mysql"):
        yield from ports(
            "drbd_pcs_mysql_port", value("mysql", "drbd_pcs_mysql_listen"), value("mysql", "drbd_pcs_mysql_port")
        )
        own = value("mysql", "drbd_pcs_mysql_address")
        yield from ports("drbd_pcs_mysql_drbd_port", own, value("mysql", "drbd_pcs_mysql_drbd_port"))
    if on("mysql_replica"):
        own = value("mysql_replica", "drbd_pcs_mysql_address")
        for name in ("drbd_pcs_mysql_port", "drbd_pcs_mysql_health_port", "drbd_pcs_mysql_seed_port"):
            yield from ports(name, own, value("mysql_replica", name))
    for group, name in (("redis", "redis_sentinel_port"), ("sentinel", "redis_sentinel_sentinel_port")):
        if on(group):
            yield from ports(name, value("redis", "redis_sentinel_address"), value("redis", name))
    if on("memcached"):
        first, number = value("memcached", "memcached_pool_port"), value("memcached", "memcached_pool_processes")
        if str(first).isdigit() and str(number).isdigit():
            own = value("memcached", "memcached_pool_address")
            yield from ports("memcached_pool_port", own, *range(int(first), int(first) + int(number)))
    if on("rabbitmq"):
        own = value("rabbitmq", "rabbitmq_mirror_address")
        for name in ("rabbitmq_mirror_port", "rabbitmq_mirror_tls_port", "rabbitmq_mirror_distribution_port"):
            yield from ports(name, own, value("rabbitmq", name))
        yield from ports("epmd of RabbitMQ", own, 4369)
    if on("mongo") or on("mongo_arbiter"):
        yield from ports(
            "mongo_replset_port", value("mongo", "mongo_replset_address"), value("mongo", "mongo_replset_port")
        )
    if on("web"):
        yield from ports("gunicorn_supervisor_port", ANY, value("web", "gunicorn_supervisor_port"))
    if on("cdn"):
        for name in ("nginx_cdn_port", "nginx_cdn_redirect_from"):
            yield from ports(name, ANY, value("cdn", name))
        yield from ports(
            "nginx_cdn_admin_port", value("cdn", "nginx_cdn_admin_address"), value("cdn", "nginx_cdn_admin_port")
        )
    if on("lb"):
        for frontend in value("lb", "haproxy_lb_frontends") or []:
            where = frontend.get("address") or value("lb", "haproxy_lb_vip")
            who = f"haproxy_lb_frontends[{frontend.get('name')}]"
            yield from ports(f"{who}.port", where, frontend.get("port"))
            yield from ports(f"{who}.redirect_from", where, frontend.get("redirect_from"))
        yield from ports(
            "haproxy_lb_admin_port", value("lb", "haproxy_lb_admin_address"), value("lb", "haproxy_lb_admin_port")
        )
    if any(on(tier.name) for tier in TIERS if tier.clustered):
        yield from ports("pcsd", ANY, 2224)
    yield from ports("ssh", ANY, value("web", "ansible_port | default(22)"))


def port_findings(site: Site) -> Iterator[Finding]:
    for host in hosts_of(site, TIER_GROUPS):
        by_port: dict[int, list[Socket]] = defaultdict(list)
        for socket in dict.fromkeys(sockets(site, host)):
            by_port[socket.port].append(socket)
        for port, here in by_port.items():
            for number, one in enumerate(here):
                for other in here[number + 1 :]:
                    if one.address == other.address or ANY in (one.address, other.address):
                        yield Finding(
                            host,
                            f"{one.who} and {other.who} both want port {port}",
                            "Change one of the two, or move one of the tiers to another host",
                        )


def memory_findings(site: Site) -> Iterator[Finding]:
    """Whether the tiers of a host plan with more memory than it has; a tier alone is the role's matter."""
    for host in hosts_of(site, TIER_GROUPS):
        memory = site.value(host, "site_memory") if site.given[host].get("site_memory") else None
        if memory is not None and not str(memory).isdigit():
            yield Finding(host, f"site_memory is {memory!r}, not a number of MiB", "Write it as 8192")
            memory = None
        total, told = 0.0, list[str]()
        for who, mib, share in memory_plans(site, host):
            if mib and memory:
                total, told = total + mib / int(memory), [*told, f"{who} {mib} MiB"]
            elif not mib:
                total, told = total + share, [*told, f"{who} {share:.0%}"]
        if len(told) > 1 and total > MEMORY_SHARE:
            yield Finding(
                host,
                f"its tiers plan with {total:.0%} of the memory"
                + (f" of {memory} MiB" if memory else "")
                + f" ({listed(told)})",
                f"Set these so that they are at most {MEMORY_SHARE:.0%} together, in MiB, or the shares",
            )


def memory_plans(site: Site, host: str) -> Iterator[tuple[str, int, float]]:
    """What each tier of a host keeps for itself: (variable, MiB or 0, share of the memory if MiB is 0)."""

    def number(expression: str) -> float:
        value = site.value(host, expression)
        return float(value) if re.fullmatch(r"\d+(\.\d+)?", str(value)) else 0.0

    def on(group: str) -> bool:
        return host in site.groups.get(group, [])

    if on("mysql") or on("mysql_replica"):
        text = site.value(host, "drbd_pcs_mysql_settings.innodb_buffer_pool_size | default('0') | human_to_bytes")
        yield "drbd_pcs_mysql_settings.innodb_buffer_pool_size", int(text) >> 20 if text is not Unknown else 0, 0.7
    if on("memcached"):
        each, processes = number("memcached_pool_memory"), number("memcached_pool_processes")
        yield "memcached_pool_memory", int(each * processes), number("memcached_pool_memory_share")
    for group, name in (
        ("redis", "redis_sentinel_memory"),
        ("rabbitmq", "rabbitmq_mirror_memory"),
        ("mongo", "mongo_replset_cache"),
    ):
        if on(group):
            yield name, int(number(name)), number(f"{name}_share")
    if on("web"):
        yield "gunicorn_supervisor_workers", int(number("gunicorn_supervisor_workers") * WORKER_MIB), 0.5


# --- who needs whom ---------------------------------------------------------------------------------------------------

ENDPOINTS = {
    "drbd_pcs_mysql_endpoints": "mysql",
    "drbd_pcs_mysql_read_endpoints": "mysql",
    "redis_sentinel_endpoints": "redis",
    "memcached_pool_endpoints": "memcached",
    "rabbitmq_mirror_endpoints": "rabbitmq",
    "mongo_replset_endpoints": "mongo",
    "gunicorn_supervisor_endpoints": "web",
    "haproxy_lb_endpoints": "lb",
    "nginx_cdn_endpoints": "cdn",
}
# Sentinels only tell where the master is: a client then asks the data servers.
ALSO = {"redis_sentinel_endpoints": "__redis_sentinel_data"}
NEED = re.compile(rf"\b({'|'.join(ENDPOINTS)})\b")


def needs(site: Site) -> Iterator[tuple[Tier, str, str]]:
    """(tier, host, endpoints) for all endpoints that a tier's own variables mention."""
    for tier, hosts in present(site):
        for host in hosts:
            own = {name: value for name, value in site.given[host].items() if name.startswith(f"{tier.role}_")}
            for variable in dict.fromkeys(NEED.findall(str(own))):
                if not variable.startswith(tier.role):
                    yield tier, host, variable


def need_findings(site: Site) -> Iterator[Finding]:
    policy = policy_of(site)
    if isinstance(policy, Finding):
        yield policy
        policy = None
    for tier, host, variable in needs(site):
        provider = ENDPOINTS[variable]
        if not site.groups.get(provider):
            yield Finding(
                host,
                f"its tier {tier.name} uses {variable}, and the group {provider} has no hosts",
                f"Put hosts into {provider}, or take {variable} out of the variables of {tier.role}",
            )
        elif policy and tier.role != "zentyal_nat":
            yield from flow_findings(site, policy, tier, host, variable)


def client_findings(site: Site) -> Iterator[Finding]:
    """Whether MySQL's accounts let in those that use it: without drbd_pcs_mysql_clients, only the VIP's network is."""
    for host in site.groups.get("mysql", [])[:1]:
        clients = site.value(host, "drbd_pcs_mysql_clients")
        network = address_range(clients) or network_of(site, host)
        for tier, user, variable in needs(site):
            own = address(site.value(user, "ansible_host"))
            asks = ENDPOINTS[variable] == "mysql" and tier.name == "web"
            if asks and own and network and not isinstance(network, str) and own not in network:
                yield Finding(
                    user,
                    f"its address {own} is not in {network}, from where MySQL lets its users in",
                    "Set drbd_pcs_mysql_clients for the group mysql to the network of those that use it",
                )


def policy_of(site: Site) -> Mapping[str, Any] | Finding | None:
    """The firewalls' policy, what is wrong with it, or None without firewalls."""
    tier = next(one for one in TIERS if one.name == "firewall")
    for host in site.groups.get("firewall", []):
        wish = site.value(host, "__zentyal_nat_wish", tier)
        if wish is Unknown:
            return None
        try:
            policy = zentyal_nat.resolve(wish)
        except zentyal_nat.Wrong as wrong:
            return Finding("group firewall", f"zentyal_nat: {wrong}")
        return policy
    return None


def flow_findings(site: Site, policy: Mapping[str, Any], tier: Tier, host: str, variable: str) -> Iterator[Finding]:
    source = site.value(host, f"{tier.role}_address | default(ansible_host)", tier)
    ends = [
        *(site.value(host, variable, tier) or []),
        *(site.value(host, ALSO[variable], tier) if variable in ALSO else []),
    ]
    for end in ends:
        for port in [end["port"], *([end["check"]] if str(end.get("check")).isdigit() else [])]:
            if (
                address(source)
                and address(end["address"])
                and not zentyal_nat.passes(policy, source, end["address"], int(port))
            ):
                yield Finding(
                    host,
                    f"the firewalls would drop what {tier.name} asks of {end['name']}, {end['address']}:{port} "
                    f"({variable})",
                    f"Add a flow to zentyal_nat_flows from {tier.name} with endpoints: {{{{ {variable} }}}}",
                )


# --- the rest ---------------------------------------------------------------------------------------------------------


def device_findings(site: Site) -> Iterator[Finding]:
    for host in site.groups.get("mysql", []):
        device = str(site.value(host, "drbd_pcs_mysql_device"))
        arrays = site.value(host, "raid10_disk_arrays")
        if arrays is Unknown:
            continue
        names = [str(array.get("name")) for array in arrays]
        if device.startswith("/dev/md/") and device.removeprefix("/dev/md/") not in names:
            yield Finding(
                host,
                f"drbd_pcs_mysql_device is {device}, and raid10_disk_arrays has {listed(names)}",
                "Name one of the arrays, or add it",
            )
        for array in arrays:
            if device in members(array.get("devices")):
                yield Finding(
                    host,
                    f"drbd_pcs_mysql_device {device} is a disk of the array {array.get('name')}",
                    f"Put DRBD on the array: /dev/md/{array.get('name')}",
                )


def tls_findings(site: Site) -> Iterator[Finding]:
    wanted = (("lb", "haproxy_lb_certificates"), ("cdn", "[nginx_cdn_certificate]"))
    for group, expression in wanted:
        for host in site.groups.get(group, []):
            value = site.value(host, expression)
            for certificate in value if isinstance(value, list) else []:
                for name in certificate.get("names") or []:
                    if not TLS_NAME.fullmatch(str(name)) and not address(name):
                        yield Finding(
                            host,
                            f"{expression.strip('[]')} is for {name!r}, which is neither a host name nor an address",
                            "A certificate's names are such as shop.example.com or *.example.com, without https://",
                        )


def vault_findings(site: Site) -> Iterator[Finding]:
    """Names of secrets that variables mention and nobody sets: all of them, evaluation stops at the first."""
    mentioned: set[str] = set()
    for variables in site.given.values():
        mentioned |= {
            name for value in variables.values() for name in VAULT.findall(str(value)) if name not in variables
        }
    if mentioned:
        yield Finding(
            "vault",
            f"not set: {listed(sorted(mentioned))}",
            "Set them in group_vars/all/vault.yml; vault.yml.example beside it says what they are. If they are "
            "there, give the vault's password: --ask-vault-pass or --vault-password-file",
        )


def evaluation_findings(site: Site) -> Iterator[Finding]:
    """What could not be evaluated, once for each cause. Asked last: the others ask for the values."""
    for name, users in site.missing.items():
        if not VAULT.fullmatch(name):
            variables = sorted({variable for _host, variable in users if not variable.startswith("__")})
            yield Finding(
                listed(sorted({host for host, _variable in users})),
                f"{name} is not set, and {listed(variables)} needs it",
                "Set it in the inventory's group_vars, or mend the template",
            )
    for (expression, error), hosts in site.failures.items():
        yield Finding(
            listed(sorted(hosts)), f"{expression} cannot be evaluated: {error.rstrip('.')}", "Mend its template"
        )


CHECKS: tuple[Callable[[Site], Iterator[Finding]], ...] = (
    group_findings,
    host_name_findings,
    variable_findings,
    member_findings,
    input_findings,
    cluster_findings,
    address_findings,
    zone_findings,
    secret_findings,
    port_findings,
    memory_findings,
    need_findings,
    client_findings,
    device_findings,
    tls_findings,
    vault_findings,
    evaluation_findings,
)


def findings(site: Site, checks: Iterable[Callable[[Site], Iterator[Finding]]] = CHECKS) -> list[Finding]:
    """All that is wrong, each thing once; empty if the inventory is right."""
    return together(finding for check in checks for finding in check(site))


def unchecked(site: Site) -> list[str]:
    """What could not be looked at, because the inventory does not say it."""
    hosts = hosts_of(site, TIER_GROUPS)
    told = []
    for name, what in (
        ("site_zone", "whether pairs and voters are in different zones"),
        ("site_network", "whether VIPs are in their hosts' networks"),
        ("site_memory", "whether the tiers of a shared host fit into its memory"),
    ):
        if without := [host for host in hosts if not site.given[host].get(name)]:
            told.append(f"{name} is not set for {listed(without) if len(without) < len(hosts) else 'any host'}: {what}")
    return told

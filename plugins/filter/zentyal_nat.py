# Copyright (c) the cloudexit maintainers
# GNU General Public License v3.0-or-later (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
"""What the role zentyal_nat decides on the controller: whether the policy can be applied, and whether it was."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import Any

from ansible.errors import AnsibleFilterError
from ansible_collections.cloudexit.ha_stack.plugins.module_utils import zentyal_nat as policies


def host_problems(policy: Mapping[str, Any], wish: Mapping[str, Any], live: Mapping[str, Any]) -> list[str]:
    """What speaks against the policy on this host."""
    found = []
    host, interfaces = wish["host"], live["interfaces"]
    for zone in policy["zones"]:
        own = f"{zone['addresses'][host]}/{zone['prefix']}"
        if zone["vlan"]:
            if zone["parent"] not in interfaces:
                found.append(
                    f"the zone {zone['name']} is VLAN {zone['vlan']} on {zone['parent']}, which does not exist; "
                    f"there are {', '.join(sorted(interfaces))}"
                )
            existing = interfaces.get(zone["interface"], {}).get("vlan")
            if existing not in (None, zone["vlan"]):
                found.append(
                    f"{zone['interface']} exists and is VLAN {existing}, not {zone['vlan']}: "
                    f"`ip -d link show {zone['interface']}`"
                )
        # Zentyal gives its interfaces their addresses itself; a tunnel is the role's own.
        elif (
            wish["engine"] != "zentyal"
            and not zone["tunnel"]
            and own not in interfaces.get(zone["interface"], {}).get("addresses", [])
        ):
            there = ", ".join(interfaces.get(zone["interface"], {}).get("addresses", [])) or "none"
            found.append(
                f"the zone {zone['name']} has {own} on {zone['interface']}, where there is {there}: set the address on "
                "the host, or mend zentyal_nat_zones"
            )
    client, port = live["client"], live["client_port"]
    if port and port != policy["management"]["port"]:
        found.append(
            f"Ansible speaks with ssh on port {port}, which the policy would close: zentyal_nat_management_port is "
            f"{policy['management']['port']}"
        )
    if client and ":" not in client and not policies.admits(policy, client):
        allowed = ", ".join([*policy["management"]["sources"], *policy["bastion"]])
        found.append(
            f"Ansible comes from {client}, which the policy would lock out; ssh is let in from {allowed}. Add it to "
            "zentyal_nat_management_sources or zentyal_nat_bastion_sources"
        )
    return found


def plan(wish: Mapping[str, Any], live: Mapping[str, Any]) -> dict[str, Any]:
    """{problems, policy}: the resolved policy (module_utils/zentyal_nat.py), empty if there are problems with it."""
    members = list(wish["members"])
    if wish["host"] not in members:
        return {
            "problems": [f"{wish['host']} is not in zentyal_nat_members ({', '.join(members) or 'empty'})"],
            "policy": {},
        }
    if len(members) < 2:
        return {
            "problems": [f"zentyal_nat_members has {len(members)} member: who goes on when it fails? Give two"],
            "policy": {},
        }
    try:
        policy = policies.resolve(wish)
        if wish["sync_zone"] not in [zone["name"] for zone in policy["zones"]]:
            raise policies.Wrong(f"zentyal_nat_sync_zone is {wish['sync_zone']!r}, which is no zone")
    except policies.Wrong as wrong:
        return {"problems": [str(wrong)], "policy": {}}
    return {"problems": host_problems(policy, wish, live), "policy": policy}


def findings(
    policy: Mapping[str, Any], host: str, members: Iterable[str], hostvars: Mapping[str, Any], register: str
) -> list[str]:
    """What is wrong with the running pair, as seen by this member."""
    infos: dict[str, Any] = {member: hostvars[member].get(register, {}) for member in members if member in hostvars}
    infos = {member: seen if "interfaces" in seen else None for member, seen in infos.items()}
    info = infos[host]
    found = []
    if not info["loaded"]:
        found.append("the rules are not loaded: `systemctl restart zentyal_nat`, `nft list ruleset`")
    if not info["forwarding"]:
        found.append("net.ipv4.ip_forward is off: run the role again")
    if not info["conntrackd"]:
        found.append("conntrackd does not answer: `systemctl status conntrackd`; a failover would end all connections")
    elif info["conntrackd"]["failed"]:
        found.append(
            f"{info['conntrackd']['failed']} connections of the other members were refused by the kernel: "
            "`conntrackd -s`"
        )
    tunnel = policy["wireguard"]
    if tunnel and tunnel["address"] not in info["interfaces"].get(tunnel["interface"], {}).get("addresses", []):
        found.append(
            f"WireGuard's interface {tunnel['interface']} does not have {tunnel['address']}: "
            f"`systemctl restart wg-quick@{tunnel['interface']}`, `journalctl -u wg-quick@{tunnel['interface']} -n 20`"
        )
    holders: dict[str, list[str]] = {}
    for zone in policy["zones"]:
        if zone["vip"]:
            wanted = f"{zone['vip']}/{zone['prefix']}"
            on = [
                m
                for m, seen in infos.items()
                if seen and wanted in seen["interfaces"].get(zone["interface"], {}).get("addresses", [])
            ]
            holders[zone["name"]] = on
            # One that was not looked at, by --limit or because it cannot be reached, may have it.
            unseen = not all(infos.values()) and zone["vip"] in info["elsewhere"]
            if len(on) != 1 and not (unseen and not on):
                where = f"on {', '.join(on)}" if on else "on no member that was reached"
                found.append(f"the VIP {zone['vip']} of {zone['name']} is {where}, it should be on one: `pcs status`")
    apart = {", ".join(on) for on in holders.values() if len(on) == 1}
    if len(apart) > 1:
        found.append(
            f"the VIPs are apart, on {' and '.join(sorted(apart))}: answers go another way than questions. `pcs status`"
        )
    for answer in info["answers"]:
        if answer["error"]:
            found.append(f"{answer['name']} ({answer['address']}:{answer['port']}) does not answer: {answer['error']}")
    return found


def table(wish: Mapping[str, Any]) -> str:
    """The policy as a Markdown table, one row for each flow that is allowed."""
    try:
        return policies.table(policies.resolve(wish))
    except policies.Wrong as wrong:
        raise AnsibleFilterError(f"zentyal_nat: {wrong}") from None


def endpoints(forwards: Iterable[Mapping[str, Any]], zones: Iterable[Mapping[str, Any]]) -> list[dict[str, Any]]:
    """name, address, port and check of each port that is published."""
    vips = {zone["name"]: zone.get("vip") for zone in zones}
    external = [zone["name"] for zone in zones if zone.get("external")]
    try:
        return [
            {
                "name": forward["name"],
                "address": vips[forward.get("zone") or external[0]],
                "port": int(forward["port"]),
                "check": (forward.get("endpoint") or {}).get("check", "tcp"),
            }
            for forward in forwards
        ]
    except (KeyError, IndexError, TypeError, ValueError) as err:
        raise AnsibleFilterError(
            f"zentyal_nat_endpoints: a forward needs a name, a port and an external zone ({err})"
        ) from err


class FilterModule:
    """Filters of the role zentyal_nat."""

    def filters(self) -> dict[str, Any]:
        return {
            "zentyal_nat_plan": plan,
            "zentyal_nat_findings": findings,
            "zentyal_nat_endpoints": endpoints,
            "zentyal_nat_table": table,
        }

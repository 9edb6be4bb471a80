# Copyright (c) the cloudexit maintainers
# GNU General Public License v3.0-or-later (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
"""The members of a tier, and addresses that move between them: what is wrong with how they are named.

Texts are sentences without the role's name before them. C(hostvars) is Ansible's, or a dict of each host's variables.
"""

from __future__ import annotations

import ipaddress
from collections import Counter
from collections.abc import Iterable, Mapping
from typing import Any


def twice(values: Iterable[Any]) -> list[Any]:
    return [value for value, times in Counter(values).items() if times > 1]


def is_address(text: Any) -> bool:
    try:
        ipaddress.ip_address(str(text))
    except ValueError:
        return False
    return True


def address_of(role: str, member: str, hostvars: Mapping[str, Any]) -> str:
    """A member's address in the tier; empty if it is not in the inventory or has none."""
    if member not in hostvars:
        return ""
    host = hostvars[member]
    return str(host.get(f"{role}_address") or host.get("ansible_host") or "")


def member_problems(role: str, group: str, host: str, members: list[str], hostvars: Mapping[str, Any]) -> list[str]:
    """What is wrong with the members of a tier whose addresses move, as `host` sees them."""
    shown = ", ".join(members)
    found = [f"{role}_members names {member} twice ({shown}). Name different hosts" for member in twice(members)]
    found += [
        f"{member} in {role}_members is not in the inventory. Add it, or take it out of the list"
        for member in dict.fromkeys(members)
        if member not in hostvars
    ]
    if len(set(members)) < 2:
        found.append(
            f"{role}_members has {len(set(members))} member ({shown}), an address that moves needs two. "
            f"Fill the group {group}, or set {role}_members"
        )
    elif host not in members:
        found.append(f"{host} is not in {role}_members ({shown}). Leave it out of the play")
    return found


def vip_problems(role: str, variable: str, vip: str, members: list[str], hostvars: Mapping[str, Any]) -> list[str]:
    """What is wrong with an address that moves, before a host is asked."""
    if not is_address(vip):
        return [f"{variable} is not an IP address: {vip}"]
    return [
        f"{variable} {vip} is the address of {member}. The VIP is an address of its own, which moves"
        for member in members
        if address_of(role, member, hostvars) == vip
    ][:1]


def subnet_problems(
    role: str, variable: str, vips: list[str], host: str, address: str, prefix: int | None
) -> list[str]:
    """What speaks against these addresses on a host that has `address` with `prefix`; None: it has not."""
    if not prefix:
        return [f"{host} does not have the address '{address}'. Set {role}_address to its own in the tier"]
    network = ipaddress.ip_interface(f"{address}/{prefix}").network
    return [
        f"the VIP {vip} is outside the members' subnet {network}. Set {variable} to a free address in it"
        for vip in vips
        if is_address(vip) and ipaddress.ip_address(vip) not in network
    ]

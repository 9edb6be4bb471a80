# Copyright (c) the cloudexit maintainers
# GNU General Public License v3.0-or-later (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
"""Filters of the role pcs_cluster."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from ansible_collections.cloudexit.ha_stack.plugins.module_utils import pcs_cluster


def addresses(member: str, hostvars: Mapping[str, Any]) -> list[str]:
    """The addresses of a member, one per link."""
    if member not in hostvars:
        return []
    host = hostvars[member]
    links = host.get("pcs_cluster_addresses") or [host.get("pcs_cluster_address") or host.get("ansible_host")]
    return [str(address) for address in links if address]


def plan(wish: dict[str, Any], hostvars: Mapping[str, Any], register: str) -> dict[str, Any]:
    """The plan for a wish, with what each member's registered result says."""
    infos = {}
    for member in wish["member_names"]:
        info = hostvars[member].get(register) if member in hostvars else None
        infos[member] = dict(info) if info and not info.get("failed") and not info.get("unreachable") else None
    return pcs_cluster.plan(complete(wish, hostvars), infos)


def complete(wish: dict[str, Any], hostvars: Mapping[str, Any]) -> dict[str, Any]:
    """The wish with each member's addresses, and options as pcs and corosync.conf spell them."""
    done = {**wish, "members": {m: addresses(m, hostvars) for m in wish["member_names"]}}
    for section in ("totem", "quorum", "crypto"):
        done[section] = {
            k: "" if v is None else str(int(v) if isinstance(v, bool) else v) for k, v in wish[section].items()
        }
    return done


class FilterModule:
    """Filters of the role pcs_cluster."""

    def filters(self) -> dict[str, Any]:
        return {
            "pcs_cluster_plan": plan,
            "pcs_cluster_wish": complete,
            "pcs_cluster_findings": pcs_cluster.findings,
            "pcs_cluster_fence_levels": pcs_cluster.fence_levels,
            "pcs_cluster_fence_primitives": pcs_cluster.fence_primitives,
            "pcs_cluster_race_delays": pcs_cluster.race_delays,
        }

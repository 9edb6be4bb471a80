# Copyright (c) the cloudexit maintainers
# GNU General Public License v3.0-or-later (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
"""What the members of a RabbitMQ cluster do next."""

from __future__ import annotations

from typing import Any

from ansible_collections.cloudexit.ha_stack.plugins.module_utils import rabbitmq as mq


def rabbitmq_plan(found: list[dict[str, Any]], name: str, adopt: str) -> dict[str, Any]:
    """`target`, the node that fresh ones join, and the `obstacles` on the host `name`.

    `found` has each member's name, node, state, nodes and version as rabbitmq_member_info returns them; the state of
    one that was not reached is empty.
    """
    hosts = [mq.Host(i["name"], i["node"], i["state"], tuple(i["nodes"]), i["version"]) for i in found]
    here = next((host for host in hosts if host.name == name), None)
    return {
        "target": mq.target(hosts, adopt),
        "obstacles": mq.obstacles(here, hosts, adopt) if here and here.state else [],
    }


class FilterModule:
    """Ansible's entry point."""

    def filters(self) -> dict[str, Any]:
        return {
            "rabbitmq_plan": rabbitmq_plan,
            "rabbitmq_mirror_refusals": mq.mirror_refusals,
        }

# Copyright (c) the cloudexit maintainers
# GNU General Public License v3.0-or-later (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
"""What hosts say about their cluster, what that makes of the whole, and what a run may do about it. Runs no command."""

from __future__ import annotations

import ipaddress
import re
import xml.etree.ElementTree as ET
from typing import Any

# Debian's corosync package ships a cluster of this name with one node at a loopback address, and starts it.
PACKAGED_NAME = "debian"
# States of one host.
UNKNOWN, ABSENT, FOREIGN, STOPPED, FORMING, MEMBER = "unknown", "absent", "foreign", "stopped", "forming", "member"


def parse_corosync_conf(content: str) -> dict[str, Any]:
    """Sections become dicts, nodes a list; None values do not occur."""
    root: dict[str, Any] = {"nodes": []}
    stack: list[dict[str, Any]] = [root]
    for raw in content.splitlines():
        line = raw.strip()
        if not line or line.startswith("#"):
            continue
        if line.endswith("{"):
            name = line[:-1].strip()
            section: dict[str, Any] = {}
            if name == "node":
                root["nodes"].append(section)
            elif name in ("interface", "logger_subsys"):
                stack[-1].setdefault(name, []).append(section)
            else:
                section = stack[-1].setdefault(name, section)
            stack.append(section)
        elif line == "}":
            if len(stack) > 1:
                stack.pop()
        elif ":" in line:
            key, value = line.split(":", 1)
            stack[-1][key.strip()] = value.strip()
    return root


def parse_show(output: str) -> dict[str, dict[str, str]]:
    """`systemctl show` of several units: Id → property → value."""
    units = {}
    for block in output.strip().split("\n\n"):
        values = dict(line.split("=", 1) for line in block.splitlines() if "=" in line)
        if "Id" in values:
            units[values["Id"]] = values
    return units


def parse_cmap(output: str) -> dict[str, str]:
    """`corosync-cmapctl`: key (type) = value."""
    found = (re.match(r"(\S+) \(\w+\) = (.*)", line) for line in output.splitlines())
    return {match.group(1): match.group(2) for match in found if match}


def parse_crm_mon(output: str) -> dict[str, Any]:
    """The part of `crm_mon --output-as=xml` that tells about nodes and quorum."""
    tree = ET.fromstring(output)
    dc = tree.find("summary/current_dc")
    return {
        "dc": dc.get("name") if dc is not None and dc.get("present") == "true" else None,
        "quorate": dc is not None and dc.get("with_quorum") == "true",
        "online": sorted(
            n.get("name", "")
            for n in tree.iterfind("nodes/node")
            if n.get("online") == "true" and n.get("pending") != "true" and n.get("unclean") != "true"
        ),
        "nodes": sorted(n.get("name", "") for n in tree.iterfind("nodes/node") if n.get("type") == "member"),
    }


# --- one host -----------------------------------------------------------------------------------------------------


def host_state(info: dict[str, Any] | None, cluster_name: str, host: str) -> str:
    """How one host stands to the wanted cluster."""
    if not info:
        return UNKNOWN
    conf = info.get("conf") or {}
    name = conf.get("cluster_name")
    if not name:
        return ABSENT
    if name == PACKAGED_NAME and cluster_name != PACKAGED_NAME and _is_packaged(conf):
        return FOREIGN if info.get("has_resources") else ABSENT
    if name != cluster_name or host not in conf.get("nodes", {}):
        return FOREIGN
    if not info.get("corosync_active"):
        return STOPPED if info.get("ever_ran") else ABSENT
    status = info.get("status") or {}
    return MEMBER if status.get("dc") and host in status.get("online", []) else FORMING


def _is_packaged(conf: dict[str, Any]) -> bool:
    addresses = [address for node in conf.get("nodes", {}).values() for address in node]
    return len(addresses) == 1 and addresses[0].startswith("127.")


# --- the wish -----------------------------------------------------------------------------------------------------


def check_wish(wish: dict[str, Any]) -> list[str]:
    """Everything wrong in the inputs that can be seen without asking a host."""
    wrong: list[str] = []
    members: list[str] = wish["member_names"]
    addresses: dict[str, list[str]] = wish["members"]
    for twice in sorted({m for m in members if members.count(m) > 1}):
        wrong.append(f"member {twice} is listed twice in pcs_cluster_members ({', '.join(members)})")
    if len(set(members)) < 2:
        wrong.append(
            f"a cluster needs at least 2 members, pcs_cluster_members has {len(set(members))}"
            f" ({', '.join(members) or 'none'})"
        )
    if not re.fullmatch(r"[A-Za-z0-9_.-]{1,15}", wish["name"]):
        wrong.append(f"pcs_cluster_name {wish['name']!r} is not 1 to 15 letters, digits, dots, hyphens or underscores")
    seen: dict[str, str] = {}
    for member in dict.fromkeys(members):
        if not addresses.get(member):
            wrong.append(f"member {member} has no address: set ansible_host or pcs_cluster_address for it")
        for address in addresses.get(member) or []:
            try:
                ipaddress.ip_address(address)
            except ValueError:
                wrong.append(
                    f"member {member}: address {address!r} is not an IP address: set pcs_cluster_address for it"
                )
            if address in seen and seen[address] != member:
                wrong.append(f"address {address} belongs to {seen[address]} and to {member}")
            seen[address] = member
    links = {member: len(a) for member, a in addresses.items() if a}
    if len(set(links.values())) > 1:
        wrong.append(
            "members have different numbers of links: " + ", ".join(f"{m} {n}" for m, n in sorted(links.items()))
        )
    if not wish["has_password"]:
        wrong.append("the secret pcs_cluster_hacluster_password is not set")
    wrong.extend(_check_fencing(wish))
    return wrong


def _check_fencing(wish: dict[str, Any]) -> list[str]:
    if wish["fencing"] == "disabled":
        return []
    if wish["fencing"] != "enabled":
        return [f"pcs_cluster_fencing is {wish['fencing']!r}, not enabled or disabled"]
    if not wish["fence_devices"]:
        return [
            "fencing is enabled and no device is defined: describe your power switches or management boards in"
            " pcs_cluster_fence_devices (a cluster without fencing loses data in a split;"
            " pcs_cluster_fencing: disabled accepts that by name)"
        ]
    wrong = []
    if race_seconds(wish["race_delay"]) is None:
        wrong.append(
            f"pcs_cluster_fence_race_delay is {wish['race_delay']!r}, not whole seconds such as 2s: longer than the"
            " fence device takes to cut the power"
        )
    names = [device["name"] for device in wish["fence_devices"]]
    for twice in sorted({n for n in names if names.count(n) > 1}):
        wrong.append(f"fence device {twice} is defined twice")
    covered: set[str] = set()
    for device in wish["fence_devices"]:
        targets = set(device.get("plugs") or {}) | set(device.get("targets") or [])
        covered |= targets or set(wish["member_names"])
    for name in sorted(set(wish["fence_secrets"]) - set(names)):
        wrong.append(f"pcs_cluster_fence_secrets names {name}, which is not in pcs_cluster_fence_devices")
    for member in dict.fromkeys(wish["member_names"]):
        if member not in covered:
            wrong.append(
                f"no fence device can fence {member}: name it in plugs or targets of one in pcs_cluster_fence_devices"
            )
    return wrong


# --- the plan -----------------------------------------------------------------------------------------------------


def plan(wish: dict[str, Any], infos: dict[str, dict[str, Any] | None]) -> dict[str, Any]:
    """Classify the live state and say what a run does: problems (refuse), warnings, who acts, and the steps."""
    result: dict[str, Any] = {
        "state": "refused",
        "hosts": {},
        "problems": check_wish(wish),
        "warnings": [],
        "actor": None,
        "bootstrap": [],
        "join": [],
        "start": [],
        "expected": [],
        "totem": {},
        "crypto": {},
        "changes": [],
    }
    members = list(dict.fromkeys(wish["member_names"]))
    if result["problems"]:
        return result
    if wish["fencing"] == "disabled":
        result["warnings"].append(
            "fencing is disabled by pcs_cluster_fencing: when members lose sight of each other, both"
            " may run the same resources and damage shared or replicated data"
        )
    states = {m: host_state(infos.get(m), wish["name"], m) for m in members}
    result["hosts"] = states
    by_state: dict[str, list[str]] = {}
    for member, state in states.items():
        by_state.setdefault(state, []).append(member)
    if FOREIGN in by_state:
        result["problems"] = [_foreign(wish["name"], m, infos[m] or {}) for m in by_state[FOREIGN]]
    elif by_state.get(MEMBER):
        _living(wish, infos, by_state, result)
    elif by_state.get(FORMING):
        _not_quorate(infos, by_state, result)
    elif by_state.get(STOPPED):
        result["state"] = "stopped"
        result["problems"].append(
            f"cluster {wish['name']} is stopped on {', '.join(by_state[STOPPED])} and runs on no member; nobody is"
            " started against the will of who stopped it. Next: pcs cluster start --all, then run again"
        )
    elif by_state.get(UNKNOWN):
        result["state"] = "unknown"
        result["problems"].append(
            f"no member that answered is in cluster {wish['name']}, but {', '.join(by_state[UNKNOWN])} could not be"
            " asked and may be: no second cluster is made. Next: make all members reachable, run without --limit"
        )
    else:
        result.update(
            state="absent",
            actor=members[0],
            bootstrap=members,
            expected=members,
            changes=[f"form cluster {wish['name']} of {', '.join(members)}"],
        )
    return result


def _foreign(name: str, host: str, info: dict[str, Any]) -> str:
    conf = info.get("conf") or {}
    nodes = ", ".join(sorted(conf.get("nodes", {})))
    if conf.get("cluster_name") == PACKAGED_NAME and _is_packaged(conf):
        return (
            f"{host} runs the one-node cluster of Debian's package, and somebody has put resources into it."
            f" Next, if they may go: pcs cluster destroy on {host}"
        )
    if conf.get("cluster_name") == name:
        return (
            f"{host} has the configuration of a cluster {name} that does not know it (nodes: {nodes})."
            f" Next, if that is a leftover: pcs cluster destroy on {host}"
        )
    return (
        f"{host} belongs to another cluster, {conf.get('cluster_name')!r} (nodes: {nodes}), and is not taken over."
        f" Next: correct pcs_cluster_members, or, if that cluster may go: pcs cluster destroy on {host}"
    )


def _not_quorate(
    infos: dict[str, dict[str, Any] | None], by_state: dict[str, list[str]], result: dict[str, Any]
) -> None:
    result["state"] = "forming"
    others = [f"{m} {state}" for state, ms in by_state.items() if state != FORMING for m in ms]
    result["problems"].append(
        f"corosync runs on {', '.join(by_state[FORMING])}, but the members have not formed a cluster"
        + (f" ({', '.join(others)})" if others else "")
        + ". Next: pcs status; corosync-cfgtool -n; journalctl -u corosync -u pacemaker -n 50"
    )


def _living(
    wish: dict[str, Any],
    infos: dict[str, dict[str, Any] | None],
    by_state: dict[str, list[str]],
    result: dict[str, Any],
) -> None:
    """At least one member is online in our cluster."""
    online = by_state[MEMBER]
    quorate = [m for m in online if (infos[m] or {})["status"]["quorate"]]
    if not quorate:
        result["state"] = "no quorum"
        result["problems"].append(
            f"cluster {wish['name']} has no quorum on {', '.join(online)}. Next: bring the other members back;"
            " if they are known to be powered off: pcs quorum unblock"
        )
        return
    actor = quorate[0]
    info = infos[actor] or {}
    conf = info["conf"]
    missing = [m for m in wish["member_names"] if m not in info["status"]["online"] and m in conf["nodes"]]
    joining = by_state.get(ABSENT, [])
    # configured as one of us, but never started: an earlier run did not get to its end
    result["start"] = [
        m
        for m in joining
        if m in conf["nodes"] and ((infos[m] or {}).get("conf") or {}).get("cluster_name") == wish["name"]
    ]
    missing = [m for m in missing if m not in result["start"]]
    result.update(state="degraded" if missing else "healthy", actor=actor)
    states: dict[str, str] = result["hosts"]
    for member in missing:
        result["warnings"].append(
            f"{member} is not online in cluster {wish['name']} ({states[member]}): the others are worked on. Next,"
            f" if it does not come by itself: pcs cluster start {member}"
        )
    for extra in sorted(set(conf["nodes"]) - set(wish["member_names"])):
        result["warnings"].append(
            f"{extra} is in cluster {wish['name']}, but not in pcs_cluster_members; it stays."
            f" To take it out: pcs cluster node remove {extra}"
        )
    for member in online:
        other = (infos[member] or {})["conf"]
        if other["config_version"] != conf["config_version"]:
            result["warnings"].append(
                f"{member} has corosync.conf version {other['config_version']}, {actor} has"
                f" {conf['config_version']}. Next: pcs cluster sync corosync && pcs cluster reload"
                " corosync on the one with the newer"
            )
    for member in [m for m in joining if m in conf["nodes"] and m not in result["start"]]:
        result["problems"].append(
            f"{member} is in cluster {wish['name']} by name, but has no cluster configuration (a fresh installation?)."
            f" Next: pcs cluster node remove {member} --skip-offline --force on {actor}, then run again"
        )
    unasked = [m for m in by_state.get(UNKNOWN, []) if m not in conf["nodes"]]
    for member in unasked:
        result["warnings"].append(
            f"{member} could not be asked and is not in cluster {wish['name']}; it is not added in this run"
        )
    result["join"] = [m for m in joining if m not in conf["nodes"]]
    result["totem"] = _differing(wish["totem"], conf["totem"])
    result["crypto"] = {k: v for k, v in wish["crypto"].items() if conf["totem"].get(f"crypto_{k}", "none") != v}
    quorum = _differing(wish["quorum"], conf["quorum"])
    if quorum:
        result["problems"].append(
            "quorum options cannot be changed while the cluster runs: "
            + ", ".join(f"{k} is {conf['quorum'].get(k, 'unset')}, wanted {v or 'unset'}" for k, v in quorum.items())
            + ". Next, at a time of your choice: pcs cluster stop --all; pcs quorum update "
            + " ".join(f"{k}={v}" for k, v in quorum.items())
            + "; pcs cluster start --all"
        )
    for member, addresses in wish["members"].items():
        if member in conf["nodes"] and conf["nodes"][member] != addresses:
            result["problems"].append(
                f"{member} has the cluster address {', '.join(conf['nodes'][member])}, wanted {', '.join(addresses)}:"
                " an address in a living cluster is not changed. Next: set pcs_cluster_address, or take the member out"
                f" (pcs cluster node remove {member}) and run again"
            )
    if missing and (result["join"] or result["totem"] or result["crypto"]):
        result["problems"].append(
            f"{', '.join(missing)} is not online, and corosync.conf would differ between members if it were changed now"
            f" ({'; '.join(_change_lines(wish, conf, result))}). Next: bring {', '.join(missing)} back, then run again"
        )
    result["changes"] = _change_lines(wish, conf, result)
    result["expected"] = [m for m in wish["member_names"] if m not in missing + unasked]


def _differing(wanted: dict[str, str], present: dict[str, str]) -> dict[str, str]:
    """Options whose value differs; an empty wanted value means: not in the file."""
    return {k: v for k, v in wanted.items() if present.get(k, "") != v}


def _change_lines(wish: dict[str, Any], conf: dict[str, Any], result: dict[str, Any]) -> list[str]:
    lines = [f"{k}: {conf['totem'].get(k, 'unset')} -> {v or 'unset'}" for k, v in result["totem"].items()]
    lines += [f"crypto {k}: {conf['totem'].get(f'crypto_{k}', 'none')} -> {v}" for k, v in result["crypto"].items()]
    lines += [f"start {m}" for m in result["start"]]
    return lines + [f"add {m} to cluster {wish['name']}" for m in result["join"]]


# --- proving it -----------------------------------------------------------------------------------------------------


def findings(wish: dict[str, Any], info: dict[str, Any], expected: list[str]) -> list[str]:
    """What is not as it should be on one member of a cluster that should work."""
    status = info.get("status") or {}
    runtime = info.get("runtime") or {}
    found = []
    if not status.get("dc"):
        return ["the cluster does not run. Next: pcs status; journalctl -u corosync -u pacemaker -n 50"]
    absent = [m for m in expected if m not in status["online"]]
    if absent:
        found.append(f"{', '.join(absent)} not online. Next: pcs status; pcs cluster start {' '.join(absent)}")
    if not status["quorate"]:
        found.append("no quorum. Next: pcs quorum status")
    if wish["crypto"].get("cipher") not in (None, "none") and "none" in (
        runtime["crypto_cipher"],
        runtime["crypto_hash"],
    ):
        found.append(
            f"traffic is not encrypted (cipher {runtime['crypto_cipher']}, hash {runtime['crypto_hash']})."
            " Next: corosync-cmapctl totem."
        )
    if not info.get("enabled"):
        found.append("a boot would not bring it back. Next: pcs cluster enable; systemctl enable pcsd")
    if not info.get("after_dbus"):
        found.append(
            "pacemaker is not ordered after dbus.service and would hang at shutdown."
            " Next: systemctl edit pacemaker, [Unit] After=dbus.service"
        )
    found.extend(
        f"fence device {name} does not answer: {problem}. Next: stonith_admin --query {name} --verbose"
        for name, problem in (info.get("devices") or {}).items()
        if problem
    )
    return found


# --- pcs commands ---------------------------------------------------------------------------------------------------


def _with_addresses(names: list[str], members: dict[str, list[str]]) -> list[str]:
    return [word for name in names for word in (name, *(f"addr={address}" for address in members[name]))]


def commands(wish: dict[str, Any], steps: dict[str, Any], wait: int) -> list[tuple[list[str], bool]]:
    """The pcs calls that carry out a plan: words, and whether the password goes to standard input."""
    members = wish["members"]
    calls: list[tuple[list[str], bool]] = []
    newcomers = steps["bootstrap"] or steps["join"]
    if steps["bootstrap"]:
        # pcs would give the tokens to the one node of the configuration that Debian's package brings, and keep none
        calls.append((["pcs", "cluster", "destroy"], False))
    if newcomers:
        hosts = [word for name in newcomers for word in (name, f"addr={members[name][0]}")]
        calls.append((["pcs", "host", "auth", *hosts, "-u", "hacluster"], True))
    if steps["bootstrap"]:
        words = [
            "pcs",
            "cluster",
            "setup",
            wish["name"],
            *_with_addresses(steps["bootstrap"], members),
            "transport",
            "knet",
            "crypto",
            *_options(wish["crypto"]),
        ]
        for section in ("totem", "quorum"):
            if any(wish[section].values()):
                words += [section, *_options({k: v for k, v in wish[section].items() if v})]
        # --force: the configuration that Debian's package brings is in the way; that nothing else is, the plan has seen
        calls.append(([*words, "--enable", "--start", f"--wait={wait}", "--force"], False))
        return calls
    if steps["totem"] or steps["crypto"]:
        words = ["pcs", "cluster", "config", "update"]
        for section in ("crypto", "totem"):
            if steps[section]:
                words += [section, *_options(steps[section])]
        calls.append((words, False))
    for name in steps["start"]:
        calls.append((["pcs", "cluster", "start", name, f"--wait={wait}"], False))
    for name in steps["join"]:
        calls.append(
            (
                [
                    "pcs",
                    "cluster",
                    "node",
                    "add",
                    *_with_addresses([name], members),
                    "--enable",
                    "--start",
                    f"--wait={wait}",
                    "--force",
                ],
                False,
            )
        )
    return calls


def _options(values: dict[str, str]) -> list[str]:
    return [f"{k}={v}" for k, v in values.items()]


# --- fence devices for pacemaker_cib -------------------------------------------------------------------------------


def race_seconds(race_delay: str) -> int | None:
    """`pcs_cluster_fence_race_delay`, such as "2s", in seconds, the unit of Pacemaker's delays; None: no such time."""
    match = re.fullmatch(r"(\d+)\s*(?:s|sec)?", str(race_delay).strip())
    return int(match.group(1)) if match else None


def race_delays(members: list[str], race_delay: str) -> dict[str, str]:
    """How much later each of two members is fenced, so that the one that carries more wins a race by `race_delay`.

    `pcmk_delay_base`, of the last member's devices: half of it, at least 1 s. It decides where priority-fencing-delay
    does not, because both carry the same, as before their resources run. `priority-fencing-delay`: `race_delay` more
    than that, since Pacemaker adds the two and wants it "safely twice" the other (Pacemaker Explained, cluster
    options); the first member, where it carries more, wins by the difference. Empty: not two members, or no time.
    """
    seconds = race_seconds(race_delay)
    if len(members) != 2 or not seconds:
        return {}
    equal = max(1, seconds // 2)
    return {"priority-fencing-delay": f"{seconds + equal}s", "pcmk_delay_base": f"{members[-1]}:{equal}s"}


def fence_primitives(
    devices: list[dict[str, Any]], owner: str, members: list[str], race_delay: str = ""
) -> list[dict[str, Any]]:
    """pcs_cluster_fence_devices as primitives; plugs of hosts that are not members are left out.

    A device that can fence the last of two members does so later, see `race_delays`, unless it has a delay of its own.
    """
    primitives = []
    delay = race_delays(members, race_delay).get("pcmk_delay_base")
    for device in devices:
        params = dict(device.get("params") or {})
        if device.get("plugs"):
            plugs = {node: plug for node, plug in device["plugs"].items() if node in members}
            params["pcmk_host_map"] = ";".join(f"{node}:{plug}" for node, plug in plugs.items())
        elif device.get("targets"):
            params["pcmk_host_list"] = " ".join(device["targets"])
        fenced = device.get("plugs") or device.get("targets") or members
        if delay and members[-1] in fenced and not params.keys() & {"pcmk_delay_base", "pcmk_delay_max"}:
            params["pcmk_delay_base"] = delay
        monitor = {
            "name": "monitor",
            "interval": device.get("interval", "60s"),
            "timeout": device.get("timeout", "20s"),
        }
        primitives.append(
            {
                "id": f"{owner}-{device['name']}",
                "agent": device["agent"] if ":" in device["agent"] else f"stonith:{device['agent']}",
                "params": params,
                # where a fence device runs says nothing about which node is worth more in a split
                "meta": {"priority": 0},
                "operations": [monitor],
            }
        )
    return primitives


def fence_levels(levels: list[dict[str, Any]], owner: str) -> list[dict[str, Any]]:
    """pcs_cluster_fence_levels with the ids of the devices."""
    return [{**level, "devices": [f"{owner}-{name}" for name in level["devices"]]} for level in levels]

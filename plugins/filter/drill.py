# Copyright (c) the cloudexit maintainers
# GNU General Public License v3.0-or-later (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
"""What the role drill decides on the controller: which faults, what another run did, verdicts, the report."""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping
from typing import Any

from ansible.errors import AnsibleFilterError
from ansible_collections.cloudexit.ha_stack.plugins.module_utils import drill

WIDTH, LANE, TOP = 1000, 64, 22  # of a timeline, in its own units
TIMED_OUT = 124  # exit status of timeout(1)
STATUS = {
    "passed": "passed",
    "failed": "FAILED",
    "error": "ERROR",
    "not_possible": "not possible here",
    "not_run": "not run",
}


def matrix(tiers: Mapping[str, Any], names: list[str], kinds: list[str]) -> list[dict[str, str]]:
    """Each tier with each fault that makes sense for it, in the order of the names; unknown ones are refused."""
    missing = [kind for kind in kinds if not any(kind in told["kinds"] for told in tiers.values())]
    if tiers and len(missing) == len(kinds):
        raise AnsibleFilterError(f"drill: no tier here knows the faults {', '.join(kinds)}; see drill_faults")
    return [
        {"tier": tier, "fault": kind}
        for tier in names
        if tier in tiers
        for kind in kinds
        if kind in tiers[tier]["kinds"]
    ]


def recap(output: str) -> dict[str, Any]:
    """What a run of a playbook did: changed tasks by host, hosts not reached, hosts that failed, what was said."""
    changed: dict[str, list[str]] = {}
    unreachable: list[str] = []
    failed: list[str] = []
    said: list[str] = []
    task = ""
    lines = output.splitlines()
    for number, line in enumerate(lines):
        if started := re.match(r"(?:TASK|RUNNING HANDLER) \[(.*)\]", line):
            task = started[1]
        elif done := re.match(r"changed: \[([^\] ]+)", line):
            changed.setdefault(done[1], []).append(task)
        elif wrong := re.match(r"(?:fatal|failed): \[([^\] ]+).*?\]: (\w+)!", line):
            (unreachable if wrong[2] == "UNREACHABLE" else failed).append(wrong[1])
            said.append(" ".join(lines[number : number + 6])[:600])
    played = {m[1] for line in lines if (m := re.match(r"(\S+)\s+: ok=", line))}
    return {
        "changed": changed,
        "unreachable": sorted(set(unreachable)),
        "failed": sorted(set(failed)),
        "said": said,
        "hosts": sorted(played),
    }


def rerun_failures(told: Mapping[str, Any], victim: str, when: str) -> list[str]:
    """What another run must not have done. During a fault it may refuse, if it says whom it misses."""
    healthy = {host: tasks for host, tasks in told["changed"].items() if when == "after" or host != victim}
    found = [f"site.yml {when} the fault changed {host}: {', '.join(tasks)}" for host, tasks in healthy.items()]
    if told["moved"]:
        found.append(f"site.yml {when} the fault moved the service: {told['moved']}")
    if told["rc"] == TIMED_OUT:
        return [*found, f"site.yml {when} the fault did not end: it was stopped after drill_recovery_seconds"]
    wrong = [*told["unreachable"], *told["failed"]]
    if when == "after" and (wrong or told["rc"]):
        found.append(
            f"site.yml after the fault failed on {', '.join(wrong) or 'the controller'}: {' '.join(told['said'])}"
        )
    if (
        when == "during"
        and told["rc"]
        and not any(re.search(rf"\b{re.escape(victim)}\b", text) for text in told["said"])
    ):
        found.append(
            f"site.yml during the fault failed and did not name {victim}: {' '.join(told['said']) or 'no word'}"
        )
    return found


def verdict(item: Mapping[str, Any]) -> list[str]:
    """What was not as promised in one fault's cycle; `item` is an entry of the report."""
    marks = item["result"]["marks"]
    lasted = round(marks.get("undone", 0) - marks.get("fault", 0), 1)
    held = lasted if item["held"] else 0.0
    found = drill.failures(item["result"], float(item["objective"]), float(item["slowness"]), held)
    if "during" in item.get("rerun", {}) and lasted > item["armed"]:
        early = lasted - item["armed"]
        found.append(
            f"site.yml was to run during the fault, which the host's timer had ended {early:.0f} s before the run did: "
            "raise drill_grace_seconds"
        )
    for when, told in item.get("rerun", {}).items():
        found += rerun_failures(told, item["victim"], when)
    return found


def worst(item: Mapping[str, Any]) -> float | None:
    """The longest gap of the streams that are judged by it."""
    streams = item.get("result", {}).get("streams", {}).values()
    return max((s["gap"] for s in streams if "gap" in s["judge"]), default=None)


def forgone(item: Mapping[str, Any]) -> int:
    """Acknowledged records that are gone, of streams that are not judged by that: shown, never hidden."""
    streams = item.get("result", {}).get("streams", {}).values()
    return sum(s["lost"] or 0 for s in streams if "lost" not in s["judge"])


def table(items: Iterable[Mapping[str, Any]]) -> str:
    """The report for a terminal."""
    heads = (
        "tier",
        "fault",
        "victim",
        "gap",
        "objective",
        "attempted",
        "acknowledged",
        "lost",
        "unexpected",
        "doubled",
        "",
    )
    rows = [heads]
    for item in items:
        gap = worst(item)
        streams = item.get("result", {}).get("streams", {})
        text = STATUS[item["status"]]
        if not streams:
            rows.append(
                (item["tier"], item["fault"], item.get("victim") or "", *[""] * 7, f"{text}: {'; '.join(item['why'])}")
            )
        for name, stream in streams.items():
            first = name == next(iter(streams))
            judged = "gap" in stream["judge"]
            figures = [stream[w] for w in ("attempted", "acknowledged", "lost", "unexpected", "duplicated")]
            shown = ["–" if figure is None else str(figure) for figure in figures]
            if "lost" not in stream["judge"] and stream["lost"] is not None:
                shown[2] = f"({shown[2]})"
            rows.append(
                (
                    *((item["tier"], item["fault"], item["victim"]) if first else ("", f"  {name}", "")),
                    f"{stream['gap']:.1f} s" if judged else f"({stream['gap']:.1f} s)",
                    f"{item['objective']:g} s" if judged and gap is not None else "",
                    *shown,
                    (text + (f": {'; '.join(item['why'])}" if item["why"] else "")) if first else "",
                )
            )
    widths = [max(len(row[i]) for row in rows) for i in range(len(heads) - 1)]
    lines = [
        "  ".join([*(cell.ljust(w) for cell, w in zip(row, widths, strict=False)), row[-1]]).rstrip() for row in rows
    ]
    return "\n".join([lines[0], "  ".join("-" * w for w in widths), *lines[1:]])


def timeline(item: Mapping[str, Any]) -> dict[str, Any]:
    """The shapes of a timeline: one lane for each stream, its acknowledgements as an area."""
    result = item["result"]
    total = max(result["seconds"], 0.1)

    def x(seconds: float) -> float:
        return round(min(max(seconds, 0.0), total) / total * WIDTH, 1)

    lanes = []
    for number, (name, stream) in enumerate(result["streams"].items()):
        width, counts = stream["acks"]["width"], stream["acks"]["counts"]
        full = max(1.0, stream["rate"] * width)
        bottom = TOP + (number + 1) * (LANE + TOP)
        points = [f"M0 {bottom}"]
        for i, count in enumerate(counts):
            y = round(bottom - min(1.0, count / full) * LANE, 1)
            points.append(f"L{x(i * width)} {y}L{x((i + 1) * width)} {y}")
        points.append(f"L{WIDTH} {bottom}Z")
        lanes.append(
            {
                "name": name,
                "what": stream["what"],
                "path": "".join(points),
                "top": bottom - LANE,
                "bottom": bottom,
                "judged": "gap" in stream["judge"],
                "gap": stream["gap"],
                "gap_x": x(stream["gap_at"]),
                "gap_width": round(x(stream["gap_at"] + stream["gap"]) - x(stream["gap_at"]), 1),
            }
        )
    step = next(s for s in (1, 2, 5, 10, 15, 30, 60, 120, 300, 600) if total / s <= 12 or s == 600)
    return {
        "width": WIDTH,
        "height": TOP + len(lanes) * (LANE + TOP) + 26,
        "lane": LANE,
        "lanes": lanes,
        "ticks": [{"x": x(s), "label": f"{s} s"} for s in range(0, int(total) + 1, step)],
        "marks": {name: x(at) for name, at in result["marks"].items()},
    }


class FilterModule:
    """Filters of this collection."""

    def filters(self) -> dict[str, Any]:
        return {
            "drill_matrix": matrix,
            "drill_recap": recap,
            "drill_verdict": verdict,
            "drill_worst": worst,
            "drill_forgone": forgone,
            "drill_table": table,
            "drill_timeline": timeline,
        }

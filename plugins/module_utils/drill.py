# Copyright (c) the cloudexit maintainers
# GNU General Public License v3.0-or-later (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
"""What a drill's probe saw, judged: attempted, acknowledged, lost, unexpected, duplicated, and the longest gap.

A probe (roles/drill/files/probe) writes one JSON object a line, times are seconds of its host's monotonic clock:

    {"e": "start", "t": 1.0, "run": "d3f…", "rate": 25.0, "streams": {"plain": {"what": "…", "judge": ["gap"]}}}
    {"e": "try", "t": 1.1, "s": "plain", "n": 1}
    {"e": "ack", "t": 1.2, "s": "plain", "n": 1, "by": "192.0.2.21"}
    {"e": "err", "t": 1.3, "s": "plain", "n": 2, "kind": "ConnectionError"}
    {"e": "tick", "t": 1.3}                              the probe itself runs
    {"e": "stop", "t": 9.0}
    {"e": "found", "s": "plain", "numbers": [1]}         what was read back
    {"e": "about", "versions": {"redis": "8.0.2"}}
    {"e": "end", "t": 9.5}
    {"e": "fatal", "t": 9.5, "text": "…"}                in place of the end: it could not do its work

The drill adds marks: {"m": "fault" | "undone" | "healthy" | …, "t": 3.0}.
"""

from __future__ import annotations

import itertools
import json
from collections import Counter
from collections.abc import Iterable
from typing import Any

SLICES = 250  # of a timeline, at most


class ProbeError(Exception):
    """The probe could not do its work; nothing is known about the tier."""


def lines(text: str) -> list[dict[str, Any]]:
    """A log's events. The last line may be cut off by the probe's death."""
    whole = text.splitlines(keepends=True)
    return [json.loads(line) for line in whole if line.endswith("\n") and line.strip()]


def longest_gap(times: Iterable[float], begin: float, end: float) -> tuple[float, float]:
    """Seconds of the longest time without an acknowledgement between begin and end, both counted, and its beginning."""
    moments = [begin, *sorted(t for t in times if begin <= t <= end), max(begin, end)]
    length, start = max((b - a, a) for a, b in itertools.pairwise(moments))
    return length, start


def judged(attempted: Iterable[int], acknowledged: Iterable[int], found: Iterable[int]) -> dict[str, int]:
    """Counts in the words of a Jepsen report: lost is acknowledged and not there, unexpected is there and was never
    attempted, duplicated is there more than once, unsure is there though its acknowledgement never came."""
    tried, known, there = set(attempted), set(acknowledged), Counter(found)
    return {
        "attempted": len(tried),
        "acknowledged": len(known),
        "lost": len(known - set(there)),
        "unexpected": len(set(there) - tried),
        "duplicated": sum(count > 1 for count in there.values()),
        "unsure": len((set(there) & tried) - known),
    }


def servers(acks: Iterable[dict[str, Any]]) -> list[dict[str, Any]]:
    """Each stretch of time in which one server acknowledged: by, begin, end."""
    found: list[dict[str, Any]] = []
    for ack in acks:
        if found and found[-1]["by"] == ack["by"]:
            found[-1]["end"] = ack["t"]
        else:
            found.append({"by": ack["by"], "begin": ack["t"], "end": ack["t"]})
    return found


def counts(times: Iterable[float], begin: float, end: float) -> dict[str, Any]:
    """How many of the times are in each slice between begin and end: width in seconds, and the counts."""
    width = max(0.4, (end - begin) / SLICES)
    slices = [0] * (int((end - begin) / width) + 1)
    for t in times:
        if begin <= t <= end:
            slices[int((t - begin) / width)] += 1
    return {"width": round(width, 3), "counts": slices}


def analyse(events: list[dict[str, Any]], marks: list[dict[str, Any]]) -> dict[str, Any]:
    """What became of a run; times in the result are seconds from its beginning.

    ProbeError if the log does not tell of a whole one: a probe that died proves nothing.
    """
    fatal = next((event["text"] for event in events if event["e"] == "fatal"), "")
    if fatal:
        raise ProbeError(f"the probe could not do its work: {fatal}")
    kinds = Counter(event["e"] for event in events)
    if not kinds["start"] or not kinds["stop"] or not kinds["end"]:
        raise ProbeError("the probe died: its log has no beginning or no end")
    start = next(event for event in events if event["e"] == "start")
    begin, end = start["t"], next(event["t"] for event in events if event["e"] == "stop")
    moments = {mark["m"]: mark["t"] for mark in marks}
    fault = moments.get("fault", begin)
    stall, _at = longest_gap((event["t"] for event in events if event["e"] == "tick"), fault, end)
    result: dict[str, Any] = {
        "run": start["run"],
        "seconds": round(end - begin, 1),
        "stall": round(stall, 2),
        "marks": {name: round(t - begin, 2) for name, t in moments.items()},
        "versions": next((event["versions"] for event in events if event["e"] == "about"), {}),
        "streams": {},
    }
    for name, told in start["streams"].items():
        mine = [event for event in events if event.get("s") == name]
        acks = [event for event in mine if event["e"] == "ack"]
        tries = [event for event in mine if event["e"] == "try"]
        if not any(ack["t"] <= fault for ack in acks):
            raise ProbeError(f"the stream {name} was served nothing before the fault")
        readable = [event["numbers"] for event in mine if event["e"] == "found"]
        gap, at = longest_gap((ack["t"] for ack in acks), fault, end)
        before = [event["t"] for event in tries if event["t"] < fault]
        result["streams"][name] = {
            **told,
            **judged((e["n"] for e in tries), (e["n"] for e in acks), readable[0] if readable else ()),
            "read_back": bool(readable),
            "rate": round(len(before) / max(fault - begin, 0.001), 1),
            "gap": round(gap, 2),
            "gap_at": round(at - begin, 2),
            "errors": dict(Counter(event["kind"] for event in mine if event["e"] == "err")),
            "servers": [
                {"by": s["by"], "begin": round(s["begin"] - begin, 2), "end": round(s["end"] - begin, 2)}
                for s in servers(acks)
            ],
            "acks": counts((ack["t"] for ack in acks), begin, end),
        }
        if not readable:
            result["streams"][name] |= {"lost": None, "unexpected": None, "duplicated": None, "unsure": None}
    return result


def failures(result: dict[str, Any], objective: float, slowness: float, held: float = 0.0) -> list[str]:
    """What is not as promised, in words; empty if all is.

    `held` is for how long the fault itself may stop writes besides the objective (a full disk refuses them, rightly).
    """
    allowed = objective * slowness + held
    found = []
    for name, stream in result["streams"].items():
        if "gap" in stream["judge"] and stream["gap"] > allowed:
            text = (
                f"{objective:g} s" + (f" × {slowness:g}" if slowness != 1 else "") + (f" + {held:g} s" if held else "")
            )
            found.append(f"{name}: a gap of {stream['gap']:.1f} s, allowed are {text}")
        if "lost" in stream["judge"] and stream["lost"]:
            found.append(f"{name}: {stream['lost']} acknowledged records are lost")
        found += [f"{name}: {stream[what]} {what}" for what in ("unexpected", "duplicated") if stream[what]]
    if result["stall"] > max(1.0, objective / 2) * slowness:
        found.append(
            f"the probe itself stood still for {result['stall']:.1f} s, so that its gaps prove nothing: give its host"
            " (drill_probe_host) a processor"
        )
    return found

# Copyright (c) the cloudexit maintainers
# GNU General Public License v3.0-or-later (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
"""A real client of a tier: writes numbered records until told to stop, then reads them back.

    python probe DIRECTORY         JSON on standard input: kind, rate, seconds, settings (of_KIND.py says which)
    python probe --needs KIND      prints the Python packages that this interpreter lacks for it

Everything goes to DIRECTORY/events.jsonl (plugins/module_utils/drill.py has its form). DIRECTORY/status.json is the
sign of life, ten times a second. The file DIRECTORY/stop ends the writing, `seconds` do at the latest.

Each stream of records has a process of its own, so that none waits for another; one that ends by itself ends them all.
"""

from __future__ import annotations

import ast
import contextlib
import importlib
import importlib.util
import json
import multiprocessing
import os
import sys
import time
import traceback
import uuid
from collections.abc import Callable
from multiprocessing.connection import Connection, wait
from pathlib import Path
from typing import Any, TextIO

from stream import Stream

BEAT = 0.1
GRACE = 15.0  # seconds that an attempt may go on after the end of writing
READ = 90.0  # seconds after which reading back is given up

FORK = multiprocessing.get_context("fork")


def attempt(stream: Stream, pipe: Connection, period: float, stopping: Any) -> None:
    """A stream's process: one record after the other, none twice. No burst makes up for the time of an outage."""
    client = stream.client()
    due = time.monotonic()
    number = 0
    while not stopping.is_set():
        number += 1
        pipe.send({"e": "try", "t": time.monotonic(), "n": number})
        try:
            by = client.write(number)
        except client.failures as error:
            pipe.send(
                {"e": "err", "t": time.monotonic(), "n": number, "kind": getattr(error, "kind", type(error).__name__)}
            )
        else:
            pipe.send({"e": "ack", "t": time.monotonic(), "n": number, "by": by})
        due = max(due + period, time.monotonic())
        stopping.wait(max(0.0, due - time.monotonic()))


class Probe:
    """The process that keeps the log and watches the others."""

    def __init__(self, folder: Path, given: dict[str, Any], log: TextIO) -> None:
        self.folder, self.given, self.log = folder, given, log
        self.run = uuid.uuid4().hex[:8]
        self.kind = importlib.import_module(f"of_{given['kind']}")
        self.streams: dict[str, Stream] = self.kind.streams(given["settings"], self.run)
        self.life = {name: {"last": 0.0, "by": "", "judge": s.judge} for name, s in self.streams.items()}

    def say(self, event: str, **values: Any) -> None:
        self.log.write(json.dumps({"e": event, "t": round(values.pop("t", time.monotonic()), 4), **values}) + "\n")

    def beat(self, phase: str, text: str = "") -> None:
        self.say("tick")
        self.log.flush()
        told = {"t": time.monotonic(), "pid": os.getpid(), "phase": phase, "text": text, "streams": self.life}
        partial = self.folder / "status.partial"
        partial.write_text(json.dumps(told), encoding="utf-8")
        partial.rename(self.folder / "status.json")

    def work(self) -> None:
        about = {name: {"what": s.what, "judge": s.judge, "note": s.note} for name, s in self.streams.items()}
        self.say("start", run=self.run, rate=self.given["rate"], streams=about)
        self.kind.prepare(self.given["settings"], self.run)
        self.write()
        self.read()
        self.say("end")
        self.beat("end")

    def write(self) -> None:
        stopping, period = FORK.Event(), 1 / self.given["rate"]
        pipes: dict[Connection, str] = {}
        workers = {}
        for name, stream in self.streams.items():
            here, there = FORK.Pipe(duplex=False)
            workers[name] = FORK.Process(target=attempt, args=(stream, there, period, stopping), daemon=True)
            workers[name].start()
            there.close()
            pipes[here] = name
        end = time.monotonic() + self.given["seconds"]
        beaten = 0.0
        while time.monotonic() < end and not (self.folder / "stop").exists():
            self.take(pipes)
            if time.monotonic() - beaten >= BEAT:
                beaten = time.monotonic()
                self.beat("writing")
            for name, worker in workers.items():
                if not worker.is_alive():
                    raise RuntimeError(f"the client of the stream {name} ended by itself, status {worker.exitcode}")
        self.say("stop")
        stopping.set()
        patience = time.monotonic() + GRACE
        while any(worker.is_alive() for worker in workers.values()) and time.monotonic() < patience:
            self.take(pipes)
            self.beat("reading")
        for worker in workers.values():
            worker.kill()
            worker.join()
        self.take(pipes)

    def take(self, pipes: dict[Connection, str]) -> None:
        """Whatever the streams have told, in the order of each."""
        for pipe in wait(list(pipes), timeout=BEAT):
            assert isinstance(pipe, Connection)
            name = pipes[pipe]
            with contextlib.suppress(EOFError):
                while pipe.poll():
                    event = pipe.recv()
                    if event["e"] == "ack":
                        self.life[name] |= {"last": event["t"], "by": event["by"]}
                    self.say(**{"event": event.pop("e"), "s": name, **event})
                continue
            pipes.pop(pipe)

    def read(self) -> None:
        """Read everything back, as often as it takes; the probe's end if it cannot be."""
        settings = self.given["settings"]
        end = time.monotonic() + READ
        for name, stream in self.streams.items():
            if not stream.readable:
                continue
            numbers = self.patiently(end, lambda name=name: self.kind.read(settings, self.run, name))
            self.say("found", s=name, numbers=sorted(numbers))
        self.say("about", versions=self.patiently(end, lambda: self.kind.versions(settings)))
        self.patiently(end, lambda: self.kind.clean(settings, self.run))

    def patiently(self, end: float, ask: Callable[[], Any]) -> Any:
        while True:
            self.beat("reading")
            try:
                return ask()
            except self.kind.FAILURES as error:
                if time.monotonic() > end:
                    raise RuntimeError(f"the records cannot be read back: {type(error).__name__}: {error}") from None
                time.sleep(0.5)


def needs(kind: str) -> int:
    """Found without importing it, so that what lacks can be named."""
    source = (Path(__file__).parent / f"of_{kind}.py").read_text(encoding="utf-8")
    for node in ast.parse(source).body:
        targets = node.targets if isinstance(node, ast.Assign) else [getattr(node, "target", None)]
        if any(isinstance(one, ast.Name) and one.id == "NEEDS" for one in targets):
            wanted = ast.literal_eval(node.value)
            print("\n".join(package for package, module in wanted.items() if importlib.util.find_spec(module) is None))
    return 0


def main() -> int:
    if sys.argv[1] == "--needs":
        return needs(sys.argv[2])
    os.umask(0o077)
    folder, given = Path(sys.argv[1]), json.load(sys.stdin)
    with (folder / "events.jsonl").open("w", encoding="utf-8") as log:
        probe = None
        try:
            probe = Probe(folder, given, log)
            probe.beat("starting")
            probe.work()
        except Exception as error:
            traceback.print_exc()
            if probe is None:
                raise
            text = f"{type(error).__name__}: {error}"
            probe.say("fatal", text=text)
            probe.beat("fatal", text)
            return 1
    return 0


if __name__ == "__main__":
    sys.exit(main())

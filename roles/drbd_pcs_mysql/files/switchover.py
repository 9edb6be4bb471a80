# Copyright (c) the cloudexit maintainers
# GNU General Public License v3.0-or-later (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
"""Moves the database to the other member. Called on the active one with one JSON object, answers with one.

name, members, socket, client; seconds is how long the move may take. Whether the other member can take over is
health.py's to say, before.
"""

from __future__ import annotations

import json
import subprocess
import sys
import time
from typing import Any

FLUSH_SECONDS = 60  # for the pages that would otherwise be written while nobody is served


def run(*argv: str) -> str:
    done = subprocess.run(argv, capture_output=True, text=True, check=False)
    if done.returncode != 0:
        raise SystemExit(f"`{' '.join(argv)}` failed: {(done.stderr or done.stdout).strip()}")
    return done.stdout


def flush(wish: dict[str, Any]) -> None:
    """Write the dirty pages while the server still serves; its stop then has little to write."""

    def sql(text: str) -> str:
        return run(wish["client"], f"--socket={wish['socket']}", "--skip-column-names", f"--execute={text}")

    sql("SET GLOBAL innodb_max_dirty_pages_pct_lwm = 0; SET GLOBAL innodb_max_dirty_pages_pct = 0")
    deadline = time.monotonic() + FLUSH_SECONDS
    pages = int(sql("SHOW GLOBAL STATUS LIKE 'Innodb_buffer_pool_pages_total'").split()[1])
    while time.monotonic() < deadline:
        if int(sql("SHOW GLOBAL STATUS LIKE 'Innodb_buffer_pool_pages_dirty'").split()[1]) <= max(100, pages // 1000):
            return
        time.sleep(0.5)


def located(resource: str) -> str:
    out = subprocess.run(
        ["crm_resource", "--resource", resource, "--locate", "--quiet"], capture_output=True, text=True, check=False
    ).stdout.split()
    return out[0] if out else ""


def main() -> None:
    wish = json.loads(sys.argv[1])
    server, clone = f"{wish['name']}-server", f"{wish['name']}-drbd-clone"
    source = located(server)
    target = next((member for member in wish["members"] if member != source), "")
    answer: dict[str, Any] = {"from": source, "to": target}
    if not wish["check"]:
        flush(wish)
        begin = time.monotonic()
        # Should this script die, the preference ends by itself.
        run("crm_resource", "--move", "--promoted", "--resource", clone, "--node", target, "--lifetime=PT10M")
        try:
            deadline = begin + wish["seconds"]
            while located(server) != target and time.monotonic() < deadline:
                time.sleep(1)  # asking costs more CPU than the members have to spare now
            answer["seconds"] = round(time.monotonic() - begin, 1)
            run("crm_resource", "--wait", f"--timeout={wish['seconds']}s")
        finally:
            run("crm_resource", "--clear", "--resource", clone)
        answer["moved"] = located(server) == target
    print(json.dumps(answer))


if __name__ == "__main__":
    main()

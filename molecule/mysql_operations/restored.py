# Copyright (c) the cloudexit maintainers
# GNU General Public License v3.0-or-later (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
"""What a restore to a moment must hold, from the log of ../drbd_pcs_mysql/writer.py and the restored rows.

restored.py LOG MOMENT < rows of `SELECT number, written FROM writer`       JSON: acknowledged, later, lost, unexpected

`acknowledged` before MOMENT (seconds since 1970), `later` from then on; `lost` of the former are not in the rows, and
`unexpected` rows were sent later. The clocks of a busy guest and of this machine differ by tenths of a second, and the
server notes whole ones: what lies within SKEW of the moment may be on either side.
"""

from __future__ import annotations

import json
import sys
from pathlib import Path
from typing import Any

SKEW = 1.0


def judge(log: str, rows: str, moment: float) -> dict[str, Any]:
    lines = [line.split(" ", 3) for line in log.splitlines()]
    times = {int(line[1]): float(line[2]) for line in lines if line[0] == "ack"}
    found = {int(number): float(written) for number, written in (row.split() for row in rows.splitlines())}
    before = {number for number, when in times.items() if when < moment - SKEW}
    return {
        "acknowledged": len(before),
        "later": len([when for when in times.values() if when >= moment + SKEW]),
        "lost": len(before - set(found)),
        "unexpected": len([written for written in found.values() if written >= moment + SKEW]),
    }


if __name__ == "__main__":
    text = Path(sys.argv[1]).read_text(encoding="utf-8")
    sys.stdout.write(json.dumps(judge(text, sys.stdin.read(), float(sys.argv[2]))))

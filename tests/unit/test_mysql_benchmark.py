# Copyright (c) the cloudexit maintainers
# GNU General Public License v3.0-or-later (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
"""What a benchmark makes of sysbench's reports."""

from __future__ import annotations

import pytest
from drbd_pcs_mysql import benchmark


def test_a_benchmark_says_what_sysbench_says() -> None:
    report = "  transactions:     1503   (49.87 per sec.)\n    95th percentile:     292.60\n"
    assert benchmark.parse(report) == {"tps": 49.87, "p95": 292.6}
    with pytest.raises(benchmark.LabError, match="sysbench reported nothing:\nFATAL: no"):
        benchmark.parse("FATAL: no")
    rounds = {
        "mix": {"a": [{"tps": 10.0, "p95": 4.0}] * 2, "b": [{"tps": 15.0, "p95": 1.0}, {"tps": 25.0, "p95": 3.0}]}
    }
    assert benchmark.table(rounds).endswith(
        "| mix | 10/s (1.00×), 95 % in 4.0 ms (1.00×) | 20/s (2.00×), 95 % in 2.0 ms (0.50×) |"
    )

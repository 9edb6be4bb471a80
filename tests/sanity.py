# Copyright (c) the cloudexit maintainers
# GNU General Public License v3.0-or-later (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
"""`ansible-test sanity` on a copy of the collection at the path it demands, with nothing downloaded but from PyPI.

ansible-test bootstraps virtualenvs with a get-pip script that it wants to download. It takes one from its cache if
there is one, so we leave there a script that runs a pip of the same version from PyPI.
"""

from __future__ import annotations

import os
import re
import shutil
import subprocess
import sys
import tempfile
from pathlib import Path

ROOT = Path(__file__).resolve().parents[1]
BIN = Path(sys.executable).parent
GET_PIP = """import sys
sys.path.insert(0, {wheel!r})
from pip._internal.cli.main import main
sys.exit(main(["install", *[a for a in sys.argv[1:] if a not in ("--no-setuptools", "--no-wheel")]]))
"""


def prepare_pip(home: Path) -> None:
    """Put the get-pip script that this ansible-test asks for where it looks for it."""
    import ansible_test

    source = (Path(ansible_test.__file__).parent / "_internal" / "python_requirements.py").read_text(encoding="utf-8")
    wanted = re.search(r"pip='([0-9.]+)'", source)
    if not wanted:
        raise SystemExit("sanity: this ansible-test no longer names its pip in python_requirements.py")
    cache = home / ".ansible" / "test" / "cache"
    cache.mkdir(parents=True, exist_ok=True)
    download = [sys.executable, "-m", "pip", "download", "-q", "--no-deps", "-d", str(cache), f"pip=={wanted[1]}"]
    subprocess.run(download, check=True)
    wheel = str(next(cache.glob("pip-*.whl")))
    script = cache / f"get_pip_{wanted[1].replace('.', '_')}.py"
    script.write_text(GET_PIP.format(wheel=wheel), encoding="utf-8")


def main() -> int:
    with tempfile.TemporaryDirectory() as folder:
        copy = Path(folder) / "ansible_collections" / "cloudexit" / "ha_stack"
        copy.mkdir(parents=True)
        listed = ["git", "ls-files", "-z", "--cached", "--others", "--exclude-standard"]
        for name in subprocess.run(listed, cwd=ROOT, check=True, capture_output=True, text=True).stdout.split("\0"):
            if name and (ROOT / name).exists():
                (copy / name).parent.mkdir(parents=True, exist_ok=True)
                shutil.copy2(ROOT / name, copy / name, follow_symlinks=False)
        git = ["git", "-c", "user.name=sanity", "-c", "user.email=sanity@localhost"]
        subprocess.run([*git, "init", "-q", "."], cwd=copy, check=True)
        subprocess.run([*git, "add", "-A"], cwd=copy, check=True)
        subprocess.run([*git, "commit", "-qm", "sanity"], cwd=copy, check=True)
        home = Path(folder) / "home"
        home.mkdir()
        prepare_pip(home)
        environment = {**os.environ, "HOME": str(home), "PATH": f"{BIN}:{os.environ['PATH']}"}
        version = f"{sys.version_info.major}.{sys.version_info.minor}"
        command = [str(BIN / "ansible-test"), "sanity", "--color", "no", "--python", version, *sys.argv[1:]]
        return subprocess.call(command, cwd=copy, env=environment)


if __name__ == "__main__":
    sys.exit(main())

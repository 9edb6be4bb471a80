# Copyright (c) the cloudexit maintainers
# GNU General Public License v3.0-or-later (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
"""What an upgrade of a package would do, and what speaks against it."""

from __future__ import annotations

import os
import time
from pathlib import Path
from typing import Any

import pytest
from ansible.errors import AnsibleFilterError
from ansible_collections.cloudexit.ha_stack.plugins.filter.package_upgrade import package_upgrade
from ansible_collections.cloudexit.ha_stack.plugins.module_utils import package_upgrade as pu

# LC_ALL=C apt-cache policy redis-server, on a node of Debian 13 that was offered a newer one
POLICY = """\
redis-server:
  Installed: 5:8.0.2-3+deb13u3
  Candidate: 5:8.0.2-3+deb13u3+newer1
  Version table:
     5:8.0.2-3+deb13u3+newer1 500
        500 file:/srv/newer ./ Packages
 *** 5:8.0.2-3+deb13u3 500
        500 http://archive.example/debian trixie/main amd64 Packages
        500 http://security.debian.org/debian-security trixie-security/main amd64 Packages
        100 /var/lib/dpkg/status
"""
# systemctl show --property=ExecStart memcached@11211
EXEC = (
    "{ path=/usr/bin/memcached ; argv[]=/usr/bin/memcached -l 10.203.4.11 -p 11211 -U 0 -m 64 ; ignore_errors=no ; "
    "start_time=[Fri 2026-11-27 09:03:36 UTC] ; stop_time=[n/a] ; pid=398 ; code=(null) ; status=0/0 }"
)


def host(installed: str, wanted: str, offered: bool = True) -> dict[str, Any]:
    return {"installed": installed, "wanted": wanted, "offered": offered}


def judged(*hosts: dict[str, Any], allowed: bool = False) -> str:
    named = {f"redis{number}": one for number, one in enumerate(hosts, 1)}
    return "; ".join(package_upgrade(named, "redis", "redis_sentinel_upgrade_major", allowed))


def test_apts_answers() -> None:
    assert pu.candidate(POLICY) == "5:8.0.2-3+deb13u3+newer1"
    assert pu.candidate("redis-server:\n  Installed: (none)\n  Candidate: (none)\n") == ""
    assert pu.offered(POLICY, "5:8.0.2-3+deb13u3")
    assert pu.offered(POLICY, "5:8.0.2-3+deb13u3+newer1")
    assert not pu.offered(POLICY, "5:8.0.2-3")


def test_a_process_is_older_than_a_program_that_came_after_its_start(tmp_path: Path) -> None:
    assert pu.binary(EXEC) == "/usr/bin/memcached"
    assert pu.binary("") == ""
    before = int((time.monotonic() - 1) * 1e6)
    program = tmp_path / "program"
    program.write_text("", encoding="utf-8")
    os.utime(program, (1, 1))  # as dpkg does, which keeps the package's times
    assert pu.replaced(str(program), before)
    assert not pu.replaced(str(program), int((time.monotonic() + 1) * 1e6))
    assert not pu.replaced(str(program), 0)  # never started
    assert not pu.replaced(str(tmp_path / "none"), before)


def test_the_same_new_version_everywhere_is_taken() -> None:
    new = host("5:8.0.2-3+deb13u2", "5:8.0.2-3+deb13u3")
    assert judged(new, new) == ""
    assert judged(new, host("5:8.0.2-3+deb13u3", "5:8.0.2-3+deb13u3")) == ""  # an upgrade that was broken off


def test_refusals_say_what_to_do() -> None:
    assert "redis is not installed on redis1" in judged(host("", "5:8.0.2-3"))
    assert "no source of redis1 has redis 5:9.0.0-1" in judged(host("5:8.0.2-3", "5:9.0.0-1", offered=False))
    assert "back to 5:7.0.15-1" in judged(host("5:8.0.2-3", "5:7.0.15-1"), allowed=True)
    major = host("5:7.0.15-1~deb12u6", "5:8.0.2-3+deb13u3")
    assert "set redis_sentinel_upgrade_major: true" in judged(major)
    assert judged(major, allowed=True) == ""
    assert "(redis1: 5:8.0.2-3, redis2: 5:8.0.3-1)" in judged(
        host("5:8.0.2-3", "5:8.0.2-3"), host("5:8.0.2-3", "5:8.0.3-1")
    )


def test_what_holds_no_data_may_go_back() -> None:
    back = {"cache1": host("1.6.38-1", "1.6.18-1")}
    assert package_upgrade(back, "memcached") == []
    with pytest.raises(AnsibleFilterError, match="'y' is not a version"):
        package_upgrade({"redis1": host("x", "y")}, "redis", "redis_sentinel_upgrade_major")

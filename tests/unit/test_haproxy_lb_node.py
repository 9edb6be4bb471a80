# Copyright (c) the cloudexit maintainers
# GNU General Public License v3.0-or-later (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
"""haproxy_lb on the nodes: what HAProxy says, recorded from 3.0.11 and 2.6.12."""

from __future__ import annotations

from ansible_collections.cloudexit.ha_stack.plugins.module_utils import haproxy_lb

INFO = """Name: HAProxy
Version: 3.0.11-1+deb13u5
node: lb1
description: haproxy_lb 3f2a9c0011223344
Stopping: 0
"""
STAT = """# pxname,svname,qcur,status,weight,check_status,
web,web1,0,UP,1,L7OK,
web,web2,0,DOWN,1,L4TOUT,
web,BACKEND,0,UP,2,,
"""
CANDIDATE = "/etc/haproxy/.haproxy.cfg.candidate"
CONFIG = "global\n    log stderr\n    bogus 1\nbackend web\n    balance sometimes\n"
COMPLAINTS = f"""[NOTICE]   (4242) : haproxy version is 3.0.11-1+deb13u5
[NOTICE]   (4242) : path to executable is /usr/sbin/haproxy
[ALERT]    (4242) : config : parsing [{CANDIDATE}:3] : unknown keyword 'bogus' in 'global' section
[ALERT]    (4242) : config : parsing [{CANDIDATE}:5] : 'balance' only supports 'roundrobin', 'leastconn'.
[ALERT]    (4242) : config : Error(s) found in configuration file : {CANDIDATE}
[ALERT]    (4242) : config : Fatal errors found in configuration.
"""


def test_the_digest_goes_into_the_configuration_and_comes_back_from_the_process() -> None:
    config = haproxy_lb.sealed("global\n    description haproxy_lb @digest@\n")
    digest = haproxy_lb.written_digest(config)
    assert len(digest) == 16 and "@" not in config
    assert haproxy_lb.sealed("global\n    description haproxy_lb @digest@\n") == config
    assert haproxy_lb.running_digest(INFO) == "3f2a9c0011223344"


def test_what_is_not_ours_has_no_digest() -> None:
    assert haproxy_lb.written_digest("global\n    log /dev/log local0\n") == ""
    assert haproxy_lb.running_digest("Name: HAProxy\ndescription: edge\n") == ""
    assert haproxy_lb.running_digest(None) == ""


def test_complaints_show_the_line() -> None:
    assert haproxy_lb.complaints(COMPLAINTS, CANDIDATE, CONFIG) == [
        "alert: line 3 `bogus 1`: unknown keyword 'bogus' in 'global' section",
        "alert: line 5 `balance sometimes`: 'balance' only supports 'roundrobin', 'leastconn'.",
    ]


def test_server_states() -> None:
    assert haproxy_lb.server_states(STAT) == {"web/web1": "UP L7OK", "web/web2": "DOWN L4TOUT"}
    assert haproxy_lb.server_states(None) == {}


def test_only_replaced_files_of_the_same_certificate_are_removed() -> None:
    existing = ["shop-0123456789ab.pem", "shop-ba9876543210.pem", "shop.pem", "other-0123456789ab.pem"]
    assert haproxy_lb.obsolete(existing, ["shop-ba9876543210.pem"]) == ["shop-0123456789ab.pem"]


def test_nobody_answers_on_a_socket_that_is_not_there(tmp_path) -> None:
    assert haproxy_lb.ask("show info", str(tmp_path / "admin.sock")) is None

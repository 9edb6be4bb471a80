#!/usr/bin/python
# Copyright (c) the cloudexit maintainers
# GNU General Public License v3.0-or-later (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)

from __future__ import annotations

DOCUMENTATION = r"""
module: app_instance
short_description: Run a web application's release under supervisord and switch Nginx to it without a failed request
version_added: 0.1.0
description:
  - An instance is a release of an application together with all its settings, in a directory that never changes
    once written, C(<root>/instances/<id>). Its id is a hash of both, so that a change of either is a new instance and
    a second run with the same input does nothing.
  - C(staged) writes the directory. C(current) starts the instance beside the one that serves, on a socket of its own,
    waits until its health URL answers 200, switches Nginx over by a reload, lets the old Nginx workers finish what
    they began, and only then stops the instances that came before.
  - C(previous) does the same with the instance that served before the one that serves.
  - An instance that does not become healthy, or that Nginx cannot be switched to, is stopped again; what served before
    goes on serving.
options:
  name:
    description: Name of the application; prefix of supervisord's groups and name of Nginx' site.
    type: str
    required: true
  root:
    description: Folder that holds C(releases/), C(instances/) and the link C(current).
    type: path
    required: true
  state:
    description: How far to go; see the description.
    type: str
    choices: [staged, current, previous]
    default: current
  release:
    description: Name of a folder below C(<root>/releases). Not needed with O(instance) or O(state=previous).
    type: str
  instance:
    description: Switch to this instance that was staged before, instead of one made of O(release) and O(files).
    type: str
  files:
    description:
      - File name → text of what is in the instance's folder. C(@INSTANCE@) in a text stands for the id.
      - C(supervisor.conf) (it defines the group C(<name>-@INSTANCE@)) and C(nginx.conf) are needed.
    type: dict
    default: {}
  secret_files:
    description: Like O(files), readable by O(group) only, and never shown.
    type: dict
    default: {}
  group:
    description: Group of the user that runs the application.
    type: str
    default: root
  health_path:
    description: Path that must answer 200 before Nginx is switched.
    type: str
    default: /healthz
  health_host:
    description: Host header of the health request.
    type: str
    default: localhost
  timeout:
    description: Seconds an instance may take to become healthy.
    type: int
    default: 60
  drain:
    description: Seconds that old Nginx workers may take to finish their requests.
    type: int
    default: 30
  keep:
    description: How many former instances, and their releases, are kept for a rollback.
    type: int
    default: 3
attributes:
  check_mode:
    description: Says what would change without changing it.
    support: full
  diff_mode:
    description: Shows the difference between the serving instance's files and the wanted ones, less the secret ones.
    support: full
  idempotent:
    description: A second run with the same input changes nothing.
    support: full
author:
  - The cloudexit maintainers (@cloudexit)
"""

EXAMPLES = r"""
- name: Put the release's settings beside it
  cloudexit.ha_stack.app_instance:
    name: shop
    root: /srv/shop
    state: staged
    release: 4f2a9c81d0e7
    files: "{{ files }}"
  register: staged

- name: Let it serve
  cloudexit.ha_stack.app_instance:
    name: shop
    root: /srv/shop
    instance: "{{ staged.instance }}"

- name: Go back to the instance before
  cloudexit.ha_stack.app_instance:
    name: shop
    root: /srv/shop
    state: previous
"""

RETURN = r"""
instance:
  description: Id of the wanted instance.
  type: str
  returned: always
current:
  description: Id of the instance that serves at the end of the module, "" if none does.
  type: str
  returned: always
serves:
  description:
    - Whether the wanted instance serves at the end of the module, it is the only one that runs, and so does Nginx.
    - In check mode, whether it does so now.
  type: bool
  returned: always
previous:
  description: Ids of former instances that a rollback can go to, the one that served last first.
  type: list
  elements: str
  returned: always
"""

import glob
import os
import shutil
import time

from ansible.module_utils.basic import AnsibleModule
from ansible_collections.cloudexit.ha_stack.plugins.module_utils.app_instance import (
    PLACEHOLDER,
    belongs,
    instance_id,
    nginx_workers,
    parse_status,
    probe,
    to_prune,
)

SUPERVISOR = "/etc/supervisor/conf.d"
NGINX = "/etc/nginx/sites-enabled"
NGINX_ERRORS = "/var/log/nginx/error.log"
# Seconds that supervisord may take to listen or to answer, and Nginx to have workers with the new settings.
PATIENCE = 15


def link(target: str, path: str) -> None:
    """Have `path` link to `target` from one moment to the next; Nginx does not include hidden files."""
    fresh = os.path.join(os.path.dirname(path), f".{os.path.basename(path)}.new")
    if os.path.lexists(fresh):
        os.unlink(fresh)
    os.symlink(target, fresh)
    os.replace(fresh, path)


class Instance:
    """One instance on this host: its places, and the steps of a switch."""

    def __init__(self, module: AnsibleModule, name: str) -> None:
        self.module = module
        self.root = module.params["root"]
        self.app = module.params["name"]
        self.name = name
        self.folder = os.path.join(self.root, "instances", name)
        self.group = f"{self.app}-{name}"
        self.socket = f"/run/{self.app}/{name}.sock"
        self.supervisor_conf = os.path.join(SUPERVISOR, f"{self.group}.conf")
        self.site = os.path.join(NGINX, f"{self.app}.conf")

    def current(self) -> str:
        place = os.path.join(self.root, "current")
        return os.path.basename(os.readlink(place)) if os.path.islink(place) else ""

    def run(self, *argv: str) -> tuple[int, str]:
        code, out, err = self.module.run_command(list(argv))
        return code, (out + err).strip()

    def groups(self) -> dict[str, dict[str, str]]:
        if not shutil.which("supervisorctl"):
            return {}
        # Its exit code tells of stopped processes, which are no failure of the command; supervisorctl waits for ever.
        code, said = self.run("timeout", str(PATIENCE), "supervisorctl", "status")
        if code == 124:
            self.module.fail_json(
                msg=f"app_instance: supervisord does not answer: `supervisorctl status` said nothing in {PATIENCE} s,"
                " and nothing was changed here. Next: ps -C supervisord -o pid,stat,wchan (T: stopped, D: waits for a"
                " disk), systemctl restart supervisor"
            )
        return parse_status(said)

    def read(self, name: str) -> str:
        path = os.path.join(self.folder, name)
        if not os.path.exists(path):
            return ""
        with open(path, encoding="utf-8") as handle:
            return handle.read()

    def release(self) -> str:
        place = os.path.join(self.folder, "release")
        return os.path.basename(os.readlink(place)) if os.path.islink(place) else ""

    def served(self) -> float:
        """When Nginx was last switched to it, 0 if never."""
        mark = os.path.join(self.folder, "served")
        return os.path.getmtime(mark) if os.path.exists(mark) else 0.0

    def serves(self) -> bool:
        groups = self.groups()
        states = groups.get(self.group, {})
        return (
            self.current() == self.name
            and os.path.islink(self.site)
            and os.readlink(self.site) == os.path.join(self.folder, "nginx.conf")
            and bool(states)
            and set(states.values()) <= {"RUNNING", "STARTING"}
            and not self.strays(groups)
            and self.run("systemctl", "is-active", "nginx")[0] == 0
        )

    def strays(self, groups: dict[str, dict[str, str]]) -> list[str]:
        """Other instances of the application that supervisord runs."""
        return [g[len(self.app) + 1 :] for g in groups if g != self.group and belongs(g, self.app)]

    def stage(self) -> None:
        """Write the folder in full beside its place, then move it there: it is whole or not there."""
        params = self.module.params
        fresh = f"{self.folder}.new"
        shutil.rmtree(fresh, ignore_errors=True)
        os.makedirs(fresh)
        os.chmod(fresh, 0o755)
        for mode, texts in ((0o644, params["files"]), (0o640, params["secret_files"])):
            for name, text in texts.items():
                path = os.path.join(fresh, name)
                executable = 0o111 if text.startswith("#!") else 0
                with open(os.open(path, os.O_WRONLY | os.O_CREAT, 0o600), "w", encoding="utf-8") as out:
                    out.write(text.replace(PLACEHOLDER, self.name))
                shutil.chown(path, "root", params["group"])
                os.chmod(path, mode | executable)
        os.symlink(os.path.join(self.root, "releases", params["release"]), os.path.join(fresh, "release"))
        os.rename(fresh, self.folder)

    def start(self) -> None:
        """Start the processes and wait for health; on failure stop them again and say what they said."""
        self.run("systemctl", "start", "supervisor")
        deadline = time.monotonic() + PATIENCE
        while self.run("supervisorctl", "pid")[0] != 0 and time.monotonic() < deadline:
            time.sleep(0.2)
        if not os.path.islink(self.supervisor_conf):
            link(os.path.join(self.folder, "supervisor.conf"), self.supervisor_conf)
        for argv in (["supervisorctl", "reread"], ["supervisorctl", "update", self.group]):
            code, said = self.run(*argv)
            if code != 0:
                # With settings that it refuses, supervisord would not start at the next boot.
                self.give_up(f"could not be given to supervisord: `{' '.join(argv)}`: {said}")
        if {"STOPPED", "EXITED", "FATAL"} & set(self.groups().get(self.group, {}).values()):
            self.run("supervisorctl", "start", f"{self.group}:*")
        deadline = time.monotonic() + self.module.params["timeout"]
        answer, process = "it was not asked", "web"
        while time.monotonic() < deadline:
            answer = probe(self.socket, self.module.params["health_host"], self.module.params["health_path"])
            if not answer:
                return
            fatal = [p for p, state in self.groups().get(self.group, {}).items() if state == "FATAL"]
            if fatal:
                process = fatal[0]
                answer = f"{process} does not stay up ({answer})"
                break
            time.sleep(0.2)
        said = self.run("supervisorctl", "tail", "-3000", f"{self.group}:{process}")[1]
        self.give_up(
            f"did not become healthy at {self.module.params['health_path']}: {answer}",
            f" Its last words:\n{said[-2000:]}",
        )

    def give_up(self, why: str, more: str = "") -> None:
        """Take this instance out of supervisord again, unless it is what serves, and fail."""
        current = self.current()
        if current != self.name:
            self.remove()
        self.module.fail_json(
            msg=f"app_instance: instance {self.name} of {self.app} {why}. "
            + (
                "It is the one that should serve."
                if current == self.name
                else f"It gets no traffic; {current or 'no instance'} goes on serving."
            )
            + more
        )

    def workers(self) -> dict[int, bool]:
        master = self.run("systemctl", "show", "--property=MainPID", "--value", "nginx")[1]
        return nginx_workers(int(master)) if master.isdigit() and master != "0" else {}

    def switch(self) -> None:
        """Reload Nginx with this instance's site, and wait until no worker knows the former one."""
        before = os.readlink(self.site) if os.path.islink(self.site) else ""
        link(os.path.join(self.folder, "nginx.conf"), self.site)
        logged = os.path.getsize(NGINX_ERRORS) if os.path.exists(NGINX_ERRORS) else 0
        code, said = self.run("nginx", "-t", "-q")
        old = set(self.workers())
        if code == 0:
            code, said = self.run("systemctl", "reload-or-restart", "nginx")
        # The reload only sends a signal. A master that cannot do it (a port is taken) says so in its log and goes on
        # with its old workers and settings.
        deadline = time.monotonic() + PATIENCE
        while code == 0:
            taking = {pid for pid, takes in self.workers().items() if takes}
            if taking and not taking & old:
                break
            if time.monotonic() > deadline:
                code, said = 1, self.complaint(logged)
            time.sleep(0.05)
        if code != 0:
            if before:
                link(before, self.site)
            else:
                os.unlink(self.site)
            self.give_up(f"could not be switched to, Nginx refuses its site: {said}")
        deadline = time.monotonic() + self.module.params["drain"]
        while old & set(self.workers()) and time.monotonic() < deadline:
            time.sleep(0.1)
        with open(os.path.join(self.folder, "served"), "w", encoding="utf-8"):
            os.utime(os.path.join(self.folder, "served"))
        link(os.path.join("instances", self.name), os.path.join(self.root, "current"))

    def complaint(self, logged: int) -> str:
        """Why Nginx does not take its settings, as it logged beyond the first `logged` bytes."""
        said = []
        if os.path.exists(NGINX_ERRORS):
            with open(NGINX_ERRORS, encoding="utf-8", errors="replace") as log:
                log.seek(logged)
                said = [line.strip() for line in log if "[emerg]" in line]
        return said[0] if said else f"no new worker within {PATIENCE} s, see {NGINX_ERRORS}"

    def remove(self) -> None:
        """Stop this instance's processes and take it from supervisord; its folder stays."""
        if os.path.islink(self.supervisor_conf):
            os.unlink(self.supervisor_conf)
        self.run("supervisorctl", "reread")
        if self.group in self.groups():
            code, said = self.run("supervisorctl", "update", self.group)
            if code != 0:
                self.module.fail_json(
                    msg=f"app_instance: supervisord does not let go of {self.group}: {said}; "
                    f"stop it with `supervisorctl stop {self.group}:*`"
                )

    def others(self) -> list[Instance]:
        """Instances besides this one that served once, the last of them first."""
        everything = [i for i in self.all() if i.name != self.name and i.served()]
        return sorted(everything, key=Instance.served, reverse=True)

    def all(self) -> list[Instance]:
        folder = os.path.join(self.root, "instances")
        names = os.listdir(folder) if os.path.isdir(folder) else []
        return [Instance(self.module, name) for name in names if not name.endswith(".new")]

    def prune(self) -> None:
        going, staying = to_prune(
            self.module.params["keep"], [(i.name, i.release(), i.served()) for i in self.all()], self.name
        )
        for name in going:
            shutil.rmtree(os.path.join(self.root, "instances", name))
            for log in glob.glob(f"/var/log/{self.app}/{self.app}-{name}-*"):
                os.unlink(log)
        for left in glob.glob(os.path.join(self.root, "instances", "*.new")):
            shutil.rmtree(left)
        for release in os.listdir(os.path.join(self.root, "releases")):
            if release not in staying:
                shutil.rmtree(os.path.join(self.root, "releases", release))


def wanted_name(module: AnsibleModule) -> str:
    """The instance that the arguments mean; fails if it is to be there already and is not."""
    params = module.params
    serving = Instance(module, Instance(module, "").current())
    known = [i.name for i in serving.others()]
    if params["state"] == "previous":
        if not known:
            module.fail_json(
                msg=f"app_instance: no instance of {params['name']} served before {serving.name or 'on this host'}, "
                f"there is nothing to go back to; deploy the older source instead"
            )
        return known[0]
    if params["release"]:
        return instance_id(params["release"], {**params["files"], **params["secret_files"]})
    if not os.path.isdir(Instance(module, params["instance"]).folder):
        module.fail_json(
            msg=f"app_instance: {params['name']} has no instance {params['instance']} in {params['root']}/instances; "
            f"{serving.name or 'none'} serves, {', '.join(known) or 'none'} served before"
        )
    return params["instance"]


def differences(wanted: Instance, before: Instance) -> list[dict[str, str]]:
    """Of the files that may be shown, and of the release; ids that are in every file do not count."""
    params = wanted.module.params
    release = before.release()
    pairs = [("release", f"{release}\n" if release else "", f"{params['release']}\n")]
    for name, text in params["files"].items():
        pairs.append((name, before.read(name).replace(before.name, PLACEHOLDER) if before.name else "", text))
    return [
        {"before_header": name, "after_header": name, "before": old, "after": new}
        for name, old, new in pairs
        if old != new
    ]


def main() -> None:
    module = AnsibleModule(
        argument_spec={
            "name": {"type": "str", "required": True},
            "root": {"type": "path", "required": True},
            "state": {"type": "str", "choices": ["staged", "current", "previous"], "default": "current"},
            "release": {"type": "str"},
            "instance": {"type": "str"},
            "files": {"type": "dict", "default": {}},
            "secret_files": {"type": "dict", "default": {}, "no_log": True},
            "group": {"type": "str", "default": "root"},
            "health_path": {"type": "str", "default": "/healthz"},
            "health_host": {"type": "str", "default": "localhost"},
            "timeout": {"type": "int", "default": 60},
            "drain": {"type": "int", "default": 30},
            "keep": {"type": "int", "default": 3},
        },
        required_if=[("state", "staged", ["release"]), ("state", "current", ["release", "instance"], True)],
        mutually_exclusive=[("release", "instance")],
        supports_check_mode=True,
    )
    params = module.params
    wanted = Instance(module, wanted_name(module))
    before = Instance(module, wanted.current())
    staged = os.path.isdir(wanted.folder)
    serves = wanted.serves()
    done = staged if params["state"] == "staged" else serves
    result = {"changed": not done, "instance": wanted.name, "current": before.name}
    if not done and params["release"]:
        result["diff"] = differences(wanted, before)
    if not done and not module.check_mode:
        if not staged:
            wanted.stage()
        if params["state"] != "staged":
            wanted.start()
            wanted.switch()
            for name in wanted.strays(wanted.groups()):
                Instance(module, name).remove()
            wanted.prune()
            serves, result["current"] = True, wanted.name
    previous = [i.name for i in wanted.others() if i.name != result["current"]]
    module.exit_json(serves=serves, previous=previous, **result)


if __name__ == "__main__":
    main()

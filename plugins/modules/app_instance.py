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
  - An instance that does not become healthy is stopped again; what served before goes on serving.
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
    choices: [staged, current]
    default: current
  release:
    description: Name of a folder below C(<root>/releases). Not needed with O(instance).
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

- name: Go back to the instance before
  cloudexit.ha_stack.app_instance:
    name: shop
    root: /srv/shop
    instance: 8d1f20ab33c4
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
previous:
  description: Ids of former instances that a rollback can go to, the latest first.
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
    parse_status,
    probe,
    to_prune,
)

SUPERVISOR = "/etc/supervisor/conf.d"
NGINX = "/etc/nginx/sites-enabled"


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
        link = os.path.join(self.root, "current")
        return os.path.basename(os.readlink(link)) if os.path.islink(link) else ""

    def command(self, *argv: str, fatal: bool = True) -> str:
        code, out, err = self.module.run_command(list(argv))
        if code != 0 and fatal:
            self.module.fail_json(msg=f"app_instance: `{' '.join(argv)}` failed: {(err or out).strip()}")
        return out

    def groups(self) -> dict[str, dict[str, str]]:
        # Its exit code tells of stopped processes, which are no failure of the command.
        return (
            parse_status(self.module.run_command(["supervisorctl", "status"])[1])
            if shutil.which("supervisorctl")
            else {}
        )

    def read(self, name: str) -> str:
        path = os.path.join(self.folder, name)
        if not os.path.exists(path):
            return ""
        with open(path, encoding="utf-8") as handle:
            return handle.read()

    def serves(self) -> bool:
        states = self.groups().get(self.group, {})
        linked = os.path.islink(self.site) and os.readlink(self.site) == os.path.join(self.folder, "nginx.conf")
        return (
            self.current() == self.name and linked and bool(states) and set(states.values()) <= {"RUNNING", "STARTING"}
        )

    def stage(self) -> None:
        """Write the folder in full beside its place, then move it there: it is whole or not there."""
        params = self.module.params
        fresh = f"{self.folder}.new"
        shutil.rmtree(fresh, ignore_errors=True)
        os.makedirs(fresh, mode=0o755)
        for mode, texts in ((0o644, params["files"]), (0o640, params["secret_files"])):
            for name, text in texts.items():
                path = os.path.join(fresh, name)
                executable = 0o111 if text.startswith("#!") else 0
                with open(os.open(path, os.O_WRONLY | os.O_CREAT, mode | executable), "w", encoding="utf-8") as out:
                    out.write(text.replace(PLACEHOLDER, self.name))
                os.chmod(path, mode | executable)
                shutil.chown(path, "root", params["group"])
        os.symlink(os.path.join(self.root, "releases", params["release"]), os.path.join(fresh, "release"))
        os.rename(fresh, self.folder)

    def start(self) -> None:
        """Start the processes and wait for health; on failure stop them again and say what they said."""
        if not os.path.islink(self.supervisor_conf):
            os.symlink(os.path.join(self.folder, "supervisor.conf"), self.supervisor_conf)
        self.command("supervisorctl", "reread")
        self.command("supervisorctl", "update", self.group)
        stopped = {"STOPPED", "EXITED", "FATAL"} & set(self.groups().get(self.group, {}).values())
        if stopped:
            self.command("supervisorctl", "start", f"{self.group}:*", fatal=False)
        deadline = time.monotonic() + self.module.params["timeout"]
        answer = "it was not asked"
        while time.monotonic() < deadline:
            answer = probe(self.socket, self.module.params["health_host"], self.module.params["health_path"])
            if not answer:
                return
            if "FATAL" in self.groups().get(self.group, {}).values():
                answer = f"its processes do not stay up ({answer})"
                break
            time.sleep(0.2)
        said = self.command("supervisorctl", "tail", "-3000", f"{self.group}:web", fatal=False)
        if self.current() != self.name:
            self.remove()
        self.module.fail_json(
            msg=(
                f"app_instance: instance {self.name} of {self.app} did not become healthy at "
                f"{self.module.params['health_path']}: {answer}. It gets no traffic; "
                f"{self.current() or 'no instance'} goes on serving. Its last words:\n{said.strip()[-2000:]}"
            )
        )

    def switch(self) -> None:
        before = os.readlink(self.site) if os.path.islink(self.site) else None
        self.link(os.path.join(self.folder, "nginx.conf"), self.site)
        code, out, err = self.module.run_command(["nginx", "-t", "-q"])
        if code != 0:
            if before:
                self.link(before, self.site)
            else:
                os.unlink(self.site)
            self.module.fail_json(msg=f"app_instance: Nginx refuses the site of {self.app}: {(err or out).strip()}")
        self.command("systemctl", "reload-or-restart", "nginx")
        deadline = time.monotonic() + self.module.params["drain"]
        while (
            time.monotonic() < deadline
            and self.module.run_command(["pgrep", "-f", "nginx: worker.*shutting down"])[0] == 0
        ):
            time.sleep(0.1)
        self.link(os.path.join("instances", self.name), os.path.join(self.root, "current"))
        os.utime(self.folder)

    def link(self, target: str, path: str) -> None:
        os.symlink(target, f"{path}.new")
        os.replace(f"{path}.new", path)

    def remove(self) -> None:
        """Stop this instance's processes and take it from supervisord; its folder stays."""
        if os.path.islink(self.supervisor_conf):
            os.unlink(self.supervisor_conf)
        self.command("supervisorctl", "reread")
        self.command("supervisorctl", "update", self.group)

    def others(self) -> list[str]:
        """Former instances, the latest first."""
        folder = os.path.join(self.root, "instances")
        names = (
            [n for n in os.listdir(folder) if n != self.name and not n.endswith(".new")]
            if os.path.isdir(folder)
            else []
        )
        return sorted(names, key=lambda n: os.path.getmtime(os.path.join(folder, n)), reverse=True)

    def prune(self) -> None:
        folder = os.path.join(self.root, "instances")
        known = []
        for name in [*self.others(), self.name]:
            place = os.path.join(folder, name)
            known.append((name, os.path.basename(os.readlink(os.path.join(place, "release"))), os.path.getmtime(place)))
        going, staying = to_prune(self.module.params["keep"], known, self.name)
        for name in going:
            shutil.rmtree(os.path.join(folder, name))
            for log in glob.glob(f"/var/log/{self.app}/{self.app}-{name}-*"):
                os.unlink(log)
        for release in os.listdir(os.path.join(self.root, "releases")):
            if release not in staying:
                shutil.rmtree(os.path.join(self.root, "releases", release))


def main() -> None:
    module = AnsibleModule(
        argument_spec={
            "name": {"type": "str", "required": True},
            "root": {"type": "path", "required": True},
            "state": {"type": "str", "choices": ["staged", "current"], "default": "current"},
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
        required_one_of=[("release", "instance")],
        mutually_exclusive=[("release", "instance")],
        supports_check_mode=True,
    )
    params = module.params
    name = params["instance"] or instance_id(params["release"], {**params["files"], **params["secret_files"]})
    wanted = Instance(module, name)
    staged = os.path.isdir(wanted.folder)
    before = Instance(module, wanted.current())
    if params["instance"] and not staged:
        module.fail_json(
            msg=f"app_instance: {params['name']} has no instance {name} in {params['root']}/instances; "
            f"it has {', '.join(wanted.others()) or 'none'}"
        )
    done = staged if params["state"] == "staged" else wanted.serves()
    result = {"changed": not done, "instance": name, "current": before.name}
    if not done and params["files"]:
        shown = {key: text.replace(PLACEHOLDER, name) for key, text in params["files"].items()}
        result["diff"] = [
            {
                "before_header": key,
                "after_header": key,
                "before": before.read(key) if before.name else "",
                "after": text,
            }
            for key, text in shown.items()
            if not before.name or before.read(key) != text
        ]
    if not done and not module.check_mode:
        if not staged:
            wanted.stage()
        if params["state"] == "current":
            wanted.start()
            wanted.switch()
            for group in wanted.groups():
                if group != wanted.group and belongs(group, wanted.app):
                    Instance(module, group[len(wanted.app) + 1 :]).remove()
            wanted.prune()
            result["current"] = name
    module.exit_json(previous=[n for n in wanted.others() if n != result["current"]], **result)


if __name__ == "__main__":
    main()

# Copyright (c) the cloudexit maintainers
# GNU General Public License v3.0-or-later (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
"""Runs every job template as AWX does: by ansible-runner, in a folder laid out as AWX does, with the survey's answers.

    templates.py -i INVENTORY [-i …] [TEMPLATE …]      all, or those named; a table in .lab/reports/awx.md

What AWX does with them is done here, too: the inventory is a script without secrets, which come as extra variables of
credentials; the ssh key comes by an agent; answers are checked against the survey, defaults filled in, texts marked as
unsafe. Exit status 1: a template failed, or did something else than EXPECTED. 2: it could not be tried.
"""

from __future__ import annotations

import argparse
import json
import os
import re
import stat
import subprocess
import sys
import tempfile
import time
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import ansible_runner
import yaml

ROOT = Path(__file__).resolve().parents[2]
sys.path[:0] = [str(ROOT / "molecule"), str(ROOT / "tests")]

import awx  # noqa: E402
from lab import outcome  # noqa: E402
from lab.definitions import LabError  # noqa: E402

BIN = Path(sys.executable).parent
# What the operator answers; what is not here is left to its default.
ANSWERS: dict[str, dict[str, Any]] = {
    "Rolling restart": {"redis_sentinel_restart_all": "true"},
    "Restore of the database": {"drbd_pcs_mysql_restore_until": "latest"},
    "Drill": {"drill_confirm": "awx"},
}
# What he answers to the prompt for tags.
TAGS = {"Drill": "memcached_pool,process_killed"}
# Text that must be in the output; it says that something was done. All others must change nothing on a finished site.
EXPECTED: dict[str, str] = {
    "Rolling restart": "Restart pending servers one after another",
    "Drill": r"every promise that could be tried was kept",
    "Switch-over of Redis": r"redis_sentinel: the master moved from (redis\d) to (?!\1)redis\d",
}


@dataclass(frozen=True)
class Ran:
    """A template's run; `hosts` had tasks, `changed` counts them."""

    template: str
    status: str
    seconds: float
    hosts: int
    changed: int
    said: str

    def complaint(self) -> str:
        """What is wrong with it, or ''."""
        if self.status != "successful":
            return f"{self.status}: {self.said[-3000:]}"
        if not self.hosts:
            return ""
        expected = EXPECTED.get(self.template, "")
        if expected and not re.search(expected, self.said):
            return f"{expected!r} is not in its output: {self.said[-1500:]}"
        if bool(expected) != bool(self.changed):
            return f"changed {self.changed} tasks"
        return ""


class Unsafe(str):
    """A text that Ansible must not take for a template."""


class Dumper(yaml.SafeDumper):
    """Writes extra variables as AWX does."""


Dumper.add_representer(Unsafe, lambda dumper, value: dumper.represent_scalar("!unsafe", str(value)))


def answers(template: dict[str, Any], given: dict[str, Any]) -> dict[str, Any]:
    """The extra variables of a launch; LabError for an answer that AWX would refuse."""
    kinds = {"integer": int, "float": (int, float), "multiselect": list}
    found = {}
    asked = {q["variable"]: q for q in template["survey_spec"].get("spec", [])}
    if unknown := set(given) - set(asked):
        raise LabError(f"{template['name']}: its survey does not ask {', '.join(sorted(unknown))}")
    for name, q in asked.items():
        value = given.get(name, q.get("default"))
        if q["type"] == "multiselect" and isinstance(value, str):
            # The default is a text with a line for each; what nobody chose is no answer.
            value = value.split("\n") if value else None
        if value is None and q["required"]:
            raise LabError(f"{template['name']}: {name} is required: answer it in ANSWERS of {Path(__file__).name}")
        if value is None:
            continue
        right = isinstance(value, kinds.get(q["type"], str)) and not isinstance(value, bool)
        if not right or (q["type"] == "multiplechoice" and value not in q["choices"]):
            raise LabError(f"{template['name']}: AWX refuses {value!r} for {name}, a question of type {q['type']}")
        found[name] = Unsafe(value) if isinstance(value, str) else value
    return found


def run(command: list[str]) -> str:
    """Output of one of Ansible's commands; LabError if it fails."""
    environment = {**os.environ, "ANSIBLE_NOCOLOR": "1"}
    done = subprocess.run(command, cwd=ROOT, env=environment, capture_output=True, text=True, check=False)
    if done.returncode:
        raise LabError(f"{Path(command[0]).name} failed: {done.stdout}{done.stderr}")
    return done.stdout


def settings(inventory: dict[str, Any]) -> list[dict[str, Any]]:
    """Variables of each host and of each group."""
    groups = (entry.get("vars", {}) for name, entry in inventory.items() if name != "_meta")
    return [*inventory["_meta"]["hostvars"].values(), *groups]


def split(inventory: dict[str, Any]) -> tuple[dict[str, Any], str]:
    """An inventory without what credentials give, and the path of the ssh key."""
    kinds = awx.load()["awx_credential_types"]
    secrets = {name for kind in kinds for name in kind["inputs"]["required"]}
    key = ""
    for facts in settings(inventory):
        key = facts.pop("ansible_ssh_private_key_file", key)
        for name in secrets & set(facts):
            del facts[name]
    return inventory, key


def secrets(sources: list[str], inventory: dict[str, Any]) -> dict[str, str]:
    """What the credentials hold: the values that the inventory would give these variables."""
    kinds = awx.load()["awx_credential_types"]
    known = {name for facts in settings(inventory) for name in facts}
    names = [name for kind in kinds for name in kind["inputs"]["required"] if name in known]
    wanted = {name: f"{{{{ {name} }}}}" for name in names}
    module = ["-o", "-m", "ansible.builtin.debug", "-a", json.dumps({"msg": wanted})]
    done = run([str(BIN / "ansible"), *sources, "all[0]", *module])
    found: dict[str, str] = json.loads(done.split("=>", 1)[1])["msg"]
    return found


class Launcher:
    """One site: its inventory and credentials."""

    def __init__(self, folder: Path, sources: list[str]) -> None:
        self.folder = folder
        whole = json.loads(run([str(BIN / "ansible-inventory"), *sources, "--list", "--export"]))
        self.secrets = secrets(sources, whole)
        self.inventory, self.key = split(whole)

    def layout(self, name: str, template: dict[str, Any]) -> Path:
        """The private_data_dir of a job."""
        data = self.folder / re.sub(r"\W+", "_", name)
        for sub in ("env", "inventory"):
            (data / sub).mkdir(parents=True)
        (data / "project").symlink_to(ROOT)
        script = data / "inventory" / "hosts"
        script.write_text(f"#!{sys.executable}\nprint({json.dumps(self.inventory)!r})\n", encoding="utf-8")
        script.chmod(stat.S_IRWXU)
        given = {name: Unsafe(value) for name, value in self.secrets.items()}
        words = [f"-e @{data / 'env' / 'credentials'}"]
        if template["job_type"] == "check":
            words.append("--check")
        if template["diff_mode"]:
            words.append("--diff")
        if tags := TAGS.get(name) or template["job_tags"]:
            words.append(f"-t {tags}")
        extra = answers(template, ANSWERS.get(template["name"], {}))
        for file, content in (
            ("credentials", yaml.dump(given, Dumper=Dumper)),
            ("extravars", yaml.dump(extra, Dumper=Dumper)),
            ("cmdline", " ".join(words)),
            ("ssh_key", Path(self.key).read_text(encoding="utf-8")),
            ("envvars", json.dumps({"ANSIBLE_NOCOLOR": "1", "AWX_PRIVATE_DATA_DIR": str(data)})),
        ):
            (data / "env" / file).write_text(content, encoding="utf-8")
            (data / "env" / file).chmod(stat.S_IRUSR | stat.S_IWUSR)
        return data

    def run(self, template: dict[str, Any]) -> Ran:
        name = template["name"]
        data = self.layout(name, template)
        begin = time.monotonic()
        job = ansible_runner.run(private_data_dir=str(data), playbook=template["playbook"], quiet=True)
        stats = job.stats or {}
        said = (data / "artifacts" / job.config.ident / "stdout").read_text(encoding="utf-8")
        for secret in self.secrets.values():
            if secret in said:
                raise LabError(f"{name}: its output shows a secret")
        seconds = round(time.monotonic() - begin, 1)
        hosts = {host for kind in ("ok", "failures", "dark") for host in stats.get(kind, {})}
        return Ran(name, job.status, seconds, len(hosts), sum(stats.get("changed", {}).values()), said)


def table(done: list[Ran]) -> str:
    lines = ["| template | status | hosts | changed | seconds |", "|---|---|---|---|---|"]
    lines += [f"| {r.template} | {r.status} | {r.hosts or 'none here'} | {r.changed} | {r.seconds} |" for r in done]
    return "\n".join(lines)


def main() -> int:
    parser = argparse.ArgumentParser()
    parser.add_argument("-i", action="append", default=[], dest="inventories")
    parser.add_argument("names", nargs="*", metavar="TEMPLATE")
    given = parser.parse_args()
    templates = {found["name"]: found for found in awx.load()["awx_job_templates"]}
    if unknown := set(given.names) - set(templates):
        raise LabError(f"no template {', '.join(sorted(unknown))}; there are {', '.join(templates)}")
    done = []
    os.environ["PATH"] = f"{BIN}:{os.environ['PATH']}"
    with tempfile.TemporaryDirectory(prefix="awx_") as folder:
        launcher = Launcher(Path(folder), [word for source in given.inventories for word in ("-i", source)])
        for name in given.names or templates:
            done.append(launcher.run(templates[name]))
    outcome.save("awx", [ran.__dict__ | {"said": ""} for ran in done], table(done))
    print(table(done))
    wrong = [f"NOT SO: {ran.template}: {complaint}" for ran in done if (complaint := ran.complaint())]
    print("\n".join(wrong))
    return 1 if wrong else 0


if __name__ == "__main__":
    outcome.end(main)

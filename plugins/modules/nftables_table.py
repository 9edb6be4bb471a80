#!/usr/bin/python
# Copyright (c) the cloudexit maintainers
# GNU General Public License v3.0-or-later (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)

from __future__ import annotations

DOCUMENTATION = r"""
module: nftables_table
short_description: Load a table of nftables on trial, and keep it once somebody could still log in
version_added: 0.1.0
author: The cloudexit maintainers (@cloudexit)
description:
  - With O(state=tried), loads the table at once and arms a timer on the host that puts the former one back. With
    O(state=confirmed), over a new connection, disarms the timer and writes the file that is loaded at boot. A rule set
    that locks Ansible out is so undone by the host itself, whatever becomes of the controller.
  - What the kernel has is compared with what it would have, by loading the wanted table in a network namespace of its
    own and listing both. A rule that somebody added by hand is found, and so is one that is missing.
  - Replaces this table only. Others on the host are left alone.
attributes:
  check_mode:
    support: full
    description: Compares and loads nothing. Where nftables is not installed yet, everything is new.
  diff_mode:
    support: full
    description: The table's listings.
  idempotent:
    support: full
    description: Nothing is loaded or written where both are as wanted.
options:
  table:
    description: Name of the table, of the family C(inet).
    type: str
    required: true
  content:
    description: What C(nft -f) reads; it deletes the table and makes it again.
    type: str
    required: true
  path:
    description: File that is loaded at boot.
    type: path
    required: true
  state:
    description: Whether the table is loaded on trial, or what is on trial is kept.
    type: str
    choices: [tried, confirmed]
    required: true
  rollback_seconds:
    description: Seconds after which the former table comes back if nobody confirms.
    type: int
    default: 30
"""

EXAMPLES = r"""
- name: Load the rules on trial
  cloudexit.ha_stack.nftables_table:
    table: shop
    path: /etc/nftables.d/shop.nft
    content: "{{ lookup('ansible.builtin.template', 'shop.nft.j2') }}"
    state: tried
  register: trial

- name: Log in anew
  ansible.builtin.wait_for_connection:
    timeout: 20
  when: trial.on_trial

- name: Keep them
  cloudexit.ha_stack.nftables_table:
    table: shop
    path: /etc/nftables.d/shop.nft
    content: "{{ lookup('ansible.builtin.template', 'shop.nft.j2') }}"
    state: confirmed
"""

RETURN = r"""
on_trial:
  description: Whether the table that runs will be replaced by the former one unless it is confirmed.
  type: bool
  returned: always
"""

import re
import subprocess
import time
from pathlib import Path

from ansible.module_utils.basic import AnsibleModule
from ansible_collections.cloudexit.ha_stack.plugins.module_utils.host import write

FORMER = Path("/run/nftables_table")


class Table:
    """One table of the family inet, and the timer that puts its former state back."""

    def __init__(self, module: AnsibleModule) -> None:
        self.module = module
        self.name: str = module.params["table"]
        self.content = module.params["content"].rstrip("\n") + "\n"
        self.path = Path(module.params["path"])
        self.nft = module.get_bin_path("nft")
        self.former = FORMER / f"{self.name}.nft"
        self.unit = f"nftables_table-{self.name}-rollback"

    def run(self, *command: str, stdin: str | None = None) -> tuple[int, str, str]:
        return self.module.run_command(list(command), data=stdin)

    def live(self) -> str:
        rc, out, err = self.run(str(self.nft), "--stateless", "list", "table", "inet", self.name)
        if rc and "No such file" not in err:
            self.module.fail_json(msg=f"nftables_table: the table {self.name} cannot be read: {err.strip()}")
        return out if rc == 0 else ""

    def wanted(self) -> str:
        """The listing as it will be; fails with nft's words and the line they are about."""
        script = f"{self.nft} -f /dev/stdin && {self.nft} --stateless list table inet {self.name}"
        rc, out, err = self.run("unshare", "--net", "sh", "-c", script, stdin=self.content)
        if rc:
            self.module.fail_json(
                msg=f"nftables_table: nft refuses the new rules, the old ones stay: {self.complaint(err)}"
            )
        return out

    def complaint(self, text: str) -> str:
        lines = self.content.splitlines()
        match = re.search(r"/dev/stdin:(\d+):\S+ (.*)", text)
        if match and 0 < int(match[1]) <= len(lines):
            return f"line {match[1]} `{lines[int(match[1]) - 1].strip()}`: {match[2]}"
        return text.strip() or "without a word"

    def written(self) -> str:
        try:
            return self.path.read_text(encoding="utf-8")
        except OSError:
            return ""

    def armed(self) -> bool:
        return self.run("systemctl", "--quiet", "is-active", f"{self.unit}.timer")[0] == 0

    def disarm(self) -> None:
        self.run("systemctl", "stop", f"{self.unit}.timer")

    def arm(self, listing: str) -> None:
        """Unless an interrupted run left a trial behind: what was before that one is what was confirmed last."""
        FORMER.mkdir(mode=0o700, exist_ok=True)
        if not self.armed() or not self.former.exists():
            empty = f"table inet {self.name}\ndelete table inet {self.name}\n"
            self.former.write_text(empty + listing, encoding="utf-8")
        self.disarm()
        rc, _out, err = self.run(
            "systemd-run",
            "--quiet",
            "--collect",
            f"--unit={self.unit}",
            f"--on-active={self.module.params['rollback_seconds']}",
            "--timer-property=AccuracySec=100ms",
            str(self.nft),
            "-f",
            str(self.former),
        )
        if rc:
            self.module.fail_json(
                msg="nftables_table: nothing was loaded, because the timer that would undo it could not be set: "
                + err.strip()
            )

    def load(self) -> None:
        subprocess.run([str(self.nft), "-f", "-"], input=self.content, text=True, check=True, capture_output=True)

    def keep(self) -> None:
        self.path.parent.mkdir(mode=0o755, parents=True, exist_ok=True)
        write(self.path, self.content, 0o600)


def main() -> None:
    module = AnsibleModule(
        argument_spec={
            "table": {"type": "str", "required": True},
            "content": {"type": "str", "required": True},
            "path": {"type": "path", "required": True},
            "state": {"type": "str", "choices": ["tried", "confirmed"], "required": True},
            "rollback_seconds": {"type": "int", "default": 30},
        },
        supports_check_mode=True,
    )
    table = Table(module)
    if not table.nft:
        if not module.check_mode:
            module.fail_json(msg="nftables_table: nft is not installed: `apt-get install nftables`")
        module.exit_json(changed=True, on_trial=False, diff={"before": "", "after": table.content})
    live, wanted, written = table.live(), table.wanted(), table.written()
    # Where the kernel has it, only the file may differ.
    where, before, after = (table.name, live, wanted) if live != wanted else (str(table.path), written, table.content)
    diff = {"before": before, "after": after, "before_header": where, "after_header": where}
    if module.params["state"] == "tried":
        if live == wanted:
            if table.armed() and not module.check_mode:
                # An interrupted run loaded the same; nobody confirmed it yet.
                table.arm(live)
            module.exit_json(changed=written != table.content, on_trial=table.armed(), diff=diff)
        if not module.check_mode:
            table.arm(live)
            table.load()
        module.exit_json(changed=True, on_trial=not module.check_mode, diff=diff)
    if module.check_mode:
        module.exit_json(changed=live != wanted or written != table.content, on_trial=False, diff=diff)
    if live != wanted:
        module.fail_json(
            msg=f"nftables_table: the table {table.name} is not what was loaded on trial: it was put back after "
            f"{module.params['rollback_seconds']} s, or changed by somebody else. Nothing was written; run it again"
        )
    changed = table.armed() or written != table.content
    table.disarm()
    deadline = time.monotonic() + 5
    while table.armed() and time.monotonic() < deadline:
        time.sleep(0.05)
    # The timer may have fired between the comparison and its end.
    if table.live() != wanted:
        module.fail_json(msg=f"nftables_table: the table {table.name} was put back at this very moment. Run it again")
    if written != table.content:
        table.keep()
    module.exit_json(changed=changed, on_trial=False, diff={})


if __name__ == "__main__":
    main()

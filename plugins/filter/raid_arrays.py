# Copyright: (c) 2026, the cloudexit maintainers
# GNU General Public License v3.0 or later (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

from __future__ import annotations

from typing import Any

from ansible_collections.cloudexit.ha_stack.plugins.module_utils import md_array

DOCUMENTATION = r"""
name: raid_arrays
short_description: Completed definitions of arrays, and what is wrong with them
version_added: "0.1.0"
description:
  - Lays the arrays of C(raid10_disk_arrays) over the defaults, and says in words what is wrong with them.
positional: _input
options:
  _input:
    description: The arrays.
    type: list
    elements: dict
    required: true
author:
  - The cloudexit maintainers (@cloudexit)
"""

EXAMPLES = r"""
- name: Say what is wrong with the arrays
  ansible.builtin.debug:
    msg: "{{ (raid10_disk_arrays | cloudexit.ha_stack.raid_arrays).wrong }}"
"""

RETURN = r"""
_value:
  description: The complete C(arrays), and a list of sentences C(wrong), empty if nothing is.
  type: dict
"""

DEFAULTS: dict[str, Any] = {
    "level": "10",
    "spares": [],
    "layout": "n2",
    "chunk": md_array.CHUNK_KIB,
    "bitmap": True,
    "filesystem": "xfs",
    "mount": "",
    "mount_options": "noatime,nofail",
}
FILESYSTEMS = ("xfs", "ext4", "none")


def raid_arrays(arrays: list[dict[str, Any]]) -> dict[str, Any]:
    complete = [{**DEFAULTS, **array, "path": f"/dev/md/{array.get('name', '')}"} for array in arrays]
    wanted = []
    wrong = []
    for array in complete:
        array["level"] = str(array["level"])
        name = str(array.get("name", ""))
        wanted.append(
            md_array.Wanted(
                name=name,
                level=array["level"],
                devices=list(array.get("devices") or []),
                spares=list(array["spares"]),
                layout=str(array["layout"]),
                chunk_kib=int(array["chunk"]),
            )
        )
        if why := md_array.wrong(wanted[-1]):
            wrong.append(f"{name}: {why}")
        if array["filesystem"] not in FILESYSTEMS:
            wrong.append(f"{name}: filesystem is {array['filesystem']!r}, not one of {', '.join(FILESYSTEMS)}")
        if array["mount"] and array["filesystem"] == "none":
            wrong.append(f"{name}: it is to be mounted at {array['mount']} without a filesystem; name one, or no mount")
        if array["mount"] and not str(array["mount"]).startswith("/"):
            wrong.append(f"{name}: mount is {array['mount']!r}, not an absolute path")
    wrong += md_array.wrong_together(wanted, [array["mount"] for array in complete])
    return {"arrays": complete, "wrong": wrong}


class FilterModule:
    def filters(self) -> dict[str, Any]:
        return {"raid_arrays": raid_arrays}

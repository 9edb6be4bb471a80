#!/usr/bin/python
# Copyright (c) the cloudexit maintainers
# GNU General Public License v3.0-or-later (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)

from __future__ import annotations

DOCUMENTATION = r"""
module: nginx_cdn_purge
short_description: Remove URLs, or everything below a path, from the CDN's cache on this host
version_added: 0.3.0
author: The cloudexit maintainers (@cloudexit)
description:
  - Reads the key of every file in the cache and removes the files of the wanted paths, with any query and all parts of
    a large object. The next client makes Nginx ask the origin.
  - Nginx notices by itself that a file is gone. It need not be reloaded, and is not held up while the module looks.
  - Files without a key that the role wrote are never touched.
attributes:
  check_mode:
    support: full
    description: Says what would be removed.
  diff_mode:
    support: none
    description: RV(removed) says it.
  idempotent:
    support: full
    description: What is not in the cache cannot be removed.
options:
  cache_path:
    description: Folder of the cache.
    type: path
    default: /var/cache/nginx-cdn
  urls:
    description: URLs or paths of objects. Host and query of a URL do not matter.
    type: list
    elements: str
    default: []
  prefixes:
    description: >-
      URLs or paths; all objects whose path begins so are meant, V(/media/2026) also C(/media/2026-01/a.jpg). V(/) is
      everything.
    type: list
    elements: str
    default: []
"""

EXAMPLES = r"""
- name: Take a picture and all style sheets out of the cache
  cloudexit.ha_stack.nginx_cdn_purge:
    urls: [https://cdn.example.com/media/wrong.jpg]
    prefixes: [/static/css/]
"""

RETURN = r"""
removed:
  description: Paths that were removed, or would be, each with C(origin), C(files) and C(bytes); at most 1000.
  type: list
  elements: dict
  returned: always
files:
  description: Files that were removed.
  type: int
  returned: always
bytes:
  description: Their size.
  type: int
  returned: always
looked_at:
  description: Files in the cache.
  type: int
  returned: always
seconds:
  description: How long that took.
  type: float
  returned: always
"""

import os
import time
from pathlib import Path

from ansible.module_utils.basic import AnsibleModule
from ansible_collections.cloudexit.ha_stack.plugins.module_utils import nginx_cdn

SHOWN = 1000


def main() -> None:
    module = AnsibleModule(
        argument_spec={
            "cache_path": {"type": "path", "default": "/var/cache/nginx-cdn"},
            "urls": {"type": "list", "elements": "str", "default": []},
            "prefixes": {"type": "list", "elements": "str", "default": []},
        },
        required_one_of=[("urls", "prefixes")],
        supports_check_mode=True,
    )
    folder = module.params["cache_path"]
    try:
        paths = {nginx_cdn.url_path(url) for url in module.params["urls"]}
        prefixes = tuple(nginx_cdn.url_path(prefix) for prefix in module.params["prefixes"])
    except ValueError as err:
        module.fail_json(msg=f"nginx_cdn: nothing is removed: {err}")
    if not paths and not prefixes:
        module.fail_json(msg="nginx_cdn: nothing is removed: urls and prefixes are both empty")
    if not Path(folder).is_dir():
        module.fail_json(msg=f"nginx_cdn: there is no cache at {folder}: is nginx_cdn_cache_path right?")
    begin = time.monotonic()
    found: dict[tuple[str, str], dict[str, int]] = {}
    looked_at = 0
    for entry in nginx_cdn.entries(folder):
        looked_at += 1
        if not nginx_cdn.matches(entry, paths, prefixes):
            continue
        if not module.check_mode:
            try:
                os.unlink(entry.file)
            except FileNotFoundError:
                continue
        sums = found.setdefault((entry.path, entry.origin), {"files": 0, "bytes": 0})
        sums["files"] += 1
        sums["bytes"] += entry.size
    removed = [{"path": path, "origin": origin, **sums} for (path, origin), sums in sorted(found.items())]
    module.exit_json(
        changed=bool(found),
        removed=removed[:SHOWN],
        files=sum(each["files"] for each in found.values()),
        bytes=sum(each["bytes"] for each in found.values()),
        looked_at=looked_at,
        seconds=round(time.monotonic() - begin, 3),
    )


if __name__ == "__main__":
    main()

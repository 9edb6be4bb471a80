# Copyright (c) the cloudexit maintainers
# GNU General Public License v3.0-or-later (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
"""The memcached pool as Django's cache."""

from __future__ import annotations

from typing import Any

from django.core.cache.backends.memcached import PyMemcacheCache


class PoolCache(PyMemcacheCache):
    """Keys are spread over the pool by rendezvous hashing (pymemcache's HashClient): when a server goes, only its keys
    move. Connections are kept from one request to the next; Django's own class closes them."""

    def close(self, **kwargs: Any) -> None:
        pass

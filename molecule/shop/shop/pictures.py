# Copyright (c) the cloudexit maintainers
# GNU General Public License v3.0-or-later (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
"""Where pictures are. Seeded products have theirs among the static files, which every web node collects; a picture
that is uploaded in the dashboard goes to MEDIA_ROOT, which has to be shared storage if there is more than one node."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

from django.core.files.storage import FileSystemStorage, default_storage
from django.templatetags.static import static

PACKAGED = "shop/products/"
MISSING = "oscar/img/image_not_found.jpg"


class MediaStorage(FileSystemStorage):
    """Files by name; names under shop/products/ are static files."""

    def url(self, name: str | None) -> str:
        if name and name.startswith(PACKAGED):
            return static(name)
        return super().url(name)


@dataclass
class Picture:
    url: str


class Thumbnailer:
    """Oscar's thumbnailer that makes none: browsers scale, and no node writes files that the others lack."""

    def generate_thumbnail(self, source: Any, **options: Any) -> Picture:
        name = str(getattr(source, "name", source) or "")
        if not name or name == "image_not_found.jpg":
            return Picture(static(MISSING))
        return Picture(default_storage.url(name))

    def delete_thumbnails(self, source: Any) -> None:
        pass

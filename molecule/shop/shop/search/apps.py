# Copyright (c) the cloudexit maintainers
# GNU General Public License v3.0-or-later (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
from oscar.apps.search import apps


class SearchConfig(apps.SearchConfig):
    name = "shop.search"

# Copyright (c) the cloudexit maintainers
# GNU General Public License v3.0-or-later (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
"""The database backend that settings name as ENGINE "shop.mysql"."""

import pymysql

# Django looks at the version of mysqlclient, whose interface PyMySQL takes on.
pymysql.version_info = (2, 2, 7, "final", 0)
pymysql.install_as_MySQLdb()

from django.db.backends.mysql.base import DatabaseWrapper as MySQLWrapper  # noqa: E402


class DatabaseWrapper(MySQLWrapper):
    """Counts the commits that it began, so that a request can tell whether repeating it is safe."""

    commits = 0

    def _commit(self) -> None:
        self.commits += 1
        super()._commit()

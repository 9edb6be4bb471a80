# Copyright (c) the cloudexit maintainers
# GNU General Public License v3.0-or-later (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
"""Settings of the unit tests: no service, plain HTTP, tables without the history of their migrations."""

import os

os.environ.update(SECRET_KEY="test", COOKIES_SECURE="0", ORDER_API_TOKEN="token", SQLITE_PATH=":memory:")

from shop import settings

globals().update({name: getattr(settings, name) for name in dir(settings) if name.isupper()})

settings.DATABASES["default"]["TEST"] = {"MIGRATE": False}
PASSWORD_HASHERS = ["django.contrib.auth.hashers.MD5PasswordHasher"]
RETRY_SECONDS = 1.0
LOGGING = {"version": 1, "root": {"level": "CRITICAL"}, "loggers": {"django": {"level": "CRITICAL"}}}

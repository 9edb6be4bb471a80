# Copyright (c) the cloudexit maintainers
# GNU General Public License v3.0-or-later (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
"""Settings of the unit tests: no service, plain HTTP."""

import os

os.environ.update(SECRET_KEY="test", COOKIES_SECURE="0", ORDER_API_TOKEN="token")

from shop.settings import *  # noqa: F403
from shop.settings import DATABASES

DATABASES["default"]["NAME"] = ":memory:"
DATABASES["default"].pop("TEST", None)
PASSWORD_HASHERS = ["django.contrib.auth.hashers.MD5PasswordHasher"]
RETRY_SECONDS = 1.0

# Copyright (c) the cloudexit maintainers
# GNU General Public License v3.0-or-later (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
"""What Gunicorn serves: shop.wsgi:application."""

import os

from django.core.wsgi import get_wsgi_application

os.environ.setdefault("DJANGO_SETTINGS_MODULE", "shop.settings")
# Requests give up on a silent database quickly, and it on them; management commands (migrations) may take their time.
os.environ.setdefault("DATABASE_READ_TIMEOUT", "4")
os.environ.setdefault("DATABASE_LOCK_WAIT_TIMEOUT", "2")
os.environ.setdefault("DATABASE_IDLE_TRANSACTION_TIMEOUT", "3")

application = get_wsgi_application()

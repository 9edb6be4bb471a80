# Copyright (c) the cloudexit maintainers
# GNU General Public License v3.0-or-later (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
"""Settings, from the environment only (README.md lists the variables). Without any: SQLite and process memory.

A service that is named in the environment is used; nothing else decides between production and a test.
"""

from __future__ import annotations

from pathlib import Path

import oscar.defaults

from shop import environment

# Oscar has settings for everything and no defaults outside of this module; those below change some.
globals().update({name: getattr(oscar.defaults, name) for name in dir(oscar.defaults) if name.startswith("OSCAR_")})

PACKAGE = Path(__file__).resolve().parent
VAR = Path(environment.text("VAR_DIR", str(PACKAGE.parent / ".var")))

DEBUG = environment.boolean("DEBUG", False)
SECRET_KEY = environment.required("SECRET_KEY")
ALLOWED_HOSTS = environment.words("ALLOWED_HOSTS") or ["localhost", "127.0.0.1"]
CSRF_TRUSTED_ORIGINS = environment.words("CSRF_TRUSTED_ORIGINS")
# Nginx and the balancer in front of it set this header and remove a client's own.
SECURE_PROXY_SSL_HEADER = ("HTTP_X_FORWARDED_PROTO", "https")
SESSION_COOKIE_SECURE = CSRF_COOKIE_SECURE = OSCAR_BASKET_COOKIE_SECURE = environment.boolean("COOKIES_SECURE", True)
SESSION_COOKIE_AGE = 7 * 24 * 3600

ROOT_URLCONF = "shop.urls"
WSGI_APPLICATION = "shop.wsgi.application"
SITE_ID = 1
DEFAULT_AUTO_FIELD = "django.db.models.AutoField"
USE_TZ = True
TIME_ZONE = "UTC"
LANGUAGE_CODE = "en-gb"
LANGUAGES = [("en-gb", "English")]

INSTALLED_APPS = [
    "shop.apps.ShopConfig",
    "django.contrib.admin",
    "django.contrib.auth",
    "django.contrib.contenttypes",
    "django.contrib.sessions",
    "django.contrib.messages",
    "django.contrib.staticfiles",
    "django.contrib.sites",
    "django.contrib.flatpages",
    "oscar.config.Shop",
    "oscar.apps.analytics.apps.AnalyticsConfig",
    "shop.checkout.apps.CheckoutConfig",
    "oscar.apps.address.apps.AddressConfig",
    "oscar.apps.shipping.apps.ShippingConfig",
    "oscar.apps.catalogue.apps.CatalogueConfig",
    "oscar.apps.catalogue.reviews.apps.CatalogueReviewsConfig",
    "oscar.apps.communication.apps.CommunicationConfig",
    "oscar.apps.partner.apps.PartnerConfig",
    "oscar.apps.basket.apps.BasketConfig",
    "oscar.apps.payment.apps.PaymentConfig",
    "oscar.apps.offer.apps.OfferConfig",
    "oscar.apps.order.apps.OrderConfig",
    "oscar.apps.customer.apps.CustomerConfig",
    "shop.search.apps.SearchConfig",
    "oscar.apps.voucher.apps.VoucherConfig",
    "oscar.apps.wishlists.apps.WishlistsConfig",
    "oscar.apps.dashboard.apps.DashboardConfig",
    "oscar.apps.dashboard.reports.apps.ReportsDashboardConfig",
    "oscar.apps.dashboard.users.apps.UsersDashboardConfig",
    "oscar.apps.dashboard.orders.apps.OrdersDashboardConfig",
    "oscar.apps.dashboard.catalogue.apps.CatalogueDashboardConfig",
    "oscar.apps.dashboard.offers.apps.OffersDashboardConfig",
    "oscar.apps.dashboard.partners.apps.PartnersDashboardConfig",
    "oscar.apps.dashboard.pages.apps.PagesDashboardConfig",
    "oscar.apps.dashboard.ranges.apps.RangesDashboardConfig",
    "oscar.apps.dashboard.reviews.apps.ReviewsDashboardConfig",
    "oscar.apps.dashboard.vouchers.apps.VouchersDashboardConfig",
    "oscar.apps.dashboard.communications.apps.CommunicationsDashboardConfig",
    "oscar.apps.dashboard.shipping.apps.ShippingDashboardConfig",
    "widget_tweaks",
    "haystack",
    "treebeard",
    "django_tables2",
    "phonenumber_field",
]

MIDDLEWARE = [
    "shop.health.HealthMiddleware",  # answers probes before hosts, TLS and sessions matter
    "shop.resilience.RetryMiddleware",  # outside of all that may talk to a backend
    "django.middleware.security.SecurityMiddleware",
    "django.contrib.sessions.middleware.SessionMiddleware",
    "django.middleware.common.CommonMiddleware",
    "django.middleware.csrf.CsrfViewMiddleware",
    "django.contrib.auth.middleware.AuthenticationMiddleware",
    "django.contrib.messages.middleware.MessageMiddleware",
    "django.middleware.clickjacking.XFrameOptionsMiddleware",
    "shop.opinions.ViewsMiddleware",
    "shop.pagecache.PageCacheMiddleware",  # inside of sessions and CSRF, so that it sees who asks
    "django.contrib.flatpages.middleware.FlatpageFallbackMiddleware",
    "oscar.apps.basket.middleware.BasketMiddleware",
]

TEMPLATES = [
    {
        "BACKEND": "django.template.backends.django.DjangoTemplates",
        "APP_DIRS": True,
        "OPTIONS": {
            "context_processors": [
                "django.template.context_processors.request",
                "django.contrib.auth.context_processors.auth",
                "django.template.context_processors.i18n",
                "django.template.context_processors.static",
                "django.contrib.messages.context_processors.messages",
                "oscar.apps.search.context_processors.search_form",
                "oscar.apps.checkout.context_processors.checkout",
                "oscar.apps.communication.notifications.context_processors.notifications",
                "oscar.core.context_processors.metadata",
            ]
        },
    }
]

# --- database: one request, one transaction, so that a lost connection means that nothing happened
if environment.text("DATABASE_HOST"):
    DATABASES = {
        "default": {
            "ENGINE": "shop.mysql",
            "HOST": environment.text("DATABASE_HOST"),
            "PORT": environment.integer("DATABASE_PORT", 3306),
            "NAME": environment.text("DATABASE_NAME", "shop"),
            "USER": environment.required("DATABASE_USER"),
            "PASSWORD": environment.required("DATABASE_PASSWORD"),
            "ATOMIC_REQUESTS": True,
            "CONN_MAX_AGE": environment.integer("DATABASE_CONNECTION_AGE", 300),
            "CONN_HEALTH_CHECKS": True,
            "OPTIONS": {
                "charset": "utf8mb4",
                "isolation_level": "read committed",
                # A peer without power sends no reset: these end the wait. shop.wsgi shortens the reading one.
                "connect_timeout": environment.integer("DATABASE_CONNECT_TIMEOUT", 2),
                "read_timeout": environment.integer("DATABASE_READ_TIMEOUT", 300),
                "write_timeout": environment.integer("DATABASE_WRITE_TIMEOUT", 4),
                # A node that hangs in the middle of an order would lock its records for all, and then the one of its
                # requests that waited for the first, and so on: waiting ends first. Only MariaDB reads the comment.
                "init_command": "SET NAMES utf8mb4, SESSION innodb_lock_wait_timeout = "
                f"{environment.integer('DATABASE_LOCK_WAIT_TIMEOUT', 50)} /*M! , SESSION idle_transaction_timeout = "
                f"{environment.integer('DATABASE_IDLE_TRANSACTION_TIMEOUT', 0)} */",
            },
        }
    }
else:
    DATABASES = {
        "default": {
            "ENGINE": "django.db.backends.sqlite3",
            "NAME": environment.text("SQLITE_PATH", str(VAR / "shop.sqlite3")),
            "ATOMIC_REQUESTS": True,
            "OPTIONS": {"timeout": 10, "transaction_mode": "IMMEDIATE"},
        }
    }
# How long one request may go on repeating what a lost backend made it lose, before it answers 503.
RETRY_SECONDS = environment.number("RETRY_SECONDS", 4.0)

# --- sessions
REDIS_SENTINELS = environment.servers("REDIS_SENTINELS")
REDIS_MASTER_NAME = environment.text("REDIS_MASTER_NAME", "main")
REDIS_USERNAME = environment.text("REDIS_USERNAME") or None
REDIS_PASSWORD = environment.text("REDIS_PASSWORD") or None
REDIS_TIMEOUT = environment.number("REDIS_TIMEOUT", 0.5)
SENTINEL_USERNAME = environment.text("SENTINEL_USERNAME") or None
SENTINEL_PASSWORD = environment.text("SENTINEL_PASSWORD") or None
SESSION_ENGINE = "shop.sessions" if REDIS_SENTINELS else "django.contrib.sessions.backends.db"
SESSION_SERIALIZER = "django.contrib.sessions.serializers.JSONSerializer"

# --- page cache: rendezvous hashing, a dead server is a miss and costs its timeout once in dead_timeout seconds
MEMCACHED_SERVERS = environment.words("MEMCACHED_SERVERS")
MEMCACHED_OPTIONS = {
    "ignore_exc": True,
    "connect_timeout": 0.1,
    "timeout": 0.2,
    "no_delay": True,
    "retry_attempts": 0,
    "dead_timeout": 10,
}
if MEMCACHED_SERVERS:
    CACHES = {
        "default": {
            "BACKEND": "shop.memcached.PoolCache",
            "LOCATION": MEMCACHED_SERVERS,
            "KEY_PREFIX": "shop",
            "OPTIONS": MEMCACHED_OPTIONS,
        }
    }
else:
    CACHES = {"default": {"BACKEND": "django.core.cache.backends.locmem.LocMemCache"}}
# A page is fresh for so long; when the database is away it may be shown for so long.
PAGE_CACHE_SECONDS = environment.integer("PAGE_CACHE_SECONDS", 30)
PAGE_CACHE_STALE_SECONDS = environment.integer("PAGE_CACHE_STALE_SECONDS", 3600)

# --- the queue to the warehouse; without brokers an order is shipped at once
RABBITMQ_SERVERS = environment.servers("RABBITMQ_SERVERS")
RABBITMQ_VHOST = environment.text("RABBITMQ_VHOST", "shop")
RABBITMQ_USERNAME = environment.text("RABBITMQ_USERNAME", "shop")
RABBITMQ_PASSWORD = environment.required("RABBITMQ_PASSWORD") if RABBITMQ_SERVERS else ""

# --- opinions; without a set there is no place for them
MONGO_SERVERS = environment.servers("MONGO_SERVERS")
MONGO_REPLICA_SET = environment.text("MONGO_REPLICA_SET", "main")
MONGO_DATABASE = environment.text("MONGO_DATABASE", "shop")
MONGO_USERNAME = environment.text("MONGO_USERNAME", "shop")
MONGO_PASSWORD = environment.required("MONGO_PASSWORD") if MONGO_SERVERS else ""
MONGO_TLS_CA = environment.text("MONGO_TLS_CA")
MONGO_TIMEOUT_MS = environment.integer("MONGO_TIMEOUT_MS", 500)

# --- files: pictures of the seeded products are static files, present on every web node. Where a CDN serves them a name
# has a hash of its content, so that an old page and a new one each get their own, and both may be kept for ever.
STATIC_URL = environment.text("STATIC_URL", "/static/")
STATIC_ROOT = environment.text("STATIC_ROOT", str(VAR / "static"))
MEDIA_URL = environment.text("MEDIA_URL", "/media/")
MEDIA_ROOT = environment.text("MEDIA_ROOT", str(VAR / "media"))
STORAGES = {
    "default": {"BACKEND": "shop.pictures.MediaStorage"},
    # From the nodes themselves, names without hashes: during a rolling release a page of the new node may ask the old
    # one for its style sheet.
    "staticfiles": {
        "BACKEND": "django.contrib.staticfiles.storage."
        + ("StaticFilesStorage" if STATIC_URL.startswith("/") else "ManifestStaticFilesStorage")
    },
}

# --- the shop
AUTHENTICATION_BACKENDS = ["oscar.apps.customer.auth_backends.EmailBackend"]
LOGIN_REDIRECT_URL = "/"
APPEND_SLASH = True
HAYSTACK_CONNECTIONS = {"default": {"ENGINE": "haystack.backends.simple_backend.SimpleEngine"}}
EMAIL_BACKEND = environment.text("EMAIL_BACKEND", "django.core.mail.backends.dummy.EmailBackend")
OSCAR_SHOP_NAME = environment.text("SHOP_NAME", "Cloud Exit Supplies")
OSCAR_SHOP_TAGLINE = "furniture for people who own their servers"
OSCAR_DEFAULT_CURRENCY = "EUR"
OSCAR_ALLOW_ANON_CHECKOUT = True
OSCAR_THUMBNAILER = "shop.pictures.Thumbnailer"
OSCAR_SEND_REGISTRATION_EMAIL = False
OSCAR_DELETE_IMAGE_FILES = False
OSCAR_HIDDEN_FEATURES = ["reviews", "wishlists"]
OSCAR_REQUIRED_ADDRESS_FIELDS = ("first_name", "last_name", "line1", "line4", "postcode", "country")
OSCAR_INITIAL_ORDER_STATUS = OSCAR_INITIAL_LINE_STATUS = "Pending"
OSCAR_ORDER_STATUS_PIPELINE = {
    "Pending": ("Being processed", "Cancelled"),
    "Being processed": ("Shipped", "Cancelled"),
    "Shipped": (),
    "Cancelled": (),
}
OSCAR_LINE_STATUS_PIPELINE = OSCAR_ORDER_STATUS_PIPELINE
OSCAR_ORDER_STATUS_CASCADE = {status: status for status in OSCAR_ORDER_STATUS_PIPELINE}

# The drill's client may place orders with this token; without it POST /api/orders does not exist.
ORDER_API_TOKEN = environment.text("ORDER_API_TOKEN")

LOGGING = {
    "version": 1,
    "disable_existing_loggers": False,
    "filters": {"outages": {"()": "shop.resilience.OutageFilter"}},
    "formatters": {"line": {"format": "%(levelname)s %(name)s: %(message)s"}},
    "handlers": {
        "stderr": {"class": "logging.StreamHandler", "formatter": "line", "filters": ["outages"]},
    },
    "root": {"handlers": ["stderr"], "level": "WARNING"},
    "loggers": {"django": {"handlers": ["stderr"], "level": "WARNING", "propagate": False}},
}

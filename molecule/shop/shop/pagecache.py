# Copyright (c) the cloudexit maintainers
# GNU General Public License v3.0-or-later (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
"""Whole catalogue pages for visitors about whom nothing is known yet.

Shared is only what was made for a request without a session, a basket or a message, and what sets no cookie. The CSRF
token, the one thing on such a page that belongs to its visitor, is cut out before storing and put in when serving.
An expired page is kept for the hour when the database is away: better than none.
"""

from __future__ import annotations

import hashlib
import re
import time
from collections.abc import Callable

from django.conf import settings
from django.core.cache import cache
from django.http import HttpRequest, HttpResponse
from django.middleware.csrf import get_token

PATHS = ("/catalogue/", "/search/", "/offers/")
TOKEN = re.compile(rb'(name="csrfmiddlewaretoken" value=")[^"]*(")')


class PageCacheMiddleware:
    def __init__(self, get_response: Callable[[HttpRequest], HttpResponse]) -> None:
        self.get_response = get_response

    def __call__(self, request: HttpRequest) -> HttpResponse:
        if not settings.PAGE_CACHE_SECONDS or not anonymous(request):
            return self.get_response(request)
        key = page_key(request)
        stored = cache.get(key)
        now = time.time()
        if stored and stored[0] > now:
            return self.serve(request, stored, "hit")
        response = self.get_response(request)
        if stored and response.status_code == 503 and hasattr(request, "lost_backend"):
            del request.lost_backend
            return self.serve(request, stored, "stale")
        if shareable(request, response):
            body = TOKEN.sub(rb"\1\2", response.content)
            stored = (now + settings.PAGE_CACHE_SECONDS, response["Content-Type"], body)
            cache.set(key, stored, settings.PAGE_CACHE_SECONDS + settings.PAGE_CACHE_STALE_SECONDS)
            response["X-Cache"] = "miss"
        return response

    @staticmethod
    def serve(request: HttpRequest, stored: tuple[float, str, bytes], how: str) -> HttpResponse:
        _until, content_type, body = stored
        if TOKEN.search(body):
            token = get_token(request).encode()
            body = TOKEN.sub(rb"\g<1>" + token + rb"\2", body)
        response = HttpResponse(body, content_type=content_type)
        response["X-Cache"] = how
        return response


def anonymous(request: HttpRequest) -> bool:
    """Asked by somebody who has neither a session nor a basket."""
    personal = {settings.SESSION_COOKIE_NAME, settings.OSCAR_BASKET_COOKIE_OPEN, "messages"}
    return request.method == "GET" and request.path.startswith(PATHS) and not personal & set(request.COOKIES)


def shareable(request: HttpRequest, response: HttpResponse) -> bool:
    return (
        response.status_code == 200
        and not response.streaming
        and not response.cookies
        and not request.session.modified
        and response.get("Content-Type", "").startswith("text/html")
        and "no-store" not in response.get("Cache-Control", "")
    )


def page_key(request: HttpRequest) -> str:
    place = f"{request.scheme}://{request.get_host()}{request.get_full_path()}"
    return "page:" + hashlib.sha256(place.encode()).hexdigest()

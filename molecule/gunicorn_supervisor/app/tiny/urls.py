# Copyright (c) the cloudexit maintainers
# GNU General Public License v3.0-or-later (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
"""/healthz, / which greets slowly enough for a switch to happen meanwhile, /told which says what proxies said."""

from __future__ import annotations

import os
import time

from django.contrib.auth.models import User
from django.http import HttpRequest, HttpResponse, JsonResponse
from django.urls import path


def healthz(_request: HttpRequest) -> HttpResponse:
    if os.environ.get("BROKEN"):
        return HttpResponse("broken on purpose", status=500)
    return HttpResponse(f"users={User.objects.count()}")


def greet(_request: HttpRequest) -> HttpResponse:
    time.sleep(0.05)
    return HttpResponse(os.environ["GREETING"])


def told(request: HttpRequest) -> JsonResponse:
    return JsonResponse({name: request.headers.get(f"X-{name}") for name in ("Forwarded-For", "Forwarded-Proto")})


urlpatterns = [path("healthz", healthz), path("told", told), path("", greet)]

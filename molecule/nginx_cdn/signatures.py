# Copyright (c) the cloudexit maintainers
# GNU General Public License v3.0-or-later (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
"""On the origin: computes each signature in its log again with botocore: signatures.py ACCESS_KEY REGION.

The secret key is S3_SECRET in the environment. An S3 server may be lenient. Amazon's own client says whether
what Nginx sent is what a client has to send.
"""

from __future__ import annotations

import json
import os
import sys
from unittest import mock

import botocore.auth
from botocore.awsrequest import AWSRequest
from botocore.credentials import Credentials

LOG = "/var/log/nginx/origin.log"


def expected(entry: dict[str, str], credentials: Credentials, region: str) -> str:
    request = AWSRequest(method="GET", url=f"https://{entry['host']}{entry['uri']}", headers={"Host": entry["host"]})
    request.context["payload_signing_enabled"] = False
    signer = botocore.auth.S3SigV4Auth(credentials, "s3", region)
    request.context["timestamp"] = entry["date"]
    request.headers["X-Amz-Date"] = entry["date"]
    request.headers["X-Amz-Content-SHA256"] = "UNSIGNED-PAYLOAD"
    canonical = signer.canonical_request(request)
    text = signer.string_to_sign(request, canonical)
    with mock.patch.object(signer, "payload", return_value="UNSIGNED-PAYLOAD"):
        return signer.signature(text, request)


def main() -> int:
    access, region = sys.argv[1:3]
    credentials = Credentials(access, os.environ["S3_SECRET"])
    checked, wrong = set(), []
    with open(LOG, encoding="utf-8") as log:
        for line in log:
            entry = json.loads(line)
            if not entry["authorization"]:
                continue
            sent = entry["authorization"].rpartition("Signature=")[2]
            checked.add(entry["uri"])
            if sent != expected(entry, credentials, region):
                wrong.append(entry["uri"])
    print(json.dumps({"objects": len(checked), "odd": sum("%" in uri for uri in checked), "wrong": sorted(set(wrong))}))
    return 1 if wrong or not checked else 0


if __name__ == "__main__":
    sys.exit(main())

"""A receiver in Python: says of each request on its input which secrets and public keys it verifies under.

`v1` is checked by README.md's own lines, `v1a` by the cryptography package. A body that is not JSON is checked without
parsing it.
"""

import base64
import json
import sys
import time

from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PublicKey
from standardwebhooks.webhooks import Webhook

work = json.load(sys.stdin)


def by_readme(secret, body, headers):
    names = {"secret": secret, "body": body, "headers": headers}
    exec(compile(work["readme"]["v1"], "README.md", "exec"), names)
    assert names["event"] == json.loads(body), "it gives another event"


def by_library(secret, body, headers):
    Webhook(secret).verify(body, headers, json_parse=False)


def by_cryptography(public_key, body, headers):
    assert public_key.startswith("whpk_"), "not a public key"
    key = Ed25519PublicKey.from_public_bytes(base64.b64decode(public_key[5:], validate=True))
    assert abs(time.time() - int(headers["webhook-timestamp"])) < 300, "too old"
    content = ".".join([headers["webhook-id"], headers["webhook-timestamp"], ""]).encode() + body
    failure = ValueError("no v1a signature")
    for item in headers["webhook-signature"].split(" "):
        version, signature = item.split(",")
        if version == "v1a":
            try:
                return key.verify(base64.b64decode(signature, validate=True), content)
            except Exception as error:
                failure = error
    raise failure


def verdict(verify, secret, request):
    try:
        verify(secret, base64.b64decode(request["body"]), request["headers"])
    except Exception as error:
        return f"{type(error).__name__}: {error}"
    return None


json.dump(
    [
        {
            "v1": [verdict(by_readme if r["json"] else by_library, secret, r) for secret in r["secrets"]],
            "v1a": [verdict(by_cryptography, key, r) for key in r["public_keys"]],
        }
        for r in work["requests"]
    ],
    sys.stdout,
)

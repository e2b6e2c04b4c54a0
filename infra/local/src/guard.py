"""Keeps web pages away from the emulator.

The emulator asks for no credentials and runs whatever code it is given, as the developer. A page in the developer's browser
can send requests to 127.0.0.1, so without this guard any page could run code on this machine.

A browser tells three things about a request that no page can change. `Host` is the name in the URL: it unmasks a foreign
name that was pointed at 127.0.0.1. `Origin` is there when a script or a form sends something. `Sec-Fetch-Site` is there for
everything else, an image or a link for example; it is `none` for what the user typed, and for a link in another program. AWS
SDKs and the functions send neither `Origin` nor `Sec-Fetch-Site`.

    request for          allowed
    a Function URL       `Host` is this machine, or `<id>.lambda-url.<region>.localhost`; the function decides the rest,
                         as in AWS, because the console calls another Function URL and links from elsewhere open it
    anything else        `Host` is this machine, no `Origin`, no `Sec-Fetch-Site`, or `none` with a GET that has no query,
                         since some AWS APIs act on the query of a GET; answers have no CORS headers

`evil.localhost` is not "this machine": such names lead here too, and a page that has one is as foreign as any other.

The emulator finds Function URLs by host name or by path, and it has routes of its own that win over the host name
(`/_ministack/reset`). So that it cannot decide otherwise than the guard, it only ever sees the form by path.
"""

import json
import re
from http.server import BaseHTTPRequestHandler

PORT = r"(?::[0-9]{1,5})?"
THIS_MACHINE = re.compile(r"(?:127\.0\.0\.1|localhost|\[::1\])" + PORT)
FUNCTION_HOST = re.compile(
    r"([a-z0-9]{32}|[0-9a-f]{8}(?:-[0-9a-f]{4}){3}-[0-9a-f]{12})\.lambda-url\.[a-z0-9-]+\.localhost" + PORT
)
FUNCTION_PATH = "/_aws/lambda-url/"
RULES = (
    "The local stack answers programs on this machine, not web pages. Call it at http://127.0.0.1 or http://localhost"
    " (with its port), without the headers Origin and Sec-Fetch-Site. A browser may open Function URLs only."
)


def guarded(app):
    """The ASGI application `app` behind the guard."""

    async def guard(scope, receive, send):
        if scope["type"] == "lifespan":
            return await app(scope, receive, send)
        refusal, scope, is_function = judge(scope)
        if refusal:
            return await refuse(scope["type"], refusal, send)
        return await app(scope, receive, send if is_function else without_cors(send))

    return guard


def judge(scope):
    """Why the request is refused, if it is; the scope to pass on; whether the request is for a Function URL."""
    if scope["type"] != "http":
        return "a WebSocket", scope, False
    path, raw_path = scope["path"], scope.get("raw_path") or b""
    if not (path.startswith("/") and raw_path.startswith(b"/")):
        return "a request target that is not a path", scope, False
    hosts = values(scope, b"host")
    host = hosts[0].lower() if len(hosts) == 1 else ""
    function = FUNCTION_HOST.fullmatch(host)
    if function:
        prefix = FUNCTION_PATH + function[1]
        headers = [(name, value) for name, value in scope["headers"] if name.lower() != b"host"]
        headers.append((b"host", b"127.0.0.1"))
        by_path = {"path": prefix + path, "raw_path": prefix.encode() + raw_path, "headers": headers}
        return None, {**scope, **by_path}, True
    if not THIS_MACHINE.fullmatch(host):
        return f"the Host {', '.join(hosts)[:200]!r}", scope, False
    if path.startswith(FUNCTION_PATH) and path[len(FUNCTION_PATH) :].split("/")[0]:
        return None, scope, True
    sign = sent_by_page(values(scope, b"origin"), values(scope, b"sec-fetch-site"))
    if not sign and values(scope, b"sec-fetch-site") and (scope.get("method") != "GET" or scope.get("query_string")):
        sign = "the Sec-Fetch-Site 'none' with more than a plain GET"
    return sign, scope, False


def sent_by_page(origins, sites):
    """The sign that a page sent the request, or `None`."""
    if origins:
        return f"the Origin {origins[0][:200]!r}"
    foreign = [site for site in sites if site != "none"]
    return f"the Sec-Fetch-Site {foreign[0][:200]!r}" if foreign else None


def values(scope, wanted):
    """The values of all headers of a name."""
    return [value.decode("latin-1").strip() for name, value in scope["headers"] if name.lower() == wanted]


def without_cors(send):
    """Sends on, without the headers that let a page read the answer."""

    async def send_without_cors(message):
        if message["type"] == "http.response.start":
            headers = [pair for pair in message.get("headers", []) if not pair[0].lower().startswith(b"access-control-")]
            message = {**message, "headers": headers}
        await send(message)

    return send_without_cors


async def refuse(kind, refusal, send):
    """Answers 403, in the shape from which AWS SDKs and command lines show the message."""
    body = json.dumps({"__type": "AccessDeniedException", "message": f"Refused: {refusal}. {RULES}"}).encode() + b"\n"
    headers = [
        (b"content-type", b"application/json"),
        (b"content-length", str(len(body)).encode()),
        (b"x-amzn-errortype", b"AccessDeniedException"),
        (b"x-content-type-options", b"nosniff"),
    ]
    prefix = "websocket.http" if kind == "websocket" else "http"
    await send({"type": f"{prefix}.response.start", "status": 403, "headers": headers})
    await send({"type": f"{prefix}.response.body", "body": body})


def guard_runtime_api():
    """Keeps pages away from the Lambda Runtime API too: each function has one, on a port of its own.

    A page could take events from it, which carry API keys, and answer in the function's place.
    """
    parse = BaseHTTPRequestHandler.parse_request

    def parse_request(handler):
        if not parse(handler):
            return False
        hosts = handler.headers.get_all("Host", [])
        refusal = sent_by_page(handler.headers.get_all("Origin", []), handler.headers.get_all("Sec-Fetch-Site", []))
        if refusal is None and len(hosts) == 1 and THIS_MACHINE.fullmatch(hosts[0].strip().lower()):
            return True
        handler.close_connection = True
        handler.send_error(403, "Forbidden", RULES)
        return False

    BaseHTTPRequestHandler.parse_request = parse_request

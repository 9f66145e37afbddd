"""A small OpenID Connect provider on this machine, with keys of its own."""

import base64
import hashlib
import json
import threading
import time
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any
from urllib.parse import parse_qs, urlencode, urlsplit

import jwt
from jwt.algorithms import RSAAlgorithm
from tests.api.auth.scene import rsa_key

CLIENT, CLIENT_SECRET = "tasker-ui", "the secret of the client"


class Provider:
    """What the provider answers; tests change it.

    Args:
        issuer: Its address.
    """

    def __init__(self, issuer: str) -> None:
        self.issuer = issuer
        self.claims: dict[str, Any] = {
            "sub": "ann",
            "roles": ["operator"],
            "namespaces": "payments",
        }
        """Of the person who logs in. Those that are None are left out of the token."""

        self.signed: dict[str, Any] = {"algorithm": "RS256", "key": rsa_key(7)}
        self.codes: dict[str, dict[str, str]] = {}  #: what the login of each code asked for

    def authorize(self, query: Mapping[str, str]) -> str:
        """Log in, and return the address to which the browser is sent back."""
        code = f"code-{len(self.codes)}"
        self.codes[code] = dict(query)
        return f"{query['redirect_uri']}?{urlencode({'code': code, 'state': query['state']})}"

    def exchange(self, form: Mapping[str, str], authorization: str | None) -> dict[str, Any] | None:
        """Return the tokens for a code, which is valid once; None: the request is refused."""
        asked = self.codes.pop(form["code"], None)
        secret = base64.b64encode(f"{CLIENT}:{CLIENT_SECRET}".encode()).decode()
        digest = hashlib.sha256(form["code_verifier"].encode()).digest()
        if (
            asked is None
            or authorization != f"Basic {secret}"
            or asked["code_challenge"] != base64.urlsafe_b64encode(digest).rstrip(b"=").decode()
            or asked["redirect_uri"] != form["redirect_uri"]
        ):
            return None
        now = int(time.time())
        claims = {
            "iss": self.issuer,
            "aud": CLIENT,
            "iat": now,
            "exp": now + 300,
            "nonce": asked["nonce"],
            **self.claims,
        }
        given = {name: value for name, value in claims.items() if value is not None}
        return {"id_token": jwt.encode(given, headers={"kid": "7"}, **self.signed)}


@contextmanager
def serving() -> Iterator[Provider]:
    """Serve a provider on a free port."""

    class Handler(BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            url = urlsplit(self.path)
            if url.path == "/authorize":
                query = {name: value for name, (value,) in parse_qs(url.query).items()}
                self.send_response(302)
                self.send_header("Location", provider.authorize(query))
                self.end_headers()
            elif url.path == "/keys":
                key = RSAAlgorithm.to_jwk(rsa_key(7).public_key(), as_dict=True)
                self.answer({"keys": [{**key, "kid": "7", "use": "sig"}]})
            else:
                names = {"authorization_endpoint": "authorize", "token_endpoint": "token"}
                urls = {name: f"{provider.issuer}/{path}" for name, path in names.items()}
                self.answer(
                    {"issuer": provider.issuer, "jwks_uri": f"{provider.issuer}/keys", **urls}
                )

        def do_POST(self) -> None:
            body = self.rfile.read(int(self.headers["Content-Length"])).decode()
            form = {name: value for name, (value,) in parse_qs(body).items()}
            tokens = provider.exchange(form, self.headers.get("Authorization"))
            self.answer(tokens or {"error": "invalid_grant"}, 200 if tokens else 400)

        def answer(self, document: Any, status: int = 200) -> None:
            body = json.dumps(document).encode()
            self.send_response(status)
            self.send_header("Content-Type", "application/json")
            self.send_header("Content-Length", str(len(body)))
            self.end_headers()
            self.wfile.write(body)

        def log_message(self, *_: Any) -> None:
            """Write no log."""

    server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    provider = Provider(f"http://127.0.0.1:{server.server_port}")
    thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.01})
    thread.start()
    try:
        yield provider
    finally:
        server.shutdown()
        thread.join()
        server.server_close()

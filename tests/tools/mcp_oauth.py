"""An MCP server over HTTP that asks for authorization, and the authorization server that it
trusts, in one: for the suite. Speaks the protocols by hand, so that it does not share the
mistakes of a library. Everybody consents here.

    mcp_oauth.py [--expires SECONDS] [--no-pkce] [--refuse] [--more-and-more] [--for TOOL=SCOPE]

    --expires SECONDS  how long a token is said to hold; otherwise an hour
    --no-pkce          do not say that PKCE is offered
    --refuse           send people back without their consent
    --more-and-more    every call of a tool needs one more scope, without end
    --for TOOL=SCOPE   a tool needs a scope of its own

What is asked of it is told at /seen; /revoke takes all access tokens back, /revoke-all those to
refresh them too. Its address is printed first.
"""

import base64
import hashlib
import json
import sys
import uuid
from mcp_server import Handler, option, over_http
from urllib.parse import parse_qs, urlencode, urlsplit

SEEN = []
CODES = {}
ACCESS = {}
REFRESH = {}
WANTED = []


def one(text):
    return {name: values[0] for name, values in parse_qs(text).items()}


def tokens(scope):
    access, refresh = f"canary-access-{uuid.uuid4()}", f"canary-refresh-{uuid.uuid4()}"
    ACCESS[access] = scope
    REFRESH[refresh] = scope
    return {
        "access_token": access,
        "refresh_token": refresh,
        "id_token": f"canary-id-{uuid.uuid4()}",
        "token_type": "Bearer",
        "expires_in": int(option("--expires") or 3600),
        "scope": scope,
    }


class Guarded(Handler):
    def base(self):
        return f"http://{self.headers['host']}"

    def see(self, what, **more):
        SEEN.append({"what": what} | more)

    def do_GET(self):
        address = urlsplit(self.path)
        documents = {
            "/.well-known/oauth-protected-resource/mcp": lambda: {
                "resource": f"{self.base()}/mcp",
                "authorization_servers": [self.base()],
            },
            "/.well-known/oauth-authorization-server": self.metadata,
            "/seen": lambda: SEEN,
        }
        if address.path in documents:
            return self.answer(200, documents[address.path]())
        if address.path in ("/revoke", "/revoke-all"):
            ACCESS.clear()
            if address.path == "/revoke-all":
                REFRESH.clear()
            return self.answer(200, {})
        if address.path == "/authorize":
            return self.authorize(one(address.query))
        self.answer(404)

    def metadata(self):
        metadata = {
            "issuer": self.base(),
            "authorization_endpoint": f"{self.base()}/authorize",
            "token_endpoint": f"{self.base()}/token",
            "registration_endpoint": f"{self.base()}/register",
            "authorization_response_iss_parameter_supported": True,
            "token_endpoint_auth_methods_supported": ["client_secret_post"],
        }
        if "--no-pkce" not in sys.argv:
            metadata["code_challenge_methods_supported"] = ["S256"]
        return metadata

    def authorize(self, asked):
        self.see("authorize", scope=asked.get("scope", ""), resource=asked.get("resource"))
        back = {"state": asked["state"], "iss": self.base()}
        if "--refuse" in sys.argv:
            back["error"] = "access_denied"
        else:
            back["code"] = f"canary-code-{uuid.uuid4()}"
            CODES[back["code"]] = asked
        self.answer(302, location=f"{asked['redirect_uri']}?{urlencode(back)}")

    def do_POST(self):
        if self.path == "/mcp":
            return self.guarded()
        body = self.rfile.read(int(self.headers["content-length"])).decode()
        if self.path == "/register":
            self.see("register")
            client = {"client_id": "registered", "client_secret": "canary-client-secret"}
            return self.answer(201, json.loads(body) | client)
        if self.path == "/token":
            return self.token(one(body))
        self.answer(404)

    def token(self, asked):
        self.see("token", grant=asked["grant_type"], resource=asked.get("resource"))
        if asked.get("client_secret") != "canary-client-secret":
            return self.answer(401, {"error": "invalid_client"})
        if asked["grant_type"] == "authorization_code":
            code = CODES.pop(asked["code"], None)
            digest = hashlib.sha256(asked["code_verifier"].encode()).digest()
            challenge = base64.urlsafe_b64encode(digest).decode().rstrip("=")
            if code and code["code_challenge"] == challenge:
                return self.answer(200, tokens(code.get("scope", "")))
        if asked["grant_type"] == "refresh_token" and asked["refresh_token"] in REFRESH:
            return self.answer(200, tokens(REFRESH.pop(asked["refresh_token"])))
        if asked["grant_type"] == "client_credentials":
            answer = tokens(asked.get("scope", ""))
            del answer["refresh_token"]
            return self.answer(200, answer)
        self.answer(400, {"error": "invalid_grant"})

    def guarded(self):
        """Lets a request through, or says what it lacks."""
        message = self.body()
        token = (self.headers.get("authorization") or "").removeprefix("Bearer ")
        metadata = f'resource_metadata="{self.base()}/.well-known/oauth-protected-resource/mcp"'
        if token not in ACCESS:
            self.see("refused")
            return self.answer(401, {}, www_authenticate=f"Bearer {metadata}")
        lacking = self.lacking(message, ACCESS[token].split())
        if lacking:
            challenge = f'Bearer error="insufficient_scope", scope="{lacking}", {metadata}'
            return self.answer(403, {}, www_authenticate=challenge)
        self.carry_out(message)

    def lacking(self, message, granted):
        if message.get("method") != "tools/call":
            return None
        if "--more-and-more" in sys.argv:
            WANTED.append(f"more-{len(WANTED)}")
            return WANTED[-1]
        tool, _, scope = (option("--for") or "").partition("=")
        needed = message["params"]["name"] == tool
        return scope if needed and scope not in granted else None


over_http(Guarded)

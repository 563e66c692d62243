"""An MCP server whose answers the caller dictates, byte for byte: what real servers get wrong.

    mcp_odd.py [--list JSON] [--silent] [--late FILE] [--http] [--expired STATUS BODY]

    --list JSON      the result of `tools/list`; otherwise one tool, `say`
    --silent         answer no question that is not known, as if it had not come
    --late FILE      know only the newer protocol, and answer the question for it together with
                     the next one; at once if FILE is there, which is made otherwise
    --http           serve on a free port, and print its address first
    --expired STATUS BODY
                     how a request of a session that was forgotten is answered

Over stdin and stdout the tool `say` sends the bytes of its argument `raw`, a text of characters
up to U+00FF, with the id of the call for `$ID`, and a line of `long` bytes if that is given; the
id of such a line is in front, or at its end if `last` is true.
Over HTTP it answers with `status`, `headers` and `body`, or as any tool; `forget` ends all
sessions, and `count` says how many calls of `say` were carried out, and how many sessions there
were.
"""

import json
import os
import sys
import time
import uuid
from http.server import BaseHTTPRequestHandler

from mcp_server import over_http, text

TOOLS = [{"name": name, "inputSchema": {"type": "object"}} for name in ("say", "forget", "count")]
COUNT = {"said": 0, "sessions": 0}


def option(name, at=1):
    return sys.argv[sys.argv.index(name) + at] if name in sys.argv else None


def result(method, params):
    if method == "initialize":
        return {
            "protocolVersion": params["protocolVersion"],
            "capabilities": {"tools": {"listChanged": True}},
            "serverInfo": {"name": "odd", "version": "1"},
        }
    if method == "tools/list":
        return json.loads(option("--list") or json.dumps({"tools": TOOLS}))
    if method == "tools/call" and params["name"] == "count":
        return text(COUNT)
    if method == "tools/call":
        return text("said")
    return None


def write(line):
    sys.stdout.buffer.write(line)
    sys.stdout.buffer.flush()


def say(number, arguments):
    if "raw" in arguments:
        write(arguments["raw"].replace("$ID", json.dumps(number)).encode("latin-1"))
    if "long" in arguments:
        content = b'{"content":[{"type":"text","text":"' + b"x" * arguments["long"] + b'"}]}'
        head = b'"id":%d,' % number
        if arguments.get("last"):
            write(b'{"result":' + content + b"," + head + b'"jsonrpc":"2.0"}\n')
        else:
            write(b"{" + head + b'"jsonrpc":"2.0","result":' + content + b"}\n")


def discovered():
    """What only a server of the newer protocol answers."""
    if not os.path.exists(option("--late")):
        open(option("--late"), "x", encoding="ascii").close()
        refused = json.loads(sys.stdin.readline())
        error = {"code": -32601, "message": f"there is no {refused['method']}"}
        write(json.dumps({"jsonrpc": "2.0", "id": refused["id"], "error": error}).encode() + b"\n")
    return {"supportedVersions": ["2026-07-28"], "capabilities": {"tools": {}}}


def over_pipes():
    for line in sys.stdin:
        message = json.loads(line)
        if "id" not in message or "method" not in message:
            continue
        number, method, params = message["id"], message["method"], message.get("params") or {}
        if method == "server/discover" and "--late" in sys.argv:
            answer = {"jsonrpc": "2.0", "id": number, "result": discovered()}
            write(json.dumps(answer).encode() + b"\n")
            continue
        arguments = params.get("arguments") or {}
        if method == "tools/call" and ("raw" in arguments or "long" in arguments):
            say(number, arguments)
            continue
        answer = {"jsonrpc": "2.0", "id": number}
        given = result(method, params)
        if given is not None:
            answer["result"] = given
        elif "--silent" in sys.argv:
            continue
        else:
            answer["error"] = {"code": -32601, "message": f"there is no {method}"}
        write(json.dumps(answer).encode() + b"\n")


class Handler(BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"
    sessions = set()

    def answer(self, status, body="", **headers):
        self.send_response(status)
        headers = {"content-type": "application/json"} | headers
        data = body.encode("latin-1")
        for name, value in (headers | {"content-length": str(len(data))}).items():
            self.send_header(name.replace("_", "-"), value)
        self.end_headers()
        self.wfile.write(data)

    def do_POST(self):
        message = json.loads(self.rfile.read(int(self.headers["content-length"])))
        method, params = message.get("method"), message.get("params") or {}
        session = self.headers.get("mcp-session-id")
        if method == "initialize":
            session = str(uuid.uuid4())
            Handler.sessions.add(session)
            COUNT["sessions"] += 1
        elif session and session not in Handler.sessions:
            body = (option("--expired", 2) or "").replace("$ID", json.dumps(message.get("id")))
            return self.answer(int(option("--expired") or 404), body)
        if "id" not in message:
            return self.answer(202)
        arguments = params.get("arguments") or {}
        if params.get("name") == "forget":
            Handler.sessions.clear()
        if params.get("name") == "say":
            COUNT["said"] += 1
        if "status" in arguments or "body" in arguments:
            body = arguments.get("body", "").replace("$ID", json.dumps(message["id"]))
            headers = arguments.get("headers") or {}
            return self.answer(arguments.get("status", 200), body, **headers)
        given = result(method, params)
        if given is None and "--silent" in sys.argv:
            return time.sleep(600)
        answer = {"jsonrpc": "2.0", "id": message["id"]}
        if given is None:
            answer["error"] = {"code": -32601, "message": f"there is no {method}"}
        else:
            answer["result"] = given
        return self.answer(200, json.dumps(answer), mcp_session_id=session or "")

    def do_GET(self):
        self.answer(405)

    def do_DELETE(self):
        Handler.sessions.discard(self.headers.get("mcp-session-id"))
        self.answer(200)

    def log_message(self, *_):
        pass


if __name__ == "__main__":
    if "--http" in sys.argv:
        over_http(Handler)
    else:
        over_pipes()

"""A small MCP server for the suite, over stdin and stdout or over HTTP, that misbehaves on
request. Speaks the protocol by hand, so that it does not share the mistakes of a library.

    mcp_server.py [--modern] [--lasting] [--deaf] [--die] [--hang-up] [--endless] [--pages N]
                  [--http]

    --modern   answer server/discover, as servers since 2026-07-28 do
    --lasting  say that a list holds for an hour
    --deaf     read everything, answer nothing
    --die      say something on stderr and end at once
    --hang-up  end when the first message is no `initialize`, as many older servers do
    --endless  the list of tools never ends
    --pages N  the list of tools comes in N pages
    --http     serve on a free port, and print its address first; sessions are forgotten
               when the tool `forget` is called

Every message that it receives is kept, and the tool `seen` tells them, but for its own calls.
"""

import json
import os
import sys
import threading
import uuid
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

SEEN = []
REPLIES = {}
SUBSCRIPTIONS = []
TOOLS = ["echo", "slow", "seen", "die", "environment", "grow", "ask", "loud", "fail", "forget"]
LOCK = threading.Lock()
SUBSCRIPTION = "io.modelcontextprotocol/subscriptionId"


def option(name):
    return sys.argv[sys.argv.index(name) + 1] if name in sys.argv else None


def tool(name):
    return {
        "name": name,
        "description": f"The tool {name}.",
        "inputSchema": {"type": "object"},
        "annotations": {"readOnlyHint": name in ("echo", "seen")},
    }


def text(value, **more):
    value = value if isinstance(value, str) else json.dumps(value)
    return {"resultType": "complete", "content": [{"type": "text", "text": value}], **more}


class Server:
    """One conversation. `send` takes a message to the client."""

    def __init__(self, send):
        self.send = send

    def ask(self, method, params):
        number = str(uuid.uuid4())
        REPLIES[number] = threading.Event(), []
        self.send({"jsonrpc": "2.0", "id": number, "method": method, "params": params})
        event, reply = REPLIES[number]
        event.wait(20)
        return reply[0] if reply else "no answer"

    def call(self, name, arguments):
        if name == "echo":
            return text(arguments.get("text", ""), structuredContent=arguments)
        if name == "seen":
            return text(SEEN)
        if name == "environment":
            log = {"level": "error", "data": f"I was given {os.environ.get('TOKEN')}"}
            self.send({"jsonrpc": "2.0", "method": "notifications/message", "params": log})
            return text(dict(os.environ), structuredContent={"directory": os.getcwd(), "pid": os.getpid()})
        if name == "grow":
            TOOLS.append(f"grown-{len(TOOLS)}")
            changed = {"jsonrpc": "2.0", "method": "notifications/tools/list_changed"}
            for subscription in SUBSCRIPTIONS:
                self.send(changed | {"params": {"_meta": {SUBSCRIPTION: subscription}}})
            if "--modern" not in sys.argv:
                self.send(changed)
            return text("grown")
        if name == "ask":
            form = {"type": "object", "properties": {"n": {"type": "integer", "default": 7}}}
            question = {"message": "How many?", "requestedSchema": form, "mode": "form"}
            sampling = {"messages": [], "maxTokens": 1}
            return text({
                "roots": self.ask("roots/list", {}),
                "elicitation": self.ask("elicitation/create", question),
                "sampling": self.ask("sampling/createMessage", sampling),
            })
        if name == "loud":
            for n in range(100):
                log = {"level": "error", "data": f"line {n}"}
                self.send({"jsonrpc": "2.0", "method": "notifications/message", "params": log})
            return text("x" * int(arguments.get("bytes", 0)))
        if name == "fail":
            return text("it did not work", isError=True)
        if name == "die":
            print("the last words of a server", os.environ.get("TOKEN", ""), file=sys.stderr, flush=True)
            os._exit(3)
        raise LookupError(name)

    def listed(self, params):
        if "--endless" in sys.argv:
            page = int(params.get("cursor") or 0)
            return {"tools": [tool(f"t{page}")], "nextCursor": str(page + 1)}
        pages = int(option("--pages") or 1)
        page = int(params.get("cursor") or 0)
        result = {"tools": [tool(name) for name in TOOLS[page::pages]]}
        if page + 1 < pages:
            result["nextCursor"] = str(page + 1)
        return result

    def result(self, method, params):
        capabilities = {"tools": {"listChanged": True}}
        me = {"name": "fake", "version": "1"}
        if method == "initialize":
            version = params["protocolVersion"]
            return {"protocolVersion": version, "capabilities": capabilities, "serverInfo": me}
        if method == "server/discover" and "--modern" in sys.argv:
            return {
                "resultType": "complete",
                "supportedVersions": ["2026-07-28"],
                "capabilities": capabilities,
                "serverInfo": me,
                "ttlMs": 0,
                "cacheScope": "private",
            }
        if method == "tools/list":
            result = self.listed(params)
            if "--modern" in sys.argv:
                holds = 3_600_000 if "--lasting" in sys.argv else 0
                result |= {"resultType": "complete", "ttlMs": holds, "cacheScope": "private"}
            return result
        if method == "tools/call":
            return self.call(params["name"], params.get("arguments") or {})
        raise LookupError(method)

    def receive(self, message):
        """The answer to a message; `None` if there is none."""
        # Whoever keeps looking must not see more and more of that.
        if (message.get("params") or {}).get("name") != "seen":
            with LOCK:
                SEEN.append(message)
        if "method" not in message:
            event, reply = REPLIES[message["id"]]
            reply.append(message.get("result", message.get("error")))
            event.set()
            return None
        if "id" not in message or "--deaf" in sys.argv:
            return None
        answer = {"jsonrpc": "2.0", "id": message["id"]}
        params = message.get("params") or {}
        if params.get("name") == "slow":
            return None
        if message["method"] == "subscriptions/listen" and self.send:
            # It stays open: its answer would end it.
            SUBSCRIPTIONS.append(message["id"])
            stands = {"notifications": params["notifications"]}
            self.send({
                "jsonrpc": "2.0",
                "method": "notifications/subscriptions/acknowledged",
                "params": stands | {"_meta": {SUBSCRIPTION: message["id"]}},
            })
            return None
        try:
            return answer | {"result": self.result(message["method"], params)}
        except LookupError as error:
            return answer | {"error": {"code": -32601, "message": f"there is no {error}"}}


def over_pipes():
    def send(message):
        with LOCK:
            print(json.dumps(message), flush=True)

    def carry_out(message):
        answer = server.receive(message)
        if answer:
            send(answer)

    server = Server(send)
    for number, line in enumerate(sys.stdin):
        message = json.loads(line)
        if number == 0 and "--hang-up" in sys.argv and message["method"] != "initialize":
            sys.exit("the first message has to be initialize")
        # A call may ask in return, so that the next line has to be read meanwhile.
        threading.Thread(target=carry_out, args=[message], daemon=True).start()


class Handler(BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"
    sessions = set()

    def answer(self, status, body=None, **headers):
        data = b"" if body is None else json.dumps(body).encode()
        self.send_response(status)
        for name, value in headers.items():
            self.send_header(name.replace("_", "-"), value)
        if body is not None:
            self.send_header("content-type", "application/json")
        self.send_header("content-length", str(len(data)))
        self.end_headers()
        self.wfile.write(data)

    def do_POST(self):
        self.carry_out(self.body())

    def body(self):
        return json.loads(self.rfile.read(int(self.headers["content-length"])))

    def carry_out(self, message):
        message["authorization"] = self.headers.get("authorization")
        method = message.get("method")
        session = self.headers.get("mcp-session-id")
        if method == "initialize":
            session = str(uuid.uuid4())
            Handler.sessions.add(session)
        elif session and session not in Handler.sessions:
            return self.answer(404)
        if (message.get("params") or {}).get("name") == "slow":
            Server(None).receive(message)
            threading.Event().wait(60)
        if (message.get("params") or {}).get("name") == "forget":
            Handler.sessions.clear()
            return self.answer(200, {"jsonrpc": "2.0", "id": message["id"], "result": text("gone")})
        answer = Server(lambda _: None).receive(message)
        if answer is None:
            return self.answer(202)
        return self.answer(200, answer, mcp_session_id=session or "")

    def do_GET(self):
        self.answer(405)

    def do_DELETE(self):
        SEEN.append({"method": "DELETE"})
        Handler.sessions.discard(self.headers.get("mcp-session-id"))
        self.answer(200)

    def log_message(self, *_):
        pass


def over_http(handler):
    served = ThreadingHTTPServer(("127.0.0.1", 0), handler)
    served.daemon_threads = True
    print(f"http://127.0.0.1:{served.server_port}/mcp", flush=True)
    served.serve_forever()


if __name__ == "__main__":
    if "--die" in sys.argv:
        sys.exit("it cannot be started like this")
    if "--http" in sys.argv:
        over_http(Handler)
    else:
        over_pipes()

"""A running Jupyter server, spoken to as JupyterLab speaks to it."""
import asyncio
import json
import os
import re
import urllib.request
import uuid

from tornado.websocket import websocket_connect

# A proxy that is not there closes the network to whatever is not on this machine.
offline = {f"{scheme}_{word}": "http://127.0.0.1:9" for scheme in ("http", "https", "HTTP", "HTTPS")
           for word in ("proxy", "PROXY")}
environment = {**os.environ, **offline, "no_proxy": "localhost,127.0.0.1",
               "NO_PROXY": "localhost,127.0.0.1", "TF_CPP_MIN_LOG_LEVEL": "3"}
environment.pop("MPLBACKEND", None)


def ask(opened: str, what: str, content: dict | None = None,
        method: str | None = None) -> dict | None:
    "An answer of the server whose page with a token has the address `opened`."
    server, token = re.match(r"(http://[^/]+)/.*token=(\w+)", opened).groups()
    request = urllib.request.Request(f"{server}/api/{what}",
                                     headers={"Authorization": f"token {token}",
                                              "Content-Type": "application/json"},
                                     data=json.dumps(content).encode() if content else None,
                                     method=method)
    answer = urllib.request.urlopen(request, timeout=60).read()
    return json.loads(answer) if answer else None


# its outputs, as a notebook stores them, except for pieces of text, which are not joined
async def _one(socket, source: str) -> list[dict]:
    "Run one cell."
    header = dict(msg_id=uuid.uuid4().hex, msg_type="execute_request", session="lab", username="",
                  version="5.3")
    content = dict(code=source, silent=False, store_history=True, allow_stdin=False,
                   stop_on_error=True)
    await socket.write_message(json.dumps(dict(header=header, parent_header={}, metadata={},
                                               content=content, channel="shell")))
    outputs, replied, idle = [], False, False
    while not (replied and idle):
        message = await asyncio.wait_for(socket.read_message(), 300)
        if isinstance(message, bytes): continue # a widget's picture
        message = json.loads(message)
        if message["parent_header"].get("msg_id") != header["msg_id"]: continue
        kind, content = message["msg_type"], message["content"]
        if kind in ("stream", "display_data", "execute_result"): outputs.append(content)
        idle |= kind == "status" and content["execution_state"] == "idle"
        replied |= kind == "execute_reply"
        if kind == "execute_reply":
            assert content["status"] == "ok", "\n".join([source,
                                                         *content.get("traceback", [str(content)])])
    return outputs


async def _all(opened: str, kernel: str, sources: list[str]) -> list[list[dict]]:
    server, token = re.match(r"http://([^/]+)/.*token=(\w+)", opened).groups()
    socket = await websocket_connect(f"ws://{server}/api/kernels/{kernel}/channels?token={token}",
                                     max_message_size=2**26)
    try: return [await _one(socket, source) for source in sources]
    finally: socket.close()


# the outputs of each
def execute(opened: str, path: str, kernel: str, sources: list[str]) -> list[list[dict]]:
    """Run cells one after the other in a kernel of the server, over the same connection that
    JupyterLab uses."""
    session = ask(opened, "sessions",
                  dict(path=path, name=path, type="notebook", kernel=dict(name=kernel)))
    try: return asyncio.run(_all(opened, session["kernel"]["id"], sources))
    finally: ask(opened, f"sessions/{session['id']}", method="DELETE")


def printed(outputs: list[dict]) -> str:
    return "".join("".join(output["text"]) for output in outputs if output.get("name") == "stdout")

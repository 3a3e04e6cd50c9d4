"""Serve the built site on this machine. `make docs-serve` calls this.

    python docs/serve.py [PORT]        PORT is 8000 unless given; 0 takes any that is free
"""
import sys
from functools import partial
from http.server import SimpleHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

site = Path(__file__).resolve().parent / "_build/html"


class Handler(SimpleHTTPRequestHandler):
    "Files, with the types that browsers insist on; some systems know others."
    extensions_map = {**SimpleHTTPRequestHandler.extensions_map, ".js": "text/javascript",
                      ".mjs": "text/javascript", ".wasm": "application/wasm"}

    def log_message(self, *_): "Nobody asked for a line about each file."


def open_server(folder: Path, port: int) -> ThreadingHTTPServer:
    "A server that nobody but this machine can reach."
    return ThreadingHTTPServer(("127.0.0.1", port), partial(Handler, directory=folder))


def main(port: int):
    if not (site / "index.html").exists(): sys.exit("There is no site yet: run make docs first.")
    try: server = open_server(site, port)
    except OSError as error:
        sys.exit(f"Port {port} cannot be had ({error.strerror}): give another, as in python "
                 "docs/serve.py 8001")
    print(f"http://localhost:{server.server_port}/ (Ctrl-C ends it)", flush=True)
    try: server.serve_forever()
    except KeyboardInterrupt: print()


if __name__ == "__main__":
    main(int(sys.argv[1]) if len(sys.argv) > 1 else 8000)

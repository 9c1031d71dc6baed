"""A web server of the files of a folder, with ranges, that counts the requests."""

import re
import sys
import threading
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path


class Server(ThreadingHTTPServer):
    daemon_threads = True

    def __init__(self, folder):
        super().__init__(("127.0.0.1", 0), _Handler)
        self.folder = Path(folder)
        #: Method, path and range of each request.
        self.requests = []
        #: Whether it answers; while it is cleared, requests wait.
        self.answers = threading.Event()
        self.answers.set()
        self.ranges = True

    @property
    def url(self):
        return f"http://127.0.0.1:{self.server_port}"

    def take_requests(self):
        requests, self.requests = self.requests, []
        return requests

    def handle_error(self, request, client_address):
        # A client that has seen enough.
        pass


class _Handler(BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"

    def do_GET(self):
        server = self.server
        wanted = self.headers.get("range")
        server.requests.append((self.command, self.path, wanted))
        server.answers.wait()
        path = server.folder / self.path.split("?")[0].lstrip("/")
        if not path.is_file():
            self.send_response(404)
            self.send_header("content-length", "0")
            self.end_headers()
            return
        content = path.read_bytes()
        found = re.fullmatch(r"bytes=(\d*)-(\d*)", wanted or "")
        self.send_response(206 if found and server.ranges else 200)
        if found and server.ranges:
            first, last = found.groups()
            start = int(first) if first else max(0, len(content) - int(last))
            end = min(len(content), int(last) + 1 if first and last else len(content))
            self.send_header("content-range", f"bytes {start}-{end - 1}/{len(content)}")
            content = content[start:end]
        self.send_header("content-length", str(len(content)))
        self.send_header("etag", f'"{path.stat().st_mtime_ns}"')
        self.end_headers()
        if self.command == "GET":
            self.wfile.write(content)

    do_HEAD = do_GET

    def log_message(self, *_):
        pass


@contextmanager
def serving(folder):
    """Serves the files of a folder."""
    server = Server(folder)
    thread = threading.Thread(target=server.serve_forever, daemon=True)
    thread.start()
    try:
        yield server
    finally:
        server.answers.set()
        server.shutdown()
        server.server_close()


if __name__ == "__main__":
    server = Server(sys.argv[1])
    print(server.url, flush=True)
    server.serve_forever()

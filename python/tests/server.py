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
    # Head and body go at once, and no part of them waits for others to be acknowledged.
    wbufsize = -1
    disable_nagle_algorithm = True

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
        stat = path.stat()
        start, end = 0, stat.st_size
        found = re.fullmatch(r"bytes=(\d*)-(\d*)", wanted or "") if server.ranges else None
        self.send_response(206 if found else 200)
        if found:
            first, last = found.groups()
            start = int(first) if first else max(0, end - int(last))
            end = min(end, int(last) + 1 if first and last else end)
            self.send_header("content-range", f"bytes {start}-{end - 1}/{stat.st_size}")
        self.send_header("content-length", str(end - start))
        self.send_header("etag", f'"{stat.st_mtime_ns}"')
        self.end_headers()
        if self.command == "GET":
            with path.open("rb") as file:
                file.seek(start)
                while start < end:
                    piece = file.read(min(1 << 20, end - start))
                    start += len(piece)
                    self.wfile.write(piece)

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

"""An HTTP server of a few files that keeps to RFC 9110 (ranges, If-Range), or breaks it as its tests ask."""

from __future__ import annotations

import base64
import hashlib
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any
from urllib.parse import unquote

import google_crc32c


@dataclass
class Faults:
    """What the server does, and what it was asked.

    Args:
        files: path -> bytes. headers: added to each answer that carries a file.
        etag, modified: the validators; None leaves them out.
        script: one entry a request: a number of bytes after which the connection breaks, a status with headers, or
            None for a good answer; so are all requests after the last.
        ranges: served. heeds_if_range: it does not matter to some servers.
        length_error: added to Content-Length. before_chunk: called with the bytes sent so far.
    """

    files: dict[str, bytes] = field(default_factory=dict)
    headers: dict[str, str] = field(default_factory=dict)
    etag: str | None = '"one"'
    modified: str | None = None
    script: list[int | tuple[int, dict[str, str]] | None] = field(default_factory=list)
    ranges: bool = True
    heeds_if_range: bool = True
    length_error: int = 0
    before_chunk: Callable[[int], None] = lambda _sent: None
    root: str = ""
    asked: list[dict[str, str]] = field(default_factory=list)  # headers of each request, in lower case
    sent: int = 0  # bytes of bodies

    @property
    def asked_ranges(self) -> list[str | None]:
        """The Range header of each request."""
        return [headers.get("range") for headers in self.asked]


def google_hash(body: bytes, **wrong: str) -> dict[str, str]:
    """Return the x-goog-hash header of a body; keywords replace or, as "", leave out a hash."""
    values = {
        "crc32c": base64.b64encode(google_crc32c.Checksum(body).digest()).decode(),
        "md5": base64.b64encode(hashlib.md5(body).digest()).decode(),
    } | wrong
    return {"x-goog-hash": ",".join(f"{kind}={value}" for kind, value in values.items() if value)}


@contextmanager
def serve(**settings: Any) -> Iterator[Faults]:
    """Serve files on a free port; `root` is the address."""
    faults = Faults(**settings)

    class Handler(BaseHTTPRequestHandler):
        protocol_version = "HTTP/1.1"

        def log_message(self, *_args):
            """Say nothing."""

        def do_HEAD(self):
            self.answer(head=True)

        def do_GET(self):
            self.answer(head=False)

        def answer(self, head: bool):
            faults.asked.append({name.lower(): value for name, value in self.headers.items()})
            body = faults.files.get(unquote(self.path))
            step = faults.script.pop(0) if faults.script else None
            if isinstance(step, tuple) or body is None:
                status, headers = step if isinstance(step, tuple) else (404, {})
                self.start(status, {"Content-Length": "0"} | headers)
                return
            validators = {"ETag": faults.etag, "Last-Modified": faults.modified}
            headers = {name: value for name, value in validators.items() if value} | faults.headers
            start, stop, status = self.span(len(body))
            if status == 206:
                headers["Content-Range"] = f"bytes {start}-{stop - 1}/{len(body)}"
            if status == 416:
                self.start(416, {"Content-Length": "0", "Content-Range": f"bytes */{len(body)}"})
                return
            self.start(status, {"Content-Length": str(stop - start + faults.length_error)} | headers)
            if not head:
                self.send(body[start:stop][:step])
            if step is not None or faults.length_error > 0:
                self.close_connection = True

        def span(self, size: int) -> tuple[int, int, int]:
            asked, condition = self.headers.get("Range"), self.headers.get("If-Range")
            current = condition in (None, faults.etag, faults.modified) or not faults.heeds_if_range
            if not asked or not faults.ranges or not current:
                return 0, size, 200
            first, last = asked.removeprefix("bytes=").split("-")
            start, stop = int(first), min(size, int(last) + 1 if last else size)
            return (start, stop, 206) if start < size else (0, 0, 416)

        def start(self, status: int, headers: dict[str, str]):
            self.send_response(status)
            for name, value in headers.items():
                self.send_header(name, value)
            self.end_headers()

        def send(self, body: bytes):
            step = 1 << 14
            for place in range(0, len(body), step):
                faults.before_chunk(place)
                self.wfile.write(body[place : place + step])
                self.wfile.flush()
                faults.sent += len(body[place : place + step])

        def handle(self):
            try:
                super().handle()
            except (ConnectionResetError, BrokenPipeError):
                self.close_connection = True

    server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    server.daemon_threads = True
    threading.Thread(target=server.serve_forever, args=(0.01,), daemon=True).start()
    faults.root = f"http://127.0.0.1:{server.server_port}"
    try:
        yield faults
    finally:
        server.shutdown()
        server.server_close()

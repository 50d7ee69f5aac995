"""A real HTTP server on loopback that speaks the OpenAI chat protocol, badly when told to."""

from __future__ import annotations

import json
import socket
import struct
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any


def completion(text: str | None, *, tokens: tuple[int, int] | None = (10, 2), **choice: Any) -> dict[str, Any]:
    """A well-formed body."""
    message = {"role": "assistant", "content": text, **choice.pop("message", {})}
    body: dict[str, Any] = {
        "id": "x",
        "object": "chat.completion",
        "choices": [{"index": 0, "finish_reason": "stop", "message": message, **choice}],
    }
    if tokens is not None:
        body["usage"] = {"prompt_tokens": tokens[0], "completion_tokens": tokens[1], "total_tokens": sum(tokens)}
    return body


def completions(*choices: dict[str, Any], tokens: tuple[int, int] | None = (10, 2)) -> dict[str, Any]:
    """A body of several choices, each the only choice of a ``completion``."""
    rows = [{**choice["choices"][0], "index": index} for index, choice in enumerate(choices)]
    return {**completion("", tokens=tokens), "choices": rows}


@dataclass
class Answer:
    """How to answer one request."""

    body: bytes | dict[str, Any] = field(default_factory=lambda: completion("Sedge Warbler"))
    status: int = 200
    headers: dict[str, str] = field(default_factory=dict)
    content_type: str = "application/json"
    delay: float = 0.0
    drip: float = 0.0
    """Seconds between single bytes."""
    cut: int | None = None
    """Send this many bytes of the body, then hang up."""
    reset: bool = False
    """Hang up with a TCP reset, as a crashing server or a stern firewall does."""


class RudeServer:
    """``script(call number from 0, request body) -> Answer``; keeps what it saw."""

    def __init__(self, script: Callable[[int, dict[str, Any]], Answer]) -> None:
        self.script = script
        self.calls: list[dict[str, Any]] = []
        self.times: list[float] = []
        self.keys: list[str] = []
        self.in_flight = self.most_in_flight = 0
        self.lock = threading.Lock()
        self.url = ""

    def questions(self) -> list[str]:
        """The text of every request seen."""
        return [call["messages"][-1]["content"][-1]["text"] for call in self.calls]


@contextmanager
def serving(script: Callable[[int, dict[str, Any]], Answer] | None = None) -> Iterator[RudeServer]:
    state = RudeServer(script or (lambda number, body: Answer()))

    class Handler(BaseHTTPRequestHandler):
        protocol_version = "HTTP/1.1"

        def log_message(self, *_: Any) -> None:
            pass

        def do_POST(self) -> None:
            body = json.loads(self.rfile.read(int(self.headers["content-length"])))
            with state.lock:
                number = len(state.calls)
                state.calls.append(body)
                state.times.append(time.monotonic())
                state.keys.append(self.headers.get("authorization", ""))
                state.in_flight += 1
                state.most_in_flight = max(state.most_in_flight, state.in_flight)
            answer = state.script(number, body)
            time.sleep(answer.delay)
            with state.lock:  # before the reply leaves, or the client's next call could overlap on paper
                state.in_flight -= 1
            try:
                self._send(answer)
            except OSError:
                self.close_connection = True

        def _send(self, answer: Answer) -> None:
            data = answer.body if isinstance(answer.body, bytes) else json.dumps(answer.body).encode()
            self.send_response(answer.status)
            headers = {"content-type": answer.content_type, "content-length": str(len(data)), **answer.headers}
            for name, value in headers.items():
                self.send_header(name, value)
            self.end_headers()
            if answer.cut is not None:
                self.wfile.write(data[: answer.cut])
                self.close_connection = True
                if answer.reset:  # closing with linger 0 sends RST
                    self.connection.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
            elif answer.drip:
                for byte in data:
                    self.wfile.write(bytes([byte]))
                    self.wfile.flush()
                    time.sleep(answer.drip)
            else:
                self.wfile.write(data)

    class Server(ThreadingHTTPServer):
        daemon_threads = True
        block_on_close = False
        request_queue_size = 256

        def handle_error(self, *_: Any) -> None:
            pass

    server = Server(("127.0.0.1", 0), Handler)
    state.url = f"http://127.0.0.1:{server.server_address[1]}/v1"
    thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.02}, daemon=True)
    thread.start()
    try:
        yield state
    finally:
        server.shutdown()
        server.server_close()
        thread.join()

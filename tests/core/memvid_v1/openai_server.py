"""A server of OpenAI's chat protocol on this machine, as Ollama and vLLM are one."""

from __future__ import annotations

import json
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any


class ChatServer(ThreadingHTTPServer):
    """Answers with how many messages it got and the last question; keeps what it was asked.

    A model called ``broken`` is an error, and so is a key that is not ``secret`` where one is wanted.
    """

    daemon_threads = True

    def __init__(self, key: str | None = None) -> None:
        super().__init__(("127.0.0.1", 0), _Handler)
        self.key = key
        self.asked: list[dict[str, Any]] = []

    @property
    def url(self) -> str:
        """Where it is, as a ``base_url``."""
        return f"http://127.0.0.1:{self.server_address[1]}/v1"


class _Handler(BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"
    server: ChatServer

    def do_POST(self) -> None:
        asked = json.loads(self.rfile.read(int(self.headers["Content-Length"])))
        self.server.asked.append(asked)
        if self.server.key and self.headers["Authorization"] != f"Bearer {self.server.key}":
            given = self.headers["Authorization"].removeprefix("Bearer ")
            self._json(401, {"error": {"message": f"Incorrect API key provided: {given}", "code": "invalid_api_key"}})
        elif asked["model"] == "broken":
            self._json(400, {"error": {"message": "the model is not loaded"}})
        elif asked.get("stream"):
            self._stream(asked)
        else:
            message = {"role": "assistant", "content": "".join(self._words(asked))}
            self._json(200, {**self._head("chat.completion", asked), "choices": [_choice(message=message)]})

    def _words(self, asked: dict[str, Any]) -> list[str]:
        last = asked["messages"][-1]["content"].split("Question: ")[-1]
        return [f"{len(asked['messages'])} messages. ", "You asked: ", last, " [1]"]

    def _head(self, kind: str, asked: dict[str, Any]) -> dict[str, Any]:
        return {"id": "c1", "object": kind, "created": 0, "model": asked["model"]}

    def _stream(self, asked: dict[str, Any]) -> None:
        self.send_response(200)
        self.send_header("Content-Type", "text/event-stream")
        self.send_header("Connection", "close")
        self.end_headers()
        pieces = [_choice(delta={"role": "assistant", "content": word}, finish=None) for word in self._words(asked)]
        for choice in [*pieces, _choice(delta={})]:
            event = {**self._head("chat.completion.chunk", asked), "choices": [choice]}
            self.wfile.write(f"data: {json.dumps(event)}\n\n".encode())
        self.wfile.write(b"data: [DONE]\n\n")

    def _json(self, status: int, told: dict[str, Any]) -> None:
        body = json.dumps(told).encode()
        self.send_response(status)
        self.send_header("Content-Type", "application/json")
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)

    def log_message(self, format: str, *args: Any) -> None:
        """Say nothing."""


def _choice(finish: str | None = "stop", **content: Any) -> dict[str, Any]:
    return {"index": 0, "finish_reason": finish, **content}


@contextmanager
def chat_server(key: str | None = None) -> Iterator[ChatServer]:
    """A server for the length of a block."""
    with ChatServer(key) as server:
        thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.01})
        thread.start()
        try:
            yield server
        finally:
            server.shutdown()
            thread.join()

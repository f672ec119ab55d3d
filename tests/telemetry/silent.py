"""A process that takes OTLP requests over HTTP and never answers: says its port, and no more."""

from __future__ import annotations

import socket

if __name__ == "__main__":
    with socket.create_server(("127.0.0.1", 0)) as server:
        print(server.getsockname()[1], flush=True)
        kept = []
        while True:
            kept.append(server.accept()[0])

"""A TCP proxy that forwards gRPC until it sees a message of a kind, and then holds everything from there on until told."""
import collections
import contextlib
import socket
import threading

READ_BYTES = 1 << 16
PREFACE_BYTES = 24  # of HTTP/2: what a client sends before its first frame
FRAME_HEADER_BYTES = 9  # length (3), type, flags, stream (4)
DATA_FRAME = 0
MESSAGE_HEADER_BYTES = 5  # of gRPC: compressed or not, length (4)


class RequestReader:
    """The first messages of all calls that a client makes on one connection, as far as they have come."""

    def __init__(self):
        self.rest, self.to_skip, self.messages = b"", PREFACE_BYTES, collections.defaultdict(bytes)

    def read(self, data):
        """The messages that grew."""
        self.rest += data
        grown = set()
        while True:
            if self.to_skip:
                skipped = min(self.to_skip, len(self.rest))
                self.rest, self.to_skip = self.rest[skipped:], self.to_skip - skipped
            length = FRAME_HEADER_BYTES + int.from_bytes(self.rest[:3], "big")
            if len(self.rest) < FRAME_HEADER_BYTES or len(self.rest) < length:
                return [self.messages[stream][MESSAGE_HEADER_BYTES:] for stream in grown]
            frame, self.rest = self.rest[:length], self.rest[length:]
            if frame[3] == DATA_FRAME:
                stream = int.from_bytes(frame[5:9], "big")
                self.messages[stream] += frame[FRAME_HEADER_BYTES:]
                grown.add(stream)


class HoldingProxy:
    """Clients connect to `address`; what they send goes to `server`, and its answers go back. The bytes that complete a message for
    which is_awaited(message) holds are kept back, with all that follow; on_hold is called then, once."""

    def __init__(self, server, is_awaited, on_hold):
        host, port = server.rsplit(":", 1)
        self.server, self.is_awaited, self.on_hold = (host, int(port)), is_awaited, on_hold
        self.held, self.let_go = threading.Event(), threading.Event()
        self.listener = socket.create_server(("127.0.0.1", 0))
        self.address = "127.0.0.1:%d" % self.listener.getsockname()[1]
        self.sockets = [self.listener]
        threading.Thread(target=self.accept, daemon=True).start()

    def accept(self):
        with contextlib.suppress(OSError):  # closed
            while True:
                client, _ = self.listener.accept()
                server = socket.create_connection(self.server)
                self.sockets += [client, server]
                threading.Thread(target=self.forward, args=(client, server, RequestReader()), daemon=True).start()
                threading.Thread(target=self.forward, args=(server, client, None), daemon=True).start()

    def forward(self, source, target, requests):
        with contextlib.suppress(OSError):
            while data := source.recv(READ_BYTES):
                if requests and any(self.is_awaited(message) for message in requests.read(data)):
                    self.hold()
                target.sendall(data)
            target.shutdown(socket.SHUT_WR)

    def hold(self):
        if not self.held.is_set():
            self.held.set()
            self.on_hold()
        self.let_go.wait()

    def release(self):
        self.let_go.set()

    def close(self):
        self.let_go.set()
        for open_socket in self.sockets:
            open_socket.close()

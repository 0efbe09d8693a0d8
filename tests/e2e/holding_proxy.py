"""A TCP proxy that forwards gRPC until it sees a request of a kind, and then holds everything from there on until told."""
import contextlib
import socket
import threading

READ_BYTES = 1 << 16
PREFACE_BYTES = 24  # of HTTP/2: what a client sends before its first frame
FRAME_HEADER_BYTES = 9  # length (3), type, flags, stream (4)
DATA, HEADERS, RST_STREAM = 0, 1, 3  # types of frames
MESSAGE_HEADER_BYTES = 5  # of gRPC: compressed or not, length (4)
MOST_WAITED_FOR_BYTES = 1 << 15  # a stream has 64 KiB until its server allows more


def frames_of(source):
    """What a client sends, frame by frame: type, stream, bytes. The preface comes first, as a frame of no type."""
    rest, preface = b"", True
    while data := source.recv(READ_BYTES):
        rest += data
        while preface or len(rest) >= FRAME_HEADER_BYTES:
            length = PREFACE_BYTES if preface else FRAME_HEADER_BYTES + int.from_bytes(rest[:3], "big")
            if len(rest) < length:
                break
            frame, rest = rest[:length], rest[length:]
            yield (None, 0, frame) if preface else (frame[3], int.from_bytes(frame[5:9], "big"), frame)
            preface = False


class HoldingProxy:
    """Clients connect to `address`; what they send goes to `server`, and its answers go back. A call is kept back as a whole, with all
    that follows, when is_awaited(its first message) holds; on_hold is called then, once."""

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
                threading.Thread(target=self.forward_calls, args=(client, server), daemon=True).start()
                threading.Thread(target=self.forward_answers, args=(server, client), daemon=True).start()

    def forward_calls(self, client, server):
        """The head of a call waits for its first message: the server would measure the call's time limit from there."""
        waiting, begun = b"", {}
        with contextlib.suppress(OSError):
            for kind, stream, frame in frames_of(client):
                waiting += frame
                if kind == HEADERS:
                    begun[stream] = b""
                elif kind == DATA and stream in begun:
                    begun[stream] += frame[FRAME_HEADER_BYTES:]
                    if self.is_whole(begun[stream]) and self.is_awaited(begun.pop(stream)[MESSAGE_HEADER_BYTES:]):
                        self.hold()
                elif kind == RST_STREAM:
                    begun.pop(stream, None)
                if not begun:
                    server.sendall(waiting)
                    waiting = b""
            server.shutdown(socket.SHUT_WR)

    @staticmethod
    def is_whole(message):
        length = MESSAGE_HEADER_BYTES + int.from_bytes(message[1:MESSAGE_HEADER_BYTES], "big")
        return len(message) >= min(length, MOST_WAITED_FOR_BYTES)

    @staticmethod
    def forward_answers(server, client):
        with contextlib.suppress(OSError):
            while data := server.recv(READ_BYTES):
                client.sendall(data)
            client.shutdown(socket.SHUT_WR)

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

"""A host of the mining socket, written from docs/spec/mining.md alone; it judges by the second verifier."""
import contextlib
import os
import pathlib
import socket
import struct
import sys
import threading
import time

sys.path.insert(0, str(pathlib.Path(__file__).resolve().parent.parent))
import verify_mx8  # noqa: E402

DEADLINE_S = 120


def until(what, holds):
    """Waits for a condition; fails when it does not come."""
    end = time.monotonic() + DEADLINE_S
    while not holds():
        assert time.monotonic() < end, f"{what}: not within {DEADLINE_S} s"
        os.sched_yield()


def frame(kind, body=b""):
    return struct.pack("<IB", len(body) + 1, kind) + body


def work(number, difficulty, parent=0, core=bytes([7]) * 32):
    ancestors = [bytes([(parent - back) % 256]) * 32 for back in range(16)]
    head = struct.pack("<BQ", 1, number) + core + difficulty.to_bytes(16, "little")
    return {"number": number, "core": core, "ancestors": ancestors, "difficulty": difficulty,
            "frame": frame(1, head + bytes([len(ancestors)]) + b"".join(ancestors))}


class Host:
    """Says what it is told to, and keeps what certificates came and what the verifier said of them."""

    def __init__(self, folder):
        self.path = str(folder / "mining")
        self.wins = []
        self.mined = 0
        self.said = None
        self._connections = []
        self._lock = threading.Lock()
        self._socket = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
        self._socket.bind(self.path)
        self._socket.listen()
        threading.Thread(target=self._accept, daemon=True).start()

    def say(self, said):
        """Work (or raw bytes) to everybody, now and later."""
        with self._lock:
            self.said = said
            for connection in self._connections:
                self._send(connection, said)

    def stop(self):
        with contextlib.suppress(OSError):
            self._socket.shutdown(socket.SHUT_RDWR)
        self._socket.close()
        # Without the lock: who holds it may wait for a task that reads slowly, and this ends that.
        for connection in list(self._connections):
            with contextlib.suppress(OSError):
                connection.shutdown(socket.SHUT_RDWR)

    @staticmethod
    def _send(connection, said):
        with contextlib.suppress(OSError):
            connection.sendall(said["frame"] if isinstance(said, dict) else said)

    def _accept(self):
        with contextlib.suppress(OSError):
            while True:
                connection, _ = self._socket.accept()
                with self._lock:
                    self._connections.append(connection)
                    if self.said is not None:
                        self._send(connection, self.said)
                threading.Thread(target=self._listen, args=(connection,), daemon=True).start()

    def _listen(self, connection):
        def read(count):
            data = b""
            while len(data) < count:
                more = connection.recv(count - len(data))
                if not more:
                    raise EOFError
                data += more
            return data

        with contextlib.suppress(EOFError, OSError):
            while True:
                (length,) = struct.unpack("<I", read(4))
                body = read(length)
                kind, number = struct.unpack("<BQ", body[:9])
                if kind == 17:
                    assert length == 9 and number >= self.mined
                    self.mined = number
                    continue
                asked = self.said
                try:
                    assert kind == 16 and length <= 34_499 and number == asked["number"]
                    verify_mx8.verify(body[9:], asked["core"], asked["ancestors"], asked["difficulty"])
                    self.wins.append((number, None))
                    answer = 0
                except (AssertionError, verify_mx8.Refused) as error:
                    self.wins.append((number, error))
                    answer = 2
                with self._lock:
                    self._send(connection, frame(3, struct.pack("<QB", number, answer)))

"""A slow wire between two TAP devices, for kernels without netem.

    slow_wire.py ONE OTHER DELAY_MS LOSS BITS_PER_S

Makes the two devices, prints "ready", and carries frames from each to the other: each is late by DELAY_MS, lost with
the probability LOSS, and takes its turn at BITS_PER_S. What is still on the way is bounded; frames beyond that are
lost, too. Told to end, it prints how many frames it carried and how many it lost.
"""
import fcntl
import os
import random
import select
import signal
import struct
import sys
import time

TUNSETIFF = 0x400454CA
IFF_TAP, IFF_NO_PI = 0x0002, 0x1000
# As much as a router's buffer holds.
MOST_BYTES = 4 << 20


def tap(name: str) -> int:
    device = os.open("/dev/net/tun", os.O_RDWR | os.O_NONBLOCK)
    fcntl.ioctl(device, TUNSETIFF, struct.pack("16sH22x", name.encode(), IFF_TAP | IFF_NO_PI))
    return device


def main() -> None:
    one, other, delay_ms, loss, bits_per_s = sys.argv[1:]
    delay, loss, rate = float(delay_ms) / 1e3, float(loss), float(bits_per_s) / 8
    ends = [tap(one), tap(other)]
    dice = random.Random(1)
    waiting: list[list[tuple[float, bytes]]] = [[], []]  # for each end, what is to come out there
    free_at, held, counts = [0.0, 0.0], [0, 0], {"carried": 0, "lost": 0}

    def end(*_: object) -> None:
        print(counts["carried"], counts["lost"], flush=True)
        sys.exit(0)

    signal.signal(signal.SIGTERM, end)
    print("ready", flush=True)
    while True:
        now = time.monotonic()
        for to in (0, 1):
            while waiting[to] and waiting[to][0][0] <= now:
                _, frame = waiting[to].pop(0)
                held[to] -= len(frame)
                try:
                    os.write(ends[to], frame)
                    counts["carried"] += 1
                except OSError:  # the device is still down
                    counts["lost"] += 1
        due = [queue[0][0] for queue in waiting if queue]
        readable, _, _ = select.select(ends, [], [], max(0.0, min(due) - now) if due else None)
        for end_read in readable:
            to = 1 - ends.index(end_read)
            try:
                frame = os.read(end_read, 65536)
            except OSError:
                continue
            if dice.random() < loss or held[to] + len(frame) > MOST_BYTES:
                counts["lost"] += 1
                continue
            free_at[to] = max(free_at[to], time.monotonic()) + len(frame) / rate
            held[to] += len(frame)
            waiting[to].append((free_at[to] + delay, frame))


main()

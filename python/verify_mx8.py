#!/usr/bin/env python3
"""A second verifier of matmul certificates, written from docs/spec/matmul.md alone, in plain Python.

    verify_mx8.py VECTORS.json

It shares no line with the Rust crate, not even the hash. For each case of the vectors it recomputes what the rules say
from the entries (roots, keys, every ticket, the product), verifies the certificate, and sees that changed certificates
are refused. It prints one line a case; exit code 1 at the first difference.
"""
import json
import struct
import sys

MASK = 0xFFFFFFFF
IV = (0x6A09E667, 0xBB67AE85, 0x3C6EF372, 0xA54FF53A, 0x510E527F, 0x9B05688C, 0x1F83D9AB, 0x5BE0CD19)
ORDER = (2, 6, 3, 10, 7, 0, 4, 13, 1, 11, 12, 5, 9, 14, 15, 8)
CHUNK_START, CHUNK_END, PARENT, ROOT, KEYED, CONTEXT, MATERIAL = (1 << bit for bit in range(7))
GROUP, SEGMENT, STRIPE = 16, 1024, 128


# --- BLAKE3 ----------------------------------------------------------------------------------------

def compress(chain, words, counter, length, flags):
    """The sixteen words of one compression."""
    v = [*chain, *IV[:4], counter & MASK, counter >> 32, length, flags]
    m = list(words)
    for turn in range(7):
        for a, b, c, d, x, y in (
            (0, 4, 8, 12, 0, 1), (1, 5, 9, 13, 2, 3), (2, 6, 10, 14, 4, 5), (3, 7, 11, 15, 6, 7),
            (0, 5, 10, 15, 8, 9), (1, 6, 11, 12, 10, 11), (2, 7, 8, 13, 12, 13), (3, 4, 9, 14, 14, 15),
        ):
            va, vb, vc, vd = v[a], v[b], v[c], v[d]
            va = (va + vb + m[x]) & MASK
            vd ^= va
            vd = (vd >> 16 | vd << 16) & MASK
            vc = (vc + vd) & MASK
            vb ^= vc
            vb = (vb >> 12 | vb << 20) & MASK
            va = (va + vb + m[y]) & MASK
            vd ^= va
            vd = (vd >> 8 | vd << 24) & MASK
            vc = (vc + vd) & MASK
            vb ^= vc
            v[a], v[b], v[c], v[d] = va, (vb >> 7 | vb << 25) & MASK, vc, vd
        if turn < 6:
            m = [m[place] for place in ORDER]
    return [v[i] ^ v[i + 8] for i in range(8)] + [v[i + 8] ^ chain[i] for i in range(8)]


def words_of(block):
    return struct.unpack("<16I", block.ljust(64, b"\0"))


def chunk_node(data, key, counter, flags):
    """The inputs of a chunk's last compression."""
    blocks = [data[at:at + 64] for at in range(0, len(data), 64)] or [b""]
    chain = key
    for place, block in enumerate(blocks[:-1]):
        chain = compress(chain, words_of(block), counter, 64, flags | (CHUNK_START if place == 0 else 0))[:8]
    start = CHUNK_START if len(blocks) == 1 else 0
    return chain, words_of(blocks[-1]), counter, len(blocks[-1]), flags | start | CHUNK_END


def tree_node(data, key, first, flags):
    """The inputs of the last compression of a subtree."""
    if len(data) <= 1024:
        return chunk_node(data, key, first, flags)
    chunks = (len(data) - 1) // 1024
    left = 1024 << (chunks.bit_length() - 1)
    halves = [tree_node(data[:left], key, first, flags), tree_node(data[left:], key, first + left // 1024, flags)]
    words = [word for half in halves for word in compress(*half)[:8]]
    return key, words, 0, 64, flags | PARENT


def blake3(data, count=32, key=IV, flags=0):
    chain, words, counter, length, flags = tree_node(data, key, 0, flags)
    counter = counter if not flags & PARENT else 0
    out = b""
    for block in range((count + 63) // 64):
        out += struct.pack("<16I", *compress(chain, words, block, length, flags | ROOT))
    return out[:count]


def keyed(key, data):
    return blake3(data, 32, struct.unpack("<8I", key), KEYED)


CONTEXT_KEYS = {}


def derive(context, data, count=32):
    """H and XOF of the specification."""
    if context not in CONTEXT_KEYS:
        CONTEXT_KEYS[context] = struct.unpack("<8I", blake3(f"pouw mx8 v1 {context}".encode(), 32, IV, CONTEXT))
    return blake3(data, count, CONTEXT_KEYS[context], MATERIAL)


# --- the rules -------------------------------------------------------------------------------------

def u32(*numbers):
    return struct.pack(f"<{len(numbers)}I", *numbers)


def leaf(side, data, salt, number):
    return derive(f"leaf {side}", data + salt + struct.pack("<Q", number))


def nodes(leaves):
    """ceil(log2(leaves))."""
    return (leaves - 1).bit_length()


def climb(node, number, path):
    for level, sibling in enumerate(path):
        node = derive("node", sibling + node if number >> level & 1 else node + sibling)
    return node


def root(leaves):
    level = leaves + [bytes(32)] * ((1 << nodes(len(leaves))) - len(leaves))
    while len(level) > 1:
        level = [derive("node", level[at] + level[at + 1]) for at in range(0, len(level), 2)]
    return level[0]


def keys(anchor, core, root_a, root_b, m, k, n):
    key_b = derive("KB", anchor + root_b + u32(k, n))
    return derive("KA", key_b + core + root_a + u32(m)), key_b


def shuffle(context, key_b, stripe):
    words = struct.unpack("<128I", derive(context, key_b + u32(stripe), 512))
    order = list(range(128))
    for a in range(127, 0, -1):
        b = words[a] * (a + 1) >> 32
        order[a], order[b] = order[b], order[a]
    return order


def noise(context, key, group):
    data = derive(context, key + u32(group), 2048)
    return [[(byte & 127) - 64 for byte in data[128 * line:128 * line + 128]] for line in range(GROUP)]


def signed(data):
    return [byte - 256 if byte > 127 else byte for byte in data]


def noisy(data, strip, orders):
    """Sixteen lines of a leaf with their noise."""
    lines = []
    for line in range(GROUP):
        entries = signed(data[SEGMENT * line:SEGMENT * (line + 1)])
        lines.append([x + strip[line][orders[c // STRIPE][c % STRIPE]] for c, x in enumerate(entries)])
    return lines


def replay(rows, columns):
    """X_0 … X_7 and the final accumulators."""
    sums, seen = [[0] * GROUP for _ in range(GROUP)], []
    raised = [[x + 128 for x in row] for row in rows]
    for at in range(0, SEGMENT, STRIPE):
        seen.append(0)
        parts = [column[at:at + STRIPE] for column in columns]
        for r, row in enumerate(raised):
            part = row[at:at + STRIPE]
            for c, column in enumerate(parts):
                sums[r][c] += sum(x * y for x, y in zip(part, column))
                seen[-1] ^= sums[r][c] & MASK
    return seen, sums


class Refused(Exception):
    """A certificate that proves nothing."""


def require(holds, reason):
    if not holds:
        raise Refused(reason)


def verify(data, core, ancestors, difficulty):
    """M-8; gives back (i, j, s), the transcript and the value."""
    require(len(data) >= 122, "head")
    version, depth, m, n, k, i, j, s = struct.unpack("<BB6I", data[:26])
    require(version == 1, "version")
    require(1 <= depth <= 16, "depth")
    require(k % 1024 == 0 and 1024 <= k <= 32768, "k")
    require(all(x % 16 == 0 and 16 <= x <= 1 << 24 for x in (m, n)), "m or n")
    segments = k // SEGMENT
    require(i < m // 16 and j < n // 16 and s < segments, "position")
    nodes_a, nodes_b = nodes(m // 16 * segments), nodes(n // 16 * segments)
    require(len(data) == 122 + 32768 + 32 * (nodes_a + nodes_b), "length")
    require(depth <= len(ancestors), "anchor")
    require(1 << 18 <= difficulty < 1 << 128, "difficulty")
    root_a, root_b, salt_a, salt_b = data[26:58], data[58:90], data[90:106], data[106:122]
    leaf_a, leaf_b, rest = data[122:16506], data[16506:32890], data[32890:]
    require(all(abs(x) <= 63 for x in signed(leaf_a + leaf_b)), "entry")
    path = [rest[at:at + 32] for at in range(0, len(rest), 32)]
    q_a, q_b = i * segments + s, j * segments + s
    require(climb(leaf("A", leaf_a, salt_a, q_a), q_a, path[:nodes_a]) == root_a, "A")
    require(climb(leaf("B", leaf_b, salt_b, q_b), q_b, path[nodes_a:]) == root_b, "B")
    key_a, key_b = keys(ancestors[depth - 1], core, root_a, root_b, m, k, n)
    pi = [shuffle("permE", key_b, t) for t in range(8 * s, 8 * s + 8)]
    rho = [shuffle("permF", key_b, t) for t in range(8 * s, 8 * s + 8)]
    rows = noisy(leaf_a, noise("EL", key_a, i), pi)
    columns = noisy(leaf_b, noise("FR", key_b, j), rho)
    seen, _ = replay(rows, columns)
    value = keyed(key_a, u32(*seen, i, j, s) + bytes(20))
    require(int.from_bytes(value, "little") < ((1 << 256) - 1) // difficulty << 18, "target")
    return (i, j, s), seen, value


# --- the vectors -----------------------------------------------------------------------------------

def entries(label, count, constant):
    if constant is not None:
        return bytes([constant & 255]) * count
    return bytes((byte % 127 - 63) & 255 for byte in derive("vector", label.encode(), count))


def salt(label, side, number):
    key = derive("vector", label.encode())
    return keyed(key, side.encode() + struct.pack("<Q", number))[:16]


def same(name, found, expected):
    if found != expected:
        sys.exit(f"{name}: {found!r}, the vector says {expected!r}")


def operand(side, count, k, constant):
    """An operand's leaves by number, and its root."""
    data = entries(side, count * k, constant)
    leaves, hashes = [], []
    for group in range(count // GROUP):
        for segment in range(k // SEGMENT):
            at = [(group * GROUP + line) * k + segment * SEGMENT for line in range(GROUP)]
            leaves.append(b"".join(data[place:place + SEGMENT] for place in at))
            number = len(leaves) - 1
            hashes.append(leaf(side, leaves[-1], salt(f"salts {side}", side, number), number))
    return data, leaves, root(hashes)


def check_job(case):
    """Recomputes a whole job."""
    m, k, n, constant = case["m"], case["k"], case["n"], case["constant"]
    a, leaves_a, root_a = operand("A", m, k, constant)
    b, leaves_b, root_b = operand("B", n, k, constant)
    same("root_a", root_a.hex(), case["root_a"])
    same("root_b", root_b.hex(), case["root_b"])
    anchor = bytes.fromhex(case["ancestors"][case["depth"] - 1])
    key_a, key_b = keys(anchor, bytes.fromhex(case["core"]), root_a, root_b, m, k, n)
    same("key_a", key_a.hex(), case["key_a"])
    same("key_b", key_b.hex(), case["key_b"])
    segments = k // SEGMENT
    pi = [shuffle("permE", key_b, t) for t in range(k // STRIPE)]
    rho = [shuffle("permF", key_b, t) for t in range(k // STRIPE)]
    strips_a = [noise("EL", key_a, group) for group in range(m // GROUP)]
    strips_b = [noise("FR", key_b, group) for group in range(n // GROUP)]
    part = lambda leaves, strips, orders: [  # noqa: E731
        noisy(data, strips[q // segments], orders[q % segments * 8:q % segments * 8 + 8]) for q, data in enumerate(leaves)
    ]
    rows, columns = part(leaves_a, strips_a, pi), part(leaves_b, strips_b, rho)
    blocks = b""
    for i in range(m // GROUP):
        for j in range(n // GROUP):
            for s in range(segments):
                seen, _ = replay(rows[i * segments + s], columns[j * segments + s])
                blocks += u32(*seen, i, j, s) + bytes(20)
    same("ticket_blocks", blake3(blocks).hex(), case["ticket_blocks"])
    a, b = signed(a), signed(b)
    plain = [sum(x * y for x, y in zip(a[k * r:k * r + k], b[k * c:k * c + k])) for r in range(m) for c in range(n)]
    same("product", blake3(struct.pack(f"<{m * n}i", *plain)).hex(), case["product"])


def check_certificate(case):
    data, core = bytes.fromhex(case["certificate"]), bytes.fromhex(case["core"])
    ancestors, difficulty = [bytes.fromhex(x) for x in case["ancestors"]], int(case["difficulty"])
    place, seen, value = verify(data, core, ancestors, difficulty)
    same("ticket", {**dict(zip("ijs", place)), "transcript": seen}, case["ticket"])
    same("value", value.hex(), case["value"])
    changed = {place: data[:place] + bytes([data[place] ^ 1]) + data[place + 1:] for place in (0, 2, 14, 30, 60, 91, 107, 200, 20000)}
    changed |= {"short": data[:-1], "long": data + b"\0", "int7": data[:130] + b"\x40" + data[131:]}
    for name, wrong in changed.items():
        try:
            verify(wrong, core, ancestors, difficulty)
        except Refused:
            continue
        sys.exit(f"accepted with a change at {name}")
    try:
        verify(data, core, ancestors, difficulty * 2)
    except Refused as refused:
        same("twice the difficulty", str(refused), "target")
    else:
        sys.exit("accepted at twice the difficulty")


def main():
    if len(sys.argv) != 2 or sys.argv[1] in ("-h", "--help"):
        print(__doc__)
        return 0 if len(sys.argv) == 2 else 2
    same("BLAKE3 of nothing", blake3(b"").hex(), "af1349b9f5f9a1a6a0404dea36dcc9499bcb25c9adc112b7cc9a93cae41f3262")
    with open(sys.argv[1], encoding="utf-8") as file:
        cases = json.load(file)["cases"]
    for case in cases:
        check_certificate(case)
        check_job(case)
        print(f"{case['name']}: {case['m']}x{case['k']}x{case['n']} agrees")
    return 0


if __name__ == "__main__":
    sys.exit(main())

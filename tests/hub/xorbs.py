"""Xorbs and shards of one's own, as clients of the Xet protocol make them."""

import struct

import blake3

CHUNK_KEY = bytes.fromhex("6697f5775b9550de3135cbaca597181c9de421109beb2b58b4d0b04b93adf229")
NODE_KEY = bytes.fromhex("017ec5c7a5472996fd946666b48a02e65ddd536f37c76dd2f86352e64a53713f")


def turned(digest):
    """Turns the bytes of each of the four numbers of a hash."""
    return b"".join(digest[at : at + 8][::-1] for at in range(0, 32, 8))


def xorb(*chunks):
    """Returns the name of a xorb of plain chunks, and its bytes."""
    header = lambda chunk: b"\0" + len(chunk).to_bytes(3, "little")
    body = b"".join(header(chunk) + header(chunk) + chunk for chunk in chunks)
    nodes = [(blake3.blake3(chunk, key=CHUNK_KEY).digest(), len(chunk)) for chunk in chunks]
    while len(nodes) > 1:
        above = []
        while nodes:
            most = min(9, len(nodes))
            ends = (at + 1 for at in range(2, most) if nodes[at][0][24] % 4 == 0)
            group = nodes[: next(ends, most)]
            nodes = nodes[len(group) :]
            text = "".join(f"{turned(hash).hex()} : {length}\n" for hash, length in group)
            hash = blake3.blake3(text.encode(), key=NODE_KEY).digest()
            above.append((hash, sum(length for _, length in group)))
        nodes = above
    return turned(nodes[0][0]).hex(), body


def record(hash, *rest):
    return hash + struct.pack("<4I", *rest)


def shard(*files):
    """Returns a shard of files: the SHA-256 and the terms of each; a term is the hash of a xorb, a
    length, and the first and the end chunk."""
    out = record(bytes(32), 2, 0, 0, 0)
    for digest, terms in files:
        out += record(digest, 1 << 30, len(terms), 0, 0)
        for hash, length, first, end in terms:
            out += record(hash, 0, length, first, end)
        out += record(turned(digest), 0, 0, 0, 0)
    return out + record(b"\xff" * 32, 0, 0, 0, 0)

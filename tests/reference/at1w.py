"""A second decoder for .at1w files, written from docs/FORMAT.md alone.

It is there to prove that the page suffices and to be read beside it, and not
to be fast. The functions have the names that the page uses.

    python at1w.py FILE                          prints "sha256  name" for each tensor
    python at1w.py FILE -o OUT.safetensors       writes the original file
"""

import argparse
import json
import math
import sys
import zlib
from hashlib import sha256

MAGIC = b"at1w\r\n\x1a\n"
END_MAGIC = b"\nat1wEND"
TRAILER = 176
RECORD = 48
MAX = 524_288

# Plain Python needs about a second for each MiB of chaining states. Those of
# longer tensors are not recomputed; their SHA-256 is checked all the same.
CHAINING_LIMIT = 2 << 20

BITS = {"F4": 4, "F6_E2M3": 6, "F6_E3M2": 6}
BITS |= dict.fromkeys(["BOOL", "U8", "I8", "F8_E5M2", "F8_E4M3", "F8_E8M0"], 8)
BITS |= dict.fromkeys(["F8_E4M3FNUZ", "F8_E5M2FNUZ"], 8)
BITS |= dict.fromkeys(["I16", "U16", "F16", "BF16"], 16)
BITS |= dict.fromkeys(["I32", "U32", "F32"], 32)
BITS |= dict.fromkeys(["I64", "U64", "F64", "C64"], 64)
PLANES = {"I16": 2, "U16": 2, "I32": 4, "U32": 4, "I64": 8, "U64": 8}
PLANES |= {"F16": 2, "BF16": 2, "F32": 4, "C64": 4, "F64": 8}
ROTATED = {"F16", "BF16", "F32", "C64", "F64"}


class At1wError(ValueError):
    """The file is not what the page allows."""


def require(condition, where, message):
    if not condition:
        raise At1wError(f"{where}: {message}")


class Cursor:
    """Reads bytes from front to back."""

    def __init__(self, data, where):
        self.data, self.where, self.at = data, where, 0

    def take(self, length):
        require(length <= len(self.data) - self.at, self.where, "ends too early")
        self.at += length
        return self.data[self.at - length : self.at]

    def rest(self):
        return self.take(len(self.data) - self.at)

    def number(self, size):
        return int.from_bytes(self.take(size), "little")

    def varint(self):
        value = 0
        for shift in range(0, 70, 7):
            byte = self.number(1)
            value |= (byte & 127) << shift
            if byte < 128:
                require(byte or not shift, self.where, "a varint is not in its shortest form")
                require(value < 1 << 64, self.where, "a varint exceeds 64 bits")
                return value
        raise At1wError(f"{self.where}: a varint is longer than 10 bytes")

    def end(self):
        require(self.at == len(self.data), self.where, "bytes are left over")


# SHA-256 with access to its chaining states, which hashlib does not give.


def root_of_prime(power, bits, count):
    """The first `bits` of the fraction of the square or cube roots of the first primes."""
    primes = [p for p in range(2, 312) if all(p % q for q in range(2, math.isqrt(p) + 1))]
    for prime in primes[:count]:
        low, high = 0, 8 << bits + 2
        while high - low > 1:
            middle = (low + high) // 2
            low, high = (low, middle) if middle**power > prime << bits * power else (middle, high)
        yield low % (1 << bits)


INITIAL = tuple(root_of_prime(2, 32, 8))
ROUNDS = tuple(root_of_prime(3, 32, 64))


def absorb(state, message):
    """The chaining state after whole blocks of a message."""
    mask = 0xFFFFFFFF
    for at in range(0, len(message), 64):
        w = [int.from_bytes(message[i : i + 4], "big") for i in range(at, at + 64, 4)]
        for i in range(16, 64):
            # A word beside its own copy turns a rotation into a shift.
            x, y = w[i - 15] * 0x100000001, w[i - 2] * 0x100000001
            s0 = x >> 7 ^ x >> 18 ^ w[i - 15] >> 3
            s1 = y >> 17 ^ y >> 19 ^ w[i - 2] >> 10
            w.append(w[i - 16] + (s0 & mask) + w[i - 7] + (s1 & mask) & mask)
        a, b, c, d, e, f, g, h = state
        for k, word in zip(ROUNDS, w):
            x, y = e * 0x100000001, a * 0x100000001
            t = h + ((x >> 6 ^ x >> 11 ^ x >> 25) & mask) + (g ^ e & (f ^ g)) + k + word
            u = ((y >> 2 ^ y >> 13 ^ y >> 22) & mask) + (a & b | c & (a | b))
            a, b, c, d, e, f, g, h = t + u & mask, a, b, c, d + t & mask, e, f, g
        state = tuple(x + y & mask for x, y in zip(state, (a, b, c, d, e, f, g, h)))
    return state


def state_bytes(state):
    return b"".join(word.to_bytes(4, "big") for word in state)


# Huffman


def huffman_table(cursor):
    """What the next 11 bits mean: a symbol and the length of its code."""
    first, count = cursor.number(1), cursor.number(1) + 1
    require(first + count <= 256, cursor.where, "a Huffman table goes past symbol 255")
    halves = [half for byte in cursor.take((count + 1) // 2) for half in (byte & 15, byte >> 4)]
    lengths = halves[:count]
    require(not any(halves[count:]), cursor.where, "the unused half of a Huffman table is not 0")
    require(max(lengths) <= 11, cursor.where, "a Huffman code is longer than 11 bits")
    require(lengths[0] and lengths[-1], cursor.where, "a Huffman table does not end at codes")
    table = []
    for length, symbol in sorted((x, first + i) for i, x in enumerate(lengths) if x):
        table += [(symbol, length)] * (1 << 11 - length)
    require(len(table) == 1 << 11, cursor.where, "a Huffman code is not complete")
    return table


def huffman_stream(stream, n, table, where):
    plane = bytearray()
    bits = have = 0
    source = iter(stream + bytes(2))  # the last code may be looked up past the end
    try:
        for _ in range(n):
            while have < 11:
                bits = bits << 8 | next(source)
                have += 8
            symbol, length = table[bits >> have - 11]
            plane.append(symbol)
            have -= length
            bits &= (1 << have) - 1
    except StopIteration:
        raise At1wError(f"{where}: a Huffman stream ends too early") from None
    rest = bytes(source)
    left = have + 8 * (len(rest) - 2)
    require(0 <= left < 8, where, "a Huffman stream does not end with its last code")
    require(not bits and not any(rest), where, "a Huffman stream is not filled up with zeros")
    return plane


def huffman_streams(cursor, n, table):
    if n < 1024:
        return huffman_stream(cursor.rest(), n, table, cursor.where)
    segment = -(-n // 4)
    lengths = [cursor.varint() for _ in range(3)]
    streams = [cursor.take(length) for length in lengths] + [cursor.rest()]
    sizes = [segment] * 3 + [n - 3 * segment]
    return b"".join(
        huffman_stream(stream, size, table, cursor.where) for stream, size in zip(streams, sizes)
    )


# Lanes


def lane_table(cursor):
    """For each slot the symbol (None is the escape), the frequency, and slot - start."""
    head = cursor.number(1)
    escape, entries = head >> 7, (head & 127) + 1
    require(entries <= 16, cursor.where, "a lane table has more than 16 entries")
    symbols = list(cursor.take(entries - escape))
    require(symbols == sorted(set(symbols)), cursor.where, "the symbols of a lane table do not rise")
    freqs = [byte + 1 for byte in cursor.take(entries - 1)]
    freqs.append(256 - sum(freqs))
    require(freqs[-1] >= 1, cursor.where, "the frequencies of a lane table exceed 256")
    symbols += [None] * escape
    slots = [(s, freq, i) for s, freq in zip(symbols, freqs) for i in range(freq)]
    return tuple(zip(*slots))


def lane_stream(cursor, n, lanes, table):
    symbols, freqs, offsets = table
    escaped = cursor.take(cursor.varint()) if None in symbols else b""
    states = [cursor.number(2) for _ in range(lanes)]
    require(min(states) >= 256, cursor.where, "a lane starts below 256")
    escaped, shared = iter(escaped), iter(cursor.rest())
    plane = bytearray()
    try:
        for i in range(n):
            lane = i % lanes
            x = states[lane]
            slot = x & 255
            symbol = symbols[slot]
            plane.append(next(escaped) if symbol is None else symbol)
            x = freqs[slot] * (x >> 8) + offsets[slot]
            if x < 256:
                x = x << 8 | next(shared)
            states[lane] = x
    except StopIteration:
        raise At1wError(f"{cursor.where}: the shared bytes or escaped symbols run out") from None
    require(states == [256] * lanes, cursor.where, "a lane does not end at 256")
    require(not bytes(shared), cursor.where, "shared bytes are left over")
    require(not bytes(escaped), cursor.where, "escaped symbols are left over")
    return plane


# Chunks


def read_model(data, planes, where):
    """The kind and table of each plane."""
    if not data:
        return [(0, None)] * planes
    cursor = Cursor(data, f"{where}, model")
    model = []
    for _ in range(planes):
        kind = cursor.number(1)
        require(kind <= 2, cursor.where, "a table has an unknown kind")
        model.append((kind, [lambda _: None, huffman_table, lane_table][kind](cursor)))
    cursor.end()
    require(any(kind for kind, _ in model), cursor.where, "has no table but is not empty")
    return model


def decode_plane(mode, lanes, cursor, n, model):
    """A plane that is coded: modes 2 to 5."""
    kind, read_table, decode = {
        1: (1, huffman_table, lambda table: huffman_streams(cursor, n, table)),
        2: (2, lane_table, lambda table: lane_stream(cursor, n, lanes, table)),
    }[mode // 2]
    if mode % 2:
        return decode(read_table(cursor))
    require(model[0] == kind, cursor.where, "the model lacks its table")
    return decode(model[1])


def decode_payload(payload, length, dtype, model, where):
    """The raw bytes of a chunk."""
    require(len(payload) <= length + 1, where, "the payload is longer than the raw bytes plus one")
    cursor = Cursor(payload, where)
    if length == 0:
        require(not payload, where, "the payload of a chunk without bytes is not empty")
        return b""
    method = cursor.number(1)
    require(method <= 1, where, "unknown method")
    if method == 0:
        raw = cursor.take(length)
        cursor.end()
        return raw
    n = length // len(model)
    directory = []
    for _ in model:
        high, mode = divmod(cursor.number(1), 16)
        require(mode <= 5, where, "unknown mode")
        require(high <= (2 if mode >= 4 else 0), where, "the high bits of a mode are not allowed")
        constant = cursor.take(1) if mode == 1 else None
        size = 0 if mode == 1 else n if mode == 0 else cursor.varint()
        directory.append((mode, 64 << high, constant, size))
    planes = []
    for p, (mode, lanes, constant, size) in enumerate(directory):
        stream = Cursor(cursor.take(size), f"{where}, plane {p}")
        if mode == 0:
            planes.append(stream.rest())
        elif mode == 1:
            planes.append(constant * n)
        else:
            planes.append(decode_plane(mode, lanes, stream, n, model[p]))
    cursor.end()
    return merge(planes, dtype in ROTATED)


def merge(planes, rotated):
    """Puts words together from planes and rotates each right by one bit."""
    width, n = len(planes), len(planes[0])
    raw = bytearray(width * n)
    for p, plane in enumerate(planes):
        raw[p::width] = plane
    if rotated:  # all words at once, as one big integer
        words = int.from_bytes(raw, "little")
        signs = words & int.from_bytes((b"\1" + bytes(width - 1)) * n, "little")
        raw = ((words ^ signs) >> 1 | signs << 8 * width - 1).to_bytes(width * n, "little")
    return bytes(raw)


# The file


class Pairs(list):
    """A JSON object: json's dict would hide names that come twice."""

    def __init__(self, pairs):
        super().__init__(pairs)
        for pair in pairs:
            for text in pair:
                if isinstance(text, str):
                    text.encode()  # a lone surrogate is a UnicodeEncodeError


def refuse_constant(text):
    raise ValueError(f"{text} is no JSON")


def read_header(header):
    """Name, dtype, shape, begin and end of each tensor, in data order."""
    try:
        top = json.loads(
            header.decode(),
            object_pairs_hook=Pairs,
            # A size may not be negative, nor be written as -0.
            parse_int=lambda text: float(text) if text[0] == "-" else int(text),
            parse_constant=refuse_constant,
        )
    except (ValueError, RecursionError) as error:
        raise At1wError(f"header: {error}") from None
    require(isinstance(top, Pairs), "header", "is not a JSON object")
    names = [name for name, _ in top]
    require(len(names) == len(set(names)), "header", "a name comes twice")
    tensors = []
    for name, value in top:
        where = f"header, {name!r}"
        if name == "__metadata__":
            text = isinstance(value, Pairs) and all(isinstance(v, str) for _, v in value)
            require(value is None or text, where, "is not a map of strings")
            continue
        require(isinstance(value, Pairs), where, "is not a JSON object")
        keys = sorted(k for k, _ in value if k in ("dtype", "shape", "data_offsets"))
        require(keys == ["data_offsets", "dtype", "shape"], where, "fields are missing or twice")
        info = dict(value)
        dtype, shape, offsets = info["dtype"], info["shape"], info["data_offsets"]
        require(isinstance(dtype, str), where, "the dtype is not a string")
        for sizes in (shape, offsets):
            plain = isinstance(sizes, list) and all(type(x) is int and x < 1 << 64 for x in sizes)
            require(plain, where, "sizes are not a list of integers of 64 bits")
        require(len(offsets) == 2, where, "data_offsets are not two")
        tensors.append((name, dtype, shape, *offsets))
    tensors.sort(key=lambda tensor: tensor[3:])
    check_layout(tensors)
    return tensors


def check_layout(tensors):
    """The data have no gaps, and each tensor is as long as dtype and shape say."""
    at = 0
    for name, dtype, shape, begin, end in tensors:
        where = f"header, {name!r}"
        require(at == begin <= end, where, "the data have gaps or overlap")
        at = end
        elements = 1
        for size in shape:
            elements *= size
            require(elements < 1 << 64, where, "the number of elements exceeds 64 bits")
        if dtype in BITS:
            bits = elements * BITS[dtype]
            require(bits < 1 << 64 and bits == 8 * (end - begin), where, "has the wrong length")


def chunk_length(length, dtype, shape):
    if length <= MAX:
        return length
    unit = 64
    if BITS.get(dtype, 0) >= 8:
        row = BITS[dtype] // 8
        for size in [1, *reversed(shape)]:
            row *= size
            if math.lcm(row, 64) > MAX:
                break
            unit = math.lcm(row, 64)
    return MAX // unit * unit


class Tensor:
    def __init__(self, name, dtype, shape, length, digest, stored, model_length):
        self.name, self.dtype, self.shape, self.digest = name, dtype, shape, digest
        self.where = f"tensor {name!r}"
        step = chunk_length(length, dtype, shape)
        self.lengths = [min(step, length - at) for at in range(0, length, step)] if length else [0]
        chunks = len(self.lengths)
        table = 36 * chunks - 32 if chunks > 1 else 0
        payloads = len(stored) - model_length - table
        require(payloads >= 0, self.where, "the stored length is too short")
        self.payloads = Cursor(stored[:payloads], self.where)
        self.model = stored[payloads : payloads + model_length]
        chunk_table = Cursor(stored[payloads + model_length :], self.where)
        self.sizes = [chunk_table.number(4) for _ in range(chunks)] if table else [payloads]
        require(sum(self.sizes) == payloads, self.where, "the payload lengths do not add up")
        self.states = [chunk_table.take(32) for _ in range(chunks - 1)]
        self.content_digest = digest
        if table:
            content = b"at1w tensor v1\n\0" + b"".join(self.states) + digest
            self.content_digest = sha256(content).digest()

    def decode(self):
        """The raw bytes."""
        planes = read_model(self.model, PLANES.get(self.dtype, 1), self.where)
        chunks, state = [], INITIAL
        self.payloads.at = 0
        for i, (size, length) in enumerate(zip(self.sizes, self.lengths)):
            where = f"{self.where}, chunk {i}"
            payload = self.payloads.take(size)
            raw = decode_payload(payload, length, self.dtype, planes, where)
            if i < len(self.states) and sum(self.lengths) <= CHAINING_LIMIT:
                state = absorb(state, raw)
                require(state_bytes(state) == self.states[i], where, "wrong chaining state")
            chunks.append(raw)
        raw = b"".join(chunks)
        require(sha256(raw).digest() == self.digest, self.where, "wrong SHA-256")
        return raw


class File:
    def __init__(self, data):
        require(len(data) >= len(MAGIC) + TRAILER, "file", "is too short")
        require(data.startswith(MAGIC), "file", "does not begin with the magic")
        require(data.endswith(END_MAGIC), "trailer", "does not end with the magic")
        body, trailer = data[:-TRAILER], Cursor(data[-TRAILER:], "trailer")
        index_at, count, stored_header, header_length = (trailer.number(8) for _ in range(4))
        index_digest, root = trailer.take(32), trailer.take(32)
        self.size, self.digest = trailer.number(8), trailer.take(32)
        required, _optional, encoding = trailer.number(8), trailer.number(8), trailer.number(1)
        zeros, version = trailer.number(3), trailer.number(4)
        require(version == 1, "trailer", f"unknown version {version}")
        checksum = sha256(data[-TRAILER:][:160]).digest()[:8]
        require(trailer.take(8) == checksum, "trailer", "wrong checksum")
        require(required == 0, "trailer", f"unknown required features {required:#x}")
        require(encoding <= 1, "trailer", f"unknown header encoding {encoding}")
        require(zeros == 0, "trailer", "bytes 153 to 155 are not 0")
        require(header_length <= 100_000_000, "trailer", "the header is too long")
        require(len(MAGIC) <= index_at <= len(body), "trailer", "the index is not in the file")

        require(sha256(body[index_at:]).digest() == index_digest, "index", "wrong SHA-256")
        index = Cursor(body[index_at:], "index")
        records = Cursor(index.take(RECORD * count), "index")
        require(stored_header <= len(index.data) - index.at, "index", "is too short for the header")
        digests = Cursor(index.take(len(index.data) - index.at - stored_header), "content digests")
        self.header = inflate(index.rest(), header_length) if encoding else index.rest()
        require(len(self.header) == header_length, "header", "has the wrong length")
        described = read_header(self.header)
        require(len(described) == count, "header", "has another number of tensors than the trailer")
        data_length = described[-1][4] if described else 0
        require(8 + header_length + data_length == self.size, "header", "has another original size")

        stored = Cursor(body[:index_at], "stored tensors")
        stored.take(len(MAGIC))
        self.tensors = []
        for name, dtype, shape, begin, end in described:
            digest, stored_length = records.take(32), records.number(8)
            model_length, kind, flags, zeros = (records.number(size) for size in (4, 1, 1, 2))
            require(kind == flags == zeros == 0, f"tensor {name!r}", "unknown model kind or flags")
            chunk = stored.take(stored_length)
            tensor = Tensor(name, dtype, shape, end - begin, digest, chunk, model_length)
            if tensor.states:
                same = digests.take(32) == tensor.content_digest
                require(same, tensor.where, "another content digest than in the index")
            self.tensors.append(tensor)
        stored.end()
        digests.end()
        content = b"at1w root v1\n\0\0\0" + header_length.to_bytes(8, "little") + self.header
        content += b"".join(tensor.content_digest for tensor in self.tensors)
        require(sha256(content).digest() == root, "trailer", "wrong root")

    def original(self):
        """The original safetensors file."""
        parts = [len(self.header).to_bytes(8, "little"), self.header]
        original = b"".join(parts + [tensor.decode() for tensor in self.tensors])
        require(len(original) == self.size, "original file", "wrong size")
        require(sha256(original).digest() == self.digest, "original file", "wrong SHA-256")
        return original


def inflate(stored, length):
    require(length <= 64 * len(stored), "header", "inflates to more than 64 times its length")
    inflater = zlib.decompressobj(-15)
    try:
        header = inflater.decompress(stored, length + 1)
    except zlib.error as error:
        raise At1wError(f"header: {error}") from None
    require(inflater.eof and not inflater.unused_data, "header", "the deflate stream does not fit")
    return header


def load(path):
    with open(path, "rb") as file:
        return File(file.read())


def main():
    parser = argparse.ArgumentParser(description="Decode an .at1w file.")
    parser.add_argument("file")
    parser.add_argument("-o", metavar="OUT.safetensors", help="write the original file")
    args = parser.parse_args()
    try:
        file = load(args.file)
        if args.o is None:
            for tensor in file.tensors:
                print(f"{sha256(tensor.decode()).hexdigest()}  {tensor.name}")
            return
        original = file.original()
        with open(args.o, "wb") as out:
            out.write(original)
    except (At1wError, OSError) as error:
        sys.exit(f"error: {error}")


if __name__ == "__main__":
    main()

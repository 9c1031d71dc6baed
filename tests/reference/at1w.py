"""A second decoder for .at1w files, written from docs/FORMAT.md alone.

It proves that the page suffices, and is there to be read beside the page, not to be fast.
Functions and variables have the names that the page uses.

    python at1w.py FILE                          prints "sha256  name" for each tensor
    python at1w.py FILE -o OUT.safetensors       writes the original file
    python at1w.py FILE --base BASE ...          the same for a file that has bases
"""

import argparse
import json
import math
import struct
import sys
import zlib
from hashlib import sha256

MAGIC = b"at1w\r\n\x1a\n"
END_MAGIC = b"\nat1wEND"
TRAILER = struct.Struct("<4Q32s32sQ32s2QB3sI8s8s")
RECORD = struct.Struct("<32sQI2BH")
MAX = 524_288

# Plain Python needs about a second for each MiB of chaining states. The states of longer tensors
# are not recomputed; their SHA-256 is checked all the same.
CHAINING_LIMIT = 2 << 20

BITS = {"F4": 4, "F6_E2M3": 6, "F6_E3M2": 6}
BITS |= dict.fromkeys(["BOOL", "U8", "I8", "F8_E5M2", "F8_E4M3", "F8_E8M0"], 8)
BITS |= dict.fromkeys(["F8_E4M3FNUZ", "F8_E5M2FNUZ"], 8)
BITS |= dict.fromkeys(["I16", "U16", "F16", "BF16"], 16)
BITS |= dict.fromkeys(["I32", "U32", "F32"], 32)
BITS |= dict.fromkeys(["I64", "U64", "F64", "C64"], 64)
ROTATED = {"F16", "BF16", "F32", "C64", "F64"}
FIELDS = ("dtype", "shape", "data_offsets")

FINE_BYTES, BASES = 1, 2  # the features that there are (section 2)


class At1wError(ValueError):
    """A file that the page does not allow."""


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


# SHA-256 with its chaining states, which hashlib does not give (section 5.3).

MASK = 0xFFFFFFFF
PRIMES = [p for p in range(2, 312) if all(p % q for q in range(2, p))]
INITIAL = tuple(int(p ** (1 / 2) * 2**32) & MASK for p in PRIMES[:8])
ROUNDS = tuple(int(p ** (1 / 3) * 2**32) & MASK for p in PRIMES)


def absorb(state, message):
    """Returns the chaining state after whole blocks of a message."""
    for at in range(0, len(message), 64):
        w = [int.from_bytes(message[i : i + 4], "big") for i in range(at, at + 64, 4)]
        for i in range(16, 64):
            # A word beside its own copy turns a rotation into a shift.
            x, y = w[i - 15] * 0x100000001, w[i - 2] * 0x100000001
            s0 = x >> 7 ^ x >> 18 ^ w[i - 15] >> 3
            s1 = y >> 17 ^ y >> 19 ^ w[i - 2] >> 10
            w.append(w[i - 16] + (s0 & MASK) + w[i - 7] + (s1 & MASK) & MASK)
        a, b, c, d, e, f, g, h = state
        for k, word in zip(ROUNDS, w):
            x, y = e * 0x100000001, a * 0x100000001
            t = h + ((x >> 6 ^ x >> 11 ^ x >> 25) & MASK) + (g ^ e & (f ^ g)) + k + word
            u = ((y >> 2 ^ y >> 13 ^ y >> 22) & MASK) + (a & b | c & (a | b))
            a, b, c, d, e, f, g, h = t + u & MASK, a, b, c, d + t & MASK, e, f, g
        state = tuple(x + y & MASK for x, y in zip(state, (a, b, c, d, e, f, g, h)))
    return state


def state_bytes(state):
    return b"".join(word.to_bytes(4, "big") for word in state)


# Huffman (section 7.3)


def huffman_table(cursor):
    """Returns, for all values of the next 11 bits, the symbol and the length of its code."""
    first, count = cursor.number(1), cursor.number(1) + 1
    require(first + count <= 256, cursor.where, "a Huffman table goes past symbol 255")
    halves = [half for byte in cursor.take((count + 1) // 2) for half in (byte & 15, byte >> 4)]
    lengths, unused = halves[:count], halves[count:]
    require(not any(unused), cursor.where, "the unused half of a Huffman table is not 0")
    require(lengths[0] and lengths[-1], cursor.where, "a Huffman table does not end at codes")
    require(max(lengths) <= 11, cursor.where, "a Huffman code is longer than 11 bits")
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


# Lanes (section 7.4)


def lane_table(cursor):
    """Returns for each slot the symbol (None is the escape), the frequency, and slot - start."""
    head = cursor.number(1)
    escape, entries = head >> 7, (head & 127) + 1
    require(entries <= 32, cursor.where, "a lane table has more than 32 entries")
    symbols = list(cursor.take(entries - escape))
    require(symbols == sorted(set(symbols)), cursor.where, "the symbols of a table do not rise")
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
    require(min(states) >= 256, cursor.where, "a lane state is below 256")
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
    left = bytes(shared) + bytes(escaped)
    require(not left, cursor.where, "shared bytes or escaped symbols are left over")
    return plane


# Packed planes (section 7.2)


def packed_stream(cursor, n, field, fill):
    shift, width = field & 15, field >> 4
    mask = (1 << width) - 1 << shift
    require(1 <= width <= 7 and shift + width <= 8, cursor.where, "the field is not in a byte")
    require(not fill & mask, cursor.where, "the fill has bits in the field")
    symbols = cursor.take(cursor.varint())
    places, next_place = [], 0
    for _ in symbols:
        places.append(next_place + cursor.varint())
        next_place = places[-1] + 1
    plane = bytearray(fill | value << shift for value in packed_fields(cursor, n, width))
    cursor.end()
    require(next_place <= n, cursor.where, "an exception lies beyond the plane")
    for place, symbol in zip(places, symbols):
        plane[place] = symbol
    return plane


def packed_fields(cursor, n, width):
    values = bytearray()
    for start in range(0, n, 512):
        group = min(512, n - start)
        block = -(-group // 8)
        data = cursor.take(block * width)
        # The fields of a column, one after the other in an integer.
        columns = [int.from_bytes(data[j::block], "little") for j in range(block)]
        fields = [c >> k * width & (1 << width) - 1 for k in range(8) for c in columns]
        require(not any(fields[group:]), cursor.where, "a group is not filled up with zeros")
        values += bytes(fields[:group])
    return values


# Alias lanes (section 7.5)


class AliasTable:
    def __init__(self, cursor):
        where, head, first = cursor.where, cursor.number(1), cursor.number(1)
        entries = cursor.number(1) + 1
        self.shift, self.turned, self.escape = head & 63, head >> 6 & 1, head >> 7
        require(self.shift <= 3, where, "the shift is more than 3")
        require(2 <= entries <= 64, where, "the number of entries is out of range")
        values = 256 >> self.shift
        listed = entries - self.escape
        require(first < values and listed <= values, where, "there are not so many values")
        freqs = [cursor.varint() for _ in range(entries - 1)]
        freqs.append(4096 - sum(freqs))
        require(0 <= freqs[-1] and max(freqs) < 4096, where, "the frequencies do not add up")
        symbols = [(first + i) % values << self.shift for i in range(listed)]
        self.slots = alias_slots(symbols + [None] * self.escape, freqs)


def alias_slots(symbols, freqs):
    """Returns for each slot the symbol (None is the escape), the frequency, and the number."""
    buckets = 32 if len(freqs) <= 32 else 64
    size = 4096 // buckets
    left = freqs + [0] * (buckets - len(freqs))
    own, alias, offset = [0] * buckets, list(range(buckets)), [0] * buckets
    givers = iter([i for i in range(buckets) if left[i] > size])
    below = [i for i in range(buckets) if left[i] < size]
    giver = next(givers, None)
    for b in below:
        while left[b] < size and giver is not None:
            left[giver] -= size - left[b]
            own[b], alias[b], offset[b] = left[b], giver, left[giver] - left[b]
            b = giver
            if left[giver] < size:
                giver = next(givers, None)
    slots = []
    for b in range(buckets):
        for place in range(size):
            mine = place < own[b]
            entry, number = (b, place) if mine else (alias[b], offset[b] + place)
            slots.append((symbols[entry], freqs[entry], number))
    return slots


def alias_stream(cursor, n, lanes, table):
    escaped = iter(cursor.take(cursor.varint()) if table.escape else b"")
    low = packed_fields(cursor, n, table.shift) if table.shift else bytes(n)
    states = [cursor.number(4) for _ in range(lanes)]
    require(min(states) >= 1 << 16, cursor.where, "a lane state is below 65536")
    units = read_units(cursor)
    plane = bytearray()
    try:
        for i in range(n):
            x = states[i % lanes]
            symbol, freq, number = table.slots[x & 4095]
            symbol = (next(escaped) if symbol is None else symbol) + low[i] & 255
            plane.append(symbol >> 1 | (symbol & 1) << 7 if table.turned else symbol)
            x = freq * (x >> 12) + number
            states[i % lanes] = x << 16 | next(units) if x < 1 << 16 else x
    except StopIteration:
        raise At1wError(f"{cursor.where}: the units or escaped symbols run out") from None
    require(set(states) == {1 << 16}, cursor.where, "a lane does not end at 65536")
    require(not list(units) + list(escaped), cursor.where, "units or symbols are left over")
    return plane


def read_units(cursor):
    rest = cursor.rest()
    require(not len(rest) % 2, cursor.where, "half a unit is left over")
    return iter(struct.unpack(f"<{len(rest) // 2}H", rest))


# Models and payloads (sections 8 to 13, and 17)


def read_table(kind, cursor):
    require(kind <= 3, cursor.where, "unknown kind of table")
    return (lambda _: None, huffman_table, lane_table, AliasTable)[kind](cursor)


NO_TABLE = (0, None)


class Model:
    """The scale, and the kind and the table of each plane (sections 8 and 10)."""

    def __init__(self, data, planes, rotated, where, features=0):
        self.planes, self.rotated = planes, rotated
        self.flags = self.base = self.shift = 0
        self.row_length, self.columns = 1, b""
        self.contexts = self.byte_contexts = self.differences = None
        self.rows_table, self.tables = NO_TABLE, [NO_TABLE] * planes
        if not data:
            return
        cursor = Cursor(data, f"{where}, model")
        self.flags = cursor.number(1)
        if self.flags == 16:
            require(features & FINE_BYTES, where, "the file does not have the feature fine-bytes")
            require(planes == 1, where, "byte contexts of several planes")
            self.flags, self.byte_contexts = 0, ByteContexts(cursor)
            self.row_length = max(self.byte_contexts.row_length, self.byte_contexts.columns)
            cursor.end()
            return
        if self.flags == 32:
            require(features & BASES, where, "the file does not have the feature bases")
            self.flags, self.differences = 0, Differences(cursor, planes, rotated)
            cursor.end()
            fine = any(kind == 3 for tables in self.differences.tables for kind, _ in tables)
            known = not fine or features & FINE_BYTES
            require(known, where, "the file does not have the feature fine-bytes")
            return
        if self.flags:
            self.read_scale(cursor)
        if self.rows:
            self.rows_table = self.read_kind(cursor)
        self.tables = [self.read_kind(cursor) for _ in range(planes)]
        cursor.end()
        fine = any(kind == 3 for kind, _ in [self.rows_table, *self.tables])
        known = not fine or features & FINE_BYTES
        require(known, where, "the file does not have the feature fine-bytes")
        says = self.flags or any(kind for kind, _ in self.tables)
        require(says, cursor.where, "has neither a scale nor a table, yet has bytes")

    @property
    def rows(self):
        return self.flags & 2

    def read_scale(self, cursor):
        known = self.flags < 16 and self.flags & 9 != 9
        require(known and self.rotated, cursor.where, "unknown scale")
        self.base = cursor.number(2)
        if self.flags & 14:
            self.shift, self.row_length = cursor.number(1), cursor.varint()
            require(self.shift <= 7, cursor.where, "the shift is more than 7")
            require(1 <= self.row_length <= 1 << 18, cursor.where, "the row length is out of range")
        if self.flags & 4:
            self.columns = read_plane(cursor, self.row_length)
        if self.flags & 8:
            self.contexts = Contexts(self, cursor)

    @staticmethod
    def read_kind(cursor):
        kind = cursor.number(1)
        return kind, read_table(kind, cursor)

    def row_count(self, position, n):
        first, last = position // self.row_length, (position + n - 1) // self.row_length
        return last - first + 1 if self.rows else 0

    def unscale(self, raw, position, rows):
        """Returns the words before scaling, from the words that the planes make."""
        if not self.flags:
            return raw
        size = self.planes
        bits, out = 8 * size, bytearray()
        first_row = position // self.row_length
        for i in range(len(raw) // size):
            word = int.from_bytes(raw[size * i : size * (i + 1)], "little")
            if self.flags & 1:
                word = word >> 1 | (word & 1) << bits - 1
            row, column = divmod(position + i, self.row_length)
            steps = rows[row - first_row] if rows else 0
            steps += self.columns[column] if self.columns else 0
            top = word >> bits - 16
            offset = self.base + (steps << self.shift)
            top = top & 0x8000 | (top & 0x7FFF) - offset & 0x7FFF
            word = top << bits - 16 | word & (1 << bits - 16) - 1
            out += word.to_bytes(size, "little")
        return bytes(out)


class Contexts:
    """The contexts of a model (section 11)."""

    ESCAPE = 0x78

    def __init__(self, model, cursor):
        self.shift, count = cursor.number(1), cursor.number(1)
        of, count = count >> 6, count & 63
        where = cursor.where
        known = of <= 2 and self.shift <= 7 and 1 <= count <= 16
        require(known, where, "contexts are out of range")
        self.columns = read_plane(cursor, model.row_length) if of == 2 else bytes(model.row_length)
        self.prediction = Prediction(model.row_length, count, cursor) if of == 1 else None
        known = all(column & 127 < count for column in self.columns)
        require(known, where, "a column has an unknown context")
        exponents = [[cursor.varint() for _ in range(31)] + [0] for _ in range(count)]
        sums = all(sum(e) == 4096 and e[15] for e in exponents)
        require(sums, where, "exponents do not add up, or leave no escape")
        mantissas = [self.read_mantissas(cursor) for _ in range(15)]
        self.tables = [self.table(e, mantissas) for e in exponents]

    @staticmethod
    def read_mantissas(cursor):
        first = cursor.number(1)
        if not first:
            return [32] * 8
        freqs = [first, *cursor.take(6)]
        freqs.append(256 - sum(freqs))
        require(freqs[-1] >= 0, cursor.where, "mantissas do not add up")
        require(freqs != [32] * 8, cursor.where, "mantissas are not in their one spelling")
        return freqs

    def table(self, exponents, mantissas):
        """Returns for each slot the symbol, the frequency, and slot - start."""
        slots, before = [], 0
        for symbol in range(256):
            exponent = symbol >> 3 & 15
            if exponent < 15:
                weight = exponents[symbol >> 3] * mantissas[exponent][symbol & 7]
            else:
                weight = exponents[15] * 256 if symbol == self.ESCAPE else 0
            freq = (before + weight) // 64 - before // 64
            slots += [(symbol, freq, i) for i in range(freq)]
            before += weight
        return slots

    def tops(self, cursor, below, position):
        """Decodes the top 16 bits of each element."""
        escapes = iter([cursor.number(2) for _ in range(cursor.varint())])
        log = cursor.number(1)
        require(log <= 5, cursor.where, "too many lanes")
        states = [cursor.number(4) for _ in range(1 << log)]
        require(min(states) >= 1 << 16, cursor.where, "a lane state is below 65536")
        units = read_units(cursor)
        symbols, tops, mask = [0] * len(below), [], (1 << self.shift) - 1
        order = self.prediction.order if self.prediction else self.order
        try:
            for i, place, context_byte in order(symbols, position, cursor.where):
                lane = place & (1 << log) - 1
                x = states[lane]
                symbol, freq, offset = self.tables[context_byte & 127][x & 0x3FFF]
                x = freq * (x >> 14) + offset
                states[lane] = x << 16 | next(units) if x < 1 << 16 else x
                symbols[i] = symbol if symbol == self.ESCAPE else symbol ^ context_byte & 128
            for symbol, low in zip(symbols, below):
                require(low <= mask, cursor.where, "bits are set beside a symbol")
                if symbol == self.ESCAPE:
                    kept = next(escapes)
                    require(kept >> 16 - self.shift == 0, cursor.where, "an escape is too large")
                    tops.append(kept << self.shift | low)
                else:
                    tops.append((symbol & 128) << 8 | (symbol & 127) << self.shift | low)
        except StopIteration:
            raise At1wError(f"{cursor.where}: the units or escapes run out") from None
        require(set(states) == {1 << 16}, cursor.where, "a lane does not end at 65536")
        left = list(units) + list(escapes)
        require(not left, cursor.where, "units or escapes are left over")
        return tops

    def order(self, symbols, position, _where):
        """Yields, in coded order, the element of each symbol, its place mod lanes, its context."""
        for i in range(len(symbols)):
            yield i, i, self.columns[(position + i) % len(self.columns)]


class Prediction:
    """The prediction of a model (section 12)."""

    BOUNDS = (1, 3, 5, 8, 11, 14, 18, 22, 27, 34, 42, 54, 70, 90, 110)

    def __init__(self, row_length, count, cursor):
        where = cursor.where
        self.row_length = row_length
        self.levels = [half for byte in cursor.take(8) for half in (byte & 15, byte >> 4)]
        require(row_length <= 8192, where, "rows are too long to be predicted")
        require(max(self.levels) < count, where, "a level has an unknown context")
        self.intercepts = signed(read_plane(cursor, row_length))
        counts = read_plane(cursor, row_length)
        total = sum(counts)
        require(max(counts) <= 32 and 1 <= total <= 1 << 17, where, "terms are out of range")
        low, high = read_plane(cursor, total), read_plane(cursor, total)
        coefficients = signed(read_plane(cursor, total))
        distances = iter(zip(low, high, coefficients))
        self.terms = []
        for column, terms in enumerate(counts):
            at, chosen = 0, []
            for _ in range(terms):
                below, above, coefficient = next(distances)
                at += below | above << 8
                require(at < column, where, "a term is not before its column")
                chosen.append((at, coefficient))
                at += 1
            self.terms.append(chosen)

    def order(self, symbols, position, where):
        """Does what Contexts.order does; looks at the symbols of earlier columns."""
        rest = position % self.row_length or len(symbols) % self.row_length
        require(not rest, where, "a chunk of parts of rows is predicted")
        rows = len(symbols) // self.row_length
        for first in range(0, rows, 64):
            group = range(first, min(first + 64, rows))
            values = []
            for column, terms in enumerate(self.terms):
                for row in group:
                    i = row * self.row_length + column
                    predicted = 32 * self.intercepts[column]
                    for term, coefficient in terms:
                        predicted += coefficient * values[term][row - first] >> 8
                    predicted = (predicted + 0x8000) % 0x10000 - 0x8000
                    level = sum(bound <= abs(predicted) >> 5 for bound in self.BOUNDS)
                    yield i, row - first, self.levels[level] | (predicted < 0) << 7
                places = (row * self.row_length + column for row in group)
                values.append([self.value(symbols[i]) for i in places])

    @staticmethod
    def value(symbol):
        exponent = symbol >> 3 & 15
        value = (8 + (symbol & 7) << exponent) >> 3 if exponent < 15 else 0
        return -value if symbol & 128 else value


class ByteContexts:
    """The byte contexts of a model (section 17)."""

    def __init__(self, cursor):
        where = cursor.where
        self.row_length, self.columns = cursor.varint(), cursor.varint()
        lengths = range(1, (1 << 18) + 1)
        require(self.row_length in lengths and self.columns in lengths, where, "unknown rows")
        classes, self.escape, mirror = cursor.take(3)
        self.row_classes, self.column_classes = (classes & 15) + 1, (classes >> 4) + 1
        contexts = self.row_classes * self.column_classes
        require(contexts <= 16, where, "too many contexts")
        require(mirror <= 2, where, "unknown mirror")
        self.of_columns = bytes(1)
        if self.column_classes > 1:
            self.of_columns = read_plane(cursor, self.columns)
            known = max(self.of_columns) < self.column_classes
            require(known, where, "a column has an unknown class")
        stored = (256, 128, 129)[mirror]
        differences = read_plane(cursor, stored * contexts)
        self.tables = []
        for at in range(0, len(differences), stored):
            levels = [0]
            for d in differences[at : at + stored]:
                levels.append(levels[-1] + (-(d + 1) // 2 if d % 2 else d // 2))
            known = 0 <= min(levels) and max(levels) <= 104
            require(known, where, "a level is out of range")
            levels = levels[1:]
            if mirror == 1:
                levels += levels
            elif mirror == 2:
                levels += levels[127:0:-1]
            self.tables.append(self.table(levels, where))

    @staticmethod
    def table(levels, where):
        """Returns for each slot the symbol, the frequency, and slot - start."""
        weights = [8 + (v - 1) % 8 << (v - 1) // 8 if v else 0 for v in levels]
        total, before, slots = sum(weights), 0, []
        require(total, where, "a context has no symbols")
        for symbol, weight in enumerate(weights):
            freq = 4096 * (before + weight) // total - 4096 * before // total
            require(freq < 4096, where, "a context has one symbol alone")
            slots += [(symbol, freq, i) for i in range(freq)]
            before += weight
        return slots

    def decode(self, cursor, n, position):
        first = position // self.row_length
        rows = bytes((position + n - 1) // self.row_length - first + 1)
        if self.row_classes > 1:
            entry = read_entry(cursor, len(rows))
            stream = Cursor(cursor.take(entry[-1]), f"{cursor.where}, rows")
            rows = decode_plane(entry, stream, len(rows), NO_TABLE)
            stream.end()
            known = max(rows) < self.row_classes
            require(known, cursor.where, "a row has an unknown class")
        escaped = iter(cursor.take(cursor.varint()))
        log = cursor.number(1)
        require(log <= 5, cursor.where, "too many lanes")
        states = [cursor.number(4) for _ in range(1 << log)]
        require(min(states) >= 1 << 16, cursor.where, "a lane state is below 65536")
        units, raw = read_units(cursor), bytearray()
        try:
            for i in range(n):
                at, lane = position + i, i & (1 << log) - 1
                context = rows[at // self.row_length - first] * self.column_classes
                if self.column_classes > 1:
                    context += self.of_columns[at % self.columns]
                x = states[lane]
                symbol, freq, number = self.tables[context][x & 4095]
                x = freq * (x >> 12) + number
                states[lane] = x << 16 | next(units) if x < 1 << 16 else x
                raw.append(next(escaped) if symbol == self.escape else symbol)
        except StopIteration:
            raise At1wError(f"{cursor.where}: the units or escapes run out") from None
        require(set(states) == {1 << 16}, cursor.where, "a lane does not end at 65536")
        require(not list(units) + list(escaped), cursor.where, "units or escapes are left over")
        return bytes(raw)


class Differences:
    """Differences to a base (section 18)."""

    def __init__(self, cursor, planes, rotated):
        self.planes, self.rotated = planes, rotated
        byte = cursor.number(1)
        count, self.alone = (byte & 127) + 1, byte >> 7
        require(count <= 4 and (rotated or not byte), cursor.where, "too many classes")
        self.firsts = list(cursor.take(count - 1))
        rises = self.firsts == sorted(set(self.firsts)) and 0 not in self.firsts
        require(rises, cursor.where, "the classes do not rise")
        self.tables = [[Model.read_kind(cursor) for _ in range(planes)] for _ in range(count)]

    def decode(self, cursor, n, base):
        size, bits = self.planes, 8 * self.planes
        words = [int.from_bytes(base[size * i : size * (i + 1)], "little") for i in range(n)]
        classes = [self.class_of(word) for word in words]
        entries = []
        for c, tables in enumerate(self.tables):
            if count := classes.count(c):
                entries.append((c, count, [read_entry(cursor, count) for _ in tables]))
        differences = {}
        for c, count, of_class in entries:
            planes = []
            for entry, table in zip(of_class, self.tables[c]):
                stream = Cursor(cursor.take(entry[-1]), f"{cursor.where}, class {c}")
                planes.append(decode_plane(entry, stream, count, table))
            merged = merge(planes, False)
            numbers = [merged[i : i + size] for i in range(0, len(merged), size)]
            differences[c] = iter([int.from_bytes(number, "little") for number in numbers])
        raw = bytearray()
        for word, c in zip(words, classes):
            folded = next(differences[c])
            difference = -(folded + 1) // 2 if folded & 1 else folded // 2
            word = 0 if self.alone and c == 0 else word
            word = self.rising(self.rising(word) + difference & (1 << bits) - 1)
            raw += word.to_bytes(size, "little")
        return bytes(raw)

    def class_of(self, word):
        exponent = word >> 8 * self.planes - 9 & 255 if self.planes > 1 else word << 1 & 255
        return sum(first <= exponent for first in self.firsts)

    def rising(self, word):
        sign = 1 << 8 * self.planes - 1
        return word ^ sign - 1 if self.rotated and word & sign else word


def rounded(base, dtype):
    """Rounds words of F32 to BF16 or F16 (section 18.3)."""
    raw = bytearray()
    for i in range(0, len(base), 4):
        word = int.from_bytes(base[i : i + 4], "little")
        sign, magnitude = word >> 31, word & 0x7FFFFFFF
        if dtype == "BF16":
            if magnitude > 0x7F800000:
                half = magnitude >> 16 | 0x40
            else:
                half = magnitude + 0x7FFF + (magnitude >> 16 & 1) >> 16
        elif magnitude > 0x7F800000:
            half = 0x7E00 | magnitude >> 13 & 0x3FF
        elif magnitude >= 0x477FF000:
            half = 0x7C00
        else:
            exponent = max(magnitude >> 23, 1)
            mantissa = magnitude & 0x7FFFFF | (0x800000 if magnitude >> 23 else 0)
            shift = 13 if exponent >= 113 else 126 - exponent
            cut = mantissa + (1 << shift - 1) - 1 + (mantissa >> shift & 1) >> shift
            half = cut + (exponent - 113 << 10) if exponent >= 113 else cut
        raw += (sign << 15 | half).to_bytes(2, "little")
    return bytes(raw)


def signed(symbols):
    return [symbol - 256 if symbol > 127 else symbol for symbol in symbols]


def read_plane(cursor, n):
    """Decodes a plane in the model (section 8)."""
    entry = read_entry(cursor, n)
    stream = Cursor(cursor.take(entry[-1]), f"{cursor.where}, plane")
    plane = decode_plane(entry, stream, n, NO_TABLE)
    stream.end()
    return plane


def read_entry(cursor, n):
    """Returns the mode, its high bits, what else the entry holds, and the stream length."""
    high, mode = divmod(cursor.number(1), 16)
    require(mode <= 7, cursor.where, "unknown mode")
    require(high <= {4: 2, 5: 2, 7: 1}.get(mode, 0), cursor.where, "unknown mode")
    more = cursor.take((0, 1, 0, 0, 0, 0, 2, 0)[mode])
    return mode, high, more, (n, 0)[mode] if mode < 2 else cursor.varint()


def decode_plane(entry, stream, n, model):
    mode, high, more, _ = entry
    if mode == 0:
        return stream.take(n)
    if mode == 1:
        return more * n
    if mode == 6:
        return packed_stream(stream, n, *more)
    if mode == 7:
        require(model[0] == 3, stream.where, "the model lacks its table")
        return alias_stream(stream, n, 64 << high, model[1])
    kind, own = divmod(mode, 2)
    require(own or model[0] == kind, stream.where, "the model lacks its table")
    table = read_table(kind, stream) if own else model[1]
    if kind == 1:
        return huffman_streams(stream, n, table)
    return lane_stream(stream, n, 64 << high, table)


def decode_payload(payload, length, model, position, where, inner=False, base=None):
    """Decodes the raw bytes of a chunk. An inner payload is a part of another one."""
    require(len(payload) <= length + 1, where, "the payload is longer than the raw bytes plus one")
    cursor = Cursor(payload, where)
    method = cursor.number(1) if length else 0
    known = method <= 1 if inner else method <= 6
    require(known, where, f"unknown method {method}")
    n = length // model.planes
    if method == 0:
        raw = cursor.take(length)
    elif method == 1:
        plain = Model(b"", model.planes, model.rotated, where)
        other = model.contexts or model.byte_contexts or model.differences
        raw = decode_planes(cursor, n, plain if other else model, position)
    elif method == 2:
        raw = decode_matches(cursor, n, model)
    elif method == 4:
        require(base is not None, where, "the tensor has no base")
        raw = base
    elif method == 5:
        require(base is not None, where, "the tensor has no base")
        require(model.differences, where, "the model has no differences")
        raw = model.differences.decode(cursor, n, base)
    elif method == 6:
        require(model.byte_contexts, where, "the model has no byte contexts")
        raw = model.byte_contexts.decode(cursor, n, position)
    else:
        require(model.contexts, where, "the model has no contexts")
        raw = decode_contexts(cursor, n, model, position)
    cursor.end()
    return raw


def decode_planes(cursor, n, model, position):
    rows = model.row_count(position, n)
    sizes = [rows] * bool(rows) + [n] * model.planes
    tables = [model.rows_table] * bool(rows) + model.tables
    entries = [read_entry(cursor, size) for size in sizes]
    planes = []
    for p, (entry, size, table) in enumerate(zip(entries, sizes, tables)):
        stream = Cursor(cursor.take(entry[-1]), f"{cursor.where}, plane {p}")
        planes.append(decode_plane(entry, stream, size, table))
    row_steps = planes.pop(0) if rows else b""
    return model.unscale(merge(planes, model.rotated), position, row_steps)


def decode_contexts(cursor, n, model, position):
    rows = model.row_count(position, n)
    row_entries = [read_entry(cursor, rows)] if rows else []
    symbols = cursor.varint()
    entries = [read_entry(cursor, n) for _ in range(model.planes - 1)]
    row_steps = b""
    for entry in row_entries:
        stream = Cursor(cursor.take(entry[-1]), f"{cursor.where}, rows")
        row_steps = decode_plane(entry, stream, rows, model.rows_table)
    symbols = Cursor(cursor.take(symbols), f"{cursor.where}, symbols")
    planes = []
    for p, entry in enumerate(entries):
        stream = Cursor(cursor.take(entry[-1]), f"{cursor.where}, plane {p}")
        planes.append(decode_plane(entry, stream, n, model.tables[p]))
    tops = model.contexts.tops(symbols, planes.pop(), position)
    planes += [bytes(top & 255 for top in tops), bytes(top >> 8 for top in tops)]
    return model.unscale(merge(planes, False), position, row_steps)


def decode_matches(cursor, n, model):
    """Decodes sequences of literals and matches (section 13)."""

    def part(size, count, rotated=False):
        data = cursor.take(cursor.varint())
        plain = Model(b"", size, rotated, cursor.where)
        return decode_payload(data, size * count, plain, 0, f"{cursor.where}, matches", True)

    count = cursor.varint()
    require(1 <= count <= n // 2, cursor.where, "the number of sequences is out of range")
    runs, lengths, distances = [struct.unpack(f"<{count}I", part(4, count)) for _ in range(3)]
    copied = sum(lengths)
    require(copied <= n, cursor.where, "the matches are longer than the chunk")
    flips = iter(part(1, copied) if model.rotated else bytes(copied))
    plain = Model(b"", model.planes, model.rotated, cursor.where)
    literals = cursor.rest()
    length = (n - copied) * plain.planes
    literals = Cursor(decode_payload(literals, length, plain, 0, cursor.where, True), cursor.where)
    raw = bytearray()
    for run, length, distance in zip(runs, lengths, distances):
        raw += literals.take(run * plain.planes)
        require(length >= 2, cursor.where, "a match is too short")
        back = distance * plain.planes
        require(0 < back <= len(raw), cursor.where, "a match goes back too far")
        for _ in range(length):
            start = len(raw) - back
            raw += raw[start : start + plain.planes]
            flip = next(flips)
            require(flip <= 1, cursor.where, "a flip is not 0 or 1")
            raw[-1] ^= flip << 7
    return bytes(raw + literals.rest())


def merge(planes, rotated):
    """Puts words together from planes (section 6), and rotates them right where `rotated`."""
    width, n = len(planes), len(planes[0])
    raw = bytearray(width * n)
    for p, plane in enumerate(planes):
        raw[p::width] = plane
    if rotated:  # all words at once, as one big integer
        words = int.from_bytes(raw, "little")
        signs = words & int.from_bytes((b"\1" + bytes(width - 1)) * n, "little")
        raw = ((words ^ signs) >> 1 | signs << 8 * width - 1).to_bytes(width * n, "little")
    return bytes(raw)


# The file (sections 4 and 5)


class Pairs(list):
    """A JSON object: a dict would hide names that come twice."""


def is_text(value):
    """Checks that it is a string, without the lone surrogates that Python lets through."""
    return isinstance(value, str) and value.encode(errors="ignore").decode() == value


def are_sizes(value):
    return isinstance(value, list) and all(type(x) is int and x < 1 << 64 for x in value)


def read_header(header):
    """Returns name, dtype, shape, begin and end of each tensor, in data order."""
    try:
        top = json.loads(
            header.decode(),
            object_pairs_hook=Pairs,
            parse_int=lambda text: float(text) if text[0] == "-" else int(text),  # no size is -0
            parse_constant=int,  # refuses NaN and Infinity
        )
    except (ValueError, RecursionError) as error:
        raise At1wError(f"header: {error}") from None
    require(isinstance(top, Pairs), "header", "is not a JSON object")
    require(len(top) == len({name for name, _ in top}), "header", "a name comes twice")
    tensors = []
    for name, value in top:
        where = f"header, {name!r}"
        require(is_text(name), where, "the name is not Unicode")
        if name == "__metadata__":
            texts = isinstance(value, Pairs) and all(is_text(x) for pair in value for x in pair)
            require(value is None or texts, where, "is not a map of strings")
            continue
        require(isinstance(value, list), where, "is not a JSON object")
        if not isinstance(value, Pairs):  # safetensors takes the bare values as well
            value = zip(FIELDS, value, strict=True) if len(value) == len(FIELDS) else []
        fields = [pair for pair in value if pair[0] in FIELDS]
        info = dict(fields)
        require(len(fields) == len(info) == 3, where, "a field is missing or comes twice")
        dtype, shape, offsets = (info[field] for field in FIELDS)
        require(is_text(dtype) and are_sizes(shape) and are_sizes(offsets), where, "wrong types")
        require(len(offsets) == 2, where, "data_offsets are not two")
        tensors.append((name, dtype, shape, *offsets))
    tensors.sort(key=lambda tensor: tensor[3:])
    at = 0
    for name, dtype, shape, begin, end in tensors:
        where = f"header, {name!r}"
        require(at == begin <= end, where, "the data have gaps or overlap")
        at = end
        elements = 1
        for size in shape:
            elements *= size
            require(elements < 1 << 64, where, "the number of elements exceeds 64 bits")
        bits = elements * BITS[dtype] if dtype in BITS else 8 * (end - begin)
        require(bits == 8 * (end - begin), where, "dtype and shape do not make its length")
    return tensors


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
    base = None
    depth = 0

    def __init__(self, name, dtype, shape, length, digest, stored, model_length, features, same):
        self.features, self.same = features, same
        self.name, self.dtype, self.shape, self.digest = name, dtype, shape, digest
        self.stored, self.model_length = stored, model_length
        self.where = f"tensor {name!r}"
        step = chunk_length(length, dtype, shape)
        self.lengths = [min(step, length - at) for at in range(0, length, step)] if length else [0]
        chunks = len(self.lengths)
        if same:  # the base has all that is missing here
            require(not model_length, self.where, "is the same, yet has a model")
            self.payloads = self.model = b""
            self.states, self.content_digest = [], None
            return
        table_length = 36 * chunks - 32 if chunks > 1 else 0
        payloads = len(stored) - model_length - table_length
        require(payloads >= 0, self.where, "the stored length is too short")
        require(model_length <= 528_384, self.where, "the model is too long")
        cursor = Cursor(stored, self.where)
        self.payloads, self.model = cursor.take(payloads), cursor.take(model_length)
        self.sizes = [cursor.number(4) for _ in range(chunks)] if chunks > 1 else [payloads]
        self.states = [cursor.take(32) for _ in range(chunks - 1)]
        require(sum(self.sizes) == payloads, self.where, "the payload lengths do not add up")
        content = b"at1w tensor v1\n\0" + b"".join(self.states) + digest
        self.content_digest = sha256(content).digest() if chunks > 1 else digest

    def decode(self):
        """Decodes and verifies the raw bytes."""
        base = self.base and self.base.decode()
        if self.same:
            require(sha256(base).digest() == self.digest, self.where, "wrong SHA-256")
            return base
        if base is not None and self.predictor:
            base = rounded(base, self.dtype)
        # Each part of a C64 is an element; those below 8 bits are taken as bytes.
        planes = 4 if self.dtype == "C64" else BITS.get(self.dtype, 8) // 8 or 1
        model = Model(self.model, planes, self.dtype in ROTATED, self.where, self.features)
        require(not model.differences or self.base, self.where, "has differences and no base")
        elements = sum(self.lengths) // planes
        require(model.row_length <= max(elements, 1), self.where, "rows of more than all elements")
        payloads = Cursor(self.payloads, self.where)
        chunks, state, position = [], INITIAL, 0
        for i, (size, length) in enumerate(zip(self.sizes, self.lengths)):
            where = f"{self.where}, chunk {i}"
            payload = payloads.take(size)
            start = position * planes
            of_base = None if base is None else base[start : start + length]
            raw = decode_payload(payload, length, model, position, where, base=of_base)
            chunks.append(raw)
            position += length // planes
            if i < len(self.states) and sum(self.lengths) <= CHAINING_LIMIT:
                state = absorb(state, raw)
                require(state_bytes(state) == self.states[i], where, "wrong chaining state")
        raw = b"".join(chunks)
        require(sha256(raw).digest() == self.digest, self.where, "wrong SHA-256")
        return raw


class File:
    """A packed file. The bases of its tensors are in files that were loaded before."""

    def __init__(self, data, others=()):
        require(len(data) >= len(MAGIC) + TRAILER.size, "file", "is too short")
        body, trailer = data[: -TRAILER.size], data[-TRAILER.size :]
        (
            index_at, count, stored_header, header_length, index_digest, root, self.size,
            self.digest, required, _optional, encoding, zeros, version, checksum, end_magic,
        ) = TRAILER.unpack(trailer)  # fmt: skip
        require(data.startswith(MAGIC), "file", "does not begin with the magic")
        require(end_magic == END_MAGIC, "trailer", "does not end with the magic")
        require(version == 1, "trailer", f"unknown version {version}")
        require(sha256(trailer[:160]).digest()[:8] == checksum, "trailer", "wrong checksum")
        unknown = required & ~(FINE_BYTES | BASES)
        require(not unknown, "trailer", f"unknown required features {unknown:#x}")
        require(encoding <= 1, "trailer", f"unknown header encoding {encoding}")
        require(not any(zeros), "trailer", "bytes 153 to 155 are not 0")
        require(header_length <= 100_000_000, "trailer", "the header is too long")
        require(len(MAGIC) <= index_at <= len(body), "trailer", "the index is not in the file")

        index = Cursor(body[index_at:], "index")
        require(sha256(index.data).digest() == index_digest, "index", "wrong SHA-256")
        records = index.take(RECORD.size * count)
        several = len(index.data) - index.at - stored_header
        require(several >= 0, "index", "is too short for the header")
        digests, header = Cursor(index.take(several), "content digests"), index.rest()
        self.header = inflate(header, header_length) if encoding else header
        require(len(self.header) == header_length, "header", "has the wrong length")
        described = read_header(self.header)
        require(len(described) == count, "header", "has another number of tensors than the trailer")
        data_length = described[-1][4] if described else 0
        require(8 + header_length + data_length == self.size, "header", "has another original size")

        records = list(RECORD.iter_unpack(records))
        bases = iter(())
        if required & BASES:
            lengths = [(end - begin, dtype, shape) for _, dtype, shape, begin, end in described]
            many = sum(length > chunk_length(length, *of) for length, *of in lengths)
            listed = Cursor(digests.take(32 * many), "content digests")
            bases, digests = iter(read_bases(digests, records)), listed

        stored = Cursor(body[:index_at], "stored tensors")
        stored.take(len(MAGIC))
        self.tensors = []
        for record, (name, dtype, shape, begin, end) in zip(records, described):
            digest, stored_length, model_length, kind, flags, zero = record
            known = flags <= 2 and not kind and not zero
            require(known, f"tensor {name!r}", "unknown model kind or flags")
            payloads = stored.take(stored_length)
            if flags == 1:
                require(not stored_length, f"tensor {name!r}", "is shared, yet has stored bytes")
                require(model_length < len(self.tensors), f"tensor {name!r}", "shares a later one")
                other = self.tensors[model_length]
                same = (other.dtype, other.shape, other.digest) == (dtype, shape, digest)
                require(same and not other.shared, f"tensor {name!r}", "shares another tensor")
                payloads, model_length = other.stored, other.model_length
            length = end - begin
            same = flags == 2 and not stored_length
            if flags == 1 and other.same:
                same, model_length = True, 0
            tensor = Tensor(
                name, dtype, shape, length, digest, payloads, model_length, required, same
            )
            listed = digests.take(32) if len(tensor.lengths) > 1 else digest
            known = same or listed == tensor.content_digest
            require(known, tensor.where, "wrong content digest")
            tensor.content_digest = listed
            tensor.shared = flags == 1
            if tensor.shared and other.base:
                tensor.base, tensor.predictor = other.base, other.predictor
            if flags == 2:
                require(length, tensor.where, "has a base, and no bytes")
                require(required & BASES, tensor.where, "has a base, without the feature")
                find_base(tensor, next(bases), others)
            self.tensors.append(tensor)
        stored.end()
        digests.end()
        content = b"at1w root v1\n\0\0\0" + header_length.to_bytes(8, "little") + self.header
        content += b"".join(tensor.content_digest for tensor in self.tensors)
        require(sha256(content).digest() == root, "trailer", "wrong root")

    def original(self):
        """Returns the original safetensors file."""
        parts = [len(self.header).to_bytes(8, "little"), self.header]
        original = b"".join(parts + [tensor.decode() for tensor in self.tensors])
        require(len(original) == self.size, "original file", "wrong size")
        require(sha256(original).digest() == self.digest, "original file", "wrong SHA-256")
        return original


def read_bases(cursor, records):
    """Returns the bases of the tensors that have one (section 18.1)."""
    cursor = Cursor(cursor.rest(), "bases")
    models, bases, used = cursor.number(1), [], set()
    for _ in range(models):
        cursor.take(32)
        require(cursor.take(cursor.number(1)).decode(), cursor.where, "a model has no name")
    for _, stored_length, _, _, flags, _ in records:
        if flags != 2:
            continue
        model, depth, predictor = cursor.take(3)
        require(model < models and 1 <= depth <= 8, cursor.where, "a base is out of range")
        known = predictor == 0 or predictor == 1 and stored_length
        require(known, cursor.where, "unknown predictor")
        used.add(model)
        name = cursor.take(cursor.number(2)).decode()
        bases.append((depth, predictor, name, cursor.take(32) if stored_length else None))
    require(models and len(used) == models, cursor.where, "a model has no bases")
    cursor.end()
    return bases


def find_base(tensor, entry, others):
    depth, tensor.predictor, name, digest = entry
    tensor.depth = depth
    digest = digest or tensor.content_digest
    known = [t for file in others for t in file.tensors if t.content_digest == digest]
    # Of equal bytes there may be some of another shape or dtype.
    known = [t for t in known if t.depth < depth and is_base(t, tensor)]
    require(known, tensor.where, f"its base {name or tensor.name!r} is in no file")
    tensor.base = known[0]


def is_base(base, tensor):
    """Whether dtype, shape and length of a tensor are those of the base of another one."""
    rounds = base.dtype == "F32" and tensor.dtype in ("BF16", "F16")
    alike = base.dtype == tensor.dtype and sum(base.lengths) == sum(tensor.lengths)
    digest = not tensor.same or base.digest == tensor.digest
    return base.shape == tensor.shape and (rounds if tensor.predictor else alike) and digest


def inflate(stored, length):
    require(length <= 64 * len(stored), "header", "inflates to more than 64 times its length")
    inflater = zlib.decompressobj(-15)
    try:
        header = inflater.decompress(stored, length + 1)
    except zlib.error as error:
        raise At1wError(f"header: {error}") from None
    require(inflater.eof and not inflater.unused_data, "header", "the deflate stream does not fit")
    return header


def load(path, bases=()):
    """Loads a file. Each of its bases may have bases in those before."""
    others = []
    for base in bases:
        others.append(load_on(base, others))
    return load_on(path, others)


def load_on(path, others):
    with open(path, "rb") as file:
        return File(file.read(), others)


def main():
    parser = argparse.ArgumentParser(description="Decode an .at1w file.")
    parser.add_argument("file")
    parser.add_argument("--base", action="append", default=[], help="a file that has bases")
    parser.add_argument("-o", metavar="OUT.safetensors", help="write the original file")
    args = parser.parse_args()
    try:
        file = load(args.file, args.base)
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

"""A line of a given rate and delay in front of a server, for all connections together."""

import asyncio
import threading
from time import monotonic

PIECE = 64 << 10


class Line:
    """Listens on `port`, and passes on to `server` what comes. `rate` is in bytes a second, `delay`
    in seconds, there and back."""

    def __init__(self, server, rate, delay):
        self.server, self.rate, self.delay = server, rate, delay
        self.free_at = 0.0
        self.received = 0
        self._ready = threading.Event()
        threading.Thread(target=lambda: asyncio.run(self._run()), daemon=True).start()
        self._ready.wait()

    @property
    def url(self):
        return f"http://127.0.0.1:{self.port}"

    async def _run(self):
        listening = await asyncio.start_server(self._connect, "127.0.0.1", 0, limit=PIECE)
        self.port = listening.sockets[0].getsockname()[1]
        self._ready.set()
        await listening.serve_forever()

    async def _connect(self, reader, writer):
        # The three steps that open a connection.
        await asyncio.sleep(self.delay)
        there, back = await asyncio.open_connection(*self.server, limit=PIECE)
        await asyncio.gather(self._pass(reader, back, None), self._pass(there, writer, self.rate))

    async def _pass(self, reader, writer, rate):
        """Passes bytes on, each half of the delay after it came, and no faster than the rate."""
        queue = asyncio.Queue(maxsize=256)

        async def send():
            while True:
                due, piece = await queue.get()
                if not piece:
                    break
                if rate:
                    due = self.free_at = max(due, self.free_at) + len(piece) / rate
                    self.received += len(piece)
                wait = due - monotonic()
                if wait > 0.001:
                    await asyncio.sleep(wait)
                writer.write(piece)
                await writer.drain()
            writer.close()

        async def receive():
            while piece := await reader.read(PIECE):
                await queue.put((monotonic() + self.delay / 2, piece))
            await queue.put((0, b""))

        try:
            await asyncio.gather(send(), receive())
        except OSError:
            writer.close()

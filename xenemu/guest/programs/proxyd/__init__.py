"""An HTTP/1.1 forward proxy with CONNECT tunnels, as an ordinary asyncio program.

What it writes to a connection is a function of the bytes that came in, never of how they were
cut into reads, of when they came, or of which came first: it is a network of processes that each
block on one stream at a time (Kahn 1974). Nothing asks whether a stream has something, there are
no timers, and a failed write tells no more than that the rest can't be delivered: what happens
next is decided by what is read. So a connection is read only when its bytes are wanted.

Bodies are passed on with their framing as it came, trailers included. Connections to end servers
belong to one client's connection and are opened in its task, in the order of its requests.

Left out: caches, authentication, schemes other than http, timeouts of its own (a server that
never answers costs its client's connection), retries of what may have had an effect.
"""

from xenemu.guest.programs.proxyd.server import main

__all__ = ["main"]

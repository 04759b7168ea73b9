"""A service that holds its connections and sends back what it gets."""

import asyncio


class Hold(asyncio.Protocol):
    def connection_made(self, transport):
        self.transport = transport

    def data_received(self, data):
        self.transport.write(data)


async def main(argv):
    loop = asyncio.get_running_loop()
    server = await loop.create_server(Hold, "0.0.0.0", int(argv[0]), backlog=int(argv[1]))
    await server.serve_forever()
    return 0

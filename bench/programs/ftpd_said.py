"""The FTP service, which says on its console which downloads it begins."""

from xenemu.guest.programs.ftpd import server, service


class Server(server.Server):
    async def retr(self, connection, rest):
        print(f"RETR {rest}", flush=True)
        return await super().retr(connection, rest)


async def main(argv):
    service.Server = Server
    return await service.main(argv)

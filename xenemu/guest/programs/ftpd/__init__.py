"""An FTP server (RFC 959, 2428, 3659) on aioftp: passive and active mode, resumed transfers.

An ordinary asyncio program. aioftp knows users, directories and most commands. What differs: a
session is one task that does one command after the other (aioftp runs those that come together
at the same time), each PASV has a port of its own, replies and listings do not depend on the
clock. So what a session writes is a function of what it reads and of the files. Left out: TLS,
ASCII conversion, time limits of any kind, transfers between two servers (RFC 2577).
"""

from xenemu.guest.programs.ftpd.service import main

__all__ = ["main"]

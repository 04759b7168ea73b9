"""The FTP service outside of any guest, used by the clients that people use."""

import asyncio
import contextlib
import ftplib
import io
import os
import random
import shutil
import socket
import subprocess
import threading
from collections.abc import Iterator
from pathlib import Path

import aioftp
import pytest

from xenemu.guest.programs.ftpd.server import Server
from xenemu.guest.programs.ftpd.service import serve

BIG = random.Random(4).randbytes(3_000_000)
HOST = "127.0.0.1"


class Site:
    """A running service, its files, and a directory for a client."""

    def __init__(self, port: int, root: Path, here: Path) -> None:
        self.port, self.root, self.here = port, root, here
        self.url = f"ftp://{HOST}:{port}"

    def run(self, *command: str, status: int = 0) -> bytes:
        """A client; what it prints."""
        if shutil.which(command[0]) is None:
            pytest.skip(f"{command[0]} is not installed")
        done = subprocess.run(
            command, cwd=self.here, env=os.environ | {"HOME": str(self.here)},
            stdin=subprocess.DEVNULL, capture_output=True, timeout=60,
        )  # fmt: skip
        assert done.returncode == status, done.stderr
        return done.stdout


@pytest.fixture
def site(tmp_path: Path) -> Iterator[Site]:
    root, here = tmp_path / "root", tmp_path / "here"
    (root / "dir" / "deeper").mkdir(parents=True)
    here.mkdir()
    (root / "big.bin").write_bytes(BIG)
    (root / "dir" / "a b.txt").write_text("a b\n")
    (root / "dir" / "deeper" / "last").write_text("last\n")
    listener = socket.create_server((HOST, 0))
    listener.setblocking(False)
    loop = asyncio.new_event_loop()
    task = loop.create_task(serve(listener, Server(root, {}, HOST)))

    def run() -> None:
        with contextlib.suppress(asyncio.CancelledError):
            loop.run_until_complete(task)

    thread = threading.Thread(target=run)
    thread.start()
    yield Site(listener.getsockname()[1], root, here)
    loop.call_soon_threadsafe(task.cancel)
    thread.join(60)
    assert task.cancelled()
    loop.close()
    listener.close()


@pytest.mark.parametrize(
    "mode", [(), ("--disable-epsv",), ("-P", "-"), ("-P", "-", "--disable-eprt")]
)
def test_curl(site: Site, mode: tuple[str, ...]) -> None:
    def curl(path: str, *options: str, status: int = 0) -> bytes:
        return site.run("curl", "-sS", *mode, *options, f"{site.url}/{path}", status=status)

    assert curl("big.bin") == BIG
    assert curl("big.bin", "-r", "1000-1999") == BIG[1000:2000]
    assert curl("big.bin", "-C", "2999990") == BIG[-10:]
    assert curl("", "-l") == b"big.bin\r\ndir\r\n".replace(b"\r", b"")
    assert b" big.bin" in curl("")
    assert b"Content-Length: 3000000" in curl("big.bin", "-I")
    (site.here / "up").write_bytes(BIG)
    curl("new/directory/up", "-T", "up", "--ftp-create-dirs")
    assert (site.root / "new/directory/up").read_bytes() == BIG
    curl("new/directory/up", "-T", "up", "-a")
    assert (site.root / "new/directory/up").read_bytes() == BIG * 2
    curl("none", status=78)
    curl("new/", "-Q", "RNFR new/directory/up", "-Q", "RNTO moved", "-Q", "RMD new/directory")
    assert (site.root / "moved").stat().st_size == 2 * len(BIG)
    both = site.run(
        "curl", "-sS", *mode, f"{site.url}/dir/a%20b.txt", f"{site.url}/dir/deeper/last"
    )
    assert both == b"a b\nlast\n"


@pytest.mark.parametrize("mode", [(), ("--no-passive-ftp",)])
def test_wget(site: Site, mode: tuple[str, ...]) -> None:
    site.run("wget", "-q", *mode, f"{site.url}/big.bin")
    assert (site.here / "big.bin").read_bytes() == BIG
    (site.here / "big.bin").write_bytes(BIG[:1_000_000])
    site.run("wget", "-q", "-c", *mode, f"{site.url}/big.bin")
    assert (site.here / "big.bin").read_bytes() == BIG
    site.run("wget", "-q", "-r", "-nH", "-P", "all", *mode, f"{site.url}/")
    assert files_of(site.here / "all") == files_of(site.root)


@pytest.mark.parametrize("mode", ["on", "off"])
def test_lftp(site: Site, mode: str) -> None:
    (site.here / "put").write_bytes(BIG)
    script = f"""
        set cmd:fail-exit yes
        set net:max-retries 1
        set net:timeout 10
        set ftp:passive-mode {mode}
        open {site.url}
        ls
        get big.bin -o one
        pget -n 3 big.bin -o three
        put put -o stored
        mkdir made
        put put -o made/x
        mv made/x made/y
        mirror / all
        rm made/y
        rmdir made
        mirror -R all/dir again
    """
    (site.here / "script").write_text(script)
    site.run("lftp", "-f", "script")
    for name in ("one", "three"):
        assert (site.here / name).read_bytes() == BIG
    assert (site.root / "stored").read_bytes() == BIG
    assert files_of(site.root / "again") == files_of(site.root / "dir")
    assert (site.here / "all/made/y").read_bytes() == BIG and not (site.root / "made").exists()


@pytest.mark.parametrize("passive", [True, False])
def test_ftplib(site: Site, passive: bool) -> None:
    with ftplib.FTP() as ftp:
        ftp.connect(HOST, site.port, timeout=60)
        ftp.login()
        ftp.set_pasv(passive)
        assert ftp.nlst() == ["big.bin", "dir"]
        facts = dict(ftp.mlsd(facts=["type", "size"]))
        assert facts["dir"]["type"] == "dir" and "size" not in facts["dir"]
        assert facts["big.bin"]["size"] == "3000000"
        lines: list[str] = []
        ftp.dir("dir", lines.append)
        assert [line[-7:] for line in lines] == ["a b.txt", " deeper"]
        for rest in (None, 2_999_000):
            got = io.BytesIO()
            ftp.retrbinary("RETR big.bin", got.write, rest=rest)
            assert got.getvalue() == BIG[rest or 0 :]
        ftp.storbinary("STOR new", io.BytesIO(BIG))
        assert ftp.size("new") == len(BIG)
        ftp.storbinary("STOR new", io.BytesIO(b"xyz"), rest=10)
        assert (site.root / "new").read_bytes() == BIG[:10] + b"xyz" + BIG[13:]
        assert ftp.rename("new", "renamed")[:3] == "250" and ftp.delete("renamed")[:3] == "250"
        assert ftp.mkd('q"q') == '/q"q' and ftp.cwd('q"q')[:3] == "250" and ftp.pwd() == '/q"q'
        ftp.cwd("..")
        ftp.rmd('q"q')
        abort(ftp)
        with pytest.raises(ftplib.error_perm, match="550"):
            ftp.retrbinary("RETR none", got.write)
        assert ftp.quit() == "221 bye"


def abort(ftp: ftplib.FTP) -> None:
    """In the middle of an upload, with urgent data, as ftplib does it."""
    data = ftp.transfercmd("STOR half")
    data.sendall(b"half")
    assert ftp.abort()[:3] == "426"
    data.close()
    assert ftp.getresp()[:3] == "226"
    assert "half" not in ftp.nlst()


def test_aioftp(site: Site) -> None:
    async def client() -> None:
        async with aioftp.Client.context(HOST, site.port) as ftp:
            (site.here / "tree" / "sub").mkdir(parents=True)
            (site.here / "tree" / "sub" / "x").write_bytes(BIG)
            await ftp.upload(site.here / "tree")
            await ftp.download("dir", site.here / "dir", write_into=True)
            names = [str(path) for path, _ in await ftp.list(recursive=True)]
            assert sorted(names) == sorted(
                str(path.relative_to(site.root)) for path in site.root.rglob("*")
            )
            await ftp.remove("tree")
            async with ftp.download_stream("big.bin", offset=2_000_000) as stream:
                assert await stream.read() == BIG[2_000_000:]

    asyncio.run(client())
    assert not (site.root / "tree").exists()
    assert files_of(site.here / "dir") == files_of(site.root / "dir")


def files_of(top: Path) -> dict[str, bytes]:
    """All below a directory."""
    paths = (path for path in top.rglob("*") if path.is_file())
    return {str(path.relative_to(top)): path.read_bytes() for path in paths}

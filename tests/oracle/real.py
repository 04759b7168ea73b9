"""Runs scripts as the control domain of real Xen 4.17, under QEMU (TCG: no KVM is needed).

The hypervisor is Debian's package, unpacked with dpkg into a cache directory and not installed;
the guest (guest/) is built with gcc and ld. XENEMU_XEN names another hypervisor (an ELF file).
"""

from __future__ import annotations

import gzip
import os
import selectors
import shutil
import subprocess
import tempfile
import time
from dataclasses import dataclass
from pathlib import Path

from oracle.script import FIRST_PFN, PAGE_SIZE, VIRT_BASE, Script

PACKAGE = "xen-hypervisor-4.17-amd64"
GUEST = Path(__file__).parent / "guest"
CFLAGS = (
    "-c -O1 -Wall -Wextra -Werror -ffreestanding -fpie -mno-red-zone -mgeneral-regs-only "
    "-fno-stack-protector"
).split()
SYMBOLS = {"VIRT_BASE": VIRT_BASE, "PAGES": FIRST_PFN * PAGE_SIZE}
XEN_ARGS = "console=com1 loglvl=all guest_loglvl=all noreboot dom0_mem=64M gnttab_max_frames=8"


class RealXenMissing(Exception):
    """QEMU, the compiler, Xen's headers or the hypervisor are not there; says which."""


class RealXenFailed(Exception):
    """Xen, or the guest in it, ended before the script did."""

    def __init__(self, reason: str, lines: list[str], log: list[str]) -> None:
        super().__init__("\n".join([f"{reason} after {len(lines)} lines", *log[-40:]]))
        self.lines = lines
        self.log = log


@dataclass(frozen=True, slots=True)
class RealXen:
    """What it takes to run scripts: QEMU, the hypervisor, the guest."""

    qemu: str
    hypervisor: Path
    guest: Path

    def run(self, script: Script, *, timeout: float = 90, at_once: bool = False) -> list[str]:
        """The script's lines; RealXenFailed."""
        with tempfile.TemporaryDirectory() as scratch:
            module = Path(scratch) / "script"
            module.write_bytes(script.encode(at_once=at_once))
            command = [
                *f"{self.qemu} -accel tcg -cpu max -m 512 -smp {script.vcpus}".split(),
                *"-display none -no-reboot -net none -serial stdio -monitor none".split(),
                *("-kernel", str(self.hypervisor), "-append", XEN_ARGS),
                *("-initrd", f"{self.guest},{module}"),
            ]
            with subprocess.Popen(
                command,
                stdin=subprocess.DEVNULL,
                stdout=subprocess.PIPE,
                stderr=subprocess.DEVNULL,
            ) as process:
                try:
                    lines = read_lines(process, time.monotonic() + timeout)
                finally:
                    process.kill()
        assert len(lines) == len(list(script.shown())), "a line was lost, or the script wrote one"
        return lines


def read_lines(process: subprocess.Popen[bytes], deadline: float) -> list[str]:
    """What the guest says between @BEGIN and @END."""
    assert process.stdout is not None
    lines: list[str] = []
    log: list[str] = []
    rest, began = b"", False
    with selectors.DefaultSelector() as selector:
        selector.register(process.stdout, selectors.EVENT_READ)
        while selector.select(max(deadline - time.monotonic(), 0)):
            data = os.read(process.stdout.fileno(), 1 << 16)
            *whole, rest = (rest + data).split(b"\n")
            for raw in whole:
                line = raw.decode(errors="replace").rstrip("\r")
                if line == "@END":
                    return lines
                if line == "@LOST" or "Dom0 crashed" in line or "Panic on CPU" in line:
                    raise RealXenFailed("the guest was lost", lines, [*log, line])
                if began and line.startswith("@"):
                    lines.append(line[1:])
                else:
                    log.append(line)
                began = began or line == "@BEGIN"
            if not data:
                raise RealXenFailed("QEMU ended", lines, log)
    raise RealXenFailed("time is up", lines, log)


def cache_directory() -> Path:
    base = Path(os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache")
    path = base / "xenemu-oracle"
    path.mkdir(parents=True, exist_ok=True)
    return path


def unpack_hypervisor(cache: Path) -> Path:
    """The hypervisor of Debian's package, from the cache or from where apt gets packages."""
    image = cache / "xen-4.17.elf"
    if image.exists():
        return image
    for tool in ("apt-get", "dpkg"):
        if not shutil.which(tool):
            raise RealXenMissing(f"no {tool} to get {PACKAGE} with; set XENEMU_XEN")
    with tempfile.TemporaryDirectory(dir=cache) as scratch:
        got = subprocess.run(
            ["apt-get", "download", PACKAGE], cwd=scratch, capture_output=True, text=True
        )
        packages = list(Path(scratch).glob("*.deb"))
        if got.returncode or not packages:
            raise RealXenMissing(f"apt-get download {PACKAGE}: {got.stderr.strip()}")
        subprocess.run(["dpkg", "-x", str(packages[0]), scratch], check=True)
        packed = sorted(Path(scratch).glob("boot/xen-4.17*.gz"))
        if not packed:
            raise RealXenMissing(f"no boot/xen-4.17*.gz in {packages[0].name}")
        ready = Path(scratch) / "image"
        ready.write_bytes(gzip.decompress(packed[0].read_bytes()))
        ready.replace(image)
    return image


def build_guest(cache: Path) -> Path:
    """The interpreter, built anew: it takes a tenth of a second."""
    gcc, ld = shutil.which("gcc"), shutil.which("ld")
    if not gcc or not ld:
        raise RealXenMissing("no gcc and ld to build the guest with")
    if not Path("/usr/include/xen/xen.h").exists():
        raise RealXenMissing("no /usr/include/xen/xen.h: install libxen-dev")
    with tempfile.TemporaryDirectory(dir=cache) as scratch:
        objects = []
        for source in (GUEST / "entry.S", GUEST / "interpret.c"):
            objects.append(f"{scratch}/{source.stem}.o")
            defines = [f"-D{name}={value:#x}" for name, value in SYMBOLS.items()]
            subprocess.run([gcc, *CFLAGS, *defines, source, "-o", objects[-1]], check=True)
        values = [f"--defsym={name}={value:#x}" for name, value in SYMBOLS.items()]
        out = Path(scratch) / "guest.elf"
        subprocess.run(
            [ld, "--no-warn-rwx-segments", *values, "-T", GUEST / "guest.ld", *objects, "-o", out],
            check=True,
        )
        return out.replace(cache / "guest.elf")


def find_real_xen() -> RealXen:
    """RealXenMissing says what this machine lacks."""
    qemu = shutil.which("qemu-system-x86_64")
    if not qemu:
        raise RealXenMissing("no qemu-system-x86_64: install qemu-system-x86")
    cache = cache_directory()
    given = os.environ.get("XENEMU_XEN")
    hypervisor = Path(given) if given else unpack_hypervisor(cache)
    return RealXen(qemu, hypervisor, build_guest(cache))

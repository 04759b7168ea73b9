# ruff: noqa: E501
"""Planted bugs: changes of the C sources that a sweep must find, and how to build them."""

from __future__ import annotations

import os
import shlex
import subprocess
import sys
from dataclasses import dataclass
from pathlib import Path

ROOT = Path(__file__).resolve().parents[2]
BUILD = ROOT / "build" / "mutants"
CC = shlex.split(os.environ.get("CC", "gcc"))
FLAGS = ["-std=c11", "-O1", "-D_GNU_SOURCE", "-I", str(ROOT / "csrc")]


@dataclass(frozen=True, slots=True)
class Change:
    """In `file` (below csrc) the text `old`, which occurs once, becomes `new`."""

    file: str
    old: str
    new: str


@dataclass(frozen=True, slots=True)
class Mutant:
    """A bug. `scenarios`: arguments of `xenemu sweep` that find it; `simulated`: the sweep of the
    wrappers alone, tests/c/test_failover, does."""

    name: str
    changes: tuple[Change, ...]
    scenarios: tuple[str, ...] = ()
    simulated: bool = True

    def sources(self) -> dict[str, str]:
        """The changed files."""
        texts: dict[str, str] = {}
        for change in self.changes:
            text = texts.get(change.file) or (ROOT / "csrc" / change.file).read_text()
            assert text.count(change.old) == 1, f"{self.name}: {change.old!r} in {change.file}"
            texts[change.file] = text.replace(change.old, change.new)
        return texts

    def compile(self, *flags: str) -> list[Path]:
        """The objects of the changed files."""
        objects = []
        for file, text in self.sources().items():
            source = BUILD / self.name / file
            source.parent.mkdir(parents=True, exist_ok=True)
            source.write_text(text)
            objects.append(source.with_suffix(".o"))
            run([*CC, *FLAGS, *flags, "-c", "-o", str(objects[-1]), str(source)])
        return objects

    def simulation(self) -> Path:
        """tests/c/test_failover with the bug in it."""
        program = BUILD / self.name / "test_failover"
        program.parent.mkdir(parents=True, exist_ok=True)
        objects = self.compile("-DXE_TEST", "-DXE_STORE_POINTS")
        built = ROOT / "build" / "ctest"
        test = built / "tests" / "test_failover.o"
        run([*CC, "-o", str(program), str(test), *map(str, objects), str(built / "libxe.a"), "-lm"])
        return program

    def core(self) -> Path:
        """The extension module with the bug in it."""
        changed = self.compile("-fPIC", "-fvisibility=hidden")
        names = {f"csrc/{Path(file).with_suffix('.o')}" for file in self.sources()}
        kept = [o for o in built_objects() if not any(str(o).endswith(f"/{n}") for n in names)]
        assert len(built_objects()) - len(kept) == len(changed), self.name
        library = BUILD / self.name / "_machine.so"
        library.parent.mkdir(parents=True, exist_ok=True)
        run([*CC, "-shared", "-o", str(library), *map(str, kept), *map(str, changed), "-lm"])
        return library


def built_objects() -> list[Path]:
    """Objects of the extension, as `make build` left them."""
    version = f"cpython-{sys.version_info.major}{sys.version_info.minor}"
    return sorted((ROOT / "build").glob(f"temp.*-{version}/**/*.o"))


def run(command: list[str]) -> None:
    """Runs a compiler; its output is the error."""
    done = subprocess.run(command, capture_output=True, text=True)
    assert done.returncode == 0, f"{shlex.join(command)}\n{done.stderr}"


INGRESS, EGRESS = "net/ssw_ingress.c", "net/ssw_egress.c"
RECOVER, OUTPUT = "net/ssw_recover.c", "net/ssw_output.c"

MUTANTS = (
    Mutant(
        "log-after-ack",  # a segment is logged when the next one comes; its ack has left by then
        (
            Change(
                INGRESS,
                "	log_new(s, c, p, start, at, end);\n	commit_logged(s, c, end);\n	return XE_PASS;",
                "	{\n		static uint64_t late;\n\n"
                "		log_new(s, c, p, start, at, end);\n"
                "		if (c->attach == XE_LIVE && late++ % 16 == 5) {\n"
                "			c->rcv_logged = end;\n			return XE_PASS;\n		}\n"
                "		commit_logged(s, c, end);\n	}\n	return XE_PASS;",
            ),
            Change(
                RECOVER,
                "	c->attach = XE_DETACHED;\n	c->has_syn = c->paced = false;",
                "	c->rcv_logged = XE_LOG_LOAD(xe_conn_slot(s, c)->rcv_logged);\n"
                "	c->attach = XE_DETACHED;\n	c->has_syn = c->paced = false;",
            ),
        ),
        ("put", "echo", "--faults", "200"),
    ),
    Mutant(
        "no-ack-clamp",
        (
            Change(
                INGRESS,
                "	if (to > (int64_t)c->tcp_sent)\n		to = (int64_t)c->tcp_sent;\n",
                "",
            ),
        ),
        ("echo", "get", "--faults", "300"),
    ),
    Mutant(
        "delta-off-by-one",
        (
            Change(
                RECOVER,
                "(c->tcp_isn + 1);\n	c->tcp_ts0",
                "(c->tcp_isn + 1) + 1;\n	c->tcp_ts0",
            ),
        ),
        ("get", "--faults", "40"),
    ),
    Mutant(
        "dropped-off-by-one",
        (Change(RECOVER, "slot->drop_line = c->tcp_base;", "slot->drop_line = c->tcp_base + 1;"),),
        ("get", "--faults", "40"),
    ),
    Mutant(
        "fin-not-suppressed",
        (
            Change(
                EGRESS,
                "	if (c->unprotected)\n		return true;\n	if (!xe_ssw_close_asked",
                "	if (c->unprotected || c->own_isn)\n		return true;\n	if (!xe_ssw_close_asked",
            ),
            Change(
                EGRESS,
                "		return XE_DROP;\n	}\n	c->spoke_at = now;",
                "	}\n	c->spoke_at = now;",
            ),
        ),
        ("echo", "get", "keep-alive", "--kind", "app", "--faults", "300"),
    ),
    Mutant(
        "paws-ignored",
        (
            Change(
                EGRESS,
                "xe_wire_set_tsval(p, c->own_tsval);",
                "xe_wire_set_tsval(p, p->seg.opt.tsval);",
            ),
        ),
        ("get", "--faults", "60"),
    ),
    Mutant(
        "no-mutual-hearing",
        (
            Change(
                EGRESS, "if (bare && c->tcp_sent < visible_next)", "if (bare && c->unprotected)"
            ),
            Change(INGRESS, "	    seq >= (int64_t)c->tcp_right) {", "	    c->unprotected) {"),
            Change(
                RECOVER,
                "	uint64_t edge = xe_ssw_right_edge(s, c, right);",
                "	uint64_t edge = xe_ssw_right_edge(s, c, right);\n\n"
                "	if (c->recovered && c->state == XE_CONN_ESTABLISHED)\n		seq = c->tcp_sent;",
            ),
        ),
    ),
    Mutant(
        "in-flight-not-compared",
        (Change(OUTPUT, "		if (at < to) {", "		if (at < c->crc_at) {"),),
        ("other-answer", "--faults", "400"),
    ),
    Mutant(
        "overlap-not-overwritten",
        (
            Change(
                INGRESS,
                "	while (from < to) { /* a packet may",
                "	while (from > to) { /* a packet may",
            ),
        ),
    ),
    Mutant(
        "out-of-window-believed",
        (
            Change(INGRESS, "	if (!acceptable) {", "	if (!acceptable && offset < next) {"),
            Change(
                INGRESS,
                "	if (end > c->right_edge)\n		end = c->right_edge;\n	if (c->early_fin",
                "	if (c->early_fin",
            ),
        ),
    ),
    Mutant(
        "old-incarnation-not-reset",
        (
            Change(
                EGRESS,
                "			xe_ssw_reset_old(s, c, p->seg.ack, now);",
                "			s->count.old_resets++;",
            ),
            Change(
                RECOVER,
                "			reset_old_client(s, c);",
                "			(void)reset_old_client;",
            ),
        ),
    ),
    Mutant(
        "end-of-output-is-a-close",  # payload is freed while the service still reads it
        (
            Change(
                "net/ssw_end.c",
                "	return xe_ssw_close_asked(s, c, XE_LOG_ABORTED, &at);",
                "	return xe_ssw_close_asked(s, c, XE_LOG_CLOSED, &at);",
            ),
        ),
        ("read-on", "--faults", "60"),
        simulated=False,
    ),
    Mutant(
        "no-fence",  # the old primary is neither paused nor cut off from the LAN
        (
            Change(
                "xen/pair.c",
                "	p->in_place = false;\n	r = xe_domain_pause(h, primary);",
                "	p->in_place = false;\n	r = 0;",
            ),
            Change(
                "machine_network.c",
                "	if (xe_path_lookup(m->host, ip) != (int)n->id) {\n		xe_machine_drop(m, n->id, XE_DROP_SPOOFED);",
                "	if (xe_path_lookup(m->host, ip) < 0) {\n		xe_machine_drop(m, n->id, XE_DROP_SPOOFED);",
            ),
        ),
        ("get", "echo", "--kind", "any", "--how", "any", "--faults", "200"),
        simulated=False,
    ),
)

"""Uploads: stored once, whole or not at all."""

import errno
import os
from pathlib import Path
from typing import Any

import pytest

from xenemu.guest.programs.ftpd import files
from xenemu.guest.programs.ftpd.files import MARKS, Refused, Upload, entries, get_marks


def store(path: Path, data: bytes, who: str = "me", offset: int | None = 0) -> None:
    with Upload(path, offset, who) as upload:
        upload.write(data)
        upload.commit()


def marks(path: Path) -> list[Any]:
    with path.open("rb") as file:
        return get_marks(file.fileno())


def test_the_same_upload_again_changes_nothing(tmp_path: Path) -> None:
    path = tmp_path / "f"
    for offset, data, whole in (
        (0, b"abcdef", b"abcdef"), (None, b"ghi", b"abcdefghi"), (2, b"XY", b"abXYefghi"),
    ):  # fmt: skip
        who = str(offset)
        store(path, data, who, offset)
        assert path.read_bytes() == whole
        before = path.stat()
        store(path, data, who, offset)
        assert path.read_bytes() == whole and path.stat() == before
    store(path, b"other", "0")  # the same connections, but not the same upload
    assert path.read_bytes() == b"other"
    store(path, b"ghi", "None", None)
    assert path.read_bytes() == b"otherghi"


def test_what_others_have_appended_since_stays(tmp_path: Path) -> None:
    path = tmp_path / "f"
    store(path, b"1")
    with Upload(path, None, "slow") as slow:
        slow.write(b"2")
        store(path, b"3", "fast", None)
        slow.commit()
    assert path.read_bytes() == b"132"
    store(path, b"3", "fast", None)
    store(path, b"1")
    assert path.read_bytes() == b"132"


def test_nothing_stays_of_what_is_not_committed(tmp_path: Path) -> None:
    path = tmp_path / "f"
    store(path, b"old")
    for offset in (0, None, 1):
        with Upload(path, offset, "x") as upload:
            upload.write(b"new")
    assert path.read_bytes() == b"old" and os.listdir(tmp_path) == ["f"]


def test_marks_are_bounded_and_modes_kept(tmp_path: Path) -> None:
    path = tmp_path / "f"
    store(path, b"")
    path.chmod(0o600)
    for number in range(2 * MARKS):
        store(path, b"x", str(number), None)
    assert [who for who, _, _ in marks(path)] == [str(n) for n in range(MARKS, 2 * MARKS)]
    assert path.stat().st_mode & 0o777 == 0o600 and path.read_bytes() == b"x" * 2 * MARKS


def test_a_file_that_became_shorter(tmp_path: Path) -> None:
    path = tmp_path / "f"
    store(path, b"0123456789")
    with pytest.raises(Refused, match="554"):
        Upload(path, 11, "x")
    with Upload(path, 5, "x") as upload:
        upload.write(b"y")
        path.write_bytes(b"01")
        with pytest.raises(Refused, match="554"):
            upload.commit()
    path.unlink()
    assert os.listdir(tmp_path) == []


def test_without_extended_attributes(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def fails(*args: Any) -> None:
        raise OSError(errno.ENOTSUP, "no")

    monkeypatch.setattr(os, "setxattr", fails)
    store(tmp_path / "f", b"data")
    with pytest.raises(Refused):  # it might be appended twice
        Upload(tmp_path / "f", None, "x")
    assert (tmp_path / "f").read_bytes() == b"data" and os.listdir(tmp_path) == ["f"]


def test_without_nameless_files(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    real = os.open

    def open_(path: Any, flags: int, mode: int = 0o777, **more: Any) -> int:
        if flags & os.O_TMPFILE == os.O_TMPFILE:
            raise OSError(errno.EOPNOTSUPP, "no")
        return real(path, flags, mode, **more)

    monkeypatch.setattr(files.os, "open", open_)
    path = tmp_path / "f"
    with Upload(path, 0, "x") as upload:
        upload.write(b"part")
        assert len(os.listdir(tmp_path)) == 1
        assert entries(tmp_path, tmp_path) == []
    store(path, b"one", "1")
    store(path, b"two", "2", None)
    assert path.read_bytes() == b"onetwo" and os.listdir(tmp_path) == ["f"]


def test_a_full_disk(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def fails(*args: Any) -> int:
        raise OSError(errno.ENOSPC, "full")

    with Upload(tmp_path / "f", 0, "x") as upload:
        monkeypatch.setattr(os, "pwrite", fails)
        with pytest.raises(Refused, match="452"):
            upload.write(b"x")
    assert os.listdir(tmp_path) == []

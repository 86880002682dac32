"""The journal: what is written is read again, what was changed shows, a torn line is no line."""

from __future__ import annotations

import json
import os

import pytest
from hypothesis import given
from hypothesis import strategies as st

from colocate.executor.apply import journal as journal_module
from colocate.executor.apply.journal import Journal, read_journal
from colocate.executor.apply.records import Committed, Done, Prepared, RollingBack
from colocate.executor.apply.state_error import StateError
from colocate.executor.apply.target import Target
from colocate.executor.errors import AttentionError
from tests.executor.apply.bench import Bench
from tests.executor.world import World, make_unit


def prepared(resumes: int | None = None) -> Prepared:
    return Prepared(
        verb="apply",
        origin=None,
        target=Target(units=(make_unit(),)),
        before=Target(),
        before_origin=None,
        steps=(),
        resumes=resumes,
    )


def written(root, *records):
    journal = Journal(root)
    for record in records:
        journal.append(1, record)
    journal.close()
    return root / "journal.jsonl"


def kinds(root) -> list[str]:
    return [entry.record.kind for entry in read_journal(root).entries]


def test_what_is_written_is_read(tmp_path):
    records = (prepared(), Done(step=3), RollingBack(detail='it said "no"\n\u2028 twice'))
    path = written(tmp_path, *records)
    assert [entry.record for entry in read_journal(tmp_path).entries] == list(records)
    assert path.read_bytes().count(b"\n") == 3
    assert path.stat().st_mode & 0o777 == 0o600
    written(tmp_path, Committed())
    assert kinds(tmp_path) == ["prepared", "done", "rolling_back", "committed"]


def test_only_what_the_last_change_needs_is_read(tmp_path):
    written(tmp_path, prepared(), Committed(), prepared(), Done(step=0), prepared(1), Done(step=1))
    text = read_journal(tmp_path)
    assert [e.record.kind for e in text.entries] == ["prepared", "done", "prepared", "done"]
    assert text.lines == 6


def test_a_torn_last_line_counts_as_not_written(tmp_path):
    path = written(tmp_path, prepared(), Done(step=0), Done(step=1))
    whole = path.read_bytes()
    start = whole[:-1].rindex(b"\n") + 1
    for end in range(start, len(whole)):
        path.write_bytes(whole[:end])
        text = read_journal(tmp_path)
        assert [e.record.kind for e in text.entries] == ["prepared", "done"]
        assert text.torn == (end > start)
    written(tmp_path, Committed())
    assert kinds(tmp_path) == ["prepared", "done", "committed"]


@given(st.data())
def test_a_changed_byte_shows(tmp_path_factory, data):
    root = tmp_path_factory.mktemp("journal")
    path = written(root, prepared(), Done(step=0), Committed(), Done(step=1))
    whole = path.read_bytes()
    first_lines = whole[: whole[:-1].rindex(b"\n") + 1]
    place = data.draw(st.integers(0, len(first_lines) - 1))
    other = data.draw(st.integers(0, 255).filter(lambda b: b != whole[place]))
    path.write_bytes(whole[:place] + bytes([other]) + whole[place + 1 :])
    with pytest.raises(AttentionError, match=r"line \d+ .* is not as it was written") as shown:
        read_journal(root)
    assert shown.value.exit_code == 7
    assert shown.value.advice


def test_a_line_that_is_gone_or_doubled_shows(tmp_path):
    path = written(tmp_path, prepared(), Done(step=0), Done(step=1), Committed())
    lines = path.read_bytes().splitlines(keepends=True)
    for kept in ([0, 2, 3], [1, 2, 3], [0, 1, 1, 2, 3], [0, 2, 1, 3]):
        path.write_bytes(b"".join(lines[i] for i in kept))
        with pytest.raises(AttentionError):
            read_journal(tmp_path)


def test_a_full_disk_leaves_the_journal_as_it_was(tmp_path, monkeypatch):
    written(tmp_path, prepared())
    journal = Journal(tmp_path)
    real = os.write

    def full(handle, data):
        real(handle, data[:10])
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(os, "write", full)
    with pytest.raises(StateError, match="No space left on device") as shown:
        journal.append(1, Done(step=0))
    assert shown.value.exit_code == 5
    monkeypatch.setattr(os, "write", real)
    assert not read_journal(tmp_path).torn
    journal.append(1, Done(step=0))
    journal.close()
    assert kinds(tmp_path) == ["prepared", "done"]


def test_a_long_journal_begins_anew(in_memory, monkeypatch):
    monkeypatch.setattr(journal_module, "ROTATE_BYTES", 20_000)
    bench = Bench(in_memory, World(2))
    first, second = (make_unit(share_pct=20),), (make_unit(share_pct=40, gpu=1),)
    for _ in range(6):
        bench.apply(*first)
        bench.apply(*second)
    assert (in_memory / "journal.1.jsonl").exists()
    assert (in_memory / "journal.jsonl").stat().st_size < 40_000
    applied = bench.look().applied
    assert applied is not None
    assert applied.change == 12
    bench.rollback()
    bench.check_holds(first)


@pytest.mark.parametrize("sort", ["link", "pipe", "folder"])
def test_a_journal_is_a_regular_file(tmp_path, sort):
    path = tmp_path / "journal.jsonl"
    if sort == "link":
        (tmp_path / "other").write_text("")
        path.symlink_to(tmp_path / "other")
    elif sort == "pipe":
        os.mkfifo(path)
    else:
        path.mkdir()
    with pytest.raises(StateError):
        read_journal(tmp_path)
    with pytest.raises(StateError):
        Journal(tmp_path)


def test_another_version_is_not_guessed_at(tmp_path):
    path = written(tmp_path, prepared())
    text = path.read_text().replace('"v":1', '"v":2')
    body = text[len('{"entry":') : text.rindex(',"sum"')]
    checksum = journal_module._checksum("0" * 64, body.encode())
    path.write_text(f'{{"entry":{body},"sum":"{checksum}"}}\n')
    with pytest.raises(AttentionError):
        read_journal(tmp_path)


def test_each_line_is_json(tmp_path):
    path = written(tmp_path, prepared(), Committed())
    for n, line in enumerate(path.read_text().splitlines()):
        assert json.loads(line)["entry"]["seq"] == n

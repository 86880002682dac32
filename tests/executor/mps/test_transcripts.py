"""Recorded and documented replies, read by our code and held against the double."""

from __future__ import annotations

import json
import re
from collections.abc import Callable, Iterator
from dataclasses import replace
from pathlib import Path

import pytest

from colocate.errors import InputError
from colocate.executor.mps import NodeDaemons, replies
from colocate.executor.mps.control import Exchange
from colocate.executor.mps.transcript import (
    ClientEvent,
    Header,
    Recorder,
    Said,
    Transcript,
    read_transcript,
)
from colocate.executor.ports import Limits
from tests.fakes import mps_core_v2, mps_core_v3
from tests.fakes.double import Double, short_folder
from tests.fakes.mps_core import Core, Gpu, Machine

FOLDER = Path(__file__).parent / "transcripts"
FILES = sorted(FOLDER.glob("*.jsonl"))
UID = 1000


def status(text: str, command: str) -> str:
    found = replies.server_status(text, command)
    return "active" if found == "initializing" else found  # a matter of moments


def servers(text: str, command: str) -> object:
    return [
        (row[0], replies.v3_status(row[3], command), len(row[5:-1]))
        for row in replies.rows(text, 7, command)
    ]


def spaces(text: str, command: str) -> object:
    return sorted(
        (row[0], row[1], replies.memory_mib(row[3], command), replies.percent(row[4], command))
        for row in replies.rows(text, 7, command)
    )


def clients(text: str, command: str) -> object:
    return sorted((row[1], row[3]) for row in replies.rows(text, 5, command))


MEANINGS: dict[str, Callable[[str, str], object]] = {
    "get_server_list": lambda text, command: len(replies.pids(text, command)),
    "get_client_list": lambda text, command: len(replies.pids(text, command)),
    "get_server_status": status,
    "get_default_active_thread_percentage": replies.percent,
    "get_active_thread_percentage": replies.percent,
    "get_default_device_pinned_mem_limit": replies.memory_mib,
    "get_device_pinned_mem_limit": replies.memory_mib,
    "terminate_client": lambda text, command: text,
    "server list": servers,
    "namespace list": spaces,
    "client list": clients,
}
"""What a reply says, without the pids and paths of the machine that it comes from."""


def command_of(said: Exchange) -> str:
    return said.stdin.split()[0] if said.stdin.strip() else " ".join(said.argv[:2])


def meaning(said: Exchange, text: str) -> object:
    """Return what a reply says; for one that is only shown to people, its form."""
    command = command_of(said)
    if command in MEANINGS and (said.stdin or "--format=csv,noheader" in said.argv):
        return MEANINGS[command](text, command)
    if command.startswith(("set_", "shutdown", "start_server", "quit")):
        return None  # what a setting prints is relied on by nobody
    text = re.sub(r"GPU-[0-9a-f-]{8,36}", "<gpu>", text)
    text = re.sub(r"/[\w./-]*/(?=\w+)", "<path>/", text)
    text = re.sub(r"(\./\w+|python [\w.]+|\?)$", "<command>", text, flags=re.MULTILINE)
    return sorted(re.sub(r"\b\d{2,}\b", "<number>", line) for line in text.splitlines())


class Replay:
    """A core that is told the commands of a transcript, with its own pids in their place."""

    def __init__(self, transcript: Transcript) -> None:
        self.header = transcript.header
        uncapped = [
            line.sms
            for line in transcript.lines
            if isinstance(line, ClientEvent)
            and line.environment.get("CUDA_MPS_ACTIVE_THREAD_PERCENTAGE", "100") == "100"
        ]
        self.sms = max((sms for sms in uncapped if sms is not None), default=None)
        gpu = Gpu(self.header.gpu, sms=self.sms or 132)
        self.core = Core(Machine(gpus=(gpu,)), (gpu.uuid,), UID)
        self.pids: dict[str, str] = {}

    def client(self, event: ClientEvent) -> None:
        if event.event == "left":
            self.core.detach(event.pid)
            return
        _, _, below = event.environment.get("CUDA_MPS_PIPE_DIRECTORY", "").partition(
            "/nvidia-mps/" if "/nvidia-mps/" in str(event.environment) else "/pipe/"
        )
        names = [name for name in below.split("/") if name]
        got = self.core.attach(
            event.pid,
            UID,
            event.environment,
            server_name=names[0] if names else None,
            space=names[1] if len(names) > 1 else "default",
        )
        assert got.error is None
        assert None in (self.sms, event.sms) or got.sms == event.sms, event

    def answer(self, said: Exchange) -> tuple[str, int]:
        if self.header.dialect == "v3":
            reply = mps_core_v3.answer(self.core, list(said.argv), UID, "/run/nvidia-mps")
            return reply.text, reply.code
        line = " ".join(self.pids.get(word, word) for word in said.stdin.split())
        reply = mps_core_v2.answer(self.core, line, UID)
        if line == "get_server_list":
            self.pids.update(zip(said.reply.split(), reply.text.split(), strict=False))
        return reply.text, reply.code


def is_for_the_daemon(said: Exchange) -> bool:
    """Leave out what is for the program alone: starting it, its version, its help."""
    return bool(said.stdin.strip()) or said.argv[:1] == ("-q",) or not said.argv[0].startswith("-")


def disagreements(transcript: Transcript) -> list[tuple[Exchange, str]]:
    """Return the commands that the double answers otherwise, with what it says."""
    replay, found = Replay(transcript), []
    for line in transcript.lines:
        if isinstance(line, ClientEvent):
            replay.client(line)
        elif isinstance(line, Said):
            mps_core_v2.answer(replay.core, line.stdin, UID)
        elif is_for_the_daemon(line):
            text, code = replay.answer(line)
            same = code == line.exit_code and meaning(line, text) == meaning(line, line.reply)
            if not same:
                found.append((line, text))
    return found


@pytest.mark.parametrize("path", FILES, ids=lambda path: path.name)
def test_every_reply_is_understood(path: Path) -> None:
    understood = 0
    for line in read_transcript(path).lines:
        if isinstance(line, Exchange) and line.exit_code == 0 and command_of(line) in MEANINGS:
            meaning(line, line.reply)
            understood += 1
    assert understood


@pytest.mark.parametrize("path", FILES, ids=lambda path: path.name)
def test_the_double_answers_alike(path: Path) -> None:
    assert disagreements(read_transcript(path)) == []


def test_there_is_something_for_each_dialect() -> None:
    assert {read_transcript(path).header.dialect for path in FILES} == {"v2", "v3"}


@pytest.mark.parametrize(
    ("told", "instead"), [("25.0", "26.0"), ("3G", "2G"), ("0", "201"), ("ACTIVE", "FAULT")]
)
def test_a_double_that_answers_otherwise_is_noticed(told: str, instead: str) -> None:
    transcript = read_transcript(FOLDER / "documented-v2.jsonl")
    bent = tuple(
        replace(line, reply=instead) if isinstance(line, Exchange) and line.reply == told else line
        for line in transcript.lines
    )
    found = disagreements(replace(transcript, lines=bent))
    assert [line.reply for line, _ in found] == [instead]


@pytest.fixture
def header() -> Header:
    return Header(driver="615.71.09", date="2026-11-20", gpu_name="H100", gpu="GPU-x", dialect="v2")


def entries(path: Path) -> Iterator[object]:
    return (json.loads(line) for line in path.read_text().splitlines())


def test_what_is_recorded_comes_back(header: Header) -> None:
    with short_folder() as folder, Double(folder / "bin") as double:
        path = folder / "recorded.jsonl"
        header = replace(header, gpu=double.uuids[0])
        with Recorder(path, header) as recorder:
            daemons = NodeDaemons(
                folder / "root",
                double.binary,
                allow_root=True,
                gpus=double.gpus,
                other_pipes=(),
                record=recorder.exchange,
            )
            daemons.start(double.uuids[0])
            daemons.set_limits(double.uuids[0], Limits(share_pct=40))
            recorder.client(ClientEvent(pid=4711, event="came", environment={}, sms=None))
            daemons.stop(double.uuids[0])
        transcript = read_transcript(path)
        said = [one.stdin.strip() for one in transcript.lines if isinstance(one, Exchange)]
        assert transcript.header == header
        assert "set_default_active_thread_percentage 40" in said
        assert said[-1] == "quit"
        real = tuple(line for line in transcript.lines if not isinstance(line, ClientEvent))
        assert disagreements(replace(transcript, lines=real)) == []
        assert disagreements(transcript)  # that client never came
        assert [one for one in transcript.lines if isinstance(one, ClientEvent)]
        with pytest.raises(InputError, match="does not exist yet"):
            Recorder(path, header)


@pytest.mark.parametrize(
    "text",
    [
        *("", "x", "[]", "{}", '{"schema": "colocate/transcript/v1"}'),
        '{"schema": "colocate/transcript/v2", "driver": "a"}',
    ],
)
def test_a_file_that_is_no_transcript(tmp_path: Path, text: str) -> None:
    path = tmp_path / "x.jsonl"
    path.write_text(text)
    with pytest.raises(InputError):
        read_transcript(path)


def test_a_line_with_unknown_fields_is_refused(tmp_path: Path) -> None:
    path = tmp_path / "x.jsonl"
    first = (FOLDER / "documented-v2.jsonl").read_text().splitlines()[0]
    path.write_text(f'{first}\n{{"argv": [], "frob": 1}}\n')
    with pytest.raises(InputError, match="no transcript"):
        read_transcript(path)
    path.write_text(f"{first}\n{{cut o")
    with pytest.raises(InputError, match="line 2"):
        read_transcript(path)

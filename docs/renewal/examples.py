"""The examples of a page: found, run in order, and held against what the page says they print.

A fenced block is one of

- `python`: run, all blocks of a page in one namespace. A `text` block that follows with nothing but
  a line of prose in between is what it prints.
- `console`: commands after `$ `, each followed by what it prints. `colocate` runs in this process,
  `python FILE` in one of its own; `cat`, `head -n N FILE`, `tail`, `cp FILE ... .` (from the
  repository), `|`, `> file`, `echo $?` and a backslash at the end of a line work as in a shell. A
  command must succeed unless `echo $?` follows.
- `json` after `<!-- file: NAME -->`: a file in the folder where the page's examples run.
- anything after `<!-- not run: reason -->`.

All other blocks are for reading. `...` in an output stands for anything. Seconds that something
took are not compared, nor are hashes of fitted models: last digits of a fit differ by machine.
"""

from __future__ import annotations

import contextlib
import io
import os
import re
import shlex
import shutil
import subprocess
import sys
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

__all__ = ["COLUMNS", "Block", "Mismatch", "blocks", "matches", "run_page"]

COLUMNS = 96
"""Width of the terminal that the examples are printed for."""

_FENCE = re.compile(
    r"^(?P<fence>`{3,})(?P<info>[^\n`]*)\n(?P<body>.*?)^(?P=fence)[ ]*$", re.S | re.M
)
_MARK = re.compile(r"<!-- (?P<key>file|not run): (?P<value>[^\n]*?) -->\n*\Z")
_TIME = re.compile(r"\bin [0-9]+(?:\.[0-9]+)? s\b")
_HASH = re.compile(r"^Hash .*$", re.M)


@dataclass(frozen=True)
class Block:
    """One fenced block of a page."""

    kind: str
    """Its language, or `not run`, or `file NAME`."""
    body: str
    start: int
    """Where its body begins in the page."""
    line: int
    gap: str
    """What stands between the block before and this one."""
    note: str = ""
    """Name of the file, or why it is not run."""


@dataclass(frozen=True)
class Mismatch:
    """An output that is not what the page says."""

    line: int
    what: str
    start: int
    end: int
    """Where the expected output stands in the page."""
    expected: str
    printed: str

    def __str__(self) -> str:
        """Return the place and both outputs."""
        return (
            f"line {self.line}: {self.what}\nexpected:\n{self.expected}\nprinted:\n{self.printed}"
        )


def blocks(text: str) -> list[Block]:
    """Return all fenced blocks of a page."""
    found, end = [], 0
    for match in _FENCE.finditer(text):
        gap = text[end : match.start()]
        mark = _MARK.search(gap)
        kind, note = match["info"].strip(), ""
        if mark is not None:
            note = mark["value"]
            kind = "not run" if mark["key"] == "not run" else "file"
        line = text.count("\n", 0, match.start("body")) + 1
        found.append(Block(kind, match["body"], match.start("body"), line, gap, note))
        end = match.end()
    return found


def matches(expected: str, printed: str) -> bool:
    """Return whether the output is the expected one; `...` stands for anything."""

    def tidy(text: str) -> str:
        lines = "\n".join(line.rstrip() for line in text.strip("\n").split("\n"))
        return _HASH.sub("Hash", _TIME.sub("in 0 s", lines))

    pattern = ".*".join(re.escape(part) for part in tidy(expected).split("..."))
    return re.fullmatch(pattern, tidy(printed), re.DOTALL) is not None


def run_page(text: str, name: str, root: Path) -> Iterator[Mismatch]:
    """Run the examples of a page in the present folder; yield the outputs that are not as stated.

    Parameters
    ----------
    text, name
        The page and what to call it in messages.
    root
        Where the repository is: `python examples/...` is found there.
    """
    namespace: dict[str, Any] = {"__name__": "__main__"}
    printed: str | None = None
    for block in blocks(text):
        if block.kind == "file":
            Path(block.note).write_text(block.body, encoding="utf-8")
        elif block.kind == "python":
            printed = _run_python(block, name, namespace)
            continue
        elif block.kind == "console":
            yield from _run_console(block, root)
        elif (
            block.kind == "text"
            and printed is not None
            and _follows(block.gap)
            and not matches(block.body, printed)
        ):
            end = block.start + len(block.body)
            yield Mismatch(block.line, "python", block.start, end, block.body, printed)
        printed = None


def _follows(gap: str) -> bool:
    return len([line for line in gap.split("\n") if line.strip()]) <= 1


def _run_python(block: Block, name: str, namespace: dict[str, Any]) -> str:
    out = io.StringIO()
    # Blank lines in front make tracebacks name the line of the page.
    code = compile("\n" * (block.line - 1) + block.body, name, "exec")
    with contextlib.redirect_stdout(out):
        exec(code, namespace)  # noqa: S102 - this is what the examples are for
    return out.getvalue()


@dataclass
class _Command:
    text: str
    line: int
    start: int
    """Where the expected output begins in the page."""
    expected: str = ""


def _commands(block: Block) -> list[_Command]:
    found: list[_Command] = []
    at, continued = block.start, False
    for offset, raw in enumerate(block.body.splitlines(keepends=True)):
        line = raw.rstrip("\n")
        at += len(raw)
        if line.startswith("$ ") or continued:
            part = line[2:] if line.startswith("$ ") else line
            if continued:
                found[-1].text += " " + part.strip()
                found[-1].start = at
            else:
                found.append(_Command(part, block.line + offset, at))
            continued = found[-1].text.endswith("\\")
            found[-1].text = found[-1].text.removesuffix("\\").strip()
        elif found:
            found[-1].expected += raw
    return found


def _run_console(block: Block, root: Path) -> Iterator[Mismatch]:
    code = 0
    commands = _commands(block)
    for i, command in enumerate(commands):
        if command.text == "echo $?":
            printed = f"{code}\n"
        else:
            code, printed = _run_pipe(command.text, root)
            shown = i + 1 < len(commands) and commands[i + 1].text == "echo $?"
            if code != 0 and not shown:
                msg = f"line {command.line}: {command.text!r} ends with {code}:\n{printed}"
                raise AssertionError(msg)
        if command.expected.strip() and not matches(command.expected, printed):
            end = command.start + len(command.expected)
            yield Mismatch(
                command.line, command.text, command.start, end, command.expected, printed
            )


def _run_pipe(text: str, root: Path) -> tuple[int, str]:
    """Run commands joined by `|`; return the last exit code and what reaches the terminal."""
    data, seen, code = "", "", 0
    words = shlex.split(text)
    target = None
    if len(words) > 2 and words[-2] == ">":
        target, words = words[-1], words[:-2]
    for argv in _split(words):
        if argv[0] == "colocate":
            code, data, errors = _colocate(argv[1:], data)
        elif argv[0] == "python":
            code, data, errors = _python(argv[1:], data, root)
        elif argv[0] == "cat":
            data, errors = "".join(Path(f).read_text(encoding="utf-8") for f in argv[1:]), ""
        elif argv[0] in ("head", "tail") and argv[1] == "-n" and len(argv) == 4:
            lines = Path(argv[3]).read_text(encoding="utf-8").splitlines(keepends=True)
            n = int(argv[2])
            data, errors = "".join(lines[:n] if argv[0] == "head" else lines[-n:]), ""
        elif argv[0] == "cp" and argv[-1] == ".":
            for name in argv[1:-1]:
                shutil.copy(root / name, Path(name).name)
            data, errors = "", ""
        else:
            msg = f"{argv[0]!r} is no command that examples may use"
            raise AssertionError(msg)
        seen += errors
    if target is not None:
        Path(target).write_text(data, encoding="utf-8")
        data = ""
    return code, seen + data


def _split(words: list[str]) -> Iterator[list[str]]:
    part: list[str] = []
    for word in words:
        if word == "|":
            yield part
            part = []
        else:
            part.append(word)
    yield part


def _colocate(arguments: list[str], data: str) -> tuple[int, str, str]:
    from colocate.cli.main import run

    # Streams with an encoding, as a terminal has: the bars use characters that need one.
    out, err = (io.TextIOWrapper(io.BytesIO(), encoding="utf-8") for _ in range(2))
    before = sys.stdin
    sys.stdin = io.TextIOWrapper(io.BytesIO(data.encode()), encoding="utf-8")
    try:
        with contextlib.redirect_stdout(out), contextlib.redirect_stderr(err):
            code = run(arguments)
    finally:
        sys.stdin = before
    return int(code), _written(out), _written(err)


def _written(stream: io.TextIOWrapper) -> str:
    stream.flush()
    stream.seek(0)
    return stream.read()


def _python(arguments: list[str], data: str, root: Path) -> tuple[int, str, str]:
    file = root / arguments[0]
    done = subprocess.run(
        [sys.executable, str(file if file.is_file() else arguments[0]), *arguments[1:]],
        input=data,
        capture_output=True,
        text=True,
        timeout=120,
        check=False,
        env={**os.environ, "PYTHONPATH": os.pathsep.join(["", *map(str, sys.path)]).lstrip(":")},
    )
    return done.returncode, done.stdout, done.stderr

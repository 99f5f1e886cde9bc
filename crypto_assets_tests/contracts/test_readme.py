"""What the README and the pages under `docs/` tell a reader to type exists, and what they link to is there."""

from __future__ import annotations

import re
import shlex
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import typer

from crypto_assets.cli import app

ROOT = Path(__file__).parents[2]
PAGES = [
    page
    for page in (ROOT / "README.md", ROOT / "data_lake" / "README.md", *sorted((ROOT / "docs").rglob("*.md")))
    if page.exists()
]
TARGETS = set(re.findall(r"^([a-z-]+):", (ROOT / "Makefile").read_text(), flags=re.MULTILINE))
SHELLS = {"bash", "sh", "shell", "console"}
IDS = [str(page.relative_to(ROOT)) for page in PAGES]


def shell_lines(page: Path) -> Iterator[str]:
    """Command lines of the fenced shell blocks, continued lines joined, prompts and variables in front removed."""
    for language, block in re.findall(r"^ *```(\w*)\n(.*?)^ *```", page.read_text(), flags=re.MULTILINE | re.DOTALL):
        if language in SHELLS:
            for line in block.replace("\\\n", " ").splitlines():
                yield re.sub(r"^\s*(\$ )?([A-Z_]+=\S+ )*", "", line).strip()


def words_of(line: str) -> list[str]:
    """The words of one command: comments, pipes and what runs in the background left off."""
    return shlex.split(re.split(r"\s[|&>;]+\s?", line)[0], comments=True)


def quoted(page: Path, program: str) -> list[list[str]]:
    """Arguments of every call of `program` in the page's shell blocks."""
    found = [words_of(line) for line in shell_lines(page)]
    return [words[1:] for words in found if words and Path(words[0]).name == program]


def parsed(arguments: list[str]) -> str:
    """The full name of the command; raises what the command line would raise for arguments it does not know."""
    command: Any = typer.main.get_command(app)
    names = []
    while hasattr(command, "commands"):
        assert arguments, f"`crypto-assets {' '.join(names)}` needs a command"
        assert arguments[0] in command.commands, f"there is no `crypto-assets {' '.join([*names, arguments[0]])}`"
        command = command.commands[arguments[0]]
        names.append(arguments[0])
        arguments = arguments[1:]
    command.make_context(" ".join(names), list(arguments), resilient_parsing="--help" in arguments)
    return " ".join(names)


def test_the_readme_shows_the_two_commands():
    made = {words[0] for words in quoted(ROOT / "README.md", "make") if words}
    assert {"demo", "test"} <= made


@pytest.mark.parametrize("page", PAGES, ids=IDS)
def test_quoted_make_targets_exist(page):
    for words in quoted(page, "make"):
        targets = [w for w in words if "=" not in w and not w.startswith("-")]
        assert set(targets) <= TARGETS, f"make {' '.join(words)}"


@pytest.mark.parametrize("page", PAGES, ids=IDS)
def test_quoted_commands_are_understood(page):
    for arguments in quoted(page, "crypto-assets"):
        try:
            parsed(arguments)
        except Exception as error:
            message = getattr(error, "format_message", lambda error=error: str(error))()
            pytest.fail(f"crypto-assets {shlex.join(arguments)}: {message}")


@pytest.mark.parametrize("page", PAGES, ids=IDS)
def test_quoted_scripts_exist(page):
    for program in ("python", "python3"):
        for words in quoted(page, program):
            scripts = [w for w in words[:1] if w.endswith(".py")]
            assert all((ROOT / script).exists() for script in scripts), f"{program} {' '.join(words)}"


@pytest.mark.parametrize("page", PAGES, ids=IDS)
def test_links_lead_somewhere(page):
    prose = re.sub(r"```.*?```", "", page.read_text(), flags=re.DOTALL)
    links = [target.split("#")[0].split(" ")[0] for target in re.findall(r"\]\(([^)]+)\)", prose)]
    local = [target for target in links if target and "://" not in target and not target.startswith("mailto:")]
    assert [target for target in local if not (page.parent / target).exists()] == []


@pytest.mark.parametrize("page", [page for page in PAGES if not page.name.startswith("add-a-")], ids=lambda page: page.name)
def test_pages_name_files_that_exist(page):
    """A path in code font that begins with one of our folders is one; a guide may name the file its reader will write."""
    ours = ("crypto_assets/", "crypto_assets_tests/", "benchmarks/", "docs/", "data_lake/README")
    named = [text for text in re.findall(r"`([\w./-]+)`", page.read_text()) if text.startswith(ours)]
    assert [path for path in named if not (ROOT / path).exists()] == []

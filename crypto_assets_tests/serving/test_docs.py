"""The curl examples of docs/serving.md, run as they are written, against a real server."""

from __future__ import annotations

import json
import re
import shlex
import subprocess
from pathlib import Path

import pytest

PAGE = Path(__file__).parents[2] / "docs" / "serving.md"
EXAMPLES = [line for line in PAGE.read_text().splitlines() if line.startswith("curl ")]


def test_there_are_examples_of_every_route(url):
    assert len(EXAMPLES) >= 9


@pytest.mark.parametrize("line", EXAMPLES)
def test_an_example_works(line, url):
    command = shlex.split(line.replace("http://127.0.0.1:8000", url))
    done = subprocess.run([*command, "-w", "\n%{http_code}"], capture_output=True, text=True, check=True, timeout=30)
    body, code = done.stdout.rsplit("\n", 1)
    assert code == "200", body[:300]
    if not re.search(r"/metrics$", line):
        assert json.loads(body)

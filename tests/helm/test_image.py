"""The image's recipes, as far as they can be judged without building one."""

import subprocess

import pytest
from chart import CHECKOUT


def dockerfiles():
    """Every recipe of an image that is tracked, or would be."""
    listed = ["git", "ls-files", "--cached", "--others", "--exclude-standard", "*Dockerfile*"]
    result = subprocess.run(listed, cwd=CHECKOUT, check=True, capture_output=True, text=True)
    return [path for path in result.stdout.split() if not path.endswith(".dockerignore")]


@pytest.mark.parametrize("path", dockerfiles())
def test_hadolint_has_nothing_to_say(path):
    result = subprocess.run(["hadolint", CHECKOUT / path], capture_output=True, text=True, check=False)
    assert result.returncode == 0, result.stdout + result.stderr

"""Wrong values are refused before anything is installed, by a message that names the value: see refusals.yaml."""

import pathlib

import pytest
import yaml
from chart import StrictLoader, succeed, template, values_file

CASES = yaml.load((pathlib.Path(__file__).parent / "refusals.yaml").read_text(), Loader=StrictLoader)


@pytest.mark.parametrize("case", CASES, ids=[case["name"] for case in CASES])
def test_refuses(case, tmp_path):
    base = [] if case.get("alone") else [values_file(case.get("variant", "default"))]
    if base:
        succeed(template(*base))
    path = tmp_path / "values.yaml"
    path.write_text(yaml.safe_dump(case["values"]))
    result = template(*base, path)
    assert result.returncode != 0, f"these values are taken: {case['values']}"
    assert result.stdout == ""
    missing = [words for words in case["says"] if words not in result.stderr]
    assert missing == [], result.stderr


def test_names_of_cases_are_told_apart():
    names = [case["name"] for case in CASES]
    assert len(names) == len(set(names))
    assert len(names) > 10

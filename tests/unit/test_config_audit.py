"""The settings of the audit are checked, and what is wrong is said."""

from pathlib import Path

import pytest

from tests.unit.test_config import complaint


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("[audit]\ninterval_s = 5", ":2: audit.interval_s: found 5; allowed: a whole number"),
        ("[audit]\ninterval_s = 10\ncompare_s = 20", "allowed: less than audit.interval_s"),
        ("[audit]\nrepairs = true", "did you mean `audit.repair`?"),
    ],
)
def test_a_wrong_setting_of_the_audit(tmp_path: Path, text: str, said: str) -> None:
    assert said in complaint(tmp_path, text)

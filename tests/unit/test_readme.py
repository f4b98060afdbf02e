import re
import subprocess
import sys
from pathlib import Path

from orchestrator_entrypoints.settings import settings_table

README = (Path(__file__).parents[2] / "README.md").read_text()


def blocks(language: str) -> list[str]:
    return re.findall(rf"^```{language}\n(.*?)^```$", README, flags=re.DOTALL | re.MULTILINE)


def test_the_backtest_example_prints_what_the_readme_says() -> None:
    example = next(block for block in blocks("python") if "execute_run" in block)
    printed = subprocess.run(
        [sys.executable, "-W", "error", "-c", example], check=True, capture_output=True, text=True
    ).stdout
    assert printed in blocks("text")


def test_the_conformance_example_passes(tmp_path: Path) -> None:
    example = next(block for block in blocks("python") if "Conformance" in block)
    (tmp_path / "test_mine.py").write_text(example)
    (tmp_path / "conftest.py").write_text(
        "import pytest\n\n@pytest.fixture\ndef anyio_backend():\n    return 'asyncio'\n"
    )
    command = [sys.executable, "-m", "pytest", "-q", "-p", "no:cacheprovider", str(tmp_path)]
    finished = subprocess.run(command, capture_output=True, text=True, check=False, cwd=tmp_path)
    assert finished.returncode == 0, finished.stdout
    assert " passed" in finished.stdout


def test_the_settings_in_the_readme_are_those_in_force() -> None:
    assert settings_table().strip() in README

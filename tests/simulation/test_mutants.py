from pathlib import Path

import pytest

from tests.simulation.mutants import MUTANTS, Mutant, hunt


@pytest.mark.parametrize("mutant", MUTANTS, ids=lambda mutant: mutant.name)
def test_a_broken_protection_is_seen(mutant: Mutant, tmp_path: Path) -> None:
    catch = hunt(mutant, tmp_path)
    assert catch.is_caught, f"nothing saw that {mutant.breaks}"
    print(f"{mutant.name}: {catch.story}")  # noqa: T201 - `pytest -rP` shows what found it

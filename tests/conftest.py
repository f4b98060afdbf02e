import pytest
from hypothesis import HealthCheck, settings

# `pytest --hypothesis-profile thorough`: once before a release, over the properties of planning.
settings.register_profile(
    "thorough", max_examples=10_000, deadline=None, suppress_health_check=list(HealthCheck)
)


@pytest.fixture
def anyio_backend() -> str:
    return "asyncio"

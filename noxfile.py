"""The project's chores: `nox -l` lists them, `nox -s tests` runs one."""

from collections.abc import Sequence
from pathlib import Path

import nox

nox.needs_version = ">=2024.10"
nox.options.default_venv_backend = "uv|virtualenv"
nox.options.sessions = ["lint", "types", "tests"]
nox.options.reuse_existing_virtualenvs = True

PYPROJECT = nox.project.load_toml("pyproject.toml")


def install(session: nox.Session, *groups: str, options: Sequence[str] = ()) -> None:
    session.install(
        *options,
        "-e",
        ".[service,fast,conformance]",
        *nox.project.dependency_groups(PYPROJECT, *groups),
    )


@nox.session
def tests(session: nox.Session) -> None:
    """Run every test, in parallel and in random order, on servers that they bring up themselves."""
    install(session, "test")
    session.run("pytest", "-q", "-n", "auto", *session.posargs)


@nox.session
def lint(session: nox.Session) -> None:
    """Check style, formatting and the direction of imports."""
    session.install("-e", ".", *nox.project.dependency_groups(PYPROJECT, "lint"))
    session.run("ruff", "format", "--check")
    session.run("ruff", "check")
    session.run("lint-imports", "--no-logo")


@nox.session
def types(session: nox.Session) -> None:
    """Check types strictly, sources and tests alike."""
    install(session, "test", "lint")
    session.run("mypy")


@nox.session
def coverage(session: nox.Session) -> None:
    """Measure which lines and branches the tests reach."""
    install(session, "test")
    session.run("coverage", "run", "--branch", "-m", "pytest", "-q", *session.posargs)
    session.run("coverage", "report", "--skip-covered", "--show-missing")


@nox.session(venv_backend="uv")
def oldest(session: nox.Session) -> None:
    """Run every test on the oldest versions that the dependencies admit."""
    install(session, "test", options=["--resolution", "lowest-direct"])
    session.run("pytest", "-q", "-n", "auto", *session.posargs)


@nox.session
def bench(session: nox.Session) -> None:
    """Measure the service beside the floor program, and print ratios."""
    install(session, "test", "compare")
    session.run("python", "-m", "bench", *session.posargs)


@nox.session
def simulate(session: nox.Session) -> None:
    """Go through every single fault, every pair, every interleaving, and many random worlds."""
    install(session, "test")
    session.run("python", "-m", "tests.simulation", *session.posargs)


@nox.session
def chaos(session: nox.Session) -> None:
    """Try the promises on real processes under faults: a soak, the barrier, recovery."""
    install(session, "test")
    trials = [session.posargs] if session.posargs else [["soak"], ["engage"], ["recovery"]]
    for trial in trials:
        session.run("python", "-m", "tests.chaos", *trial)


@nox.session(reuse_venv=False)
def wheel(session: nox.Session) -> None:
    """Build the wheel, install it into an empty environment, and run demo and backtest there.

    Without plotly: a backtest leaves its tables, and says that there is no page.
    """
    directory = Path(session.create_tmp())
    session.install("build")
    session.run("python", "-m", "build", "-q", "--wheel", "--outdir", str(directory))
    [built] = directory.glob("*.whl")
    session.install(f"{built}[service,fast]")
    session.chdir(directory)
    session.run("orchestrator", "demo", "--directory", str(directory / "demo"))
    session.run("orchestrator", "backtest", "--out", "backtest")
    left = sorted(path.name for path in Path("backtest").iterdir())
    if left != ["orchestrator-backtest-days.csv", "orchestrator-backtest-orders.csv"]:
        session.error(f"a backtest without plotly left {left}")

"""The project's checks, one session each; see the README for how to start them."""

from __future__ import annotations

import argparse
import os
import secrets
import shutil
import sys
from pathlib import Path

import nox

nox.needs_version = ">=2025.5.1"
nox.options.default_venv_backend = "uv|virtualenv"
nox.options.reuse_existing_virtualenvs = True
nox.options.error_on_external_run = True
# An interpreter that is not here is skipped, and said to be, also in CI.
nox.options.error_on_missing_interpreters = False
nox.options.download_python = "never"
nox.options.sessions = [
    "lint",
    "types",
    "tests",
    "behaviours",
    "mutants",
    "wheel",
    "docs",
]

PROJECT = nox.project.load_toml("pyproject.toml")
PYTHONS = nox.project.python_versions(PROJECT)
OWN_PYTHON = f"{sys.version_info.major}.{sys.version_info.minor}"
SOURCES = [
    path
    for path in ("src", "tests", "examples", "docs/conf.py", "noxfile.py")
    if (Path(__file__).parent / path).exists()
]
# What the whole run of `tests` on this interpreter came to, test by test: while the
# tree is the same, `behaviours` and `mutants` take it instead of running it again.
LAST_RUN = Path(__file__).parent / ".nox" / "last-run.json"

# Where version managers keep interpreters that are not on the path, or only as a
# shim that fails unless its version is switched on.
INTERPRETER_FOLDERS = (
    ".pyenv/versions/*/bin",
    ".local/share/uv/python/*/bin",
    ".local/share/mise/installs/python/*/bin",
    ".asdf/installs/python/*/bin",
)
os.environ["PATH"] = os.pathsep.join(
    [
        os.environ["PATH"],
        *(
            str(folder)
            for pattern in INTERPRETER_FOLDERS
            for folder in sorted(Path.home().glob(pattern))
        ),
    ]
)


def install(session: nox.Session, *groups: str, extra: str = "") -> None:
    """Install dependency groups, and the project itself, perhaps with an extra."""
    if "test" in groups:
        # Compiled once here, instead of by each of the processes that tests start.
        session.env["UV_COMPILE_BYTECODE"] = "1"
    # Through nox: the pip of an older venv does not know dependency groups.
    session.install(*nox.project.dependency_groups(PROJECT, *groups))
    session.install("--editable", f".[{extra}]" if extra else ".")


TEST_RUNS = [
    *(nox.param(python, "", id=python) for python in PYTHONS),
    # The faster codecs are optional: both ways have to work.
    nox.param(OWN_PYTHON, "fast", id=f"{OWN_PYTHON}-fast"),
]


@nox.session
@nox.parametrize(("python", "extra"), TEST_RUNS)
def tests(session: nox.Session, extra: str) -> None:
    """Run the test suite on every interpreter present; arguments go to pytest."""
    install(session, "test", extra=extra)
    options = ["-n", "auto", "--maxprocesses", "4"]
    if session.python == OWN_PYTHON and not extra:
        if not session.posargs:
            # In one word: pytest would take a file that is there already for a test.
            options += [f"--behaviours-report={LAST_RUN}"]
    else:
        session.env.setdefault("TRIALOGUE_SOAK_HOURS", "0")  # the soak runs once, too
        # The whole sweep runs once; elsewhere its first seeds show that it runs at all.
        session.env.setdefault("TRIALOGUE_SWEEP_SEEDS", "50")
    session.run("python", "-m", "pytest", *options, *session.posargs)


@nox.session
def soak(session: nox.Session) -> None:
    """Hold 50 sessions over real sockets for an hour; ``-- --minutes 5 --seed 1``."""
    install(session, "test", extra="fast")
    out = str(Path(session.create_tmp()) / "soak")
    program = str(Path("tests", "soak", "run.py"))
    session.run("python", program, "--out", out, *session.posargs)


@nox.session(name="soak-virtual")
def soak_virtual(session: nox.Session) -> None:
    """Talk for a day in virtual time; ``-- --hours 24`` says for how long."""
    install(session, "test")
    hours = session.posargs[-1] if session.posargs else "24"
    # A day takes minutes, in one test: nothing is wrong if it does.
    session.run(
        *("python", "-m", "pytest", "-o", "faulthandler_timeout=0"),
        *(str(Path("tests", "soak", "test_soak.py")), "--soak-hours", hours),
    )


@nox.session
def schedules(session: nox.Session) -> None:
    """Run the tests of handoffs under 25 of Trio's schedules; ``-- --schedules 200``.

    Further arguments go to pytest, paths in place of the tests of handoffs.
    """
    install(session, "test", extra="fast")
    parser = argparse.ArgumentParser(prog="nox -s schedules --")
    parser.add_argument("--schedules", default=25, type=int)
    parser.add_argument("--first-schedule", default=secrets.randbelow(2**31), type=int)
    options, rest = parser.parse_known_args(session.posargs)
    first = str(options.first_schedule)
    session.log(f"again: nox -s schedules -- --first-schedule {first}")
    folder = Path("tests", "agents")
    handoffs = [str(path) for path in sorted(folder.glob("test_*hand*.py"))]
    given = [one for one in rest if not one.startswith("-")]
    session.run(
        *("python", "-m", "pytest", "-q", "-p", "soak.schedules", "-n", "auto"),
        *("--schedules", str(options.schedules), "--first-schedule", first),
        *(rest if given else [*rest, *handoffs]),
        env={"PYTHONPATH": "tests"},
    )


@nox.session
def fuzz(session: nox.Session) -> None:
    """Send the local server hostile frames; ``-- --sequences 10000`` says how many."""
    install(session, "test", extra="fast")
    parser = argparse.ArgumentParser(prog="nox -s fuzz --")
    parser.add_argument("--sequences", default=10_000, type=int)
    parser.add_argument("--seed", default=secrets.randbelow(2**32), type=int)
    options = parser.parse_args(session.posargs)
    session.log(f"again: nox -s fuzz -- --seed {options.seed}")
    # Thousands of sequences take minutes, in one test: nothing is wrong if they do.
    session.run(
        *("python", "-m", "pytest", "-o", "faulthandler_timeout=0"),
        *(str(Path("tests", "fuzz")), "--durations", "3"),
        *("--fuzz-sequences", str(options.sequences)),
        *("--hypothesis-seed", str(options.seed)),
    )


# With the engine and the codec of a plain install, and with those of the extra.
BENCH_RUNS = [nox.param("", id="plain"), nox.param("fast", id="fast")]


@nox.session
@nox.parametrize("extra", BENCH_RUNS)
def bench(session: nox.Session, extra: str) -> None:
    """Time agents and sessions, or the local server; see ``tests/bench/run.py``."""
    if "serving" in session.posargs and not extra:
        session.skip("the local server is timed with the extra")
    install(session, "test", extra=extra)
    session.run("python", str(Path("tests", "bench", "run.py")), *session.posargs)


@nox.session
def faults(session: nox.Session) -> None:
    """Let everything go wrong at a handoff; ``-- --peers`` for other libraries, too."""
    install(session, "test")
    program, arguments = str(Path("tests", "faults", "run.py")), list(session.posargs)
    if "--peers" in arguments:
        arguments.remove("--peers")
        for peer in ("livekit", "openai-agents"):
            python = _python_of(session, peer)
            arguments += ["--client", f"{peer}={python}"]
    session.run("python", program, *arguments)


def _python_of(session: nox.Session, peer: str) -> Path:
    """Return the Python of an environment of its own, with what is pinned for it."""
    folder = Path(session.create_tmp()).absolute() / peer
    python = folder / "bin" / "python"
    if not python.exists():
        session.run("python", "-m", "venv", str(folder))
    pins = Path("tests", "interop", "requirements", f"{peer}.txt")
    # In one step: what trialogue needs has to fit what is pinned.
    pip = (str(python), "-m", "pip", "install", "--quiet")
    session.run(*pip, "-r", str(pins), "--editable", ".", external=True)
    return python


# Environments for the programs of `tests/peers`, and what each is made of.
PEERS = {
    "by-hand": ("-r", "tests/peers/requirements.txt"),
    "plain": ("-c", "tests/peers/requirements.txt", "."),
    "fast": ("-c", "tests/peers/requirements.txt", ".[fast]"),
    "openai-agents": ("-r", "tests/interop/requirements/openai-agents.txt"),
    "livekit": ("-r", "tests/interop/requirements/livekit.txt"),
}


@nox.session(name="bench-peers")
def bench_peers(session: nox.Session) -> None:
    """Compare with the peers; arguments go to ``tests/peers/run.py``."""
    if not Path("/proc/self/statm").exists():
        session.skip("memory is read from /proc, which is not here")
    # It may be gone by hand, but not by itself: the second time takes seconds.
    folder = Path(session.create_tmp()).absolute() / "peers"
    for name, wanted in PEERS.items():
        python = str(folder / name / "bin" / "python")
        if not Path(python).exists():
            session.run("python", "-m", "venv", str(folder / name))
        install = (
            python,
            "-m",
            "pip",
            "install",
            "--quiet",
            "--disable-pip-version-check",
        )
        session.run(*install, *wanted, external=True)
    program = str(Path("tests", "peers", "run.py"))
    session.env["PYTHONPATH"] = None  # what they import is what was installed
    session.run("python", program, "--environments", str(folder), *session.posargs)


# Programs of other projects that talk to our local server, and a server that our client
# talks to; `tests/interop/requirements` pins them.
STRANGERS = ["openai", "openai-agents", "livekit", "aimock"]


@nox.session
@nox.parametrize("stranger", STRANGERS, ids=STRANGERS)
def interop(session: nox.Session, stranger: str) -> None:
    """Talk with other projects' programs; ``-- openai`` says with which."""
    unknown = set(session.posargs) - set(STRANGERS)
    if unknown:
        session.error(f"there is no {', '.join(unknown)}: {', '.join(STRANGERS)}")
    if session.posargs and stranger not in session.posargs:
        session.skip("not asked for")
    folder = Path("tests", "interop")
    pins = folder / "requirements"
    if stranger == "aimock":
        _interop_with_node(session, folder, pins / "aimock")
        return
    # In one step: what trialogue needs has to fit what is pinned.
    session.install("-r", str(pins / f"{stranger}.txt"), "--editable", ".")
    session.run("python", str(folder / "run.py"), stranger)
    if stranger == "livekit":
        session.run("python", str(folder / "modes.py"))


def _interop_with_node(session: nox.Session, folder: Path, pins: Path) -> None:
    if not (shutil.which("node") and shutil.which("npm")):
        session.skip("aimock was NOT talked to: it needs node and npm on the path")
    session.install("--editable", ".")
    installed = Path(session.create_tmp(), "node").absolute()
    installed.mkdir(exist_ok=True)
    for name in ("package.json", "package-lock.json"):
        shutil.copy(pins / name, installed)
    npm = ("npm", "ci", "--ignore-scripts", "--no-audit", "--no-fund")
    session.run(*npm, "--prefix", str(installed), external=True)
    session.run("python", str(folder / "aimock.py"), str(installed))


@nox.session
def lint(session: nox.Session) -> None:
    """Check style, Trio's pitfalls, the layers and the spelling."""
    install(session, "lint")
    session.run("ruff", "check", *SOURCES)
    session.run("ruff", "format", "--check", *SOURCES)
    # ASYNC9 is optional, and off unless named. ASYNC124 would have functions sync that
    # await nothing, but a tool or a hook is async because its caller awaits it.
    # `tool_set` makes a context manager of a generator, as `asynccontextmanager` does.
    safe = "--transform-async-generator-decorators=tool_set"
    # It uses one core, and is by far the slowest of these.
    checker = ("flake8-async", "--disable", "ASYNC9,ASYNC124", safe)
    session.run("python", "tests/quality/shares.py", *checker, "--", *python_files())
    session.run("lint-imports", "--no-cache")
    session.run("codespell", *SOURCES, "README.md", "docs", "newsfragments")


def python_files() -> list[str]:
    """Every Python file: flake8-async looks into no folders."""
    paths = [Path(path) for path in SOURCES]
    return [
        str(file)
        for path in paths
        for file in ([path] if path.is_file() else sorted(path.rglob("*.py")))
    ]


@nox.session
def types(session: nox.Session) -> None:
    """Check the types with mypy, strictly, and with pyright."""
    install(session, "types", extra="fast")
    # Not the configuration of the docs: it reaches into Sphinx where that has no types.
    checked = [path for path in SOURCES if path != "docs/conf.py"]
    session.run("mypy", "--strict", *checked)
    session.run("pyright", *checked)


@nox.session
def demo(session: nox.Session) -> None:
    """Run the demo; arguments go to ``python -m trialogue demo``."""
    # Editable: uv takes an unchanged pyproject.toml for an unchanged project.
    session.install("--editable", ".")
    session.run("python", "-m", "trialogue", "demo", *session.posargs)


@nox.session
def wheel(session: nox.Session) -> None:
    """Build the wheel and run it, alone, inside a host application."""
    session.install(*PROJECT["build-system"]["requires"])
    folder = Path(session.create_tmp())
    for old in folder.glob("*.whl"):
        old.unlink()
    session.run("python", "-m", "hatchling", "build", "-t", "wheel", "-d", str(folder))
    (built,) = folder.glob("*.whl")
    session.run("python", "-m", "venv", "--clear", str(folder / "host"))
    python = str(folder / "host" / "bin" / "python")
    session.run(python, "-m", "pip", "install", "--quiet", str(built), external=True)
    program = str(Path("tests", "wheel_host.py").absolute())
    # Isolated: nothing but what was installed can be imported.
    session.run(python, "-I", "-W", "error", program, external=True)


@nox.session
def docs(session: nox.Session) -> None:
    """Build the pages; a name that leads nowhere is an error. Nothing is fetched."""
    install(session, "docs")
    built = Path(session.create_tmp()) / "html"
    session.run("python", "-m", "sphinx", "-W", "-n", "-q", "-E", "docs", str(built))
    session.log(f"open {built / 'index.html'}")


@nox.session
def behaviours(session: nox.Session) -> None:
    """Name the behaviours, of those given by id or group, that no test covers."""
    install(session, "test")
    program = "tests/quality/behaviours.py"
    session.run("python", program, "--last", str(LAST_RUN), *session.posargs)


@nox.session
def mutants(session: nox.Session) -> None:
    """Break the source in every named way; tests of that behaviour must fail."""
    install(session, "test")
    # The long sweeps find what nobody thought of; a mutant is a thing thought of.
    session.env.setdefault("TRIALOGUE_SWEEP_SEEDS", "25")
    program = "tests/quality/kill.py"
    session.run("python", program, "--last", str(LAST_RUN), *session.posargs)


@nox.session
def coverage(session: nox.Session) -> None:
    """Measure which lines and branches of the package the tests reach."""
    install(session, "test", extra="fast")
    session.run("coverage", "run", "-m", "pytest", *session.posargs)
    session.run("coverage", "report")


@nox.session
def changelog(session: nox.Session) -> None:
    """Show what the changelog of the next release would say."""
    session.install(*nox.project.dependency_groups(PROJECT, "changelog"))
    session.run("towncrier", "build", "--draft", "--version", "next")

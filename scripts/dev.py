"""Set up, run and check the project. ``make`` is a thin front to this script; without make, call it directly.

    python scripts/dev.py demo    # install into .venv, build a memory from this repository's documents, search it
    python scripts/dev.py test    # install everything the tests need, then every check, then the tests
    python scripts/dev.py --help  # the other commands

It needs only Python 3.11 or newer and pip. It installs into ``.venv`` next to this folder (``MEMVID_VENV`` sets another
path); a second run installs nothing unless ``pyproject.toml`` has changed.
"""

from __future__ import annotations

import argparse
import ast
import ctypes.util
import hashlib
import importlib.util
import os
import shutil
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterable, Sequence
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent
VENV = Path(os.environ.get("MEMVID_VENV", ROOT / ".venv")).absolute()
BIN = VENV / ("Scripts" if os.name == "nt" else "bin")
PYTHON = BIN / ("python.exe" if os.name == "nt" else "python")

# What the environment holds, from little to much: each name stands for arguments of pip and uv.
LEVELS: dict[str, list[str]] = {
    "demo": ["-e", ".[langchain]"],
    "test": ["-e", ".", "--group", "test"],
    "bench": ["-e", ".", "--group", "test", "--group", "bench"],
}

# The checks that read the code without running it. They run while the tests do, except mypy: a test runs it.
CHECKS: dict[str, list[str]] = {
    "ruff check": ["ruff", "check", "."],
    "ruff format": ["ruff", "format", "--check", "."],
    "mypy": ["mypy"],
    "import-linter": ["lint-imports"],
}


_ENOUGH_RAM = 6 << 30  # bytes: the tests write 1.2 GB


class SystemNeed:
    """Something the tests use that pip cannot bring: how to see it, and the Debian packages that bring it."""

    def __init__(self, name: str, packages: Sequence[str], found: Callable[[], bool], purpose: str) -> None:
        self.name, self.packages, self.found, self.purpose = name, packages, found, purpose


def _any_command(*names: str) -> Callable[[], bool]:
    return lambda: any(shutil.which(name) for name in names)


def _east_asian_font() -> bool:
    """Return whether a font has Hangul and kana: Windows and macOS come with some."""
    if not sys.platform.startswith("linux"):
        return True
    if not shutil.which("fc-list"):
        return False
    return all(execute(["fc-list", f":lang={language}"], quiet=True).stdout.strip() for language in ("ko", "ja"))


SYSTEM_NEEDS = (
    SystemNeed(
        "a Chromium browser",
        ["chromium"],
        _any_command("chromium", "chromium-browser", "google-chrome", "chrome"),
        "plays a memory in a real browser",
    ),
    SystemNeed("chromedriver", ["chromium-driver"], _any_command("chromedriver"), "drives that browser"),
    SystemNeed("ffmpeg", ["ffmpeg"], _any_command("ffmpeg"), "decodes a memory strictly, and re-encodes QR videos"),
    SystemNeed("libzbar", ["libzbar0"], lambda: bool(ctypes.util.find_library("zbar")), "reads QR symbols (pyzbar)"),
    SystemNeed("zbarimg", ["zbar-tools"], _any_command("zbarimg"), "reads a screenshot of a QR memory"),
    SystemNeed("tesseract", ["tesseract-ocr", "tesseract-ocr-kor"], _any_command("tesseract"), "reads scans (OCR)"),
    SystemNeed(
        "a font with Hangul and kana",
        ["fontconfig", "fonts-wqy-microhei"],
        _east_asian_font,
        "places the letters of PDFs that do not contain their fonts",
    ),
)


def say(text: str) -> None:
    """One line of progress, in bold on a terminal."""
    print(f"\033[1m{text}\033[0m" if sys.stdout.isatty() else text, flush=True)


def execute(
    command: Sequence[str | Path], *, env: dict[str, str] | None = None, quiet: bool = False
) -> subprocess.CompletedProcess[str]:
    """Run a command from the project's root; ``quiet`` captures what it prints instead of showing it.

    Compiled modules are kept, also in containers that say otherwise: the tests start hundreds of processes.
    """
    return subprocess.run(
        [str(part) for part in command],
        cwd=ROOT,
        env={**os.environ, "PYTHONUTF8": "1", "PYTHONDONTWRITEBYTECODE": "", **(env or {})},
        stdin=subprocess.DEVNULL,
        stdout=subprocess.PIPE if quiet else None,
        stderr=subprocess.STDOUT if quiet else None,
        text=True,
        encoding="utf-8",
        errors="replace",
        check=False,
    )


def run(command: Sequence[str | Path], *, quiet: bool = False) -> None:
    """Run a command that must succeed; if it fails, show what it printed and end with its exit code."""
    done = execute(command, quiet=quiet)
    if done.returncode:
        print(done.stdout or "", end="")
        say(f"failed (exit code {done.returncode}): {' '.join(map(str, command))}")
        raise SystemExit(done.returncode if done.returncode > 0 else 1)


# -------------------------------------------------------------------------------------------------------- setting up


def _fingerprint(level: str) -> str:
    parts = (level, sys.version, str(ROOT), (ROOT / "pyproject.toml").read_text(encoding="utf-8"))
    return hashlib.sha256("\0".join(parts).encode()).hexdigest()


def _make_venv() -> None:
    """Create the environment, also on a Debian whose ``python3-venv`` is missing."""
    say(f"Creating {VENV}")
    if importlib.util.find_spec("ensurepip"):
        run([sys.executable, "-m", "venv", "--clear", VENV], quiet=True)
    else:
        run([sys.executable, "-m", "venv", "--clear", "--without-pip", VENV], quiet=True)
        run([sys.executable, "-m", "pip", "--python", VENV, "install", "-q", "pip"], quiet=True)


# Settings of pip and the variables of uv that say the same, and settings of no account for what is installed.
_PIP_AND_UV = {
    "index-url": "UV_DEFAULT_INDEX",
    "extra-index-url": "UV_EXTRA_INDEX_URL",
    "find-links": "UV_FIND_LINKS",
    "constraint": "UV_CONSTRAINT",
    "cert": "SSL_CERT_FILE",
}
_ONLY_PIP = {"cache-dir", "default-timeout", "disable-pip-version-check", "no-cache-dir", "no-color", "no-input"}
_ONLY_PIP |= {"progress-bar", "quiet", "retries", "root-user-action", "timeout", "verbose"}


def _as_uv_has_it(settings: str) -> dict[str, str] | None:
    """Return what ``pip config list`` says, as variables of uv; None if it may say what uv cannot be told."""
    said: dict[tuple[str, str], str] = {}
    for line in settings.splitlines():
        key, _, value = line.partition("=")
        section, _, name = key.rpartition(".")
        if section not in ("global", "install", ":env:") or name in _ONLY_PIP:
            continue
        if name not in _PIP_AND_UV or said.setdefault((section, name), value) != value:  # two files differ
            return None
    env: dict[str, str] = {}
    for section in ("global", "install", ":env:"):  # for pip, the last one counts
        for name, variable in _PIP_AND_UV.items():
            if (section, name) in said:
                value = ast.literal_eval(said[section, name])
                env[variable] = ",".join(value.split()) if name == "find-links" else value
    if "UV_EXTRA_INDEX_URL" in env:
        env["UV_INDEX_STRATEGY"] = "unsafe-best-match"  # as pip chooses among indexes
    return env


def _installed_by_uv(pip: Sequence[str | Path], level: str) -> bool:
    """Install with uv, which takes a fraction of pip's time; where uv is not to be had or fails, pip has to do it."""
    listed = execute([PYTHON, "-m", "pip", "config", "list"], quiet=True)
    env = None if listed.returncode else _as_uv_has_it(listed.stdout)
    if env is None or execute([*pip, "--only-binary", "uv", "uv"], quiet=True).returncode:
        return False
    # Copies, because NLTK opens no file that has a second link, such as one in the cache of uv.
    uv: list[str | Path] = [PYTHON, "-m", "uv", "pip", "install", "--quiet", "--link-mode", "copy", "--python", PYTHON]
    if level != "demo":  # otherwise each worker of the tests compiles the same modules at the same time
        uv.append("--compile-bytecode")
    return execute([*uv, *LEVELS[level]], env=env, quiet=True).returncode == 0


def setup(level: str) -> None:
    """Bring the environment to a level (or above it); do nothing when it is there already."""
    order = list(LEVELS)
    for enough in order[order.index(level) :]:
        stamp = VENV / f".memvid-{enough}"
        if PYTHON.exists() and stamp.exists() and stamp.read_text(encoding="utf-8") == _fingerprint(enough):
            return
    started = time.perf_counter()
    home = VENV / "pyvenv.cfg"
    if not PYTHON.exists() or not home.exists() or execute([PYTHON, "-c", ""], quiet=True).returncode:
        _make_venv()
    say(f"Installing the package and what '{level}' needs (the first time takes a minute or two)")
    pip: list[str | Path] = [PYTHON, "-m", "pip", "--disable-pip-version-check", "--no-input", "install", "--quiet"]
    run([*pip, "--upgrade", "pip>=25.1"], quiet=True)  # 25.1 brought --group
    if not _installed_by_uv(pip, level):
        run([*pip, *LEVELS[level]], quiet=True)
    (VENV / f".memvid-{level}").write_text(_fingerprint(level), encoding="utf-8")
    say(f"Ready after {time.perf_counter() - started:.0f} s")


def system_packages() -> None:
    """Install missing programs with apt-get where possible; otherwise list them."""
    missing = [need for need in SYSTEM_NEEDS if not need.found()]
    if not missing:
        return
    packages = [package for need in missing for package in need.packages]
    become: list[str] | None = None
    if hasattr(os, "geteuid") and shutil.which("apt-get"):
        if os.geteuid() == 0:
            become = []
        elif shutil.which("sudo") and execute(["sudo", "-n", "true"], quiet=True).returncode == 0:
            become = ["sudo", "-n"]
    if become is not None:
        say(f"Installing from Debian: {' '.join(packages)}")
        apt: list[str | Path] = [*become, "env", "DEBIAN_FRONTEND=noninteractive", "apt-get", "-qq"]
        execute([*apt, "update"], quiet=True)
        done = execute([*apt, "install", "-y", "--no-install-recommends", *packages], quiet=True)
        if done.returncode:
            print(done.stdout)
        missing = [need for need in missing if not need.found()]
    if missing:
        say("Missing on this machine; the tests that use it will fail:")
        for need in missing:
            print(f"  {need.name}: {need.purpose} (Debian: apt-get install {' '.join(need.packages)})")


# ---------------------------------------------------------------------------------------------------------- commands


def demo(rest: list[str]) -> None:
    """Install, then build a memory from this repository's documents and search it."""
    setup("demo")
    run([PYTHON, ROOT / "scripts" / "demo.py", *rest])


def lint(rest: list[str]) -> None:
    """Every check that reads the code: ruff, its formatter, mypy --strict, the layers."""
    setup("test")
    if failed := _checks(CHECKS):
        say(f"Failed: {', '.join(failed)}")
        raise SystemExit(1)


def _checks(names: Iterable[str]) -> list[str]:
    """Run checks, two at a time; report each one and return the names of those that failed."""

    def check(name: str) -> tuple[str, float, subprocess.CompletedProcess[str]]:
        started = time.perf_counter()
        program, *arguments = CHECKS[name]
        done = execute([BIN / program, *arguments], quiet=True)
        return name, time.perf_counter() - started, done

    failed = []
    with ThreadPoolExecutor(max_workers=2) as pool:
        for name, seconds, done in pool.map(check, names):
            say(f"{name}: {'ok' if done.returncode == 0 else 'FAILED'} ({seconds:.0f} s)")
            if done.returncode:
                print(done.stdout)
                failed.append(name)
    return failed


def _cpus() -> int:
    usable = getattr(os, "sched_getaffinity", None)
    return len(usable(0)) if usable else os.cpu_count() or 1


def _pytest(rest: list[str], *, env: dict[str, str], options: Sequence[str] = ()) -> int:
    # One worker more than there are cores: tests also wait for processes, locks and timeouts.
    # One BLAS thread a process: the processes already use every core, and threads fighting for them cost time.
    env = {"OMP_NUM_THREADS": "1", "OPENBLAS_NUM_THREADS": "1", **env}
    parallel = ["-n", str(_cpus() + 1), "--dist", "worksteal"]
    return execute([PYTHON, "-m", "pytest", *parallel, *options, *rest], env=env).returncode


def _folder_in_ram() -> Path | None:
    """Make a folder for the tests' files in RAM, if there is plenty; they wait for the disk at thousands of commits."""
    ram, about = Path("/dev/shm"), Path("/proc/meminfo")
    if not (about.exists() and os.access(ram, os.W_OK)):
        return None
    available = next(int(line.split()[1]) << 10 for line in about.read_text().splitlines() if "MemAvailable" in line)
    if min(available, shutil.disk_usage(ram).free) < _ENOUGH_RAM:
        return None
    return Path(tempfile.mkdtemp(prefix="memvid-tests-", dir=ram))


def test(rest: list[str]) -> None:
    """Every check and every test, at the same time; the tests' files in RAM, if there is enough."""
    system_packages()
    setup("test")
    folder = None if any(argument.startswith("--basetemp") for argument in rest) else _folder_in_ram()
    with ThreadPoolExecutor(max_workers=1) as pool:
        checks = pool.submit(_checks, [name for name in CHECKS if name != "mypy"])
        try:
            code = _pytest(rest, env={}, options=[f"--basetemp={folder / 'files'}"] if folder else [])
        finally:
            if folder:
                shutil.rmtree(folder, ignore_errors=True)
    if failed := checks.result():
        say(f"Failed besides the tests: {', '.join(failed)}")
    raise SystemExit(code or bool(failed))


def coverage(rest: list[str]) -> None:
    """What ``test`` does, with the share of lines and branches that the tests reach; it takes longer."""
    test(["--cov", "--cov-report=term:skip-covered", *rest])


def soak(rest: list[str]) -> None:
    """Long runs against a model (``python -m soak``); ``soak tests`` is pytest with many more examples and rounds."""
    setup("test")
    if rest[:1] != ["tests"]:
        run([PYTHON, "-m", "soak", *rest])
        return
    system_packages()
    raise SystemExit(_pytest(rest[1:], env={"HYPOTHESIS_PROFILE": "soak", "MEMVID_SOAK": "20"}))


def bench(rest: list[str]) -> None:
    """The benchmark tables, side by side with real peers; arguments are handed on."""
    setup("bench")
    run([PYTHON, "-m", "benchmarks", *rest])


def build(rest: list[str]) -> None:
    """A wheel and a source archive in dist/."""
    setup("test")
    shutil.rmtree(ROOT / "dist", ignore_errors=True)
    run([PYTHON, "-m", "build", *rest])


def clean(rest: list[str]) -> None:
    """Remove everything these commands made: the environment, caches, builds."""
    made = (".venv", "build", "dist", ".mypy_cache", ".ruff_cache", ".pytest_cache", ".hypothesis", ".soak", "htmlcov")
    for name in made:
        shutil.rmtree(ROOT / name, ignore_errors=True)
    for pattern in (".coverage*", ".import_linter_cache"):
        for path in ROOT.glob(pattern):
            shutil.rmtree(path) if path.is_dir() else path.unlink()


COMMANDS: dict[str, Callable[[list[str]], None]] = {
    function.__name__: function for function in (demo, test, coverage, lint, soak, bench, build, clean)
}


def main() -> None:
    """Parse the command line and run one command; what follows its name is handed on."""
    if sys.version_info < (3, 11):  # noqa: UP036  the one file that an older Python may be asked to run
        raise SystemExit(f"memvid-core needs Python 3.11 or newer; this is {sys.version.split()[0]}")
    summary = "\n".join(f"  {name:8} {(function.__doc__ or '').splitlines()[0]}" for name, function in COMMANDS.items())
    parser = argparse.ArgumentParser(
        description=(__doc__ or "").splitlines()[0],
        epilog=f"commands:\n{summary}",
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    parser.add_argument("command", choices=COMMANDS, metavar="command")
    parser.add_argument("rest", nargs=argparse.REMAINDER, help="handed on (to pytest, the benchmarks, …)")
    arguments = parser.parse_args()
    COMMANDS[arguments.command](arguments.rest)


if __name__ == "__main__":
    main()

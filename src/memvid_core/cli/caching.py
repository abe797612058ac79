"""``memvid cache``: the local copies of remote memories."""

from __future__ import annotations

from typing import Annotated

import typer

from memvid_core.cli.options import AsJson
from memvid_core.cli.output import count, megabytes, moment, say, write_json

__all__ = ["register"]


def register(app: typer.Typer) -> None:
    """Add this command to a program."""
    app.command("cache", rich_help_panel="Maintain", epilog="`memvid cache --clear`")(cache)


def cache(
    url: Annotated[
        str | None, typer.Argument(metavar="URL", show_default=False, help="Only the copy of this memory.")
    ] = None,
    clear: Annotated[bool, typer.Option("--clear", help="Delete the copies that no process has open.")] = False,
    as_json: AsJson = False,
) -> None:
    """List the local copies of remote memories, or delete them.

    A memory that is opened from a URL is kept in a folder of the user, or in MEMVID_CACHE_DIR. Above MEMVID_CACHE_LIMIT
    (10GB, or none), the copies that were not used for longest are deleted when others are fetched.
    """
    from memvid_core import cached_copies, clear_cache
    from memvid_core.system.remote_cache import cache_limit
    from memvid_core.system.remote_urls import shown_url

    name = None if url is None else shown_url(url)
    limit = cache_limit()
    found = clear_cache(name) if clear else [copy for copy in cached_copies() if name in (None, copy.url)]
    if as_json:
        fields = ("url", "folder", "bytes", "used", "in_use")
        copies = [{field: getattr(copy, field) for field in fields} for copy in found]
        listed = [{**copy, "folder": str(copy["folder"])} for copy in copies]
        write_json({"deleted": listed} if clear else {"copies": listed, "limit": limit})
        return
    for copy in found:
        state = "  in use" if copy.in_use else ""
        say(f"{megabytes(copy.bytes):>10}  {moment(copy.used)}  {copy.url or copy.folder}{state}")
    total = megabytes(sum(copy.bytes for copy in found))
    most = "" if clear else f"; limit {'none' if limit is None else megabytes(limit)}"
    say(f"{'deleted ' if clear else ''}{count(len(found), 'copy')}, {total}{most}")

"""What ``scripts/dev.py`` hands on from pip's settings to uv."""

import runpy
from collections.abc import Callable
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parent.parent


@pytest.fixture(scope="module")
def as_uv_has_it() -> Callable[[str], dict[str, str] | None]:
    found: Callable[[str], dict[str, str] | None] = runpy.run_path(str(ROOT / "scripts" / "dev.py"))["_as_uv_has_it"]
    return found


@pytest.mark.parametrize(
    ("settings", "expected"),
    [
        ([], {}),
        (
            [("global.index-url", "https://ada:p'w%40@host/simple")],
            {"UV_DEFAULT_INDEX": "https://ada:p'w%40@host/simple"},
        ),
        ([("global.cert", "\\\\server\\it's.pem")], {"SSL_CERT_FILE": "\\\\server\\it's.pem"}),
        (
            [(":env:.index-url", "https://c"), ("global.index-url", "https://a"), ("install.index-url", "https://b")],
            {"UV_DEFAULT_INDEX": "https://c"},
        ),
        ([("download.index-url", "https://a"), ("global.timeout", "9")], {}),
        (
            [("global.extra-index-url", "https://a https://b")],
            {"UV_EXTRA_INDEX_URL": "https://a https://b", "UV_INDEX_STRATEGY": "unsafe-best-match"},
        ),
        ([("global.find-links", "/a /b")], {"UV_FIND_LINKS": "/a,/b"}),
        ([("install.constraint", "/a.txt")], {"UV_CONSTRAINT": "/a.txt"}),
        ([("global.no-index", "true"), ("global.cert", "/a")], None),
        ([("global.index-url", "https://a"), ("global.index-url", "https://b")], None),  # of two files
    ],
)
def test_uv_is_told_what_pip_is_told_or_pip_installs(
    as_uv_has_it: Callable[[str], dict[str, str] | None],
    settings: list[tuple[str, str]],
    expected: dict[str, str] | None,
) -> None:
    lines = [f"{key}={value!r}" for key, value in settings]  # as pip writes them
    assert as_uv_has_it("\n".join(["WARNING: a line of another kind", *lines])) == expected

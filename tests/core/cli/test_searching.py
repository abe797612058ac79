"""``search`` and ``get``."""

from __future__ import annotations

from pathlib import Path

import pytest

from memvid_core import Memory
from memvid_core.cli import searching
from tests.core.cli.running import memvid


def test_search_says_in_json_what_the_memory_says(notes: Path) -> None:
    done = memvid("search", notes, "flaps and lift", "-k", 2, "--json")
    assert (done.code, done.err) == (0, "")
    with Memory.open(notes) as memory:
        hits = memory.search("flaps and lift", k=2)
    assert done.json == {
        "memory": "notes.mp4",
        "query": "flaps and lift",
        "mode": "hybrid",
        "hits": [
            {
                "rank": hit.rank,
                "score": hit.score,
                "relevance": hit.relevance,
                "id": hit.id,
                "text": hit.text,
                "metadata": hit.metadata,
                "passage": {"text": hit.text, "start": 0, "end": len(hit.text)},
                "snippet": hit.text.replace("Flaps", "**Flaps**").replace("lift", "**lift**"),
            }
            for hit in hits
        ],
    }
    assert done.json["hits"][0]["id"] == "flaps"


@pytest.mark.parametrize("mode", ["hybrid", "dense", "lexical"])
def test_search_takes_a_mode_and_explains(notes: Path, mode: str) -> None:
    told = memvid("search", notes, "thrust", "-k", 1, "--mode", mode, "--explain", "--json").json
    with Memory.open(notes) as memory:
        [hit] = memory.search("thrust", 1, mode=mode, explain=True)  # type: ignore[arg-type]
    assert (told["mode"], told["hits"][0]["explain"]) == (mode, hit.explain)


def test_search_filters_and_looks_into_the_past(notes: Path) -> None:
    def found(*options: object) -> list[str]:
        return [hit["id"] for hit in memvid("search", notes, "lift news", "-k", 9, "--json", *options).json["hits"]]

    assert set(found("--where", '{"source": "docs/wings.md", "page": {"$gt": 1}}')) == {"flaps"}
    assert "old" not in found()
    assert "old" in found("--as-of", 2)
    assert "old" not in found("--as-of", "2999-01-01")
    early = memvid("search", notes, "lift", "--as-of", "2001-01-01T12:00Z")
    assert early.code == 2
    assert "after 2001-01-01" in early.err


def test_search_shows_hits_with_what_matched_marked(notes: Path) -> None:
    done = memvid("search", notes, "양력", "-k", 1, "--mode", "lexical", "--explain")
    assert (done.code, done.err) == (0, "")
    head, *rest = done.out.splitlines()
    assert head.startswith(" 1  ")
    assert head.endswith("날개 · docs/비행.md · 비행 · page 3")
    assert "    날개는 공기의 흐름으로 **양력**을 만든다. 🚀" in rest


def test_a_long_text_is_shown_by_its_best_passage_and_equal_texts_once(tmp_path: Path) -> None:
    with Memory.create(tmp_path / "long.mp4") as memory:
        text = "The sky was gray. " * 40 + "The wing lifts the plane. " + "The sea was calm. " * 40
        memory.add([text, text, "a wing"])
    done = memvid("search", tmp_path / "long.mp4", "wing lifts", "--unique")
    assert (done.code, done.out.count("The **wing** **lifts** the plane.")) == (0, 1)
    assert all(len(line) < 300 for line in done.out.splitlines())
    [hit, _] = memvid("search", tmp_path / "long.mp4", "wing lifts", "--unique", "--json").json["hits"]
    passage = hit["passage"]
    assert hit["text"][passage["start"] : passage["end"]] == passage["text"]
    assert "The **wing** **lifts** the plane." in hit["snippet"]
    assert "…" in done.out


def test_misspelled_words_and_a_file_of_synonyms(notes: Path, tmp_path: Path) -> None:
    def found(*arguments: object) -> list[str]:
        done = memvid("search", notes, "--mode", "lexical", "--json", *arguments)
        return [hit["id"] for hit in done.json["hits"]]

    assert found("flpas") == found("flaps") != []
    assert found("flpas", "--no-fuzzy") == []
    (tmp_path / "synonyms.txt").write_text("winglets, flaps\n", "utf-8")
    assert found("winglets", "--synonyms", tmp_path / "synonyms.txt") == found("flaps")
    assert memvid("search", notes, "winglets", "--synonyms", "missing.txt").code == 2


def test_nothing_found_is_exit_code_1(notes: Path) -> None:
    done = memvid("search", notes, "xylophone", "--mode", "lexical")
    assert (done.code, done.out, done.err) == (1, "", "nothing found\n")
    as_json = memvid("search", notes, "xylophone", "--mode", "lexical", "--json")
    assert (as_json.code, as_json.json["hits"]) == (1, [])
    irrelevant = memvid("search", notes, "xylophone", "--min-score", 0.5)
    assert (irrelevant.code, irrelevant.out, irrelevant.err) == (1, "", "nothing found\n")


@pytest.mark.parametrize(
    "arguments",
    [
        [" "],
        ["wing", "-k", "-1"],
        ["wing", "--mode", "psychic"],
        ["wing", "--min-score", "1.1"],
        ["wing", "--where", "{page: 1}"],
        ["wing", "--where", "[]"],
        ["wing", "--where", '{"page": {"$gtee": 1}}'],
        ["wing", "--as-of", "tomorrow"],
        ["wing", "--as-of", "99"],
        ["wing", "--embedder", "memvid-hash-v1:128"],
        [],
    ],
)
def test_wrong_use_is_exit_code_2(notes: Path, arguments: list[str]) -> None:
    done = memvid("search", notes, *arguments)
    assert (done.code, done.out) == (2, "")
    assert done.err


def test_a_memory_of_another_embedder_is_searched_by_words(tmp_path: Path) -> None:
    path = tmp_path / "other.mp4"
    with Memory.create(path, embedder=lambda texts: [[float(len(text)), 1.0] for text in texts]) as memory:
        memory.add(["the wing lifts", "the engine hums"])
        name = memory.info().embedder
    done = memvid("search", path, "engine", "--json")
    assert (done.code, done.json["mode"]) == (0, "lexical")
    assert done.err == f"searching by words only; to search by meaning too, add --embedder {name}\n"
    dense = memvid("search", path, "engine", "--mode", "dense")
    assert dense.code == 2
    assert "--embedder" in dense.err
    assert memvid("add", path, "--text", "more").code == 11


def test_get_shows_records(notes: Path) -> None:
    done = memvid("get", notes, "flaps", "lift", "--json")
    assert done.code == 0
    assert done.json["missing"] == []
    assert done.json["records"][0] == {
        "id": "flaps",
        "text": "Flaps add lift at low speed.",
        "metadata": {"source": "docs/wings.md", "heading": "Wings > Flaps", "page": 2},
    }
    shown = memvid("get", notes, "flaps").out
    assert shown.splitlines()[0] == "flaps"
    assert shown.splitlines()[-1] == "Flaps add lift at low speed."
    assert memvid("get", notes, "flaps", "lift", "--raw").out == (
        "Flaps add lift at low speed.\nA wing turns the flow of air into lift.\n"
    )
    assert memvid("get", notes, "old", "--as-of", 2, "--raw").out == "Old news.\n"


def test_get_names_what_is_missing(notes: Path) -> None:
    done = memvid("get", notes, "flaps", "nope", "--json")
    assert (done.code, done.json["missing"], len(done.json["records"])) == (1, ["nope"], 1)
    assert done.err == "no record has the id 'nope'\n"


def test_what_would_control_the_terminal_is_only_shown(tmp_path: Path) -> None:
    path = tmp_path / "evil.mp4"
    text = "wing \x1b[2J\x1b]0;title\x07 [bold red]no markup[/] :smile: \x9b31m"
    with Memory.create(path) as memory:
        memory.add(text, metadata={"source": "\x1b[31m.txt", "heading": "two\nlines"}, ids="\x1b[1m")
    for arguments in (["search", path, "wing"], ["search", path, "wing", "--full"], ["get", path, "\x1b[1m"]):
        shown = memvid(*arguments).out
        assert not {"\x1b", "\x07", "\x9b"} & set(shown)
        assert "[bold red]no markup[/] :smile:" in shown
    assert memvid("get", path, "\x1b[1m", "--raw").out == text + "\n"
    assert memvid("search", path, "wing", "--json").json["hits"][0]["text"] == text


def test_a_long_text_is_shown_in_part_or_in_full(tmp_path: Path) -> None:
    path = tmp_path / "long.mp4"
    text = "가나다라 마바사 " * 300 + "날개는 양력을 만든다. " + "아자차카 타파하 " * 300
    with Memory.create(path) as memory:
        memory.add(text)
    [_, shown] = memvid("search", path, "양력").out.splitlines()
    assert len(shown) < 200
    assert "**양력**" in shown
    assert memvid("search", path, "양력", "--full").out.count("가나다라") == 300


def test_place_says_what_the_id_does_not() -> None:
    assert searching.place("a.csv#3", {"source": "a.csv", "row": 40, "sheet": "Q1"}) == "sheet Q1 · row 40"
    assert searching.place("a.csv#3", {"source": "b.csv", "slide": 2}) == "b.csv · slide 2"
    assert searching.place("x", {"source": None, "page": 0}) == "page 0"
    assert searching.place("x", {}) == ""


@pytest.mark.parametrize("index", ["auto", "exact", "sklearn", "quantized", "ivf", "ivf:0.9", "ivf:1"])
def test_an_index_of_ones_own_choice(notes: Path, index: str) -> None:
    wanted = memvid("search", notes, "flaps and lift", "--mode", "dense", "--json").json
    assert memvid("search", notes, "flaps and lift", "--mode", "dense", "--index", index, "--json").json == wanted


def test_a_memory_with_a_metric_of_its_own(notes: Path, tmp_path: Path) -> None:
    page, made = tmp_path / "page.md", tmp_path / "made.mp4"
    page.write_text("Flaps add lift.\n", encoding="utf-8")
    assert memvid("build", page, "-o", made, "--metric", "euclidean", "--index", "sklearn").code == 0
    assert memvid("info", made, "--json").json["metric"] == "euclidean"
    with Memory.open(made) as memory:
        (hit,) = memory.search("Flaps add lift.", mode="dense")
    told = memvid("search", made, "Flaps add lift.", "--mode", "dense", "--json").json
    assert told["hits"][0]["score"] == pytest.approx(hit.score)
    for arguments, said in (
        (("search", made, "lift", "--index", "ivf"), "cosine only"),
        (("add", made, page, "--metric", "cosine"), "'euclidean', not by 'cosine'"),
        (("search", made, "lift", "--index", "tree"), "tree"),
        (("search", made, "lift", "--index", "ivf:many"), "above 0 and up to 1"),
        (("search", made, "lift", "--index", "ivf:1.5"), "above 0 and up to 1"),
        (("search", made, "lift", "--index", "exact:0.9"), "exact:0.9"),
    ):
        done = memvid(*arguments)
        assert done.code
        assert said in " ".join(done.err.split())
    assert memvid("add", tmp_path / "new.mp4", page, "--create", "--metric", "manhattan").code == 0
    assert memvid("sync", tmp_path / "new.mp4", "--help").code == 0
    assert memvid("info", tmp_path / "new.mp4", "--json").json["metric"] == "manhattan"

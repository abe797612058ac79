"""Every notebook runs from its first cell to its last in an empty folder, and is committed without outputs."""

from __future__ import annotations

from pathlib import Path

import nbformat
import pytest
from nbclient import NotebookClient

from tests.kernels import Kernels

FORGET = """
from pathlib import Path

from memvid_core import Memory
from memvid_core.agent import SyncMemoryService, export_markdown

place = bytes.fromhex("58616e6164757072696d65").decode()  # so that this source does not have it
with Memory.create("forgets.mp4") as memory:
    service = SyncMemoryService(memory, memorize_config={"extract": "rules"})
    for session, text in (("a", f"I live in {place}. I like {place}."), ("b", "I like tea.")):
        said = service.add([{"role": "user", "content": text}], user_id="me", session_id=session)
    export_markdown(service, "pages", user_id="me")
    forgotten = service.list_memory_items({"user_id": "me"})[0]
    receipt = service.forget(user_id="me", session_id="a")
    memory.compact()
    done = export_markdown(service, "pages", user_id="me")
    files = [path for path in Path().rglob("*") if path.is_file()]
    print("held while open:", [path for path in files if place.lower().encode() in path.read_bytes().lower()])
    print(receipt, done, memory.info(), memory.history(), memory.verify(), list(memory))
    print(service.recall(f"Where do I live? {place[:5]}", user_id="me"), service.retrieve("home", {"user_id": "me"}))
    print(service.list_memory_items({"user_id": "me"}), service.list_memory_categories({"user_id": "me"}))
    print(memory.search(place[:6], k=9), memory.search("home", k=9))
    print([path.read_text(encoding="utf-8") for path in Path("pages").iterdir()])
    for missing in (forgotten.id, forgotten.sources[0]):
        try:
            service.get(missing, user_id="me")
        except LookupError as error:
            print(repr(error))
"""
NOTEBOOKS = sorted((Path(__file__).resolve().parent.parent / "notebooks").glob("*.ipynb"))


@pytest.fixture(params=NOTEBOOKS, ids=lambda path: path.name)
def notebook(request: pytest.FixtureRequest) -> nbformat.NotebookNode:
    return nbformat.read(request.param, as_version=4)


def test_it_is_committed_without_outputs(notebook: nbformat.NotebookNode) -> None:
    nbformat.validate(notebook)
    ran = [cell for cell in notebook.cells if cell.cell_type == "code" and (cell.outputs or cell.execution_count)]
    assert ran == [], "clear the outputs before committing"


@pytest.mark.long
def test_it_runs(notebook: nbformat.NotebookNode, tmp_path: Path) -> None:
    if "SyncMemoryService" in str(notebook.cells):  # one kernel for both
        notebook.cells.append(nbformat.v4.new_code_cell(FORGET))
    place = {"metadata": {"path": tmp_path}}
    client = NotebookClient(notebook, timeout=120, kernel_manager_class=Kernels, kernel_name="python3", resources=place)
    client.execute()  # raises CellExecutionError with the cell and its traceback
    code = [cell for cell in notebook.cells if cell.cell_type == "code" and cell.source.strip()]
    assert code
    assert all(cell.execution_count for cell in code)
    nbformat.write(notebook, tmp_path / "executed.ipynb")
    held = [path for path in tmp_path.rglob("*") if path.is_file() and b"xanaduprime" in path.read_bytes().lower()]
    assert held == [], "what was forgotten is in the memory, its index, the export or the notebook's output"
    assert code[-1].source != FORGET or "held while open: []" in str(code[-1].outputs)

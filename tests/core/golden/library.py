"""Write the golden library: ``python -m tests.core.golden.library``. Only for a new format of libraries."""

from __future__ import annotations

import shutil
from pathlib import Path
from tempfile import TemporaryDirectory

from memvid_core import Library, Record
from memvid_core.library.manifest import FORMAT
from tests.core.embedders import embed

PATH = Path(__file__).with_name(f"library-{FORMAT}.zip")
BUILT = [Record(f"r{number}", f"Page {number}: 서울의 봄.", {"book": "ab"[number // 4]}) for number in range(8)]
ADDED = Record("added", "A note.", {"book": None})
REPLACED = Record("r1", "Page 1, again.", {"book": None})
DELETED = "r2"


def main() -> None:
    """Write a library of four shards, with a record that was replaced and one that was deleted."""
    with TemporaryDirectory() as folder:
        with Library.create(Path(folder, "library"), embed, partition_by=["book"]) as library:
            library.build(BUILT, rows_per_shard=4)
            for record in (ADDED, REPLACED):
                library.add(record.text, dict(record.metadata), record.id)
            library.delete([DELETED])
        for index in Path(folder, "library", "shards").glob("*.index"):
            shutil.rmtree(index)
        shutil.make_archive(str(PATH.with_suffix("")), "zip", folder)


if __name__ == "__main__":
    main()

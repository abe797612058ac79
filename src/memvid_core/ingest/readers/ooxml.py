"""Parts and relations of an Office Open XML package, in its transitional and its strict form."""

from __future__ import annotations

import posixpath
from collections.abc import Iterator
from pathlib import Path
from typing import IO, Any, NamedTuple, Self
from urllib.parse import unquote

from memvid_core.errors import IngestError
from memvid_core.ingest.readers.extras import require
from memvid_core.ingest.readers.remarks import leaving_out
from memvid_core.ingest.readers.zipped import Parts

__all__ = ["Package", "Relation", "attribute", "child", "children", "local", "parse_xml", "path_of"]


class Relation(NamedTuple):
    """Describe a relation of a part: its kind (the end of its type), and the name of its target part."""

    kind: str
    target: str


def local(element: Any) -> str:
    """Return the name of an element without its namespace; empty for comments and processing instructions.

    The strict form of the standard has other namespaces with the same names.
    """
    tag = element.tag
    return tag.rpartition("}")[2] if isinstance(tag, str) else ""


def attribute(element: Any, name: str) -> str | None:
    """Return an attribute by its local name, whatever its namespace."""
    for key, value in element.items():
        if key.rpartition("}")[2] == name:
            return str(value)
    return None


def children(element: Any, *names: str) -> Iterator[Any]:
    """Yield the child elements with one of these local names."""
    for found in element:
        if local(found) in names:
            yield found


def child(element: Any, name: str) -> Any:
    """Return the first child element with a local name, or None."""
    return next(children(element, name), None)


def path_of(element: Any, *names: str) -> Any:
    """Return the element at a path of local names below another, or None."""
    for name in names:
        if element is None:
            return None
        element = child(element, name)
    return element


def parse_xml(data: bytes) -> Any:
    """Parse XML without entities, network access and DTDs; libxml2 limits depth and size.

    Raises:
        IngestError: It is not well-formed.
    """
    etree = require("lxml.etree", "to read XML")
    parser = etree.XMLParser(resolve_entities=False, no_network=True, load_dtd=False, remove_comments=True)
    try:
        return etree.fromstring(data, parser)
    except etree.XMLSyntaxError as exc:
        raise IngestError(f"damaged or unusual: XMLSyntaxError: {exc}") from exc


class Package:
    """Read the parts of a package; a warning names those that are damaged.

    Args:
        path: The file.
    """

    def __init__(self, path: Path) -> None:
        self._parts = Parts(path)
        # Names of parts are compared without case (ECMA-376-2, 6.2.2).
        self._names = {name.lower(): name for name in self._parts.names}

    def __enter__(self) -> Self:
        return self

    def __exit__(self, kind: type[BaseException] | None, *exc: object) -> None:
        self._parts.__exit__(kind, *exc)

    def main(self) -> str:
        """Return the name of the main part.

        Raises:
            IngestError: The package does not name it.
        """
        for relation in self.relations("").values():
            if relation.kind == "officeDocument":
                return relation.target
        raise IngestError("damaged: the package does not name its main part")

    def has(self, name: str) -> bool:
        """Return whether a part exists."""
        return name.lower() in self._names

    def read(self, name: str) -> bytes:
        """Return the bytes of a part.

        Raises:
            IngestError: The part does not exist or is damaged.
        """
        return self._parts.read(self._names.get(name.lower(), name))

    def open(self, name: str) -> IO[bytes]:
        """Open a part; otherwise as `read`."""
        return self._parts.open(self._names.get(name.lower(), name))

    def tree(self, name: str) -> Any:
        """Return the root element of a part that every document needs.

        Raises:
            IngestError: The part does not exist or is damaged.
        """
        return parse_xml(self.read(name))

    def trees(self, *names: str) -> Iterator[Any]:
        """Yield the root elements of parts; those that are missing or damaged are left out with a warning."""
        for name in names:
            with leaving_out(name):
                tree = self.tree(name)
                yield tree

    def main_tree(self, root: str) -> Any:
        """Return the root element of the main part.

        Raises:
            IngestError: It is missing, or is not of this local name.
        """
        tree = self.tree(self.main())
        if local(tree) != root:
            raise IngestError(f"damaged: its main part is not a {root}")
        return tree

    def relations(self, name: str) -> dict[str, Relation]:
        """Return the internal relations of a part by their ids; those of the package for an empty name."""
        folder, _, file = name.rpartition("/")
        rels = f"{folder}/_rels/{file}.rels".lstrip("/")
        if not self.has(rels):
            return {}
        found: dict[str, Relation] = {}
        for tree in self.trees(rels) if name else [self.tree(rels)]:
            for relation in children(tree, "Relationship"):
                if relation.get("TargetMode") == "External":
                    continue
                target = unquote(relation.get("Target", ""))
                target = target.lstrip("/") if target.startswith("/") else posixpath.join(folder, target)
                kind = relation.get("Type", "").rpartition("/")[2]
                found[relation.get("Id", "")] = Relation(kind, posixpath.normpath(target))
        return found

    def related(self, name: str, kind: str) -> list[str]:
        """Return the target parts of a part's relations of one kind, which may be missing."""
        return [relation.target for relation in self.relations(name).values() if relation.kind == kind]

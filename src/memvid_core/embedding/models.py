"""Load embedding models by name. The package that runs a model is an optional extra, imported on demand."""

from __future__ import annotations

import importlib
from typing import Any

from memvid_core.embedding.adapters import CallableEmbedder, EncodeEmbedder
from memvid_core.embedding.builtin import HashingEmbedder, is_built_in
from memvid_core.errors import Action, EmbeddingError, Hint, InvalidInputError, MissingExtraError
from memvid_core.model import Embedder

__all__ = ["import_package", "load", "load_model"]


def load_model(name: str, *, exact: bool = False) -> Embedder:
    """Load an embedding model by its name.

    Args:
        name: ``"fastembed:BAAI/bge-small-en-v1.5"``, ``"model2vec:minishlab/potion-base-8M"``,
            ``"sentence-transformers:<model>"``, a bare model name (``"sentence-transformers/all-MiniLM-L6-v2"``,
            ``"all-MiniLM-L6-v2"``: sentence-transformers), or the built-in ``"memvid-hash-v1:<dimension>"``. A model is
            a name on the Hugging Face hub, downloaded once into its cache, or a local folder; for fastembed, a name
            that it lists.
        exact: Keep float64 vectors of a model.

    Returns:
        The embedder, with the name ``<package>:<model>``.

    Raises:
        MissingExtraError: If the package that runs it is not installed; the message names the extra.
        EmbeddingError: If the model cannot be loaded; the message says what to do without a network.

    Example:
        >>> load_model("memvid-hash-v1:256").dimension
        256
    """
    if is_built_in(name.strip()):
        return HashingEmbedder.from_name(name.strip())
    kind, colon, model = name.strip().partition(":")
    if not colon or kind not in _LOADERS:
        kind, model = "sentence-transformers", name.strip()
    if not model:
        raise InvalidInputError(f"{name!r} has no model name: write one such as 'model2vec:minishlab/potion-base-8M'")
    return _LOADERS[kind](model, exact)


def _sentence_transformers(model: str, exact: bool) -> Embedder:
    package = import_package("sentence_transformers", "sentence-transformers")
    return EncodeEmbedder(
        load(package.SentenceTransformer, model), name=_name("sentence-transformers", model), exact=exact
    )


def _model2vec(model: str, exact: bool) -> Embedder:
    package = import_package("model2vec", "model2vec")
    return EncodeEmbedder(load(package.StaticModel.from_pretrained, model), name=_name("model2vec", model), exact=exact)


def _fastembed(model: str, exact: bool) -> Embedder:
    loaded = load(import_package("fastembed", "fastembed").TextEmbedding, model, folders=False)
    size = getattr(loaded, "embedding_size", None)
    return CallableEmbedder(
        lambda texts: list(loaded.passage_embed(texts)),
        query=lambda text: next(iter(loaded.query_embed(text))),
        name=_name("fastembed", model),
        dimension=size if isinstance(size, int) else None,
        exact=exact,
    )


_LOADERS = {"sentence-transformers": _sentence_transformers, "model2vec": _model2vec, "fastembed": _fastembed}


def _name(package: str, model: str) -> str:
    """Return the name to record; of a local folder only the last part, so that a memory reveals no home folder."""
    if "\\" in model or model.startswith(("/", "~", ".")) or model.count("/") > 1:
        model = model.replace("\\", "/").rstrip("/").rpartition("/")[2]
    return f"{package}:{model}"


def import_package(module: str, extra: str) -> Any:
    """Import a module of an optional package.

    Raises:
        MissingExtraError: It cannot be imported.
    """
    try:
        return importlib.import_module(module)
    except ImportError as error:
        raise MissingExtraError(
            f"this model needs the package {extra}, which cannot be imported ({error})",
            hint=Hint(Action.INSTALL_EXTRA, {"extra": extra}),
        ) from error


def load(loader: Any, model: str, *, folders: bool = True) -> Any:
    """Load a model.

    Args:
        loader: The function that loads it.
        model: Its name.
        folders: Whether the package takes the path of a folder, too.

    Raises:
        EmbeddingError: The package cannot load it.
    """
    try:
        return loader(model)
    except Exception as error:  # every package and its hub client raise their own
        other = ", or pass a local folder that contains it" if folders else "; fastembed takes no folders"
        raise EmbeddingError(
            f"the model {model!r} cannot be loaded: {type(error).__name__}: {error}. Check its name; without a network,"
            f" load it once with one (its cache is then used){other}"
        ) from error

"""Recognition of a folder's family and model from the names of its files. Pure."""

from __future__ import annotations

from collections.abc import Callable, Collection, Mapping
from dataclasses import dataclass
from fnmatch import fnmatchcase

from alti2v.errors import UsageError
from alti2v.model.loading.description import ModelDescription
from alti2v.model.loading.families import by_hand, camie, cl, deepghs, ml_danbooru, native, oppai_oracle, wd
from alti2v.model.loading.graph import Graph
from alti2v.model.loading.tables import TaggerTags

ONNX_SUFFIX = ".onnx"
# Usual names of the model, the likeliest first; another name counts if it is the only one.
MODEL_FILES = ("model.onnx", "model_optimized.onnx")


@dataclass(frozen=True, slots=True, kw_only=True)
class TaggerFamily:
    """A family of folders.

    Attributes:
        needs: Patterns of the files by which the family is recognised, besides the model.
        also: Patterns of further files that its reader uses.
        models: Pattern of the model's file.
        table: Reader of the tags: contents of the files by name -> table.
        read: Reader of the rest: the files, table, graph, and name of the model -> description.
    """

    needs: tuple[str, ...]
    table: Callable[[Mapping[str, bytes]], TaggerTags]
    read: Callable[[Mapping[str, bytes], TaggerTags, Graph, str], ModelDescription]
    also: tuple[str, ...] = ()
    models: str = f"*{ONNX_SUFFIX}"


# In the order in which they are tried: the more particular first.
FAMILIES: tuple[TaggerFamily, ...] = (
    TaggerFamily(
        needs=(by_hand.FILE,),
        also=("*.csv", "*.txt", "*.json"),
        table=by_hand.table_by_hand,
        read=by_hand.read_by_hand,
    ),
    TaggerFamily(needs=(cl.TABLE,), table=cl.cl_table, read=cl.read_cl),
    TaggerFamily(needs=(camie.METADATA,), table=camie.camie_table, read=camie.read_camie),
    TaggerFamily(
        needs=(oppai_oracle.PREPROCESSING, wd.TABLE),
        table=oppai_oracle.oppai_oracle_table,
        read=oppai_oracle.read_oppai_oracle,
    ),
    TaggerFamily(
        needs=(deepghs.PREPROCESS, wd.TABLE),
        also=(deepghs.CATEGORIES, deepghs.THRESHOLDS),
        table=deepghs.deepghs_table,
        read=deepghs.read_deepghs,
    ),
    TaggerFamily(needs=(wd.TABLE,), table=wd.wd_table, read=wd.read_wd),
    TaggerFamily(needs=(wd.E621_TABLE,), table=wd.wd_table, read=wd.read_wd),
    TaggerFamily(
        needs=(ml_danbooru.TABLE,),
        models="ml_*.onnx",
        table=ml_danbooru.ml_danbooru_table,
        read=ml_danbooru.read_ml_danbooru,
    ),
    TaggerFamily(needs=(native.TABLE,), table=native.native_table, read=native.read_native),
)


@dataclass(frozen=True, slots=True)
class RecognisedFolder:
    """A folder with a model that can be read.

    Attributes:
        family: Family of the folder.
        model_file: Name of the model's file.
        files: Names of the other files that the reader needs.
    """

    family: TaggerFamily
    model_file: str
    files: tuple[str, ...]


def recognise(names: Collection[str], *, model_file: str | None = None) -> RecognisedFolder | None:
    """Recognise a folder; None if it holds no ONNX model with a table.

    Args:
        names: Names of the folder's files.
        model_file: Name of the model that the user has chosen; None to choose the usual one.

    Raises:
        UsageError: It holds several models, none of a usual name.
    """
    for family in FAMILIES:
        tables = [matching(names, pattern) for pattern in family.needs]
        models = [model_file] if model_file else matching(names, family.models)
        if models and all(tables):
            also = [name for pattern in family.also for name in matching(names, pattern)]
            files = dict.fromkeys([*(found[0] for found in tables), *also])
            return RecognisedFolder(family, _one_of(models), tuple(files))
    return None


def matching(names: Collection[str], pattern: str) -> list[str]:
    """List the names that match a pattern, sorted."""
    return sorted(name for name in names if fnmatchcase(name, pattern))


def _one_of(models: list[str]) -> str:
    usual = next((name for name in MODEL_FILES if name in models), None)
    if usual is None and len(models) > 1:
        raise UsageError(f"there are several models, {', '.join(models):.200}: give the path of one of them")
    return usual or models[0]

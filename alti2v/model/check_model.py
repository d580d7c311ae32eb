"""Check of anybody's folder with an ONNX model: the contract of its format, or that it works."""

from __future__ import annotations

from pathlib import Path

import numpy as np

from alti2v.errors import DataError
from alti2v.model.onnx.check_folder import Checked, check_folder
from alti2v.model.taggers.families.camie import read_camie
from alti2v.model.taggers.families.ml_danbooru import read_ml_danbooru
from alti2v.model.taggers.families.oppai_oracle import read_oppai_oracle
from alti2v.model.taggers.folder import open_tagger, recognised

# Families without a contract here: no other program reads their form.
_ONLY_USED = (read_camie, read_oppai_oracle, read_ml_danbooru)
_PICTURES = 3


def check_model(folder: Path) -> Checked:
    """Check a folder; a model without a contract has no breaches if it works.

    Raises:
        UsageError: There is no model that can be read, or the extra `export` is not installed.
        DamagedError: A model of another program, of a family without a contract, does not work.
    """
    found = recognised(folder)
    if found is None or found[1].family.read not in _ONLY_USED:
        return check_folder(folder)
    family, labels = try_model(folder)
    return Checked(folder=folder, format=family, labels=labels, breaches=())


def require_works(checked: Checked) -> None:
    """Raise the error for breaches in another program's folder: it is damaged, or it only differs.

    Raises:
        UsageError, DamagedError: It does not work here.
        DataError: It works here; programs that expect the contract may fail.
    """
    try_model(checked.folder)
    count = len(checked.breaches)
    raise DataError(
        f"{checked.folder} was made by another program and breaks the contract of the {checked.format} format "
        f"in {count} {'way' if count == 1 else 'ways'}: it works here, but programs that expect the contract "
        "may fail"
    )


def try_model(folder: Path) -> tuple[str, int]:
    """Give a model noise; return its family and its number of labels.

    Raises:
        UsageError, DamagedError: See `folder.open_tagger` and `session.forward_of`.
    """
    opened = open_tagger(folder)
    takes = opened.description.input
    shape = (_PICTURES, takes.size, takes.size, 3 if takes.mask is None else 4)
    opened.forward(np.random.default_rng(0).integers(0, 256, shape).astype(np.uint8))
    return opened.description.family, len(opened.description.vocabulary)

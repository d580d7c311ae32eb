"""Check of any folder with an ONNX model: against the contract of its format, or that it works."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

from alti2v.errors import DamagedError, DataError, UsageError
from alti2v.model.loading.families.by_hand import read_by_hand
from alti2v.model.loading.families.camie import read_camie
from alti2v.model.loading.families.ml_danbooru import read_ml_danbooru
from alti2v.model.loading.families.oppai_oracle import read_oppai_oracle
from alti2v.model.loading.families.wd import E621_TABLE
from alti2v.model.loading.folder import open_tagger, recognised, refused
from alti2v.model.loading.recognition import RecognisedFolder
from alti2v.model.loading.refusals import is_weights
from alti2v.model.loading.trial import batch_difference, batch_note
from alti2v.model.onnx.check_folder import Checked, check_folder
from alti2v.model.onnx.contract import CONTRACTS, REPORT_FILE

# Families without a contract here: no other program reads their form.
_ONLY_USED = (read_by_hand, read_camie, read_oppai_oracle, read_ml_danbooru)


def check_model(folder: Path) -> Checked:
    """Check a folder against the contract of its format, if it has one, and check that the model works here.

    Raises:
        UsageError: There is no model that can be read, or the extra `export` is not installed.
        DamagedError: A model of a family without a contract does not work.
        DataError: It works only with one picture at a time.
    """
    found = recognised(folder)
    if found is None and folder.is_dir() and not _is_export(folder):
        raise UsageError(refused(folder))
    if found is None or _has_contract(found[1]):
        checked = check_folder(folder)
        return checked if checked.breaches else replace(checked, breaches=_breaches_of_use(folder))
    family, labels = try_model(folder)
    return Checked(folder=folder, format=family, labels=labels, breaches=())


def require_works(checked: Checked) -> None:
    """Raise the error for breaches in another program's folder: damaged data, or a mere difference.

    Raises:
        UsageError, DamagedError: It does not work here.
        DataError: It works here, perhaps with one picture at a time, and may fail elsewhere.
    """
    try_model(checked.folder)
    count = len(checked.breaches)
    raise DataError(
        f"{checked.folder} was made by another program and breaks the contract of the {checked.format} format "
        f"in {count} {'way' if count == 1 else 'ways'}: it works here, but programs that expect the contract "
        "may fail"
    )


def try_model(folder: Path) -> tuple[str, int]:
    """Give a model pictures; return its family and its number of labels.

    Raises:
        UsageError, DamagedError: See `folder.open_tagger` and `session.forward_of`.
        DataError: Its answer for a picture depends on the other pictures.
    """
    opened = open_tagger(folder)
    difference = batch_difference(opened.forward, opened.description.input)
    if note := batch_note(difference):
        raise DataError(
            f"{folder}: {opened.description.model_file} works with one picture at a time only: {note}"
        )
    return opened.description.family, len(opened.description.vocabulary)


def _is_export(folder: Path) -> bool:
    """Return whether a folder without a model may be an export whose model is missing."""
    names = {entry.name for entry in folder.iterdir()}
    tables = {contract.labels_file for contract in CONTRACTS.values()}
    return bool(names & tables) and (REPORT_FILE in names or not any(map(is_weights, names)))


def _has_contract(found: RecognisedFolder) -> bool:
    return found.family.read not in _ONLY_USED and E621_TABLE not in found.files


def _breaches_of_use(folder: Path) -> tuple[str, ...]:
    """Describe why a folder that meets its contract does not work here."""
    try:
        try_model(folder)
    except (DamagedError, DataError, UsageError) as exc:
        return (str(exc).removeprefix(f"{folder}: "),)
    return ()

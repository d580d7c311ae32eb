"""Models by name from the Hugging Face hub: `hf:owner/name[/folder][@revision]`.

A name becomes one commit, and only the necessary files are fetched, into the cache that all programs share
(huggingface_hub, "Understand caching"). Files in the cache need no network.
"""

from __future__ import annotations

import os
import re
from collections.abc import Callable, Collection
from dataclasses import dataclass
from pathlib import Path, PurePosixPath
from typing import Any, TypeVar

from alti2v.errors import DamagedError, RemoteError, UsageError, first_line
from alti2v.model.loading.families import by_hand
from alti2v.model.loading.folder import recognised
from alti2v.model.loading.recognition import ONNX_SUFFIX, recognise
from alti2v.model.loading.refusals import refusal
from alti2v.model.onnx.contract import REPORT_FILE
from alti2v.storage.documents import read_text_file
from alti2v.storage.layout import THRESHOLDS_FILE
from alti2v.storage.publish import make_directory, publish_bytes

PREFIX = "hf:"
_NAME = re.compile(r"hf:(?P<repository>[^/@]+/[^/@]+)(?:/(?P<inside>[^@]+?))?/?(?:@(?P<revision>[^@\s]+))?")
# Owner and name as huggingface_hub's `validate_repo_id` wants them; "--" and ".." are refused there, too.
_PART = re.compile(r"\w(?:[\w.-]{0,94}\w)?", re.ASCII)
_COMMIT = re.compile(r"[0-9a-f]{40}")
_DEFAULT_REVISION = "main"
_TIMEOUT_S = 10.0
_ALWAYS = (REPORT_FILE, THRESHOLDS_FILE)
_T = TypeVar("_T")


@dataclass(frozen=True, slots=True, kw_only=True)
class HubName:
    """Parts of a name on the hub.

    Attributes:
        name: The whole name, as given.
        repository: "owner/name".
        inside: Folder of the repository, or an ONNX file in it; "" for the repository itself.
        revision: Branch, tag or commit.
    """

    name: str
    repository: str
    inside: str
    revision: str

    @property
    def is_file(self) -> bool:
        """True if it names an ONNX file."""
        return self.inside.endswith(ONNX_SUFFIX)

    @property
    def folder(self) -> PurePosixPath:
        """Folder of the model in its repository."""
        inside = PurePosixPath(self.inside)
        return inside.parent if self.is_file else inside


@dataclass(frozen=True, slots=True, kw_only=True)
class HubModel:
    """Model of the hub in the local cache.

    Attributes:
        name: Name, as given.
        commit: Commit of the repository, 40 hexadecimal digits.
        path: Folder of the model, or its ONNX file.
        is_current: False if the hub could not be asked, and the newest commit in the cache was taken.
    """

    name: str
    commit: str
    path: Path
    is_current: bool

    @property
    def pinned(self) -> str:
        """Name with the commit, under which the model never changes."""
        return f"{self.name.partition('@')[0]}@{self.commit}"


def is_hub_name(model: str | Path) -> bool:
    """Return whether a model is given by its name on the hub."""
    return str(model).startswith(PREFIX)


def local_model(model: str | Path) -> Path:
    """Return the path of a model; one given by its name on the hub is fetched.

    Raises:
        UsageError, RemoteError: See `fetch_model`.
    """
    return fetch_model(str(model)).path if is_hub_name(model) else Path(model)


def parse_name(name: str) -> HubName:
    """Split a name on the hub into its parts.

    Raises:
        UsageError: It is not such a name.
    """
    found = _NAME.fullmatch(name)
    if found is None or ".." in re.split("[/@]", name) or not _is_repository(found["repository"]):
        raise UsageError(
            f"{name} is not the name of a model: give hf:owner/name, hf:owner/name/folder, or with @revision"
        )
    return HubName(
        name=name,
        repository=found["repository"],
        inside=found["inside"] or "",
        revision=found["revision"] or _DEFAULT_REVISION,
    )


def _is_repository(name: str) -> bool:
    is_spelled = all(_PART.fullmatch(part) for part in name.split("/"))
    return is_spelled and "--" not in name and ".." not in name and not name.endswith(".git")


def fetch_model(name: str) -> HubModel:
    """Fetch a model, unless it is in the cache.

    Raises:
        UsageError: There is no such repository, revision or model, or huggingface_hub is not installed.
        RemoteError: The hub does not answer, and the model is not in the cache.
    """
    wanted = parse_name(name)
    if _COMMIT.fullmatch(wanted.revision):
        path = _snapshot(wanted, wanted.revision)
        if recognised(path) is not None:
            return HubModel(name=name, commit=wanted.revision, path=path, is_current=True)
    try:
        commit, names = _asked(wanted)
        described = _described_file(wanted, commit, names)
        for file in _needed(wanted, names, described):
            _download(wanted, commit, file)
        _keep_commit(wanted, commit)
    except RemoteError:
        kept = _kept_commit(wanted)
        path = _snapshot(wanted, kept)
        if not kept or recognised(path) is None:
            raise
        return HubModel(name=name, commit=kept, path=path, is_current=False)
    return HubModel(name=name, commit=commit, path=_snapshot(wanted, commit), is_current=True)


def _library() -> Any:  # noqa: ANN401 - imported only if it is needed
    try:
        import huggingface_hub
        import huggingface_hub.constants
        import huggingface_hub.errors
    except ImportError as exc:
        raise UsageError("models by name need huggingface_hub: pip install 'alti2v[hub]'") from exc
    return huggingface_hub


def _endpoint() -> str | None:
    return os.environ.get("HF_ENDPOINT")


def _asked(wanted: HubName) -> tuple[str, list[str]]:
    """Request the commit of a revision, and the names of its files, from the hub."""
    api = _library().HfApi(endpoint=_endpoint())
    info = _told(
        wanted, lambda: api.model_info(wanted.repository, revision=wanted.revision, timeout=_TIMEOUT_S)
    )
    if not isinstance(info.sha, str) or not _COMMIT.fullmatch(info.sha):
        raise RemoteError(f"{wanted.name}: the hub names no commit: run it again later")
    return info.sha, [sibling.rfilename for sibling in info.siblings or ()]


def _described_file(wanted: HubName, commit: str, names: Collection[str]) -> str | None:
    """Return the name of the ONNX file that a model.json chooses; None if there is none, or it chooses none.

    Raises:
        DamagedError: It does not describe a tagger.
    """
    file = str(wanted.folder / by_hand.FILE)
    if wanted.is_file or file not in names:
        return None
    _download(wanted, commit, file)
    folder = _cache(wanted) / "snapshots" / commit
    here = [path.name for path in map(PurePosixPath, names) if path.parent == wanted.folder]
    try:
        return by_hand.named_model(read_text_file(folder / file), here)
    except ValueError as exc:
        raise DamagedError(f"{wanted.name}: {exc}") from exc


def _needed(wanted: HubName, names: Collection[str], described: str | None) -> list[str]:
    """List the files to fetch.

    Args:
        wanted: Name on the hub.
        names: Files of the repository.
        described: ONNX file that a model.json chooses; None for the usual one.

    Raises:
        UsageError: There is no model that can be read.
    """
    prefix = f"{wanted.folder}/" if wanted.folder.parts else ""
    inner = [file.removeprefix(prefix) for file in names if file.startswith(prefix)]
    here = [file for file in inner if "/" not in file]
    try:
        found = recognise(here, model_file=PurePosixPath(wanted.inside).name if wanted.is_file else described)
    except UsageError as exc:
        raise UsageError(f"{wanted.name}: {exc}") from exc
    if found is None or found.model_file not in here:
        raise UsageError(f"{wanted.name} {refusal(inner)}")
    # "model.onnx_data" holds numbers of it
    weights = [file for file in here if file.startswith(found.model_file)]
    wanted_files = dict.fromkeys([*found.files, *(file for file in _ALWAYS if file in here), *weights])
    return [prefix + file for file in wanted_files]


def _download(wanted: HubName, commit: str, file: str) -> None:
    fetch = _library().hf_hub_download
    _told(wanted, lambda: fetch(wanted.repository, file, revision=commit, endpoint=_endpoint()))


def _told(wanted: HubName, request: Callable[[], _T]) -> _T:
    """Send a request to the hub; raise a failure as an error of one line."""
    errors, name = _library().errors, wanted.name
    try:
        return request()
    except errors.RevisionNotFoundError as exc:
        raise UsageError(
            f"{name}: the repository has no such revision: see its branches, tags and commits"
        ) from exc
    except errors.GatedRepoError as exc:
        raise UsageError(
            f"{name}: its owner must grant you access: ask for it on the repository's page, "
            "then run `hf auth login`"
        ) from exc
    except errors.RepositoryNotFoundError as exc:
        raise UsageError(
            f"{name}: there is no such repository, or it is private: check its name, or run `hf auth login`"
        ) from exc
    except errors.EntryNotFoundError as exc:
        if isinstance(exc, errors.LocalEntryNotFoundError):
            raise _unreachable(name, exc) from exc
        raise UsageError(f"{name}: the repository lacks a file that it lists: run the command again") from exc
    except Exception as exc:  # of the library's HTTP client, which has changed with its versions
        raise _unreachable(name, exc) from exc


def _unreachable(name: str, exc: Exception) -> RemoteError:
    missing = "and the model is not in the cache"
    if _library().constants.HF_HUB_OFFLINE:
        return RemoteError(f"{name}: the hub is not asked because of HF_HUB_OFFLINE, {missing}: unset it")
    status = getattr(getattr(exc, "response", None), "status_code", None)
    if isinstance(status, int) and 400 <= status < 500:
        return RemoteError(
            f"{name}: the hub answers with the status {status}, {missing}: check the name and HF_ENDPOINT, or "
            "run it again later"
        )
    reason = first_line(exc) or type(exc).__name__
    return RemoteError(f"{name}: the hub does not answer ({reason:.120}), {missing}: run it again later")


def _cache(wanted: HubName) -> Path:
    return Path(_library().constants.HF_HUB_CACHE) / f"models--{wanted.repository.replace('/', '--')}"


def _snapshot(wanted: HubName, commit: str) -> Path:
    return _cache(wanted) / "snapshots" / commit / wanted.inside


def _keep_commit(wanted: HubName, commit: str) -> None:
    """Record the commit of a revision, as huggingface_hub does only if it is asked for the revision itself."""
    if wanted.revision != commit:
        file = _cache(wanted) / "refs" / wanted.revision
        make_directory(file.parent)
        publish_bytes(file, commit.encode())


def _kept_commit(wanted: HubName) -> str:
    """Return the commit that a revision had when it was last fetched; "" if it never was."""
    if _COMMIT.fullmatch(wanted.revision):
        return wanted.revision
    try:
        text = (_cache(wanted) / "refs" / wanted.revision).read_text(encoding="ascii").strip()
    except (OSError, UnicodeDecodeError):
        return ""
    return text if _COMMIT.fullmatch(text) else ""

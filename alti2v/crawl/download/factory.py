"""Choice between downloads in this process and in a worker process."""

from __future__ import annotations

from collections.abc import Callable

from alti2v.crawl.boards.known import base_url
from alti2v.crawl.config import CrawlConfig
from alti2v.crawl.download.interface import DownloadConfig, Downloads, FileRules
from alti2v.crawl.http.config import NetConfig
from alti2v.crawl.http.rate_limit import shared_directory


def make_downloads(
    config: CrawlConfig, *, on_pause: Callable[[str, float], None], on_notice: Callable[[str], None]
) -> Downloads:
    """Create the downloads of a crawl.

    Args:
        config: Configuration of the crawl.
        on_pause: Called with the reason and the length (s) of each pause of a host.
        on_notice: Called with other messages for users about hosts.
    """
    settings = _settings(config)
    # Imported where needed: only one of the two is, and the HTTP library takes longest to import.
    if config.uses_worker:
        from alti2v.crawl.download.worker.parent import DownloadWorker

        return DownloadWorker(settings, on_pause=on_pause, on_notice=on_notice)
    from alti2v.crawl.download.pool import DownloadPool

    return DownloadPool(settings, on_pause=on_pause, on_notice=on_notice)


def _settings(config: CrawlConfig) -> DownloadConfig:
    net = NetConfig(
        rate=config.rate,
        api_rate=config.api_rate,
        connections=config.connections,
        board=base_url(config.board),
        allow_private=config.allow_private,
        contact=config.contact,
        pace_dir=shared_directory(),
        retry=config.retry,
    )
    rules = FileRules(
        original=config.files == "original",
        max_bytes=config.max_file_bytes,
        memory_bytes=config.memory_bytes,
    )
    return DownloadConfig(net=net, rules=rules, seed=config.seed)

"""Choice between downloads in this process and in a worker process."""

from __future__ import annotations

from collections.abc import Callable

from alti2v.crawl.boards.known import allowed_api_rate, base_url, key_names
from alti2v.crawl.config import CrawlConfig
from alti2v.crawl.download.interface import DownloadConfig, Downloads, FileRules
from alti2v.crawl.http.config import NetConfig
from alti2v.crawl.http.pacing.rate_limit import shared_directory
from alti2v.crawl.http.proxies import Proxies, proxies_of_environment
from alti2v.crawl.netrc_file import read_api_key
from alti2v.errors import UsageError
from alti2v.pictures.check import reads_avif


def net_config(config: CrawlConfig) -> NetConfig:
    """Return the settings of a crawl's requests; reads the API key, and the proxies of the environment.

    Raises:
        UsageError: The file with the key or a proxy cannot be used.
    """
    base = base_url(config.board)
    proxies = proxies_of_environment() if config.proxies else Proxies()
    key = None
    if config.netrc is not None:
        key = read_api_key(config.netrc.expanduser(), base=base, machines=key_names(base))
    if key is not None and key.origin.startswith("http:") and proxies.proxy_for(key.origin) is not None:
        raise UsageError(f"the API key for {base} would pass a proxy unencrypted: add the host to no_proxy")
    return NetConfig(
        rate=config.rate,
        api_rate=min(config.api_rate, allowed_api_rate(base)),
        connections=config.connections,
        board=base,
        allow_private=config.allow_private,
        contact=config.contact,
        pace_dir=shared_directory(),
        retry=config.retry,
        key=key,
        proxies=proxies,
    )


def make_downloads(
    config: CrawlConfig,
    net: NetConfig,
    *,
    on_pause: Callable[[str, float], None],
    on_notice: Callable[[str], None],
) -> Downloads:
    """Create the downloads of a crawl.

    Args:
        config: Configuration of the crawl.
        net: Settings of its requests.
        on_pause: Called with the reason and the length (s) of each pause of a host.
        on_notice: Called with other messages for users about hosts.
    """
    settings = _settings(config, net)
    # Imported where needed: only one of the two is, and the HTTP library takes longest to import.
    if config.uses_worker:
        from alti2v.crawl.download.worker.parent import DownloadWorker

        return DownloadWorker(settings, on_pause=on_pause, on_notice=on_notice)
    from alti2v.crawl.download.pool import DownloadPool

    return DownloadPool(settings, on_pause=on_pause, on_notice=on_notice)


def _settings(config: CrawlConfig, net: NetConfig) -> DownloadConfig:
    original = config.files == "original"
    rules = FileRules(
        original=original,
        reads_avif=not original or reads_avif(),
        max_bytes=config.max_file_bytes,
        memory_bytes=config.memory_bytes,
    )
    return DownloadConfig(net=net, rules=rules, seed=config.seed)

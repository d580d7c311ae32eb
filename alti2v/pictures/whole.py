"""Is a file complete, and are its bytes the picture's? By its structure and checksums; nothing is decoded."""

from __future__ import annotations

from alti2v.pictures import gif, jpeg, png, webp


def flaw(image_format: str, content: bytes | memoryview) -> str:
    """Say in words what is missing or damaged; "" if the structure shows nothing.

    A JPEG whose scans all began is not at fault for lacking its end marker: see `needs_decoding`.
    """
    if image_format == "JPEG":
        is_whole = jpeg.has_end(content) or jpeg.has_all_scans(content)
        return "" if is_whole else "the end of the picture is missing"
    flaws = {"PNG": png.flaw, "GIF": gif.flaw, "WEBP": webp.flaw}
    return flaws[image_format](content)


def needs_decoding(image_format: str, content: bytes | memoryview) -> bool:
    """Return whether only decoding shows if a picture without a `flaw` is whole and undamaged.

    A JPEG without its end marker may lack the end of its last scan; GIF and WebP have no checksums.
    """
    return image_format in ("GIF", "WEBP") or (image_format == "JPEG" and not jpeg.has_end(content))

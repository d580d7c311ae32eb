"""Suffixes of picture files."""

from __future__ import annotations

# Of the formats that are read (`layout.IMAGE_SUFFIX_OF_FORMAT`); a file that is named may be called anything.
PICTURE_SUFFIXES = frozenset({".jpg", ".jpeg", ".jpe", ".jfif", ".png", ".apng", ".gif", ".webp", ".avif"})
# Pictures in formats that are not read: they are counted, so that nobody takes a folder for done.
UNREAD_SUFFIXES = frozenset(
    {
        *(".avifs", ".heic", ".heif", ".hif", ".jxl", ".jp2", ".j2k", ".jpf", ".jpx", ".jxr", ".wdp"),
        *(".bmp", ".dib", ".tif", ".tiff", ".tga", ".pcx", ".ico", ".icns", ".psd", ".psb", ".xcf", ".kra"),
        *(".svg", ".svgz", ".eps", ".dds", ".exr", ".hdr", ".qoi", ".ppm", ".pgm", ".pbm", ".pnm", ".flif"),
        *(".raw", ".dng", ".cr2", ".cr3", ".nef", ".arw", ".orf", ".rw2", ".raf", ".clip", ".ora", ".sai"),
    }
)

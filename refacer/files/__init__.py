"""The only module that knows file formats and atomic writes; nothing here imports torch, and cv2 only for 16 bits."""

from refacer.files.codes import encode_codes, read_codes
from refacer.files.decoding import READABLE
from refacer.files.encoding import (
    LABEL_PALETTE,
    SUFFIXES,
    carries_passport,
    converts,
    encode_display,
    encode_labels,
    encode_mask,
    encode_png,
    encode_preview,
    format_of,
    keeps_pixels,
)
from refacer.files.passports import encode_passport, read_passport, sidecar_of
from refacer.files.pictures import Source, read_mask, read_source
from refacer.files.samples import Native
from refacer.files.streams import read_bytes, read_stream, sync, try_folder, write_atomic

__all__ = [
    "LABEL_PALETTE",
    "READABLE",
    "SUFFIXES",
    "Native",
    "Source",
    "carries_passport",
    "converts",
    "encode_codes",
    "encode_display",
    "encode_labels",
    "encode_mask",
    "encode_passport",
    "encode_png",
    "encode_preview",
    "format_of",
    "keeps_pixels",
    "read_bytes",
    "read_codes",
    "read_mask",
    "read_passport",
    "read_source",
    "read_stream",
    "sidecar_of",
    "sync",
    "try_folder",
    "write_atomic",
]

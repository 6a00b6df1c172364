"""Small whole files of every kind that is read, and the reader of each."""

from __future__ import annotations

import json
import struct
import zipfile
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from io import BytesIO
from pathlib import Path
from typing import Any

import numpy as np
import torch
from PIL import Image, ImageCms

from refacer.files import Source, encode_codes, encode_display, encode_passport, encode_png, read_passport, read_source
from refacer.files.archives import Archives
from refacer.files.artefacts import Face, own_passport, read_picture
from refacer.files.encoding import encode_labels
from refacer.files.sources import list_pictures
from refacer.networks.translator import Translator, TranslatorConfig
from refacer.weights.formats.latents import read_latents
from refacer.weights.loaders import encode_network, read_network
from refacer.weights.pair_json import read_facts
from refacer.weights.pairs import load_pair

Reader = Callable[[Path], object]
MAX_PIXELS = 4_000_000


@dataclass(frozen=True)
class Specimen:
    """A whole file: its kind, suffix and bytes, and what reads it."""

    kind: str
    suffix: str
    data: bytes
    read: Reader


def specimens() -> list[Specimen]:
    """All of them, the same at every call."""
    return [*_pictures(), *_others()]


def _pictures() -> Iterator[Specimen]:
    rows, columns = np.mgrid[:40, :48]
    rgba = np.stack([columns * 5, rows * 6, columns + rows * 2, 255 - columns * 4], axis=2).astype(np.uint8)
    rgb, grey = Image.fromarray(rgba[..., :3]), Image.fromarray(rgba[..., 0])
    deep = rgba.astype(np.uint16) * 257
    srgb = ImageCms.ImageCmsProfile(ImageCms.createProfile("sRGB")).tobytes()
    exif = Image.Exif()
    exif[274], exif[271] = 6, "Maker"
    face = Face.of(rgba[:40, :40, :3].copy(), own_passport(Source(rgba[:40, :40, :3]).info))

    def frames() -> dict[str, Any]:
        return {"save_all": True, "append_images": [rgb.rotate(90)]}

    made = {
        "PNG": _saved(Image.fromarray(rgba), "PNG", icc_profile=srgb, exif=exif),
        "PNG, palette": _saved(rgb.convert("P"), "PNG", transparency=3),
        "PNG, 16 bits": _display(deep, "PNG", icc=srgb),
        "PNG, 16 bits of grey": _display(np.dstack([deep[..., :1]] * 3 + [deep[..., 3:]]), "PNG", grey=True),
        "PNG, linear": _display(deep[..., :3], "PNG", color=((b"gAMA", struct.pack(">I", 100_000)),)),
        "PNG, cICP and cHRM": _display(
            rgba[..., :3], "PNG", color=((b"cICP", b"\x09\x10\0\1"), (b"cHRM", struct.pack(">8I", *[30_000] * 8)))
        ),
        "PNG, animated": _saved(rgb, "PNG", **frames()),
        "PNG, a face": encode_png(face.pixels, face.passport, face.pixels),
        "PNG, labels": encode_labels((rgba[..., 0] // 14), face.passport),
        "JPEG": _saved(rgb, "JPEG", icc_profile=srgb, exif=exif),
        "JPEG, CMYK": _saved(rgb.convert("CMYK"), "JPEG"),
        "JPEG, several": _saved(rgb, "MPO", **frames()),
        "JPEG, grey": _saved(grey, "JPEG", progressive=True),
        "WebP": _saved(rgb, "WEBP", icc_profile=srgb, exif=exif),
        "WebP, lossless": _saved(Image.fromarray(rgba), "WEBP", lossless=True),
        "WebP, animated": _saved(rgb, "WEBP", **frames()),
        "TIFF": _saved(rgb, "TIFF", compression="tiff_lzw", icc_profile=srgb),
        "TIFF, deflate": _saved(Image.fromarray(rgba), "TIFF", compression="tiff_adobe_deflate"),
        "TIFF, JPEG": _saved(rgb, "TIFF", compression="jpeg"),
        "TIFF, pages": _saved(rgb, "TIFF", **frames()),
        "TIFF, 16 bits": _display(deep, "TIFF"),
        "TIFF, grey": _saved(grey, "TIFF", compression="packbits"),
        "AVIF": _saved(rgb, "AVIF", speed=10),
        "BMP": _saved(rgb, "BMP"),
        "TGA": _saved(rgb, "TGA", compression="tga_rle"),
    }  # fmt: skip
    suffixes = {"JPEG": ".jpg", "TIFF": ".tif", "WebP": ".webp"}
    for kind, data in made.items():
        name = kind.partition(",")[0]
        yield Specimen(kind, suffixes.get(name, f".{name.lower()}"), data, _read_picture)


def _others() -> Iterator[Specimen]:
    codes = np.linspace(-1, 1, 2 * 10 * 16, dtype=np.float32).reshape(2, 10, 16)
    passport = own_passport(Source(np.zeros((8, 8, 3), np.uint8)).info)
    yield Specimen(".npy", ".npy", encode_codes(codes, passport), read_latents)
    buffer = BytesIO()
    np.savez_compressed(buffer, w=codes, img=codes[0])
    yield Specimen(".npz", ".npz", buffer.getvalue(), read_latents)
    for name, new in (("PyTorch", True), ("PyTorch, old", False)):
        buffer = BytesIO()
        torch.save({"latent": torch.from_numpy(codes)}, buffer, _use_new_zipfile_serialization=new)
        yield Specimen(name, ".pt", buffer.getvalue(), read_latents)
    yield Specimen("passport", ".refacer.json", encode_passport(passport), read_passport)
    buffer = BytesIO()
    with zipfile.ZipFile(buffer, "w", zipfile.ZIP_DEFLATED) as archive:
        for name in ("a.png", "sub/b.png"):
            archive.writestr(name, _saved(Image.new("RGB", (8, 8)), "PNG"))
    yield Specimen("zip", ".zip", buffer.getvalue(), _read_zip)
    facts = load_pair("studio").folder / "pair.json"
    yield Specimen("pair.json", ".json", facts.read_bytes(), read_facts)
    config = TranslatorConfig(input_px=32, channels=(4, 4, 8, 8))
    network = encode_network(Translator(config), "translator", config.to_dict())
    yield Specimen("safetensors", ".safetensors", network, lambda path: read_network(path, "translator"))
    lines = "".join(json.dumps(line) + "\n" for line in ({"version": 1, "align": {}, "models": {}}, {"sha256": "ab"}))
    yield Specimen("journal", ".jsonl", lines.encode(), _read_journal)


def _read_picture(path: Path) -> object:
    source = read_source(path, max_pixels=MAX_PIXELS)
    read_picture(path.read_bytes(), max_pixels=MAX_PIXELS)
    _ = source.rgb, source.info, source.colorless
    return encode_display(source.native, source, "PNG", source.passport)


def _read_zip(path: Path) -> object:
    archives, entries = Archives(), list_pictures(path).entries
    return [read_source(entry.read(archives), max_pixels=MAX_PIXELS, name=entry.name) for entry in entries]


def _read_journal(path: Path) -> object:
    from refacer.datasets.folder import Journal

    folder = path.with_suffix("")
    folder.mkdir(exist_ok=True)
    (folder / "measures.jsonl").write_bytes(path.read_bytes())
    return Journal(folder, {"align": {}, "models": {}}).records


def _saved(image: Image.Image, format: str, **options: Any) -> bytes:
    buffer = BytesIO()
    image.copy().save(buffer, format, **options)  # a picture that was saved keeps the settings of its format
    return buffer.getvalue()


def _display(native: Any, format: str, **told: Any) -> bytes:
    return encode_display(native, Source(native, **told), format, None)

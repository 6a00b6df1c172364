"""Small whole files of every kind that is read, and the reader of each."""

from __future__ import annotations

import json
import os
import zipfile
from collections.abc import Iterator, Mapping
from dataclasses import asdict
from io import BytesIO
from pathlib import Path
from typing import Any
from unittest.mock import patch

import numpy as np
import torch
from PIL import Image

from refacer.comparison import compare
from refacer.comparison.folder import RECORD, ComparisonFolder
from refacer.comparison.methods import Times
from refacer.datasets.folder import Journal
from refacer.files import Source, encode_codes, encode_passport, read_passport, read_source
from refacer.files.archives import Archives
from refacer.files.artefacts import Latents, own_passport
from refacer.files.sources import DATASET_JOURNAL, is_dataset, list_pictures, read_list
from refacer.finetuning.folder import CONFIGURATION, LOG, RunFolder
from refacer.jobs import licences
from refacer.networks.translator import Translator, TranslatorConfig
from refacer.options import AnalysisOptions, StudyRule
from refacer.studies.analysis import analyse
from refacer.studies.design import Design
from refacer.studies.folder import KEY, StudyFolder
from refacer.studies.votes import read_votes
from refacer.training.checkpoint import decode_checkpoint
from refacer.weights import cache
from refacer.weights.bases import BASE_FILE, encode_base, load_base
from refacer.weights.convert import convert
from refacer.weights.formats.latents import open_latents, read_latents
from refacer.weights.loaders import encode_network, read_network
from refacer.weights.pair_json import read_facts
from refacer.weights.pairs import load_pair
from tests.tiny import tiny_discriminator, tiny_generator
from tests.weights import writers
from tools.faults.models import beside, models, videos
from tools.faults.pictures import MAX_PIXELS, Specimen, pictures, saved


def specimens() -> list[Specimen]:
    """All of them, the same at every call but for what PyTorch's old format calls its storages: their addresses."""
    return [*pictures(), *_codes(), *_networks(), *_sets(), *_runs(), *_studies(), *models(), *videos(), *_notes()]


def _codes() -> Iterator[Specimen]:
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
    offsets = {"b8.conv1.weight": np.ones((2, 4, 4), np.float16)}
    yield Specimen("offsets of HyperStyle", ".offsets.npy", encode_codes(codes, passport, offsets), _read_each_code)
    yield Specimen("passport", ".refacer.json", encode_passport(passport), read_passport)


def _networks() -> Iterator[Specimen]:
    facts = load_pair("studio").folder / "pair.json"
    yield Specimen("pair.json", ".json", facts.read_bytes(), read_facts)
    torch.manual_seed(0)
    config = TranslatorConfig(input_px=32, channels=(4, 4, 8, 8))
    network = encode_network(Translator(config), "translator", config.to_dict())
    yield Specimen("safetensors", ".safetensors", network, lambda path: read_network(path, "translator"))
    generator, judge = tiny_generator(), tiny_discriminator()
    yield Specimen("weights, NVIDIA", ".pkl", writers.snapshot(generator, judge), convert)
    published = writers.rosinality(generator, judge)
    yield Specimen("weights, rosinality", ".pt", writers.torch_file(published), convert)
    yield Specimen("weights, rosinality, old", ".pt", writers.torch_file(published, legacy=True), convert)
    base = encode_base(generator, judge, {"licence": "CC0-1.0", "commercial": "yes"})

    def read_base(path: Path) -> object:
        return load_base(str(beside(path, BASE_FILE, base)))

    yield Specimen("base.json", ".base.json", base[BASE_FILE], read_base)
    record = cache.Record(
        "thing", "ab" * 32, 7, "import", "stylegan2", ("a note",), {"generator.safetensors": "cd" * 32}
    )
    body = json.dumps({"format": cache.RECORD_FORMAT, **asdict(record)}).encode()
    yield Specimen("record of a weight", ".record.json", body, _read_record)


def _sets() -> Iterator[Specimen]:
    buffer = BytesIO()
    with zipfile.ZipFile(buffer, "w") as archive:
        for name in ("a.png", "sub/b.png"):
            archive.writestr(zipfile.ZipInfo(name), saved(Image.new("RGB", (8, 8)), "PNG"), zipfile.ZIP_DEFLATED)
    yield Specimen("zip", ".zip", buffer.getvalue(), _read_zip)
    lines = _lines({"version": 1, "align": {}, "models": {}}, {"sha256": "ab", "faces": []})
    yield Specimen("journal", ".jsonl", lines, _read_journal)
    yield Specimen("list", ".txt", b"# names\na.png\nsub/b.png\n", read_list)
    compared = json.dumps({"methods": ["ours", "other"], "faces": ["a", "b"]}).encode()
    yield Specimen("comparison", ".compare.json", compared, _read_comparison)


def _runs() -> Iterator[Specimen]:
    settings = json.dumps({"command": "refacer finetune", "options": {"lr": 0.002, "seed": 3}}).encode()
    yield Specimen("configuration", ".config.json", settings, _read_configuration)
    ticks = [{"images_seen": 4 * i, "loss": 0.5 / (i + 1)} for i in range(4)]
    yield Specimen("log", ".log.jsonl", _lines(*ticks), _read_log)
    buffer = BytesIO()
    torch.save({"images_seen": 4, "network": {"weight": torch.ones(8, 8)}, "configuration": "{}"}, buffer)
    yield Specimen("state", ".state.pt", buffer.getvalue(), lambda path: decode_checkpoint(path.read_bytes(), path))


def _studies() -> Iterator[Specimen]:
    design = Design(
        form="pairs", question="Which?", focal="m1", methods=("m1", "m2"), cases=("1", "2", "3"), obvious=("1", "2"),
        pictures="0" * 64, size_px=64, input_shown=False, rule=StudyRule(), seed=0,
    )  # fmt: skip
    key = {"study": design.id, "design": asdict(design), "methods": {"m1": "ours"}, "cases": {"1": "face1"}}
    yield Specimen("study", ".study.json", json.dumps(key).encode(), _read_study)
    person = "0123456789abcdef"
    lines: list[dict[str, Any]] = [{"study": design.id, "person": person, "kind": "begin", "design": asdict(design)}]
    for number, trial in enumerate(design.plan(person)):
        answer = {"trial": number, **asdict(trial), "choice": trial.shown[0], "ms": 1500}
        lines.append({"study": design.id, "person": person, **answer})
    yield Specimen("votes", ".votes.jsonl", _lines(*lines), _read_votes)


def _lines(*values: Mapping[str, Any]) -> bytes:
    return "".join(f"{json.dumps(value)}\n" for value in values).encode()


def _notes() -> Iterator[Specimen]:
    """What the program writes for itself; a damaged one is as good as none."""
    scores = json.dumps({"faces": {"a": {"ours": {"of": "ab", "figures": {"id": 0.5}}}}}).encode()
    yield Specimen("notes, scores", ".scores.json", scores, lambda path: compare._kept(beside(path, compare.TABLE, {})))
    yield Specimen("notes, times", ".times.json", b'{"codes/a": 1.5}', lambda path: Times(path).seconds)
    for name, body in (("accepted", b'["https://example.org/terms"]'), ("first-seen", b'{"thing": "ab"}')):
        yield Specimen(f"notes, {name}", f".{name}.json", body, lambda path, name=name: _read_home(path, name))


def _read_home(path: Path, name: str) -> object:
    with patch.dict(os.environ, REFACER_HOME=str(beside(path, f"{name}.json", {}))):
        return licences._accepted(), cache.first_seen("thing")


def _read_each_code(path: Path) -> object:
    with path.open("rb") as stream:
        stored = open_latents(stream, path.name)
        return [Latents.one_of(stored, index) for index in range(len(stored))]


def _read_zip(path: Path) -> object:
    archives, entries = Archives(), list_pictures(path).entries
    return [read_source(entry.read(archives), max_pixels=MAX_PIXELS, name=entry.name) for entry in entries]


def _read_journal(path: Path) -> object:
    folder = beside(path, DATASET_JOURNAL, {})
    return is_dataset(folder), Journal(folder, {"align": {}, "models": {}}).records


def _read_comparison(path: Path) -> object:
    return ComparisonFolder.read(beside(path, RECORD, {}))


def _read_configuration(path: Path) -> object:
    return RunFolder(beside(path, CONFIGURATION, {}), "refacer finetune", quiet=True).configuration()


def _read_log(path: Path) -> object:
    folder = RunFolder(beside(path, LOG, {}), "refacer finetune", quiet=True)
    folder.trim_log(8)
    return folder.ticks()


def _read_record(path: Path) -> object:
    with patch.dict(os.environ, REFACER_HOME=str(path.parent)):
        folder = cache.root() / "thing"
        folder.mkdir(parents=True, exist_ok=True)
        (folder / cache.RECORD_FILE).write_bytes(path.read_bytes())
        return cache.all_installed(), cache.owner_of("ef" * 32)


def _read_study(path: Path) -> object:
    return StudyFolder(beside(path, KEY, {})).read()


def _read_votes(path: Path) -> object:
    return analyse(read_votes([path]), AnalysisOptions(bootstrap=20))

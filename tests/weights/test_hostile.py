"""Hostile and damaged weight files: nothing of them runs, each is refused in a line, time and memory stay bounded.

All files are read in one process with an audit hook and a memory limit (watched.py).
"""

import io
import json
import os
import pickle
import pickletools
import random
import struct
import subprocess
import sys
import zipfile
from itertools import pairwise
from pathlib import Path

import numpy as np
import pytest
import torch

from refacer.networks.stylegan2.networks import Generator, GeneratorConfig
from tests.weights import writers
from tests.weights.writers import Call, Fill, Name, Reference, pickled, snapshot, torch_file

ROOT = Path(__file__).parents[2]
MUTATIONS = 2000
FLIPS = 60  # a container
MAX_SECONDS = 8.0  # of the processor a file, where a quiet machine takes one at most
MAX_GROWN_KIB = 300_000
READABLE = ("flip_", "mutation_", "shared_options")  # may be harmless after all
PROTOCOL_0_CALL = b"cos\nsystem\n(S'touch MARKER'\ntR."

NUMPY = Name("numpy", "ndarray")
DTYPE = Call(Name("numpy", "dtype"), ("f4", False, True), state=(3, "<", None, None, None, -1, -1, 0))
RECONSTRUCT = Name("numpy.core.multiarray", "_reconstruct")
GETATTR = Name("builtins", "getattr")
SYSTEM = Name("os", "system")


def calls(marker: Path) -> dict[str, object]:
    """Objects that do harm where names are believed."""
    touch = f"touch {marker}"
    python = f"open({str(marker)!r}, 'w')"
    objects = (1, (1,), Call(Name("numpy", "dtype"), ("O8", False, True)), False, [1])
    plain = (Name("subprocess", "Popen"), Name("builtins", "object"), None)
    builtin = Call(GETATTR, (Name("builtins", "__dict__"), "get"))
    return {
        "system": Call(SYSTEM, (touch,)),
        "posix": Call(Name("posix", "system"), (touch,)),
        "popen": Call(Name("subprocess", "Popen"), (["touch", str(marker)],)),
        "eval": Call(Name("builtins", "eval"), (python,)),
        "exec": Call(Name("builtins", "exec"), (python,)),
        "eval2": Call(Name("__builtin__", "eval"), (python,)),
        "open": Call(Name("io", "open"), (str(marker), "w")),
        "import": Call(Name("builtins", "__import__"), ("antigravity",)),
        "import_module": Call(Name("importlib", "import_module"), ("antigravity",)),
        "torch_load": Call(Name("torch", "load"), (str(marker),)),
        "torch_serialization": Call(Name("torch.serialization", "load"), (str(marker),)),
        "torch_hub": Call(Name("torch.hub", "load"), ("x/y", "z")),
        "torch_jit": Call(Name("torch.jit._script", "unpackage_script_module"), (1,)),
        "numpy_load": Call(Name("numpy", "load"), (str(marker),)),
        "numpy_save": Call(Name("numpy", "save"), (str(marker), 1)),
        "numpy_exec": Call(Name("numpy.testing._private.utils", "runstring"), (python, {})),
        "partial": Call(Name("functools", "partial"), (SYSTEM, touch)),
        "reduce": Call(Name("functools", "reduce"), (SYSTEM, [touch])),
        "map": Call(Name("builtins", "map"), (SYSTEM, [touch])),
        "getattr": Call(Call(GETATTR, (Name("os", "path"), "system")), (touch,)),
        "getattr_chain": Call(Call(builtin, ("eval",)), (python,)),
        "dotted": Call(Name("collections", "OrderedDict.__init__.__globals__"), ()),
        "dotted_torch": Call(Name("torch._utils", "_rebuild_tensor_v2.__globals__"), ()),
        "operator": Call(Name("operator", "attrgetter"), ("system",)),
        "methodcaller": Call(Name("operator", "methodcaller"), ("system", touch)),
        "types": Call(Name("types", "FunctionType"), (1,)),
        "code": Call(Name("marshal", "loads"), (b"x",)),
        "pickle": Call(Name("pickle", "loads"), (pickled(Call(SYSTEM, (touch,))),)),
        "persistence": Call(Name("torch_utils.persistence", "import_hook"), (1,)),
        "reconstruct_system": Call(RECONSTRUCT, (SYSTEM, (0,), b"b")),
        "reconstruct_dict": Call(RECONSTRUCT, (Name("collections", "OrderedDict"), (0,), b"b")),
        "reconstruct_memmap": Call(RECONSTRUCT, (Name("numpy", "memmap"), (0,), b"b")),
        "object_array": Call(RECONSTRUCT, (NUMPY, (0,), b"b"), state=objects),
        "object_scalar": Call(Name("numpy.core.multiarray", "scalar"), (Call(Name("numpy", "dtype"), ("O",)), b"")),
        "record_array": Call(Name("numpy", "dtype"), ([("a", "f4")],)),
        "nested_dtype": Call(Name("numpy", "dtype"), ("f4",), state=(3, "<", (DTYPE, (9,)), None, None, -1, -1, 0)),
        "call_a_storage": Call(Name("torch", "FloatStorage"), (10**12,)),
        "call_a_result": Call(Call(Name("collections", "OrderedDict"), ()), (touch,)),
        "call_a_text": Call("os.system", (touch,)),
        "arguments_no_tuple": Call(Name("collections", "OrderedDict"), [touch]),  # type: ignore[arg-type]
        "newobj": Call(Name("subprocess", "Popen"), (["touch", str(marker)],), new=True),
        "state_of_a_text": Call(Name("collections", "OrderedDict"), (), state={"__class__": SYSTEM}),
        "state_of_a_name": Call(Name("argparse", "Namespace"), (), state={"__class__": SYSTEM}, new=True),
        "copyreg": Call(Name("copyreg", "_reconstructor"), plain),
        "extension": Call(Name("copyreg", "add_extension"), ("os", "system", 1)),
        "keys": {(): 1, ((),): 2},
        "persistent_id": Reference(("storage", Name("torch", "FloatStorage"), "0", "cpu", 4)),
        "line_breaks": Name("os\n\x1b[31mred\r", "system\n" * 50),
    }  # fmt: skip


def nested(marker: Path) -> dict[str, bytes]:
    """The same inside of a storage's bytes, and blobs that are none."""
    four, system = torch.ones(4), Call(SYSTEM, (f"touch {marker}",))
    blob = writers.storage_blob(four)
    reference = Reference(("storage", Name("torch", "FloatStorage"), "1", "cpu", 4, None))
    deeper = Call(Name("torch.storage", "_load_from_bytes"), (blob,))
    blobs = {
        "object": writers.storage_blob(four, object_=system),
        "kind": writers.storage_blob(four, kind=SYSTEM),
        "kind_text": writers.storage_blob(four, kind="os.system"),
        "tensor": writers.storage_blob(four, object_=Call(Name("torch._utils", "_rebuild_tensor_v2"), (reference, 0))),
        "deeper": writers.storage_blob(four, object_=deeper),
        "zip": torch_file(four),
        "plain": pickled(system),
        "magic_only": pickled(writers.MAGIC, 2),
        "magic_then": pickled(writers.MAGIC, 2) + pickled(system, 2),
        "system_info": pickled(writers.MAGIC, 2) + pickled(1001, 2) + pickled(system, 2),
        "keys": blob[: blob.rindex(b"\x80\x02]")] + pickled(system, 2),
        "short": blob[:-1],
        "long": blob + b"x",
        "claim": blob[:-24] + struct.pack("<q", 1 << 60) + blob[-16:],
        "negative": blob[:-24] + struct.pack("<q", -4) + blob[-16:],
    }
    files = {f"nested_{name}": pickled({"G_ema": writers.tensor_call(four, data)}) for name, data in blobs.items()}
    return {**files, "nested_text": pickled(Call(Name("torch.storage", "_load_from_bytes"), ("x",)))}


def bombs() -> dict[str, bytes]:
    """Short files that claim, share, nest or repeat much."""
    again = [b"h" + bytes([i]) for i in range(100)]
    tuples = b")\x94" + b"".join(b"0" + one + one + b"\x86\x94" for one in again)  # each holds the one before twice
    lists = b"]\x94" + b"".join(b"0](" + one + one + b"e\x94" for one in again)
    numbers = [(i * ((1 << 61) - 1)).to_bytes(10, "little") for i in range(30_000)]  # all of hash 0
    four = writers.tensor_call(torch.ones(4))
    storage, rebuild = four.arguments[0], four.name
    huge = {
        "size": (storage, 0, (1 << 40,), (1,)), "stride": (storage, 0, (2,), (1 << 40,)),
        "offset": (storage, 4, (1,), (1,)), "unequal": (storage, 0, (4,), ()),
        "expanded": (storage, 0, (1 << 20, 1 << 20), (0, 0)), "negative": (storage, 0, (-1,), (1,)),
        "text": (storage, 0, ("x" * 100,), (1 << 40,)), "dimensions": (storage, 0, (1,) * 9, (1,) * 9),
        "floats": (storage, 0.0, (4.0,), (1.0,)), "bool": (storage, True, (1,), (1,)),
    }  # fmt: skip
    raw = Call(RECONSTRUCT, (NUMPY, (0,), b"b"), state=(1, ("x", 1 << 50), DTYPE, False, b"1234"))
    whole = writers.tensor_call(torch.zeros(1 << 20)).arguments[0]
    shared = {f"encoder.{i}": Call(rebuild, (whole, i, (1,), (1,))) for i in range(5000)}
    return {
        "claimed_bytes": b"\x80\x04\x8e" + struct.pack("<Q", 1 << 50) + b"x.",
        "claimed_text": b"\x80\x04\x8d" + struct.pack("<Q", (1 << 63) - 1) + b"x.",
        "claimed_frame": b"\x80\x04\x95" + struct.pack("<Q", 1 << 60) + b"N.",
        "claimed_memo": b"\x80\x02Nr\xff\xff\xff\xff.",
        "claimed_memo_text": b"Np99999999999999999999999\n.",
        "long_number": b"\x80\x02\x8b" + struct.pack("<i", 1 << 20) + b"\x7f" * (1 << 20) + b".",
        "long_text_number": b"L" + b"9" * (1 << 20) + b"L\n.",
        "negative_number": b"\x80\x02\x8b" + struct.pack("<i", -5) + b".",
        "no_newline": b"S'" + b"x" * (1 << 20),
        "shared_tuples_as_key": b"\x80\x04}" + tuples + b"K\x01s.",
        "shared_tuples_in_a_set": b"\x80\x04\x8f(" + tuples + b"\x90.",
        "shared_tuples_as_device": b"\x80\x04ctorch\ndevice\n" + tuples + b"\x85R.",
        "shared_lists": b"\x80\x04" + lists + b".",
        "shared_options": pickled({"state_dict": {"encoder.x": four}, "opts": {"x": doubled([])}}),
        "deep_tuples": b"\x80\x02)" + b"\x85" * 900_000 + b".",
        "deep_lists": b"\x80\x02" + b"](" * 300_000 + b"e" * 300_000 + b".",
        "many_opcodes": b"\x80\x02" + b"N0" * 3_000_000 + b"N.",
        "many_dicts": b"\x80\x02(" + b"}" * 1_500_000 + b"l.",
        "many_marks": b"(" * 1_500_000 + b".",
        "many_lines": b"S'x'\n" * 1_200_000 + b".",
        "colliding_numbers": b"\x80\x02}(" + b"".join(b"\x8a\x0a" + n + b"N" for n in numbers) + b"u.",
        "cycle": b"\x80\x02]q\x00h\x00a.",
        "cycle_of_dicts": b"\x80\x02}q\x00X\x05\x00\x00\x00g_emah\x00s.",
        "empty_stack": b"\x80\x020000.",
        "pop_over_mark": b"\x80\x02(0.",
        "protocol_0": PROTOCOL_0_CALL,
        "instance": b"(S'touch MARKER'\nios\nsystem\n.",
        "object": b"(cos\nsystem\nS'touch MARKER'\no.",
        "extension_code": b"\x80\x02\x82\x01.",
        "out_of_band": b"\x80\x05\x97.",
        "text_reference": b"P0\n.",
        "module_source": snapshot(tiny(), G_ema=writers.persistent(tiny(), "Generator", {}, source="x" * (20 << 20))),
        "module_cycle": cycle_of_modules(),
        "shared_modules": shared_modules(),
        "numpy_shape": pickled(raw),
        "shared_storage": pickled({"state_dict": shared, "opts": {}}),
        **repetitions(),
        "claimed_zip": claimed_zip(),
        "crowded_zip": crowded_zip(),
        "claimed_directory": claimed_directory(),
        **{f"tensor_{name}": pickled({"a": Call(rebuild, arguments)}) for name, arguments in huge.items()},
    }  # fmt: skip


def repetitions() -> dict[str, bytes]:
    """Files that name one large thing many times, each time in a few bytes."""
    text, pairs, letters = "x" * 1_000_000, [("a", None)] * 60_000, ["a"] * 60_000
    data = (1, (len(text),), Call(Name("numpy", "dtype"), ("u1",)), False, text)
    array = (NUMPY, (0,), b"b")
    blob = writers.storage_blob(torch.ones(4)).replace(b"cpu", b"cpu" + b"N0" * 100_000)
    one, empty = writers.tensor_call(torch.ones(1)), record()
    many = record(_parameters={f"p{i}": one for i in range(2000)})
    nothing = record(_buffers={f"b{i}": None for i in range(60_000)})
    passing = record(
        _parameters={f"p{i}": one for i in range(15_000)}, _non_persistent_buffers_set=[f"q{i}" for i in range(60_000)]
    )
    small = {"img_resolution": 8, "channel_base": 8, "channel_max": 1, "w_dim": 1, "mapping_layers": 1}
    wide = Generator(GeneratorConfig(**small, z_dim=1 << 20))
    contents = {
        "texts": [Call(Name("_codecs", "encode"), (text, "latin1")) for _ in range(5000)],
        "arrays": [Call(RECONSTRUCT, array, state=data) for _ in range(5000)],
        "dicts": [Call(Name("collections", "OrderedDict"), (pairs,)) for _ in range(5000)],
        "sets": [Call(Name("builtins", "set"), (letters,)) for _ in range(5000)],
        "storages": [Call(Name("torch.storage", "_load_from_bytes"), (blob,)) for _ in range(1000)],
        "parameters": record(_modules={f"m{i}": many for i in range(5000)}),
        "absences": record(_modules={f"m{i}": nothing for i in range(5000)}),
        "names": record(_modules={text: record(_modules={f"m{i}": empty for i in range(5000)})}),
        "passing": passing,
    }  # fmt: skip
    files = {f"again_{name}": pickled({"G_ema": content}) for name, content in contents.items()}
    averageless = {name: value for name, value in writers.rosinality(wide).items() if name != "latent_avg"}
    return {**files, "wide_codes": torch_file(averageless)}


def crowded_zip() -> bytes:
    """An archive of more entries than any weights have."""
    file = io.BytesIO()
    with zipfile.ZipFile(file, "w") as archive:
        for i in range(110_000):
            archive.writestr(zipfile.ZipInfo(f"{i}"), b"")
    return file.getvalue()


def doubled(value: list) -> list:
    """Sixty lists, each of which holds the one before twice."""
    for _ in range(60):
        value = [value, value]
    return value


def tiny() -> Generator:
    """As few numbers and modules as there can be."""
    torch.manual_seed(0)
    return Generator(
        GeneratorConfig(img_resolution=8, channel_base=16, channel_max=2, z_dim=2, w_dim=2, mapping_layers=1)
    )


def record(**state: object) -> Call:
    meta = {"type": "class", "version": 6, "class_name": "Generator", "module_src": writers.SOURCE, "state": state}
    return Call(Name("torch_utils.persistence", "_reconstruct_persistent_obj"), (meta,))


def cycle_of_modules() -> bytes:
    """A module that is its own part."""
    below: dict = {}
    module = record(_modules=below)
    return pickled({"G_ema": module, "later": Fill(below, {"x": module})})


def shared_modules() -> bytes:
    """Thirty levels, each of which holds the next one twice: a thousand million modules to walk."""
    module = record()
    for _ in range(30):
        module = record(_modules={"a": module, "b": module})
    return pickled({"G_ema": module})


def claimed_zip() -> bytes:
    """A torch file whose storage is claimed to be larger than the file."""
    file = io.BytesIO()
    kind = Name("torch", "FloatStorage")
    reference = Reference(("storage", kind, "0", "cpu", 1 << 40))
    with zipfile.ZipFile(file, "w") as archive:
        archive.writestr(
            "x/data.pkl", pickled(Call(Name("torch._utils", "_rebuild_tensor_v2"), (reference, 0, (1,), (1,))), 2)
        )
        archive.writestr("x/data/0", b"1234")
    return file.getvalue()


def claimed_directory() -> bytes:
    """A zip archive whose list of files is claimed to be longer than the file."""
    data = bytearray(claimed_zip())
    struct.pack_into("<I", data, data.rindex(b"PK\x05\x06") + 12, 0xFFFFFFF0)
    return bytes(data)


def mutated(data: bytes, rng: random.Random) -> bytes:
    """A pickle with one to three of its opcodes removed, repeated, exchanged, replaced or given another argument."""
    starts = [position for _, _, position in pickletools.genops(data)] + [len(data)]  # type: ignore[misc]
    parts = [data[a:b] for a, b in pairwise(starts)]
    for _ in range(rng.randint(1, 3)):
        i, j = rng.randrange(1, len(parts)), rng.randrange(1, len(parts))
        choice = rng.randrange(6)
        if choice == 0:
            parts[i] = b""
        elif choice == 1:
            parts[i] *= rng.choice((2, 100))
        elif choice == 2:
            parts[i], parts[j] = parts[j], parts[i]
        elif choice == 3:
            parts[i] = bytes([rng.choice(pickletools.opcodes).code.encode("latin1")[0]]) + parts[i][1:]
        elif choice == 4:
            parts[i] = parts[j]
        else:
            argument = bytearray(parts[i])
            argument[rng.randrange(len(argument))] = rng.randrange(256)
            parts[i] = bytes(argument)
    return b"".join(parts)


def damaged(data: bytes, rng: random.Random, name: str) -> dict[str, bytes]:
    """The same file cut short, and with single bits flipped."""
    files = {f"cut_{name}_{i}": data[: rng.randrange(len(data))] for i in range(FLIPS // 4)}
    for i in range(FLIPS):
        flipped = bytearray(data)
        flipped[rng.randrange(len(data))] ^= 1 << rng.randrange(8)
        files[f"flip_{name}_{i}"] = bytes(flipped)
    return files


@pytest.fixture(scope="module")
def marker(tmp_path_factory) -> Path:
    """A file that only executed code makes."""
    return tmp_path_factory.mktemp("marker") / "made"


@pytest.fixture(scope="module")
def report(tmp_path_factory, marker) -> dict:
    """What became of every file, and what the reading process was seen doing."""
    rng = random.Random(0)
    valid = {
        "nvidia.pkl": snapshot(tiny()), "nvidia2.pkl": snapshot(tiny(), protocol=2),
        "zip.pt": torch_file(writers.rosinality(tiny())),
        "legacy.pt": torch_file(writers.rosinality(tiny()), legacy=True),
    }  # fmt: skip
    jittor = writers.jittor_file({"a": np.ones(3, np.float32)})
    files: dict[str, bytes] = {**nested(marker), **bombs()}
    for name, call in calls(marker).items():
        for protocol in (0, 2, 4):
            if name != "line_breaks" or protocol == 4:
                files[f"call_{name}_{protocol}"] = pickled({"G_ema": call}, protocol)
        if name != "persistent_id":
            files[f"legacy_{name}"] = b"".join(pickled(p, 2) for p in (writers.MAGIC, 1001, writers.SYSTEM, call, []))
    for name, data in {**valid, "jittor.pkl": jittor}.items():
        files |= damaged(data, rng, name)
    files |= {f"mutation_{i}.load": mutated(valid["nvidia.pkl"], rng) for i in range(MUTATIONS)}
    return watched(tmp_path_factory.mktemp("weights"), {**valid, "jittor.pkl": jittor}, files, marker)


def watched(folder: Path, harmless: dict[str, bytes], hostile: dict[str, bytes], marker: Path) -> dict:
    """Run watched.py over the files."""
    for part, files in (("harmless", harmless), ("hostile", hostile)):
        (folder / part).mkdir()
        for name, data in files.items():
            (folder / part / name).write_bytes(data.replace(b"MARKER", str(marker).encode()))
    command = [sys.executable, str(Path(__file__).with_name("watched.py")), folder / "harmless", folder / "hostile"]
    environment = {**os.environ, "PYTHONPATH": str(ROOT), "OMP_NUM_THREADS": "1"}
    ended = subprocess.run(command, env=environment, capture_output=True, text=True, check=False)
    assert ended.returncode == 0, ended.stderr[-2000:]
    return json.loads(ended.stdout)


def test_the_hostile_files_are_dangerous_to_others(tmp_path):
    for protocol in (0, 2, 4):
        marker = tmp_path / f"made{protocol}"
        pickle.loads(pickled(Call(SYSTEM, (f"touch {marker}",)), protocol))
        assert marker.exists()


def test_nothing_of_a_file_runs(report, marker):
    assert [outcome for outcome, _ in report["warm"]] == ["refused", "read", "read", "read", "read"]
    assert not marker.exists()
    assert report["events"] == []
    assert [event.split()[0] for event in report["noticed"]][:1] == ["os.system"]
    assert any(event.startswith("exec") for event in report["noticed"])


def test_every_hostile_file_is_refused_in_one_line(report):
    for name, (outcome, message, _) in report["found"].items():
        assert outcome in ("read", "refused"), (name, outcome, message)
        if not name.startswith(READABLE):
            assert outcome == "refused", name
        assert len(message) < 600, name
        assert message.isprintable(), name


def test_damage_is_mostly_noticed(report):
    outcomes = [found[0] for name, found in report["found"].items() if name.startswith("mutation_")]
    assert len(outcomes) == MUTATIONS
    assert outcomes.count("refused") > MUTATIONS // 2


def test_time_and_memory_are_bounded(report):
    slowest = max(report["found"].items(), key=lambda item: item[1][2])
    assert slowest[1][2] < MAX_SECONDS, slowest
    assert report["grown_kib"] < MAX_GROWN_KIB

"""Parametric people from the MakeHuman base mesh (CC0 assets): geometry only, no renderer.

Units are MakeHuman decimetres, y up, z towards the viewer. A person is a dict of numbers drawn by
`draw_person`, so the same person can be built again in any style, pose of the camera or expression.
"""

# ruff: noqa: B007, B019, B905
from __future__ import annotations

import functools
import zlib
from pathlib import Path

import numpy as np

AGES = ("child", "young", "old")
RACES = ("african", "asian", "caucasian")


class Obj:
    """A Wavefront OBJ: vertices (V,3), uvs (T,2), faces as lists of (vertex, uv) and their group."""

    def __init__(self, path: Path):
        verts, uvs, faces, face_uvs, groups = [], [], [], [], []
        group = ""
        for line in Path(path).read_text(errors="replace").splitlines():
            part = line.split()
            if not part:
                continue
            if part[0] == "v":
                verts.append([float(x) for x in part[1:4]])
            elif part[0] == "vt":
                uvs.append([float(x) for x in part[1:3]])
            elif part[0] == "g":
                group = part[1] if len(part) > 1 else ""
            elif part[0] == "f":
                ids = [p.split("/") for p in part[1:]]
                faces.append([int(i[0]) - 1 for i in ids])
                face_uvs.append([int(i[1]) - 1 if len(i) > 1 and i[1] else 0 for i in ids])
                groups.append(group)
        self.verts = np.array(verts, np.float32)
        self.uvs = np.array(uvs or [[0, 0]], np.float32)
        self.faces, self.face_uvs, self.groups = faces, face_uvs, groups


def read_target(path: Path) -> tuple[np.ndarray, np.ndarray]:
    idx, delta = [], []
    for line in Path(path).read_text(errors="replace").splitlines():
        part = line.split()
        if len(part) == 4 and not line.startswith("#"):
            idx.append(int(part[0]))
            delta.append([float(x) for x in part[1:]])
    return np.array(idx, np.int64), np.array(delta, np.float32).reshape(-1, 3)


class Body:
    """The base mesh with its morph targets."""

    SKIN_VERTICES = 13380  # the first ones; the rest are helpers that hair, eyes and clothes hang on

    def __init__(self, data: Path, faceunits: Path):
        self.data, self.faceunits = Path(data), Path(faceunits)
        self.obj = Obj(self.data / "3dobjs/base.obj")
        self.joints: dict[str, list[int]] = {}
        for face, group in zip(self.obj.faces, self.obj.groups):
            if group.startswith("joint-"):
                self.joints.setdefault(group, []).extend(face)
        wide = self.target("mouth/mouth-scale-horiz-incr")
        skin = wide[0] < self.SKIN_VERTICES
        idx, side = wide[0][skin], wide[1][skin, 0]
        self.mouth_corners = (int(idx[side.argmax()]), int(idx[side.argmin()]))  # left, right

    @functools.lru_cache(maxsize=4096)
    def target(self, name: str) -> tuple[np.ndarray, np.ndarray]:
        folder = self.faceunits if name.startswith("unit/") else self.data / "targets"
        return read_target(folder / (name.removeprefix("unit/") + ".target"))

    def shape(self, weights: dict[str, float]) -> np.ndarray:
        """Vertices (V,3) of the base mesh with the targets applied at these weights."""
        verts = self.obj.verts.copy()
        for name, w in weights.items():
            if abs(w) > 1e-4:
                idx, delta = self.target(name)
                verts[idx] += w * delta
        return verts

    def joint(self, verts: np.ndarray, name: str) -> np.ndarray:
        return verts[self.joints["joint-" + name]].mean(0)

    def landmarks(self, verts: np.ndarray) -> dict[str, np.ndarray]:
        """The five points that FFHQ alignment needs, in 3D: eyes' centres and mouth's corners."""
        eyes = {}
        for side in "lr":
            lids = (self.joint(verts, f"{side}-upperlid") + self.joint(verts, f"{side}-lowerlid")) / 2
            eyes[side] = lids
        return {
            "eye_left": eyes["l"],
            "eye_right": eyes["r"],
            "mouth_left": verts[self.mouth_corners[0]],
            "mouth_right": verts[self.mouth_corners[1]],
        }


def macro_weights(p: dict) -> dict[str, float]:
    """MakeHuman's macro targets for gender, age, race, muscle, weight, each in 0..1."""
    g = {"male": p["gender"], "female": 1 - p["gender"]}
    a = p["age"]
    old = max(0.0, 2 * a - 1)
    young = 1 - old if a >= 0.5 else max(0.0, (a - 0.1875) * 3.2)
    age = {"old": old, "young": young, "child": max(0.0, 1 - young - old)}

    def third(x: float, noun: str) -> dict[str, float]:
        low, high = max(0.0, 1 - 2 * x), max(0.0, 2 * x - 1)
        return {"min" + noun: low, "max" + noun: high, "average" + noun: 1 - low - high}

    out: dict[str, float] = {}
    for gn, gw in g.items():
        for an, aw in age.items():
            for race in RACES:
                out[f"macrodetails/{race}-{gn}-{an}"] = gw * aw * p["race"][race]
            for mn, mw in third(p["muscle"], "muscle").items():
                for wn, ww in third(p["weight"], "weight").items():
                    out[f"macrodetails/universal-{gn}-{an}-{mn}-{wn}"] = gw * aw * mw * ww
    return out


def paired_details(targets: Path) -> dict[str, list[tuple[str, str]]]:
    """Pairs of opposed detail targets of the head, by folder, as (decreasing, increasing)."""
    opposites = [
        ("decr", "incr"),
        ("down", "up"),
        ("in", "out"),
        ("backward", "forward"),
        ("concave", "convex"),
        ("compress", "uncompress"),
    ]
    skip = ("trans-in", "trans-out", "head-trans", "neck-trans")
    out: dict[str, list[tuple[str, str]]] = {}
    for folder in ("nose", "mouth", "eyes", "head", "chin", "cheek", "ears", "forehead", "eyebrows", "neck"):
        pairs = []
        for low, high in opposites:
            for f in sorted((targets / folder).glob(f"*-{low}.target")):
                other = f.with_name(f.name.replace(f"-{low}.target", f"-{high}.target"))
                if other.exists() and not any(s in f.name for s in skip):
                    pairs.append((f"{folder}/{f.stem}", f"{folder}/{other.stem}"))
        out[folder] = pairs
    return out


HEAD_SHAPES = ("diamond", "invertedtriangular", "oval", "rectangular", "round", "square", "triangular")
SMILES = (
    {"mouthSmileLeft": 0.8, "mouthSmileRight": 0.8, "cheekSquintLeft": 0.4, "cheekSquintRight": 0.4},
    {"mouthSmileLeft": 0.5, "mouthSmileRight": 0.5, "jawOpen": 0.12, "mouthUpperUpLeft": 0.3, "mouthUpperUpRight": 0.3},
    {},
    {},
    {"mouthPressLeft": 0.3, "mouthPressRight": 0.3},
    {"jawOpen": 0.15, "mouthFunnel": 0.15},
    {"browInnerUp": 0.5, "mouthFrownLeft": 0.3, "mouthFrownRight": 0.3},
    {"browDownLeft": 0.5, "browDownRight": 0.5, "eyeSquintLeft": 0.3, "eyeSquintRight": 0.3},
    {"mouthSmileLeft": 0.4, "mouthSmileRight": 0.35, "mouthDimpleLeft": 0.4, "mouthDimpleRight": 0.4},
)


def draw_person(seed: int, data: Path) -> dict:
    """Random numbers that fully describe a person: shape, skin, hair, brows, eyes, clothes."""
    r = np.random.default_rng(zlib.crc32(f"person-{seed}".encode()))
    gender = float(np.clip(r.choice([r.beta(1.3, 8), 1 - r.beta(1.3, 8)]), 0, 1))
    age = float(np.clip(r.choice([r.uniform(0.46, 0.62), r.uniform(0.5, 0.95)], p=[0.6, 0.4]), 0, 1))
    race = r.dirichlet([0.5, 0.5, 0.5])
    p = {
        "seed": seed,
        "gender": gender,
        "age": age,
        "race": dict(zip(RACES, race.tolist())),
        "muscle": float(r.uniform(0.3, 0.75)),
        "weight": float(np.clip(r.normal(0.5, 0.17), 0.1, 0.95)),
    }
    details: dict[str, float] = {}
    for folder, pairs in paired_details(Path(data) / "targets").items():
        strength = 0.45 if folder in ("ears", "neck") else 0.35 if folder in ("eyes", "eyebrows") else 0.6
        for low, high in pairs:
            if r.random() < 0.55:
                w = float(np.clip(r.normal(0, 0.38), -1, 1)) * strength
                names = [low if w < 0 else high]
                if "/l-" in low:
                    names = [names[0]]
                details[names[0]] = details.get(names[0], 0) + abs(w)
    for name in [n for n in details if "/r-" in n]:  # the right side follows the left
        del details[name]
    for name in [n for n in details if "/l-" in n]:
        details[name.replace("/l-", "/r-")] = details[name] * float(r.uniform(0.85, 1.15))
    for shape in r.choice(HEAD_SHAPES, size=2, replace=False):
        details[f"head/head-{shape}"] = float(r.uniform(0, 0.6))
    p["details"] = details
    male = gender > 0.5
    styles = (
        (["short01", "short02", "short04", "short03", "none"], [0.3, 0.29, 0.27, 0.05, 0.09])
        if male
        else (
            ["long01", "ponytail01", "braid01", "bob02", "short01", "short02", "short04", "short03"],
            [0.34, 0.28, 0.1, 0.05, 0.07, 0.08, 0.05, 0.03],
        )
    )
    p["hair"] = str(r.choice(styles[0], p=styles[1]))  # three of the styles put a fringe over an eye: kept rare
    grey = max(0.0, (age - 0.6) * 2.2) > r.random()
    dark = p["race"]["caucasian"] < 0.5
    p["hair_colour"] = (
        [0.62, 0.6, 0.57]
        if grey
        else [[0.03, 0.022, 0.018], [0.09, 0.05, 0.03], [0.2, 0.1, 0.045], [0.42, 0.27, 0.12], [0.25, 0.07, 0.03]][
            int(r.choice(5, p=[0.7, 0.22, 0.05, 0.02, 0.01] if dark else [0.15, 0.3, 0.25, 0.2, 0.1]))
        ]
    )
    shade = r.uniform(0.7, 1.3)
    p["hair_colour"] = [float(np.clip(c * shade * r.uniform(0.93, 1.07), 0, 1)) for c in p["hair_colour"]]
    p["brows"] = f"eyebrow{int(r.integers(1, 13)):03d}"
    p["lashes"] = f"eyelashes{int(r.integers(1, 5)):02d}"
    eyes = (
        ["brown", "brownlight"]
        if dark and r.random() < 0.9
        else ["brown", "brownlight", "blue", "green", "grey", "bluegreen", "lightblue", "deepblue"]
    )
    p["eyes"] = str(r.choice(eyes))
    p["skin"] = {
        "a": float(r.random()),
        "b": float(r.random()),
        "mix": float(r.random()),
        "tone": float(r.normal(0, 0.09)),
        "warm": float(r.normal(0, 0.04)),
        "sat": float(np.clip(r.normal(0.97, 0.07), 0.8, 1.1)),
    }
    clothes = (
        [
            "male_casualsuit02",
            "male_casualsuit03",
            "male_casualsuit04",
            "male_casualsuit05",
            "male_casualsuit06",
            "male_elegantsuit01",
            "male_worksuit01",
        ]
        if male
        else ["female_casualsuit01", "female_elegantsuit01", "female_sportsuit01"]
    )
    p["clothes"] = str(r.choice(clothes))
    p["shoes"] = f"shoes{int(r.integers(1, 7)):02d}"
    p["clothes_hue"] = float(r.random())
    return p


def draw_expression(seed: int) -> dict[str, float]:
    r = np.random.default_rng(zlib.crc32(f"expression-{seed}".encode()))
    base = dict(SMILES[int(r.integers(len(SMILES)))])
    out = {k: float(np.clip(v * r.uniform(0.5, 1.25), 0, 1)) for k, v in base.items()}
    look = float(r.normal(0, 0.25))
    for side, other in (("Left", "Right"), ("Right", "Left")):
        name = f"eyeLookOut{side}" if (look > 0) == (side == "Left") else f"eyeLookIn{side}"
        out[name] = min(abs(look), 0.7)
    blink = float(np.clip(r.normal(-0.02, 0.06), 0, 0.2))
    out["eyeBlinkLeft"] = out["eyeBlinkRight"] = blink
    return {f"unit/{k}": v for k, v in out.items()}


class Proxy:
    """A mesh (hair, clothes, eyes...) that follows the base mesh: MakeHuman's .mhclo."""

    def __init__(self, mhclo: Path):
        mhclo = Path(mhclo)
        self.path, self.scales, rows, self.hidden, mode = mhclo, {}, [], [], ""
        obj_file = None
        for line in mhclo.read_text(errors="replace").splitlines():
            part = line.split()
            if not part or part[0].startswith("#"):
                continue
            if part[0] in ("x_scale", "y_scale", "z_scale"):
                self.scales["xyz".index(part[0][0])] = (int(part[1]), int(part[2]), float(part[3]))
            elif part[0] == "obj_file":
                obj_file = part[1]
            elif part[0] == "verts":
                mode = "verts"
            elif part[0] == "delete_verts":
                mode = "delete"
            elif mode == "verts" and (len(part) in (1, 9)) and part[0].lstrip("-").isdigit():
                rows.append([float(x) for x in part])
            elif mode == "delete" and part[0].isdigit():
                i = 0
                while i < len(part):
                    if i + 2 < len(part) and part[i + 1] == "-":
                        self.hidden.extend(range(int(part[i]), int(part[i + 2]) + 1))
                        i += 3
                    else:
                        self.hidden.append(int(part[i]))
                        i += 1
        self.obj = Obj(mhclo.with_name(obj_file))
        n = len(rows)
        self.idx, self.w, self.off = np.zeros((n, 3), int), np.zeros((n, 3), np.float32), np.zeros((n, 3), np.float32)
        for i, row in enumerate(rows):
            if len(row) == 1:
                self.idx[i], self.w[i] = int(row[0]), (1, 0, 0)
            else:
                self.idx[i], self.w[i], self.off[i] = [int(x) for x in row[:3]], row[3:6], row[6:9]

    def fit(self, body: np.ndarray) -> np.ndarray:
        scale = np.ones(3, np.float32)
        for axis, (a, b, dist) in self.scales.items():
            scale[axis] = abs(body[a, axis] - body[b, axis]) / dist
        return (body[self.idx] * self.w[..., None]).sum(1) + self.off * scale

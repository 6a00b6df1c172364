"""Render parametric people with Blender's Cycles (pip install "bpy>=4.5,<4.6" opencv-python-headless).

Two looks of the same person:
  photo  path-traced skin with subsurface scattering, pores, soft studio light, lens and sensor
  cg     what a garment tool's viewport shows: smooth plastic skin, hard light, no scattering
and a label map in CelebAMask-HQ's 19 classes.

  python render.py portraits OUT --first 0 --count 100 --looks photo,cg --views 2
  python render.py portraits OUT --first 0 --count 100 --looks cg --light display   (faces as in the displays)
  python render.py displays  OUT --first 0 --count 10            (dressed full figures, cg)
"""

# ruff: noqa: ARG001, ARG002, B905
from __future__ import annotations

import argparse
import contextlib
import json
import os
import sys
import tempfile
import time
import zlib
from pathlib import Path

import bpy
import cv2
import numpy as np
from bpy_extras.object_utils import world_to_camera_view
from mathutils import Vector

sys.path.insert(0, str(Path(__file__).parent))
from avatar import Body, Proxy, draw_expression, draw_person, macro_weights

METRES = 0.1  # MakeHuman works in decimetres
LABELS = {
    "skin": 1,
    "brow": 2,
    "eye": 4,
    "ear": 7,
    "nose": 10,
    "mouth": 11,
    "u_lip": 12,
    "l_lip": 13,
    "neck": 14,
    "cloth": 16,
    "hair": 17,
}
DISPLAY_PX = (1200, 1600)  # width, height
BODY_PARTS = ["skin", "ear", "nose", "mouth", "u_lip", "l_lip", "neck"]


def to_blender(v: np.ndarray) -> np.ndarray:
    return np.stack([v[:, 0], -v[:, 2], v[:, 1]], 1) * METRES


def rng_of(*key) -> np.random.Generator:
    return np.random.default_rng(zlib.crc32("-".join(map(str, key)).encode()))


@contextlib.contextmanager
def quiet():
    """Blender prints a line for every sample; keep the terminal for our own."""
    null, keep = os.open(os.devnull, os.O_WRONLY), os.dup(1)
    os.dup2(null, 1)
    try:
        yield
    finally:
        os.dup2(keep, 1)
        os.close(keep)
        os.close(null)


# ---------------------------------------------------------------- materials


class Nodes:
    """A few words for building a shader tree."""

    def __init__(self, name: str):
        self.mat = bpy.data.materials.new(name)
        self.mat.use_nodes = True
        self.tree = self.mat.node_tree
        self.tree.nodes.clear()
        self.out = self.tree.nodes.new("ShaderNodeOutputMaterial")

    def add(self, kind: str, inputs: dict | None = None, **props):
        node = self.tree.nodes.new("ShaderNode" + kind)
        for key, value in props.items():
            setattr(node, key, value)
        for key, value in (inputs or {}).items():
            if hasattr(value, "is_output"):
                self.tree.links.new(value, node.inputs[key])
            else:
                node.inputs[key].default_value = value
        return node

    def image(self, path: Path, blur: float = 0.0, colour: bool = True):
        return self.add("TexImage", image=load_image(path, blur, colour))

    def finish(self, shader):
        self.tree.links.new(shader, self.out.inputs["Surface"])
        return self.mat


def load_image(path: Path, blur: float, colour: bool = True):
    name = f"{Path(path).stem}-{blur}"
    if name in bpy.data.images:
        return bpy.data.images[name]
    if blur:
        pix = cv2.imread(str(path), cv2.IMREAD_UNCHANGED)
        pix = cv2.GaussianBlur(pix, (0, 0), blur)
        path = Path(tempfile.gettempdir()) / f"blur-{os.getpid()}-{name}.png"
        cv2.imwrite(str(path), pix)
    img = bpy.data.images.load(str(path))
    img.name = name
    if not colour:
        img.colorspace_settings.name = "Non-Color"
    return img


def rgba(c, a=1.0):
    return (float(c[0]), float(c[1]), float(c[2]), a)


def skin_material(p: dict, data: Path, look: str):
    folder = data / "skins/textures"
    male, dark, age = p["gender"] > 0.5, p["race"]["african"] > 0.5, p["age"]
    stage = "old" if age > 0.8 else "middleage" if age > 0.62 else "young"
    tone = "darkskinned" if dark else "lightskinned"
    sex = "male" if male else "female"
    every = sorted(f for f in folder.glob("*_diffuse*.png") if "suit" not in f.name)

    def fits(*words):
        return [
            f for f in every if all(any(w == part or part.startswith(w) for part in f.stem.split("_")) for w in words)
        ]

    same = fits(tone, sex) or fits(tone)
    exact = [f for f in same if f.name.startswith(stage)] or same
    a = exact[int(p["skin"]["a"] * len(exact)) % len(exact)]
    b = same[int(p["skin"]["b"] * len(same)) % len(same)]
    n = Nodes(f"skin-{look}")
    blur = 0.0 if look == "photo" else 2.5
    ia, ib = n.image(a, blur), n.image(b, blur)
    mix = n.add("MixRGB", {"Fac": p["skin"]["mix"] * 0.5, "Color1": ia.outputs["Color"], "Color2": ib.outputs["Color"]})
    asian = p["race"]["asian"]
    value = float(np.clip(1 + p["skin"]["tone"] - 0.08 * asian * (not dark), 0.6, 1.25))
    sat = p["skin"]["sat"] * (1.0 if look == "cg" else 0.86 if dark else 0.98)
    hsv = n.add(
        "HueSaturation",
        {
            "Hue": 0.5 + p["skin"]["warm"] * 0.1 + 0.004 * asian,
            "Saturation": float(sat),
            "Value": value * (1.08 if look == "cg" else 1.0),
            "Color": mix.outputs["Color"],
        },
    )
    colour = hsv.outputs["Color"]
    if look == "cg":
        bsdf = n.add("BsdfPrincipled", {"Base Color": colour, "Roughness": 0.38, "Specular IOR Level": 0.55})
        return n.finish(bsdf.outputs[0])
    r = rng_of("skin-surface", p["seed"])
    pores = n.add("TexVoronoi", {"Scale": 900.0}, feature="F1")
    grain = n.add("TexNoise", {"Scale": 260.0, "Detail": 4.0})
    grey = n.add("RGBToBW", {"Color": mix.outputs["Color"]})
    height = n.add("Math", {0: grey.outputs[0], 1: 1.0}, operation="MULTIPLY")
    h2 = n.add("Math", {0: pores.outputs["Distance"], 1: 0.10, 2: height.outputs[0]}, operation="MULTIPLY_ADD")
    h3 = n.add("Math", {0: grain.outputs[0], 1: 0.12, 2: h2.outputs[0]}, operation="MULTIPLY_ADD")
    bump = n.add("Bump", {"Strength": float(r.uniform(0.35, 0.6)), "Distance": 0.0012, "Height": h3.outputs[0]})
    rough = n.add("Math", {0: grain.outputs[0], 1: 0.22, 2: float(r.uniform(0.34, 0.46))}, operation="MULTIPLY_ADD")
    bsdf = n.add(
        "BsdfPrincipled",
        {
            "Base Color": colour,
            "Roughness": rough.outputs[0],
            "Specular IOR Level": 0.42,
            "Subsurface Weight": float(r.uniform(0.4, 0.6)),
            "Subsurface Scale": float(r.uniform(0.0028, 0.0045)),
            "Subsurface Radius": (1.0, 0.36, 0.2),
            "Normal": bump.outputs[0],
            "Coat Weight": float(r.uniform(0, 0.12)),
            "Coat Roughness": 0.35,
        },
    )
    bsdf.subsurface_method = "RANDOM_WALK"
    return n.finish(bsdf.outputs[0])


def card_material(name: str, texture: Path, look: str, colour=None, rough=0.5, brighten=1.0):
    """Hair, brows, lashes and clothes: a texture with alpha, tinted where a colour is given."""
    n = Nodes(f"{name}-{look}")
    tex = n.image(texture)
    base = tex.outputs["Color"]
    if colour is not None:
        grey = n.add("RGBToBW", {"Color": base})
        lift = n.add("Math", {0: grey.outputs[0], 1: 2.2 * brighten, 2: 0.22}, operation="MULTIPLY_ADD")
        base = n.add(
            "MixRGB", {"Fac": 1.0, "Color1": lift.outputs[0], "Color2": rgba(colour)}, blend_type="MULTIPLY"
        ).outputs[0]
    bsdf = n.add(
        "BsdfPrincipled",
        {
            "Base Color": base,
            "Roughness": rough if look == "photo" else rough * 0.7,
            "Specular IOR Level": 0.3 if look == "photo" else 0.6,
            "Alpha": tex.outputs["Alpha"],
        },
    )
    return n.finish(bsdf.outputs[0])


def eye_material(texture: Path, look: str):
    n = Nodes(f"eye-{look}")
    tex = n.image(texture)
    bsdf = n.add(
        "BsdfPrincipled",
        {
            "Base Color": tex.outputs["Color"],
            "Roughness": 0.12 if look == "photo" else 0.3,
            "Coat Weight": 1.0 if look == "photo" else 0.2,
            "Coat Roughness": 0.02,
            "Subsurface Weight": 0.2 if look == "photo" else 0.0,
            "Subsurface Scale": 0.002,
            "Alpha": tex.outputs["Alpha"],
        },
    )
    return n.finish(bsdf.outputs[0])


def label_material(name: str, texture: Path | None):
    n = Nodes(f"label-{name}-{texture.stem if texture else ''}")
    v = LABELS[name] / 32.0
    shader = n.add("Emission", {"Color": (v, v, v, 1)}).outputs[0]
    if texture:
        cut = n.add("Math", {0: n.image(texture).outputs["Alpha"], 1: 0.5}, operation="GREATER_THAN")
        clear = n.add("BsdfTransparent")
        shader = n.add("MixShader", {0: cut.outputs[0], 1: clear.outputs[0], 2: shader}).outputs[0]
    return n.finish(shader)


# ---------------------------------------------------------------- people


def make_mesh(name: str, verts, faces, face_uvs, uvs, smooth=True):
    mesh = bpy.data.meshes.new(name)
    mesh.from_pydata(to_blender(verts).tolist(), [], faces)
    layer = mesh.uv_layers.new()
    flat = np.fromiter((i for f in face_uvs for i in f), int)
    layer.data.foreach_set("uv", uvs[flat].astype(np.float32).ravel())
    mesh.polygons.foreach_set("use_smooth", [smooth] * len(mesh.polygons))
    obj = bpy.data.objects.new(name, mesh)
    bpy.context.scene.collection.objects.link(obj)
    return obj


class Studio:
    def __init__(self, data: Path, faceunits: Path, seed: int = 0):
        self.data = Path(data)
        self.body = Body(data, faceunits)
        self.proxies: dict[str, Proxy] = {}
        keep = [i for i, g in enumerate(self.body.obj.groups) if g == "body"]
        self.faces = [self.body.obj.faces[i] for i in keep]
        self.face_uvs = [self.body.obj.face_uvs[i] for i in keep]
        self.vertex_part = self._label_body()
        self._reset()

    def _label_body(self) -> np.ndarray:
        part = np.full(Body.SKIN_VERTICES, BODY_PARTS.index("skin"))

        def mark(target: str, name: str, share: float):
            idx, delta = self.body.target(target)
            size = np.linalg.norm(delta, axis=1)
            hit = idx[(size > share * size.max()) & (idx < Body.SKIN_VERTICES)]
            part[hit] = BODY_PARTS.index(name)

        mark("nose/nose-scale-depth-incr", "nose", 0.25)
        mark("ears/l-ear-scale-incr", "ear", 0.12)
        mark("ears/r-ear-scale-incr", "ear", 0.12)
        mark("mouth/mouth-upperlip-volume-incr", "u_lip", 0.2)
        mark("mouth/mouth-lowerlip-volume-incr", "l_lip", 0.2)
        return part

    def proxy(self, rel: str) -> Proxy:
        if rel not in self.proxies:
            self.proxies[rel] = Proxy(self.data / f"{rel}.mhclo")
        return self.proxies[rel]

    def _reset(self):
        bpy.ops.wm.read_factory_settings(use_empty=True)
        scene = bpy.context.scene
        scene.render.engine = "CYCLES"
        c = scene.cycles
        c.device, c.use_denoising, c.denoiser = "CPU", True, "OPENIMAGEDENOISE"
        c.max_bounces, c.diffuse_bounces, c.glossy_bounces, c.transmission_bounces = 4, 2, 2, 2
        c.transparent_max_bounces, c.use_adaptive_sampling = 24, True
        c.caustics_reflective = c.caustics_refractive = False
        scene.render.film_transparent = True
        scene.render.use_persistent_data = True
        scene.render.image_settings.file_format = "PNG"
        scene.render.image_settings.color_mode = "RGBA"
        scene.render.threads_mode, scene.render.threads = "FIXED", int(os.environ.get("RENDER_THREADS", "2"))
        scene.world = bpy.data.worlds.new("world")
        scene.world.use_nodes = True
        cam = bpy.data.objects.new("camera", bpy.data.cameras.new("camera"))
        scene.collection.objects.link(cam)
        scene.camera = cam

    def clear_people(self):
        for obj in [o for o in bpy.data.objects if o.type in ("MESH", "LIGHT")]:
            data = obj.data
            bpy.data.objects.remove(obj)
            (bpy.data.meshes if isinstance(data, bpy.types.Mesh) else bpy.data.lights).remove(data)
        for mat in list(bpy.data.materials):
            bpy.data.materials.remove(mat)

    def pose(self, p: dict, expression: dict, dressed: bool):
        """Build the person; returns what is needed to shade and frame it."""
        d = self.data
        verts = self.body.shape({**macro_weights(p), **p["details"], **expression})
        parts = [
            ("eyes/high-poly/high-poly", "eye", d / f"eyes/materials/{p['eyes']}_eye.png"),
            (f"eyebrows/{p['brows']}/{p['brows']}", "brow", d / f"eyebrows/{p['brows']}/{p['brows']}.png"),
            (f"eyelashes/{p['lashes']}/{p['lashes']}", "eye", d / f"eyelashes/{p['lashes']}/{p['lashes']}.png"),
            ("teeth/teeth_base/teeth_base", "mouth", d / "teeth/materials/teeth.png"),
            ("tongue/tongue01/tongue01", "mouth", d / "tongue/tongue01/tongue01_diffuse.png"),
        ]
        if p["hair"] != "none":
            parts.append((f"hair/{p['hair']}/{p['hair']}", "hair", d / f"hair/{p['hair']}/{p['hair']}_diffuse.png"))
        hidden: set[int] = set()
        wear = [p["clothes"]] + ([p["shoes"]] if dressed else [])
        for c in wear:
            parts.append((f"clothes/{c}/{c}", "cloth", d / f"clothes/{c}/{c}_diffuse.png"))
            hidden.update(self.proxy(f"clothes/{c}/{c}").hidden)
        part = self.vertex_part.copy()
        chin = verts[: Body.SKIN_VERTICES][(np.abs(verts[: Body.SKIN_VERTICES, 0]) < 0.1)]
        jaw = self.body.joint(verts, "jaw")
        mouth = self.body.joint(verts, "mouth")
        front = chin[(chin[:, 1] < mouth[1] - 0.15) & (chin[:, 1] > mouth[1] - 0.75)]
        tip = front[front[:, 2].argmax()]
        ear = verts[: Body.SKIN_VERTICES][part == BODY_PARTS.index("ear")]
        lobe = ear[ear[:, 1].argmin()]
        slope = (lobe[1] - (tip[1] - 0.2)) / (lobe[2] - tip[2])
        below = verts[: Body.SKIN_VERTICES, 1] < tip[1] - 0.2 + slope * (verts[: Body.SKIN_VERTICES, 2] - tip[2])
        part[below & (part == 0)] = BODY_PARTS.index("neck")
        del jaw
        faces, fuv, fpart = [], [], []
        for f, u in zip(self.faces, self.face_uvs):
            if hidden and any(i in hidden for i in f):
                continue
            faces.append(f)
            fuv.append(u)
            votes = part[f]
            fpart.append(int(np.bincount(votes).argmax()))
        body = make_mesh("body", verts, faces, fuv, self.body.obj.uvs)
        sub = body.modifiers.new("sub", "SUBSURF")
        sub.levels = sub.render_levels = 1
        things = [(body, "body", None)]
        for _ in BODY_PARTS:
            body.data.materials.append(None)
        body.data.polygons.foreach_set("material_index", fpart)
        for rel, label, texture in parts:
            proxy = self.proxy(rel)
            if not texture.exists() or not len(proxy.idx):
                continue
            o = proxy.obj
            obj = make_mesh(rel.split("/")[-1], proxy.fit(verts), o.faces, o.face_uvs, o.uvs)
            obj.data.materials.append(None)
            things.append((obj, label, texture))
        return verts, things

    def shade(self, p: dict, things, look: str):
        skin = skin_material(p, self.data, look) if look != "label" else None
        for obj, label, texture in things:
            slots = obj.data.materials
            if label == "body":
                for i, name in enumerate(BODY_PARTS):
                    slots[i] = skin if skin else label_material(name, None)
                continue
            name = obj.name
            if look == "label":
                slots[0] = label_material(label, texture)
            elif label == "hair":
                slots[0] = card_material(name, texture, look, p["hair_colour"], 0.45)
            elif label == "brow":
                slots[0] = card_material(name, texture, look, [c * 0.8 for c in p["hair_colour"]], 0.6)
            elif label == "eye" and "lash" in name:
                slots[0] = card_material(name, texture, look, [0.02, 0.015, 0.012], 0.6)
            elif label == "eye":
                slots[0] = eye_material(texture, look)
            else:
                slots[0] = card_material(name, texture, look, None, 0.8 if label == "cloth" else 0.3)

    # ------------------------------------------------------------ light and camera

    def light(self, seed, look: str, centre: Vector, reach: float):
        for obj in [o for o in bpy.data.objects if o.type == "LIGHT"]:
            bpy.data.objects.remove(obj)
        r = rng_of("light", look, seed)
        world = bpy.context.scene.world.node_tree.nodes["Background"]

        def lamp(kind, azimuth, height, distance, energy, size, tint):
            data = bpy.data.lights.new("lamp", kind)
            data.energy, data.color = energy, tint
            if kind == "AREA":
                data.shape, data.size = "DISK", size
            else:
                data.angle = size
            obj = bpy.data.objects.new("lamp", data)
            a = np.radians(azimuth)
            obj.location = centre + Vector((np.sin(a) * distance, -np.cos(a) * distance, height))
            obj.rotation_euler = (centre - obj.location).to_track_quat("-Z", "Y").to_euler()
            bpy.context.scene.collection.objects.link(obj)

        if look == "photo":
            warm = r.uniform(-0.06, 0.06)
            tint = (1 + warm, 1.0, 1 - warm)
            world.inputs[0].default_value = rgba(np.clip(np.array([1 - warm, 1, 1 + warm]) * r.uniform(0.8, 1), 0, 1))
            world.inputs[1].default_value = float(r.uniform(0.18, 0.5))
            side = r.choice([-1, 1])
            k = reach**2
            lamp(
                "AREA",
                side * r.uniform(20, 65),
                r.uniform(0.2, 0.9) * reach,
                1.6 * reach,
                float(r.uniform(26, 42)) * k,
                r.uniform(0.5, 1.4) * reach,
                tint,
            )
            lamp(
                "AREA",
                -side * r.uniform(30, 80),
                r.uniform(-0.1, 0.5) * reach,
                1.8 * reach,
                float(r.uniform(5, 16)) * k,
                1.6 * reach,
                (1, 1, 1),
            )
            if r.random() < 0.7:
                lamp(
                    "AREA",
                    side * r.uniform(130, 170),
                    r.uniform(0.3, 0.9) * reach,
                    1.4 * reach,
                    float(r.uniform(10, 30)) * k,
                    0.5 * reach,
                    (1, 1, 1),
                )
        else:
            world.inputs[0].default_value = (1, 1, 1, 1)
            world.inputs[1].default_value = float(r.uniform(0.45, 0.7))
            lamp(
                "SUN",
                r.uniform(-40, 40),
                r.uniform(0.6, 1.6) * reach,
                2 * reach,
                float(r.uniform(2.0, 2.8)),
                np.radians(0.5),
                (1, 1, 1),
            )

    def camera(
        self, target: Vector, distance: float, yaw: float, pitch: float, view_size: float, fstop: float | None = None
    ):
        cam = bpy.context.scene.camera
        y, t = np.radians(yaw), np.radians(pitch)
        offset = Vector((np.sin(y) * np.cos(t), -np.cos(y) * np.cos(t), np.sin(t))) * distance
        cam.location = target + offset
        cam.rotation_euler = (target - cam.location).to_track_quat("-Z", "Y").to_euler()
        cam.data.sensor_width = 36
        cam.data.lens = 36 * distance / view_size
        cam.data.shift_x = cam.data.shift_y = 0
        cam.data.clip_start, cam.data.clip_end = 0.05, 100
        cam.data.dof.use_dof = fstop is not None
        if fstop is not None:
            cam.data.dof.focus_distance, cam.data.dof.aperture_fstop = distance, fstop
        bpy.context.view_layer.update()

    def zoom(self, corners: np.ndarray, width: int, height: int):
        """Keep of a picture of width x height only the upright square with these corners (4,2), in pixels.

        The camera stays where it is, so that the square shows the very perspective that it has in the whole picture.
        """
        cam, (x, y) = bpy.context.scene.camera.data, corners.mean(0)
        side = float(np.ptp(corners[:, 0]))
        cam.lens *= max(width, height) / side
        cam.shift_x, cam.shift_y = (x - width / 2) / side, (height / 2 - y) / side
        bpy.context.view_layer.update()

    def project(self, points: np.ndarray, width: int, height: int) -> np.ndarray:
        scene = bpy.context.scene
        out = []
        for q in to_blender(np.asarray(points)):
            c = world_to_camera_view(scene, scene.camera, Vector(q))
            out.append((c.x * width, (1 - c.y) * height))
        return np.array(out)

    def shoot(self, look: str, width: int, height: int, samples: int) -> np.ndarray:
        """RGBA uint8 (H,W,4) in display colour, alpha straight."""
        scene = bpy.context.scene
        scene.render.resolution_x, scene.render.resolution_y, scene.render.resolution_percentage = width, height, 100
        scene.cycles.samples = 1 if look == "label" else samples
        scene.cycles.use_denoising = look != "label"
        scene.cycles.pixel_filter_type = "BOX" if look == "label" else "BLACKMAN_HARRIS"
        scene.cycles.filter_width = 0.01 if look == "label" else 1.5
        scene.view_settings.view_transform = {"photo": "AgX", "cg": "Standard", "label": "Raw"}[look]
        scene.view_settings.look = "AgX - Medium High Contrast" if look == "photo" else "None"
        scene.view_settings.exposure = {"photo": 0.2, "cg": -0.1, "label": 0}[look]
        path = f"{tempfile.gettempdir()}/shot-{os.getpid()}.png"
        scene.render.filepath = path
        with quiet():
            bpy.ops.render.render(write_still=True)
        return cv2.cvtColor(cv2.imread(path, cv2.IMREAD_UNCHANGED), cv2.COLOR_BGRA2RGBA)


# ---------------------------------------------------------------- after the shutter


def background(seed, look: str, h: int, w: int) -> np.ndarray:
    r = rng_of("background", seed)
    hue, sat, val = r.uniform(0, 180), r.uniform(0, 70), r.uniform(60, 235)
    c = [
        cv2.cvtColor(
            np.uint8(
                [
                    [
                        [
                            (hue + r.normal(0, 12)) % 180,
                            np.clip(sat + r.normal(0, 15), 0, 255),
                            np.clip(val + r.normal(0, 28), 20, 250),
                        ]
                    ]
                ]
            ),
            cv2.COLOR_HSV2RGB,
        )[0, 0].astype(np.float32)
        for _ in range(4)
    ]
    y, x = np.mgrid[0 : 1 : h * 1j, 0 : 1 : w * 1j].astype(np.float32)
    out = (
        ((1 - y) * (1 - x))[..., None] * c[0]
        + ((1 - y) * x)[..., None] * c[1]
        + (y * (1 - x))[..., None] * c[2]
        + (y * x)[..., None] * c[3]
    )
    return out


def composite(shot: np.ndarray, back: np.ndarray) -> np.ndarray:
    a = shot[..., 3:].astype(np.float32) / 255
    return shot[..., :3] * a + back * (1 - a)


def develop(img: np.ndarray, seed) -> np.ndarray:
    """The lens and sensor of the photo look: vignette, white balance, blur, noise."""
    r = rng_of("develop", seed)
    h, w = img.shape[:2]
    y, x = np.mgrid[-1 : 1 : h * 1j, -1 : 1 : w * 1j]
    img = img * (1 - r.uniform(0, 0.12) * (x**2 + y**2) / 2)[..., None]
    img = img * (1 + r.normal(0, 0.015, 3))
    img = cv2.GaussianBlur(img.astype(np.float32), (0, 0), r.uniform(0.25, 0.5))
    return np.clip(img + r.normal(0, r.uniform(0.8, 2.2), img.shape), 0, 255).astype(np.uint8)


def ffhq_quad(lm: dict[str, np.ndarray]) -> np.ndarray:
    """The FFHQ crop's corners (4,2) in pixels: top left, bottom left, bottom right, top right."""
    # the image's left eye is the person's right
    eye_l, eye_r, mouth_l, mouth_r = lm["eye_right"], lm["eye_left"], lm["mouth_right"], lm["mouth_left"]
    eye = (eye_l + eye_r) / 2
    down = (mouth_l + mouth_r) / 2 - eye
    x = (eye_r - eye_l) - np.array([-down[1], down[0]])
    x /= np.hypot(*x)
    x *= max(np.hypot(*(eye_r - eye_l)) * 2.0, np.hypot(*down) * 1.8)
    y = np.array([-x[1], x[0]])
    c = eye + down * 0.1
    return np.stack([c - x - y, c - x + y, c + x + y, c + x - y])


def crop(img: np.ndarray, quad: np.ndarray, size: int, nearest=False) -> np.ndarray:
    m = cv2.getPerspectiveTransform(quad.astype(np.float32), np.float32([[0, 0], [0, size], [size, size], [size, 0]]))
    if nearest:
        return cv2.warpPerspective(img, m, (size, size), flags=cv2.INTER_NEAREST, borderMode=cv2.BORDER_REPLICATE)
    return cv2.warpPerspective(
        img, m, (size, size), flags=cv2.INTER_AREA if False else cv2.INTER_LANCZOS4, borderMode=cv2.BORDER_REFLECT
    )


def view_display(
    studio: Studio, verts: np.ndarray, seed: tuple, width: int, height: int
) -> tuple[float, float, Vector]:
    """Point the camera as a garment tool does; its yaw and pitch in degrees, and where the lamps aim."""
    r = rng_of(*seed)
    v = to_blender(verts[: Body.SKIN_VERTICES])
    top, bottom = v[:, 2].max() + 0.03, v[:, 2].min()
    full = r.random() < 0.5
    low = bottom if full else bottom + 0.42 * (top - bottom)
    centre = Vector((0, 0, (top + low) / 2))
    tall = (top - low) * 1.1
    yaw, pitch = float(r.normal(0, 12)), float(r.normal(0, 3))
    bpy.context.scene.render.resolution_x, bpy.context.scene.render.resolution_y = width, height
    studio.camera(centre, 4.5, yaw, pitch, tall * max(1.0, width / height))
    return yaw, pitch, Vector((0, 0, top - 0.25))


def portrait(
    studio: Studio, person: int, view: int, looks: list[str], size: int, samples: dict[str, int], light: str
) -> dict:
    """The aligned face in every look, under the studio's light and lens or under those of the person's display.

    View 0 under the display's light is the face of `display` in the cg look: the same expression, camera, lamps and
    background. The photo look has those very lamps too, so that the looks differ in skin, lens and sensor alone.
    """
    of_display = light == "display"
    p = draw_person(person, studio.data)
    studio.clear_people()
    verts, things = studio.pose(p, draw_expression(person * 100 + view + 7 * of_display), dressed=False)
    lm3 = studio.body.landmarks(verts)
    render = int(size * 1.3)
    scene = bpy.context.scene
    if of_display:
        seed = ("display", person, view) if view else ("display", person)
        yaw, pitch, centre = view_display(studio, verts, seed, *DISPLAY_PX)
        quad = ffhq_quad(dict(zip(lm3, studio.project(np.stack(list(lm3.values())), *DISPLAY_PX))))
        half = 1.02 * np.abs(quad - quad.mean(0)).max()
        render = int(size * 1.04 * 2 * half / np.linalg.norm(quad[1] - quad[0]))
        frame = quad.mean(0) + half * np.array([[-1, -1], [-1, 1], [1, 1], [1, -1]])
        studio.zoom(frame, *DISPLAY_PX)
        back = crop(background(seed, "cg", *DISPLAY_PX[::-1]), frame, render)
    else:
        seed = (person, view)
        r = rng_of("view", person, view)
        yaw, pitch = float(np.clip(r.normal(0, 14), -38, 38)), float(np.clip(r.normal(2, 6), -14, 18))
        eyes, mouth = (lm3["eye_left"] + lm3["eye_right"]) / 2, (lm3["mouth_left"] + lm3["mouth_right"]) / 2
        mid = eyes + 0.1 * (mouth - eyes)
        eye_gap = np.linalg.norm(lm3["eye_left"] - lm3["eye_right"]) * METRES
        drop = (
            np.linalg.norm((lm3["eye_left"] + lm3["eye_right"] - lm3["mouth_left"] - lm3["mouth_right"]) / 2) * METRES
        )
        span = 2.5 * max(eye_gap * 2.0, drop * 1.8)
        centre = Vector(to_blender(mid[None])[0])
    out = {
        "person": person,
        "view": view,
        "yaw": yaw,
        "pitch": pitch,
        "gender": p["gender"],
        "age": p["age"],
        "race": p["race"],
        "hair": p["hair"],
    }
    if of_display:
        out["light"] = light
    scene.render.resolution_x = scene.render.resolution_y = render
    for look in looks:
        if not of_display:
            studio.camera(centre, 1.35, yaw, pitch, span, 5.6 if look == "photo" else None)
        pts = studio.project(np.stack(list(lm3.values())), render, render)
        quad = ffhq_quad(dict(zip(lm3, pts)))
        studio.shade(p, things, look)
        if look != "label":
            studio.light(seed, "cg" if of_display else look, centre, 1.0)
        shot = studio.shoot(look, render, render, samples.get(look, 16))
        if look == "label":
            ids = np.where(shot[..., 3] > 127, np.round(shot[..., 0] / 255 * 32), 0).astype(np.uint8)
            out[look] = crop(ids, quad, size, nearest=True)
        else:
            img = composite(shot, back if of_display else background((person, view), look, render, render))
            img = crop(np.clip(img, 0, 255).astype(np.float32), quad, size)
            out[look] = develop(img, (person, view)) if look == "photo" else np.clip(img, 0, 255).astype(np.uint8)
    return out


def display(studio: Studio, person: int, width: int, height: int, look: str, samples: int) -> tuple[np.ndarray, dict]:
    """A dressed full figure as a garment tool shows it, with the face's true landmarks."""
    p = draw_person(person, studio.data)
    studio.clear_people()
    verts, things = studio.pose(p, draw_expression(person * 100 + 7), dressed=True)
    _, _, lamps_at = view_display(studio, verts, ("display", person), width, height)
    studio.shade(p, things, look)
    studio.light(("display", person), look, lamps_at, 1.0 if look == "cg" else 2.2)
    shot = studio.shoot(look, width, height, samples)
    lm3 = studio.body.landmarks(verts)
    pts = studio.project(np.stack(list(lm3.values())), width, height)
    img = composite(shot, background(("display", person), "cg", height, width))
    meta = {
        "person": person,
        "landmarks": {k: q.round(2).tolist() for k, q in zip(lm3, pts)},
        "quad": ffhq_quad(dict(zip(lm3, pts))).round(2).tolist(),
        "clothes": p["clothes"],
        "hair": p["hair"],
        "gender": p["gender"],
        "age": p["age"],
    }
    return np.clip(img, 0, 255).astype(np.uint8), meta


def main():
    ap = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    ap.add_argument("what", choices=["portraits", "displays"])
    ap.add_argument("out", type=Path)
    ap.add_argument("--assets", type=Path, required=True, help="MakeHuman's data folder")
    ap.add_argument("--faceunits", type=Path, required=True, help="folder of ARKit face unit targets")
    ap.add_argument("--first", type=int, default=0)
    ap.add_argument("--count", type=int, default=10)
    ap.add_argument("--views", type=int, default=1)
    ap.add_argument("--looks", default="photo,cg,label")
    ap.add_argument("--size", type=int, default=256)
    ap.add_argument(
        "--light", choices=["studio", "display"], default="studio", help="a portrait's light, lens and background"
    )
    ap.add_argument("--samples", default="photo=32,cg=16")
    ap.add_argument("--quality", type=int, default=95)
    a = ap.parse_args()
    samples = {k: int(v) for k, v in (s.split("=") for s in a.samples.split(","))}
    studio = Studio(a.assets, a.faceunits)
    a.out.mkdir(parents=True, exist_ok=True)
    t0, n = time.time(), 0
    for person in range(a.first, a.first + a.count):
        if a.what == "displays":
            img, meta = display(studio, person, *DISPLAY_PX, "cg", samples.get("cg", 24))
            cv2.imwrite(str(a.out / f"display_{person:05d}.png"), img[..., ::-1])
            (a.out / f"display_{person:05d}.json").write_text(json.dumps(meta))
            n += 1
        for view in range(a.views if a.what == "portraits" else 0):
            looks = a.looks.split(",")
            name = f"{person:05d}_{view}"
            if all((a.out / k / f"{name}.{'png' if k == 'label' else 'jpg'}").exists() for k in looks):
                continue
            res = portrait(studio, person, view, looks, a.size, samples, a.light)
            for look in looks:
                folder = a.out / look
                folder.mkdir(exist_ok=True)
                if look == "label":
                    cv2.imwrite(str(folder / f"{name}.png"), res[look])
                else:
                    cv2.imwrite(
                        str(folder / f"{name}.jpg"), res[look][..., ::-1], [cv2.IMWRITE_JPEG_QUALITY, a.quality]
                    )
            with open(a.out / "people.jsonl", "a") as f:
                f.write(json.dumps({k: v for k, v in res.items() if not isinstance(v, np.ndarray)}) + "\n")
            n += 1
        if n and (person - a.first) % 10 == 9:
            print(f"{person + 1 - a.first}/{a.count} people, {(time.time() - t0) / n:.2f} s an item", flush=True)


if __name__ == "__main__":
    main()

"""Twelve frames of glossy shapes on a mirror-dark floor, the camera on an orbit round them.

Everything is made here, from fixed seeds, so that each frame is the same picture on every machine.
A frame appears under its name only once it is complete: Blender writes it beside its place, and it
is renamed when it has been written. Frames that are there already, from before an interruption, are
not made again.

Run inside Blender, in the task's directory:
blender --background --factory-startup -noaudio --python-exit-code 1 --python scene.py
"""
import colorsys
import math
import os
import random
import sys
import time

import bpy
from mathutils import Vector

FRAMES = int(os.environ.get("FRAMES", "12"))
WIDTH = int(os.environ.get("WIDTH", "320"))
HEIGHT = int(os.environ.get("HEIGHT", "180"))
SAMPLES = int(os.environ.get("SAMPLES", "8"))
FOLDER = os.path.abspath("frames")
PENDING = os.path.abspath(".pending")
TARGET = Vector((0.0, 0.0, 0.9))


def material(name, colour, roughness, metallic=0.0, glow=0.0):
    made = bpy.data.materials.new(name)
    made.use_nodes = True
    node = made.node_tree.nodes["Principled BSDF"]
    node.inputs["Base Color"].default_value = (*colour, 1.0)
    node.inputs["Roughness"].default_value = roughness
    node.inputs["Metallic"].default_value = metallic
    if glow:
        # The input was renamed in Blender 4.
        emission = node.inputs.get("Emission Color") or node.inputs["Emission"]
        emission.default_value = (*colour, 1.0)
        node.inputs["Emission Strength"].default_value = glow
    return made


def finish(name, surface):
    made = bpy.context.object
    made.name = name
    made.data.materials.append(surface)
    if made.type == "MESH":
        bpy.ops.object.shade_smooth()
    return made


def world():
    sky = bpy.data.worlds.new("dusk")
    bpy.context.scene.world = sky
    sky.use_nodes = True
    background = sky.node_tree.nodes["Background"]
    background.inputs["Color"].default_value = (0.012, 0.018, 0.045, 1.0)
    background.inputs["Strength"].default_value = 1.0


def shapes():
    bpy.ops.mesh.primitive_plane_add(size=60)
    finish("floor", material("floor", (0.02, 0.022, 0.03), 0.12))
    bpy.ops.mesh.primitive_torus_add(
        location=(0, 0, 1.25), major_radius=0.9, minor_radius=0.2, major_segments=96, minor_segments=32,
        rotation=(math.radians(68), 0, math.radians(20)),
    )
    finish("ring", material("gold", (1.0, 0.66, 0.22), 0.14, metallic=1.0))
    bpy.ops.mesh.primitive_uv_sphere_add(segments=64, ring_count=32, radius=0.42, location=(0, 0, 1.25))
    finish("core", material("core", (0.25, 0.75, 1.0), 0.3, glow=2.5))
    dice = random.Random(7)
    for index in range(14):
        angle = index / 14 * math.tau
        radius = 2.3 + 0.35 * math.sin(3 * angle)
        size = 0.24 + 0.16 * dice.random()
        place = (radius * math.cos(angle), radius * math.sin(angle), size)
        colour = colorsys.hsv_to_rgb(index / 14, 0.75, 0.9)
        bpy.ops.mesh.primitive_uv_sphere_add(segments=48, ring_count=24, radius=size, location=place)
        metallic = 1.0 if index % 3 == 0 else 0.0
        finish(f"pearl {index}", material(f"pearl {index}", colour, 0.08 + 0.2 * dice.random(), metallic))


def lights():
    for name, place, colour, watts, size in [
        ("key", (4.5, -3.5, 5.5), (1.0, 0.86, 0.7), 700, 3.0),
        ("rim", (-5.0, 3.0, 3.5), (0.5, 0.65, 1.0), 520, 2.0),
    ]:
        bpy.ops.object.light_add(type="AREA", location=place)
        light = bpy.context.object
        light.name = name
        light.data.energy, light.data.size, light.data.color = watts, size, colour
        light.rotation_euler = (TARGET - Vector(place)).to_track_quat("-Z", "Y").to_euler()


def camera():
    bpy.ops.object.camera_add()
    made = bpy.context.object
    made.data.lens = 42
    bpy.context.scene.camera = made
    return made


def aim(made, frame):
    angle = math.radians(-75) + (frame - 1) / FRAMES * math.tau
    place = Vector((7.0 * math.cos(angle), 7.0 * math.sin(angle), 2.5 + 0.5 * math.sin(angle)))
    made.location = place
    made.rotation_euler = (TARGET - place).to_track_quat("-Z", "Y").to_euler()


def settings(scene):
    scene.render.engine = "CYCLES"
    scene.cycles.device = "CPU"
    scene.cycles.samples = SAMPLES
    scene.cycles.seed = 1
    scene.cycles.use_adaptive_sampling = False
    # Light that bounced more often is hardly seen here, and costs most of the time.
    scene.cycles.max_bounces = 3
    scene.cycles.diffuse_bounces = 1
    scene.cycles.glossy_bounces = 3
    scene.cycles.caustics_reflective = scene.cycles.caustics_refractive = False
    scene.cycles.sample_clamp_indirect = 2.0
    # Few samples: a denoiser makes them a clean picture, where this build of Blender has one.
    try:
        scene.cycles.denoiser = "OPENIMAGEDENOISE"
        scene.cycles.use_denoising = True
    except TypeError:
        scene.cycles.use_denoising = False
    scene.render.resolution_x, scene.render.resolution_y = WIDTH, HEIGHT
    scene.render.resolution_percentage = 100
    scene.render.use_persistent_data = True
    scene.render.image_settings.file_format = "PNG"
    scene.view_settings.view_transform = "Filmic"


def main():
    bpy.ops.wm.read_factory_settings(use_empty=True)
    scene = bpy.context.scene
    world()
    shapes()
    lights()
    eye = camera()
    settings(scene)
    os.makedirs(FOLDER, exist_ok=True)
    os.makedirs(PENDING, exist_ok=True)
    for frame in range(1, FRAMES + 1):
        name = f"{frame:04}.png"
        if os.path.exists(os.path.join(FOLDER, name)):
            print(f"frame {frame} of {FRAMES}: there already", file=sys.stderr, flush=True)
            continue
        began = time.monotonic()
        aim(eye, frame)
        scene.render.filepath = os.path.join(PENDING, name)
        bpy.ops.render.render(write_still=True)
        os.replace(os.path.join(PENDING, name), os.path.join(FOLDER, name))
        print(f"frame {frame} of {FRAMES}: {time.monotonic() - began:.1f} s", file=sys.stderr, flush=True)
    os.rmdir(PENDING)


main()

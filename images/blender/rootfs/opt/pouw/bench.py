"""The gate's bench scene: a fixed picture, path traced on the CPU with Cycles.

Run inside Blender: blender --background --factory-startup --python /opt/pouw/bench.py
The work is the same on every machine, so the time it takes is the score. The last line of the output is JSON:
{"bench": "blender", "samples": number, "elapsed_ms": time of rendering alone, "cpu_ms": processor time of it}
"""
import json
import time

import bpy

WIDTH, HEIGHT, SAMPLES = 320, 180, 8


def material(name, colour, roughness, metallic):
    made = bpy.data.materials.new(name)
    made.use_nodes = True
    node = made.node_tree.nodes["Principled BSDF"]
    node.inputs["Base Color"].default_value = (*colour, 1.0)
    node.inputs["Roughness"].default_value = roughness
    node.inputs["Metallic"].default_value = metallic
    return made


def build():
    bpy.ops.wm.read_factory_settings(use_empty=True)
    scene = bpy.context.scene
    bpy.ops.mesh.primitive_plane_add(size=20)
    bpy.context.object.data.materials.append(material("floor", (0.6, 0.6, 0.62), 0.5, 0.0))
    for i in range(5):
        bpy.ops.mesh.primitive_uv_sphere_add(segments=48, ring_count=24, radius=0.5, location=(i - 2, (i % 2) * 0.8, 0.5))
        bpy.ops.object.shade_smooth()
        bpy.context.object.data.materials.append(
            material(f"ball {i}", (0.2 + 0.15 * i, 0.3, 0.9 - 0.15 * i), 0.1 + 0.15 * i, i % 2)
        )
    bpy.ops.object.light_add(type="AREA", location=(2, -3, 5))
    bpy.context.object.data.energy = 400
    bpy.context.object.data.size = 3
    bpy.ops.object.camera_add(location=(0, -6.5, 2.4), rotation=(1.25, 0, 0))
    scene.camera = bpy.context.object
    scene.render.engine = "CYCLES"
    scene.cycles.device = "CPU"
    scene.cycles.samples = SAMPLES
    scene.cycles.seed = 1
    scene.cycles.use_adaptive_sampling = False
    scene.cycles.use_denoising = False
    scene.render.resolution_x, scene.render.resolution_y = WIDTH, HEIGHT
    scene.render.resolution_percentage = 100
    return scene


build()
began, began_cpu = time.monotonic(), time.process_time()
bpy.ops.render.render()
elapsed_ms = round((time.monotonic() - began) * 1000)
cpu_ms = round((time.process_time() - began_cpu) * 1000)
print(json.dumps({"bench": "blender", "samples": WIDTH * HEIGHT * SAMPLES, "elapsed_ms": elapsed_ms, "cpu_ms": cpu_ms}), flush=True)

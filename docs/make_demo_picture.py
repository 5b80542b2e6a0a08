"""Draws docs/demo.webp, a robot that finds out how it is wired: ./run exec python docs/make_demo_picture.py"""

from dataclasses import replace
from pathlib import Path

from PIL import Image

from ant_env_node.vec_env import load_model
from ant_rl_core.spec import ANT
from ant_rl_tools.demo.picture import frame
from ant_rl_tools.demo.scenes import SCENES
from ant_rl_tools.demo.show import Show
from ant_rl_tools.video.command import load
from viewer_node.offscreen import Camera

SEED = 21
TICKS, SHOWN = 90, 2  # every second one is shown
WIDTH, HEIGHT = 360, 200  # pixels

scene = replace(SCENES["wired"], change_at=2.0)  # sooner than in the demonstration: the picture is short
show = Show(scene, scene.choose(SEED), SEED, TICKS, (load(scene.policy), load(scene.memoryless)))
model = load_model()
camera = Camera(model, WIDTH, HEIGHT, model.body("torso").id)
frames = []
while show.tick < TICKS:
    show.step()
    if show.tick % SHOWN == 0:
        frames.append(Image.fromarray(frame(show, camera)))
camera.close()
show.close()
frames[0].save(Path(__file__).parent / "demo.webp", save_all=True, append_images=frames[1:], quality=20,
               method=6, duration=round(1000 * SHOWN * ANT.control_period), loop=0)

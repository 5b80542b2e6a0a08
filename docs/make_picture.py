"""Draws docs/walking.webp, the shipped policy walking: ./run exec python docs/make_picture.py"""

from pathlib import Path

from PIL import Image

from ant_env_node.vec_env import load_model
from ant_rl_core.spec import ANT
from ant_rl_tools.video.command import Panel, VideoConfig, load
from viewer_node.offscreen import Camera

START = 100  # ticks until the gait is steady
FRAMES = 40
WIDTH, HEIGHT = 480, 270  # pixels

panel = Panel("default", load("default"), VideoConfig(seed=1003))
model = load_model()
camera = Camera(model, WIDTH, HEIGHT, model.body("torso").id)
frames = []
for tick in range(START + FRAMES):
    panel.step()
    if tick >= START:
        frames.append(Image.fromarray(camera.picture(panel.walker.ant.data(0))))
camera.close()
panel.close()
frames[0].save(Path(__file__).parent / "walking.webp", save_all=True, append_images=frames[1:], quality=60,
               duration=round(1000 * ANT.control_period), loop=0)

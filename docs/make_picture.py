"""Draws docs/walking.png, a strip of the shipped policy walking: MUJOCO_GL=egl ./run exec python docs/make_picture.py"""

from pathlib import Path

import mujoco
import numpy as np
from ant_env_node.vec_env import VectorAnt
from ant_rl_core import bundle
from ant_rl_core.step import Previous, TimeStepEnv
from matplotlib.image import imsave
from policy_node.actor import load_actor

FRAMES = 6
EVERY = 3  # ticks between two frames
START = 100  # ticks until the gait is steady
SIZE = 300  # pixels

actor = load_actor(bundle.read(bundle.resolve_policy("default")))
ant = VectorAnt(1, 1003)
renderer = mujoco.Renderer(ant.model, SIZE, SIZE)
env = TimeStepEnv(ant)
time_step = env.reset()
previous, state = Previous.none(1, env.action_size), actor.initial_state(1)
frames = []
for tick in range(START + FRAMES * EVERY):
    if tick >= START and (tick - START) % EVERY == 0:
        renderer.update_scene(ant.data(0), "track")
        frames.append(renderer.render())
    action, _, state = actor.act(time_step.observation, previous, state, time_step.step == 0)
    time_step = env.step(action)
    previous = Previous(action, time_step.reward, time_step.done)
env.close()
imsave(Path(__file__).parent / "walking.png", np.concatenate(frames, axis=1))

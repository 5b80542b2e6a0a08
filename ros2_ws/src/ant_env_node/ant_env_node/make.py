"""Every environment of the stack is built here."""

from __future__ import annotations

from ant_env_node.shaping import ShapedEnv, ShapingConfig
from ant_env_node.tasks.ant import TaskAnt
from ant_env_node.tasks.distribution import TaskDistribution
from ant_env_node.tasks.told import ToldTask
from ant_env_node.tasks.worlds import World
from ant_env_node.vec_env import VectorAnt
from ant_rl_core.contracts import VectorEnv
from ant_rl_core.step import TimeStepEnv


def make(num_envs: int, seed: int | None = None, num_threads: int | None = None,
         shaping: ShapingConfig | None = None, max_episode_steps: int = 1000,
         tasks: TaskDistribution | World | None = None, looks_ahead: bool = False, told: bool = False) -> VectorEnv:
    """Ants, or a world without them, behind the stack's environment contract (with `save` and `restore`).

    Args:
        num_envs, seed, num_threads, max_episode_steps: as of `VectorAnt`.
        shaping: constants of the shaping; None for the default reward.
        tasks: what each robot is to learn on, of those to train on; None: Ant-v5 as it comes. Of a world only the first
            two arguments count.
        looks_ahead: see `TaskAnt`.
        told: whether the observation tells the task.
    """
    if isinstance(tasks, World):
        env: VectorEnv = tasks.make(num_envs, seed, "train")
    else:
        env = shape(TimeStepEnv(ants(num_envs, seed, num_threads, tasks, max_episode_steps=max_episode_steps,
                                     looks_ahead=looks_ahead)), shaping)
    return ToldTask(env) if told else env


def ants(num_envs: int, seed: int | None = None, num_threads: int | None = None,
         tasks: TaskDistribution | None = None, part: str = "train", max_episode_steps: int = 1000,
         looks_ahead: bool = False) -> VectorAnt:
    """The robots as a Gymnasium vector environment; arguments as of `VectorAnt` and `TaskAnt`."""
    if tasks is None:
        return VectorAnt(num_envs, seed, num_threads, max_episode_steps=max_episode_steps)
    return TaskAnt(num_envs, tasks, part, seed, num_threads, looks_ahead, max_episode_steps=max_episode_steps)


def open_to_tasks(env: TimeStepEnv | ShapedEnv,
                  shaping: ShapingConfig | None) -> tuple[TaskAnt, TimeStepEnv | ShapedEnv]:
    """The same robots at the same moment as some that can be given tasks: they, and the environment of them.

    Args:
        env: of `VectorAnt`, which has no tasks; it is closed.
        shaping: as it was made with.
    """
    plain = env.env.env if isinstance(env, ShapedEnv) else env.env
    saved = env.save()
    env.close()
    ant = TaskAnt(plain.num_envs, None, seed=plain.np_random_seed[0], num_threads=plain.num_threads,
                  max_episode_steps=plain.max_episode_steps)
    made = shape(TimeStepEnv(ant), shaping)
    made.restore(saved)
    return ant, made


def robots_of(env: VectorEnv) -> VectorAnt:
    """The robots within what `make` returned; ValueError where there are none, as in a world without the Ant."""
    while isinstance(env, (ToldTask, ShapedEnv)):
        env = env.env
    if isinstance(env, TimeStepEnv) and isinstance(env.env, VectorAnt):
        return env.env
    raise ValueError("expected simulated Ants, found another world: leave tasks:= out, or name tasks of the Ant")


def shape(env: TimeStepEnv, shaping: ShapingConfig | None) -> TimeStepEnv | ShapedEnv:
    """The environment with shaped rewards, or itself without `shaping`."""
    return env if shaping is None else ShapedEnv(env, shaping)

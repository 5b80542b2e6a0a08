"""What the float64 references of on-policy methods share, written from docstrings and papers, not from the code."""

import numpy as np
from by_hand import slope

from ant_rl_core.step import Transition


class Reference:
    """Actor and critic of one hidden layer of three units each, for two observations and one action."""

    SHAPES = ((2, 3), (3,), (3, 1), (1,), (1,), (2, 3), (3,), (3, 1), (1,))  # actor, log_std, critic

    def __init__(self, config, variables):
        self.config = config
        self.theta = np.concatenate([np.ravel(v).astype(np.float64) for v in variables])
        self.seen, self.returns, self.env_steps = [], [], 0

    def split(self, theta):
        ends = np.cumsum([np.prod(shape) for shape in self.SHAPES])
        return [part.reshape(shape) for part, shape in zip(np.split(theta, ends[:-1]), self.SHAPES, strict=True)]

    def mean(self, theta, x):
        w1, b1, w2, b2 = self.split(theta)[:4]
        return np.tanh(x @ w1 + b1) @ w2 + b2

    def value(self, theta, x):
        w1, b1, w2, b2 = self.split(theta)[5:]
        return (np.tanh(x @ w1 + b1) @ w2 + b2)[:, 0]

    def log_prob(self, theta, x, u):
        log_std = self.split(theta)[4]
        normal = -0.5 * ((u - self.mean(theta, x)) / np.exp(log_std)) ** 2 - log_std - 0.5 * np.log(2 * np.pi)
        return normal.sum(axis=1)

    def loss(self, surrogate, theta, x, target):
        """Of policy and critic, where `surrogate` is what the policy climbs."""
        c = self.config
        entropy = (self.split(theta)[4] + 0.5 * np.log(2 * np.pi * np.e)).sum()
        error = np.square(self.value(theta, x) - target).mean()
        return -surrogate + c.value_coefficient * error - c.entropy_coefficient * entropy

    def gradient(self, function):
        gradient = slope(function, self.theta)
        return gradient * min(1.0, self.config.max_gradient_norm / np.sqrt(np.sum(gradient**2)))

    def move(self, step):
        self.theta = self.theta - step
        log_std = self.split(self.theta)[4]
        log_std[:] = np.maximum(log_std, np.log(self.config.min_std))

    def rate_left(self, rows):
        """Share of the learning rate for the rollout of so many transitions that it counts."""
        left = 1 - self.env_steps / self.config.total_steps
        self.env_steps += rows
        return self.config.learning_rate_end + (1 - self.config.learning_rate_end) * left

    def normalize(self, x):
        seen = np.concatenate(self.seen) if self.seen else None
        mean, variance = (0.0, 1.0) if seen is None else (seen.mean(axis=0), seen.var(axis=0))
        return np.clip((x - mean) / np.sqrt(np.maximum(variance, 1e-8)), -self.config.observation_clip,
                       self.config.observation_clip)

    def inputs(self, observation, action, next_observation):
        """Normalized observations, those after, and the samples before squashing, of [T, n, size]; counts the first."""
        flat = [array.reshape(-1, array.shape[-1]).astype(np.float64) for array in (observation, next_observation)]
        x, x_next = map(self.normalize, flat)
        self.seen.append(flat[0])
        return x, x_next, np.arctanh(action.reshape(-1, action.shape[-1]).astype(np.float64))

    def scale(self):
        return np.sqrt(np.var(self.returns) + 1e-8) if self.returns else np.sqrt(1 + 1e-8)

    def advantages(self, x, x_next, reward, terminated, cut):
        """By the sum's definition, term by term."""
        c, shape = self.config, reward.shape
        value, after = (self.scale() * self.value(self.theta, array).reshape(shape) for array in (x, x_next))
        delta = reward + c.discount * ~terminated * after - value
        advantage = np.zeros(shape)
        for t, row in np.ndindex(*shape):
            for s in range(t, shape[0]):
                advantage[t, row] += (c.discount * c.gae_lambda) ** (s - t) * delta[s, row]
                if cut[s, row]:
                    break
        return advantage, advantage + value


def standard(x):
    """With mean 0 and standard deviation 1."""
    return (x - x.mean()) / (x.std() + 1e-8)


def disturb(learner, rng):
    """Move all weights: an actor that starts at almost nothing would hide errors."""
    for variable in learner.model.variables:
        variable.assign(variable.numpy() + rng.normal(0, 0.3, variable.shape))


def flat(learner):
    return np.concatenate([np.ravel(v.numpy()) for v in learner.model.variables])


def observe_rollout(learner, rng):
    """Eight ticks of random numbers for two robots with ends of all kinds and a gap; the arguments of a reference.

    These are observation, action, reward, terminated, cut and next_observation, [8, 2, ...].
    """
    observation = rng.normal(1, 2, (9, 2, 2)).astype(np.float32)
    following = observation[1:].copy()
    terminated, truncated = rng.random((2, 8, 2)) < 0.2
    terminated[2, 0] = truncated[3, 1] = True
    truncated[2, 0] = terminated[3, 1] = False
    gap = np.zeros((8, 2), bool)
    gap[4, 1] = True
    cut = terminated | truncated | gap
    following[cut] += 1.0  # final observations are not the first of the next episode
    cut[-1] = True
    action = np.tanh(rng.normal(0, 1, (8, 2, 1))).astype(np.float32)
    reward = rng.normal(1, 3, (8, 2)).astype(np.float32)
    for t in range(8):
        learner.observe(Transition(observation[t], action[t], reward[t], terminated[t], truncated[t], following[t]))
    assert learner.ready()
    return observation[:8], action, reward, terminated, cut, following

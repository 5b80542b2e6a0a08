"""What the float64 references of learning methods are made of; nothing here shares code with what it checks."""

import numpy as np

from ant_rl_core.step import Previous, Transition


class Adam:
    """Kingma and Ba, arXiv:1412.6980, in the form before section 2.1, with Keras's epsilon."""

    def __init__(self, size, rate, epsilon=1e-7, momentum=0.9):
        self.m, self.v, self.t, self.rate, self.epsilon = np.zeros(size), np.zeros(size), 0, rate, epsilon
        self.momentum = momentum

    def step(self, theta, gradient):
        self.t += 1
        self.m = self.momentum * self.m + (1 - self.momentum) * gradient
        self.v = 0.999 * self.v + 0.001 * gradient**2
        rate = self.rate * np.sqrt(1 - 0.999**self.t) / (1 - self.momentum**self.t)
        return theta - rate * self.m / (np.sqrt(self.v) + self.epsilon)


def slope(function, theta):
    """Gradient by central differences."""
    steps = 1e-6 * np.eye(len(theta))
    return np.array([function(theta + step) - function(theta - step) for step in steps]) / 2e-6


RELU, ELU = lambda x: np.maximum(x, 0.0), lambda x: np.where(x > 0, x, np.expm1(np.minimum(x, 0.0)))


def layers(theta, x, sizes, activation, normalized=()):
    """Layers of these sizes for x [m, n], the activation between them; returns what comes out and the weights left.

    `normalized` layers go through a LayerNorm before their activation.
    """
    for i, size in enumerate(sizes):
        kernel, bias, theta = np.split(theta, np.cumsum([x.shape[1] * size, size]))
        x = x @ kernel.reshape(-1, size) + bias
        if i in normalized:
            gain, offset, theta = np.split(theta, [size, 2 * size])
            centered = x - x.mean(axis=1, keepdims=True)
            x = gain * centered / np.sqrt((centered**2).mean(axis=1, keepdims=True) + 1e-5) + offset
        if i + 1 < len(sizes):
            x = activation(x)
    return x, theta


def perceptron(theta, x, sizes, normalized=()):
    """As `layers`, relu between them, all weights used."""
    found, rest = layers(theta, x, sizes, RELU, normalized)
    assert rest.size == 0
    return found


def moments(network):
    """Running mean and variance of the inputs of each batch-normalized layer, one after the other, in float64."""
    return [variable.numpy().astype(np.float64) for variable in network.non_trainable_variables if len(variable.shape)]


def moved_moments(running, theta, x, sizes):
    """The running moments after a `renormed_perceptron` with weights `theta` has learned from a batch."""
    found = [array for pair in renormed_perceptron(theta, x, sizes)[1] for array in pair]
    return [0.99 * old + 0.01 * new for old, new in zip(running, found, strict=True)]


def renormed_perceptron(theta, x, sizes, running=None):
    """As `perceptron`, the inputs of each layer normalized, with gain and offset; returns the moments too.

    They are normalized over the rows by the moments of the batch, or by `running` ones, as `moments` gives them.
    """
    moments = []
    for i, size in enumerate(sizes):
        gain, offset, kernel, bias, theta = np.split(theta, np.cumsum([x.shape[1]] * 2 + [x.shape[1] * size, size]))
        mean, variance = (x.mean(axis=0), x.var(axis=0)) if running is None else running[2 * i:2 * i + 2]
        moments.append((mean, variance))
        x = (gain * (x - mean) / np.sqrt(variance + 1e-3) + offset) @ kernel.reshape(-1, size) + bias
        if i + 1 < len(sizes):
            x = np.where(x > 0, x, 0.0)
    assert theta.size == 0
    return x, moments


# -- learned embeddings of observations and actions, of two entries each (Fujimoto et al., arXiv:2306.02451, appendix A)

def by_mean_magnitude(x):
    return x / np.abs(x).mean(axis=1, keepdims=True)


def embedding(encoder, x):
    """Embedding of observations [m, n]."""
    found, rest = layers(encoder[0], x, (2, 2, 2), ELU)
    assert rest.size == 0
    return by_mean_magnitude(found)


def prediction(encoder, state, action):
    """Of the next embedding, from the present one and the action."""
    found, rest = layers(encoder[1], np.column_stack([state, action]), (2, 2, 2), ELU)
    assert rest.size == 0
    return found


def headed(theta, x, *embeddings, sizes, activation):
    """A layer for x, divided by its mean magnitude, then layers of all sizes for that beside the embeddings."""
    first, theta = layers(theta, x, sizes[:1], None)
    found, rest = layers(theta, np.hstack([by_mean_magnitude(first), *embeddings]), sizes, activation)
    assert rest.size == 0
    return found


def prediction_loss(encoder, x, action, following):
    return np.mean((prediction(encoder, embedding(encoder, x), action) - following) ** 2)


def learned_encoder(encoder, adams, x, action, x_next):
    """The encoder after a gradient step, and its loss before it."""
    first, second = encoder
    following = embedding(encoder, x_next)  # no variable
    gradients = [slope(lambda theta: prediction_loss((theta, second), x, action, following), first),
                 slope(lambda theta: prediction_loss((first, theta), x, action, following), second)]
    return ([adam.step(part, gradient) for adam, part, gradient in zip(adams, encoder, gradients, strict=True)],
            prediction_loss(encoder, x, action, following))


class EmbeddedNetworks:
    """An encoder, the average of it that networks take the embeddings of, and what those networks give."""

    def __init__(self, config, inputs, momentum=0.9):
        self.share = config.target_share
        self.encoder, self.average = ([flat(part) for part in pair] for pair in (inputs.encoder, inputs.average))
        self.adams = [Adam(len(part), config.critic_learning_rate, momentum=momentum) for part in self.encoder]

    def learn(self, x, action, x_next):
        """A gradient step, after which the average follows; returns the loss before it."""
        self.encoder, loss = learned_encoder(self.encoder, self.adams, x, action, x_next)
        self.average = [(1 - self.share) * old + self.share * new
                        for old, new in zip(self.average, self.encoder, strict=True)]
        return loss

    def actor(self, theta, x, *sizes):
        """What an actor with layers of these sizes gives."""
        return headed(theta, x, embedding(self.average, x), sizes=sizes, activation=RELU)

    def critic(self, theta, taken, *sizes, observation_size=2):
        """What a critic with layers of these sizes gives, for observations beside actions."""
        state = embedding(self.average, taken[:, :observation_size])
        both = prediction(self.average, state, taken[:, observation_size:])
        return headed(theta, taken, both, state, sizes=sizes, activation=ELU)

    def pairs(self, inputs):
        """Each network of the learner's inputs with what its weights should be."""
        return [*zip(inputs.encoder, self.encoder, strict=True), *zip(inputs.average, self.average, strict=True)]


# -- learners ----------------------------------------------------------------------------------------------------------

def flat(network):
    """All learned weights of a Keras model in float64."""
    return np.concatenate([np.ravel(variable.numpy()) for variable in network.trainable_variables]).astype(np.float64)


def disturb(networks, rng):
    """Move all learned weights away from where they began, zeros and ones among them, which would hide errors."""
    for network in networks:
        for variable in network.trainable_variables:
            variable.assign(variable + rng.normal(0, 0.4, variable.shape))


def observe(learner, rng):
    """A tick of random numbers, one robot of which has now and then come to an end."""
    n = learner.num_envs
    observation, following = rng.normal(0.5, 1.5, (2, n, learner.observation_size)).astype(np.float32)
    action = rng.uniform(-1, 1, (n, learner.action_size)).astype(np.float32)
    learner.observe(Transition(observation, action, rng.normal(1, 2, n).astype(np.float32), rng.random(n) < 0.3,
                               rng.random(n) < 0.2, following))


def recorded(learner):
    """A list that every batch which the learner draws is added to."""
    batches, draw = [], learner.experience.draw

    def record():
        batches.append(draw())
        return batches[-1]

    learner.experience.draw = record
    return batches


def in_float64(batch):
    """observation, action, reward, discount, next_observation and weight of a batch."""
    return [np.asarray(array, np.float64) for array in (batch.observation, batch.action, batch.reward, batch.discount,
                                                        batch.next_observation, batch.weight)]


def act(actor, observation):
    """Actions of a learner or an actor for observations [m, n]."""
    rows, size = len(observation), getattr(actor, "action_size", 0) or actor.manifest.action_size
    return actor.act(observation, Previous.none(rows, size), actor.initial_state(rows), np.zeros(rows, bool))

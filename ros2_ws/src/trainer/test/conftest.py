"""What the trainer's tests share."""

import os
import sys
from pathlib import Path

sys.path.insert(0, str(Path(__file__).parent))  # for by_hand
os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "3")  # before TensorFlow is imported

import numpy as np
import pytest


@pytest.fixture
def eager():
    """Without compilation, which takes longer than a few steps of learning."""
    import tensorflow as tf

    tf.config.run_functions_eagerly(True)
    yield
    tf.config.run_functions_eagerly(False)


@pytest.fixture(scope="session")
def ant_bundle():
    """Bytes of a bundle of a small, untrained policy for Ant-v5."""
    from trainer.algorithms.on_policy.ppo import PPO, PPOConfig

    learner = PPO(PPOConfig(actor_hidden=(8,), critic_hidden=(8,), initial_log_std=-1.0), 1, 105, 8, seed=3)
    learner.model.learned_from(np.random.default_rng(0).normal(0.3, 2.0, (1, 50, 105)))
    return learner.policy({"seed": 3})

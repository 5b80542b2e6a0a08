"""Our own settings of the libraries that we use, in place of those that a shell, a notebook or a home folder has.

They are read once, when a library is imported. Variables that say how a machine computes (threads, instruction sets,
`TF_*`, `XLA_FLAGS`) stay a user's: they change last bits as another processor does, and `machine.py` names them.
"""

from __future__ import annotations

import os
import sys
from ctypes.util import find_library

from ant_rl_core.surroundings.places import instead

# The networks are TensorFlow's. A keras.json may change the type of numbers, too, and there is none in this place.
_KERAS = {"KERAS_BACKEND": "tensorflow", "KERAS_HOME": os.devnull}
_KERAS_ELSEWHERE = ("KERAS_MAX_EPOCHS", "KERAS_MAX_STEPS_PER_EPOCH", "KERAS_NNX_ENABLED", "TF_USE_LEGACY_KERAS")
# Figures go to files. MuJoCo draws where it is asked to by name (`viewer_node`): simulating needs no OpenGL.
OWN_SETTINGS = {**_KERAS, "MPLBACKEND": "agg", "MUJOCO_GL": "disable", "PYOPENGL_PLATFORM": "egl"}
# What each way of drawing needs.
_DRAWING = {"osmesa": "OSMesa", "egl": "EGL", "glx": None, "glfw": None, "": None}


def use_own_settings() -> None:
    """For this process, a program of the stack, and for those that it starts."""
    os.environ.update(OWN_SETTINGS)
    settle_keras()
    # Keras imports Matplotlib, which says at length what it does where it can't keep its list of fonts.
    home = os.path.expanduser("~")
    if not (os.path.isdir(home) and os.access(home, os.W_OK)) and (cache := instead("matplotlib")):
        os.environ.setdefault("MPLCONFIGDIR", str(cache))


def settle_keras() -> None:
    """What decides Keras's numbers; for whoever imports a package that builds networks, before Keras is imported."""
    if "keras" not in sys.modules:
        os.environ.update(_KERAS)
        for name in _KERAS_ELSEWHERE:
            os.environ.pop(name, None)


def let_mujoco_be_imported() -> None:
    """Forget a way of drawing that is not there, for which an import of MuJoCo fails, drawn or not.

    One that is there stays: programs of others draw with it.
    """
    drawing = os.environ.get("MUJOCO_GL", "").lower().strip()
    if drawing in ("disable", "disabled", "off", "false", "0", "enable", "enabled", "on", "true", "1"):
        return
    library = _DRAWING.get(drawing, "")
    if library is not None and not (library and find_library(library)):
        del os.environ["MUJOCO_GL"]

"""What tests that draw have in common."""

from ctypes.util import find_library

import pytest

needs_egl = pytest.mark.skipif(find_library("EGL") is None,
                               reason="no EGL to draw with: apt install libegl1 libgl1-mesa-dri")

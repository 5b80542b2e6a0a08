from pathlib import Path
from xml.etree import ElementTree

from setuptools import find_packages, setup

manifest = ElementTree.parse(Path(__file__).resolve().with_name("package.xml")).getroot()

setup(
    **{field: manifest.findtext(field) for field in ("name", "version", "description", "maintainer", "license")},
    maintainer_email=manifest.find("maintainer").get("email"),
    packages=find_packages(exclude=["test", "test.*"]),
    data_files=[
        ("share/ament_index/resource_index/packages", ["resource/ant_rl_tools"]),
        ("share/ant_rl_tools", ["package.xml"]),
    ],
    install_requires=["setuptools"],
    extras_require={"test": ["pytest"]},  # colcon test then runs pytest
    zip_safe=True,
    entry_points={"ant_rl.verbs": ["report = ant_rl_tools.verbs:REPORT", "replay = ant_rl_tools.verbs:REPLAY",
                                   "video = ant_rl_tools.verbs:VIDEO", "demo = ant_rl_tools.verbs:DEMO",
                                   "model = ant_rl_tools.verbs:MODEL", "bench = ant_rl_tools.verbs:BENCH"]},
)

from setuptools import find_packages, setup

setup(
    name="trainer",
    version="0.1.0",
    packages=find_packages(exclude=["test", "test.*"]),
    data_files=[
        ("share/ament_index/resource_index/packages", ["resource/trainer"]),
        ("share/trainer", ["package.xml"]),
    ],
    install_requires=["setuptools"],
    zip_safe=True,
    maintainer="ant_rl maintainers",
    maintainer_email="maintainers@ant-rl.example.org",
    description="Learning methods, their buffers and networks, and the node that learns from observations.",
    license="Apache-2.0",
    entry_points={
        "console_scripts": ["trainer_node = trainer.ros.node:main"],
        "ant_rl.methods": ["trainer = trainer.algorithms.table:ALGORITHMS"],
    },
)

from setuptools import find_packages, setup

setup(
    name="ant_rl_core",
    version="0.1.0",
    packages=find_packages(exclude=["test", "test.*"]),
    data_files=[
        ("share/ament_index/resource_index/packages", ["resource/ant_rl_core"]),
        ("share/ant_rl_core", ["package.xml"]),
    ],
    install_requires=["setuptools"],
    zip_safe=True,
    maintainer="ant_rl maintainers",
    maintainer_email="maintainers@ant-rl.example.org",
    description="Contracts and small pure parts that every package of the stack shares; numpy only.",
    license="Apache-2.0",
)

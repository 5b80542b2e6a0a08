from setuptools import find_packages, setup

setup(
    name="ant_rl_tools",
    version="0.1.0",
    packages=find_packages(exclude=["test", "test.*"]),
    data_files=[
        ("share/ament_index/resource_index/packages", ["resource/ant_rl_tools"]),
        ("share/ant_rl_tools", ["package.xml"]),
    ],
    install_requires=["setuptools"],
    zip_safe=True,
    maintainer="ant_rl maintainers",
    maintainer_email="maintainers@ant-rl.example.org",
    description="What is done with the stack from a desktop: benchmarks, replay, reports, videos.",
    license="Apache-2.0",
)

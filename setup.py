"""Packaging. Settings of the tools are in tox.ini."""

import pathlib
import re

from setuptools import find_packages, setup

here = pathlib.Path(__file__).parent
version = re.search(r'^__version__ = "(.+)"$', (here / "chat_threads" / "__init__.py").read_text("utf-8"), re.M)
assert version

setup(
    name="chat_threads",
    version=version[1],
    description="A chat server over TCP, a thread per connection, to use and to read",
    long_description=(here / "README.rst").read_text("utf-8"),
    long_description_content_type="text/x-rst",
    license="MIT",
    packages=find_packages(include=["chat_threads", "chat_threads.*"]),
    package_data={"chat_threads.page": ["*.html", "*.css", "*.js"]},
    python_requires=">=3.10",
    install_requires=["click>=8.0", "tabulate[widechars]>=0.9"],
    extras_require={
        "client": ["prompt_toolkit>=3.0.50"],
        "cluster": ["psycopg[binary]>=3.2"],
        "plot": ["matplotlib>=3.6"],
        "web": ["websockets>=13", "segno>=1.6"],
        "autobahn": ["kosoku==0.1.0"],  # has no wheels for 32-bit machines
        "browser": ["playwright==1.58.0"],  # later ones cannot drive Debian's Firefox
        "test": [
            "pytest>=7.3",
            "pytest-timeout>=2",
            "prompt_toolkit>=3.0.50",
            "websockets>=13",
            "segno>=1.6",
            "prometheus_client>=0.16",
            "psycopg[binary]>=3.2",
        ],
    },
    entry_points={
        "console_scripts": [
            "chat-threads = chat_threads.cli:main",
            "chat-threads-client = chat_threads.client.terminal:main",
        ]
    },
    classifiers=[
        "Development Status :: 5 - Production/Stable",
        "Environment :: Console",
        "Intended Audience :: Education",
        "Operating System :: POSIX",
        "Operating System :: Microsoft :: Windows",
        "Programming Language :: Python :: 3",
        "Programming Language :: Python :: 3.10",
        "Programming Language :: Python :: 3.11",
        "Programming Language :: Python :: 3.12",
        "Programming Language :: Python :: 3.13",
        "Topic :: Communications :: Chat",
    ],
)

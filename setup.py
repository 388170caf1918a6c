"The package as `settings.ini` describes it."
from configparser import ConfigParser
from pathlib import Path

from setuptools import setup

config = ConfigParser(delimiters=["="])
config.read("settings.ini", encoding="utf-8")
project = config["DEFAULT"]


def listed(key):
    return project[key].split()


setup(
    name=project["lib_name"],
    version=project["version"],
    description=project["description"],
    long_description=Path("README.md").read_text(encoding="utf-8"),
    long_description_content_type="text/markdown",
    author=project["author"],
    license="Apache-2.0",
    url=project["git_url"],
    keywords=project["keywords"],
    packages=["glassml"],
    package_data={"glassml": ["data/*/*.npz", "recipes/*.toml", "*.mplstyle"]},
    python_requires=">=" + project["min_python"],
    install_requires=listed("requirements"),
    extras_require={key.removesuffix("_requirements"): listed(key) for key in project if key.endswith("_requirements")},
    entry_points={"console_scripts": listed("console_scripts"), "nbdev": ["glassml=glassml._modidx:d"]},
)

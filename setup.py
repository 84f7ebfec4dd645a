"""How pip installs the plugin; `make setup` does it all in the right order.

The build needs `pip install --no-build-isolation`: fairseq's build imports torch, and in an isolated
environment pip would fetch a second torch for it.
"""

import glob
import os
import re
import runpy
import sys

HERE = os.path.dirname(os.path.abspath(__file__))
# The stack's versions and sentences live in one file, which needs nothing installed.
stack = runpy.run_path(os.path.join(HERE, "vqw2v_plugin", "stack.py"))

problem = stack["python_problem"]()
if problem:
    sys.exit(problem)

from setuptools import find_packages, setup  # noqa: E402  an unsupported Python may not even have it
from setuptools.command.build_py import build_py  # noqa: E402


class WithSettings(build_py):
    """Also puts the examples' yaml into the package, where `vqw2v path NAME` finds them."""

    def run(self):
        super().run()
        examples = os.path.join(HERE, "examples")
        for yaml in glob.glob(os.path.join(examples, "*", "**", "*.yaml"), recursive=True):
            stage = os.path.relpath(os.path.dirname(yaml), examples)
            folder = os.path.join(self.build_lib, "vqw2v_plugin", "settings", stage)
            self.mkpath(folder)
            self.copy_file(yaml, folder)


with open(os.path.join(HERE, "vqw2v_plugin", "__init__.py"), encoding="utf-8") as package:
    version = re.findall('^__version__ = "(.+)"', package.read(), re.MULTILINE)[0]
oldest, newest = stack["OLDEST_PYTHON"], stack["NEWEST_PYTHON"]
fairseq = stack["fairseq_requirement"]()
demo = ["espeakng-loader"]
report = ["matplotlib"]
testing = ["pytest", "pytest-timeout", "pytest-xdist", "hypothesis"]

setup(
    name="vqw2v_plugin",
    version=version,
    description="A fairseq plugin for discrete speech representations: vq-wav2vec and what follows it",
    license="MIT",
    python_requires=">={}.{},<{}.{}".format(*oldest, newest[0], newest[1] + 1),
    packages=find_packages(include=["vqw2v_plugin", "vqw2v_plugin.*"]),
    package_data={"vqw2v_plugin": ["py.typed"], "vqw2v_plugin.analysis.report_page": ["page.css", "page.js"]},
    cmdclass={"build_py": WithSettings},
    install_requires=[
        "torch>={}.{}".format(*stack["FIRST_TORCH"]),
        "numpy>=1.26",
        "omegaconf",
        "safetensors",
        "soundfile",
        "soxr",
        "sentencepiece",
        *([fairseq] if fairseq else []),
    ],
    extras_require={
        "decode": ["flashlight-text", "kenlm"],
        "report": report,
        "demo": demo,
        "vad": ["silero-vad"],
        # the interpreter that tests of a GPU's kernels want, where torch is a CPU's and brings none
        "triton": ["triton"],
        # ruff and mypy judge differently from one release to the next; these are the ones `make lint` means.
        "dev": [*testing, "ruff==0.17.*", "mypy==2.4.*", *demo, *report],
    },
    entry_points={"console_scripts": ["vqw2v = vqw2v_plugin.__main__:main"]},
    zip_safe=False,
)

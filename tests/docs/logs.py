"""The logs of docs/logs, unpacked once for all tests of this folder."""

import subprocess
import sys
from pathlib import Path
from tempfile import TemporaryDirectory

ROOT = Path(__file__).parents[2]
_FOLDER = TemporaryDirectory()
LOGS = Path(_FOLDER.name)
subprocess.run([sys.executable, "benchmarks/logs.py", "unpack", "--to", LOGS], cwd=ROOT, check=True, capture_output=True)

"""Keep of run folders what a reader can check: configurations, metrics and results, without weights and checkpoints.

    python benchmarks/logs.py RUN docs/logs/NAME

RUN is a run folder, or a folder of run folders, whose places below it are kept. What a log that is there already has under the
same names is replaced.
"""

import argparse
import shutil
from pathlib import Path

KEPT = ("*.json", "*.csv")


def main() -> None:
    """Copy, and tell how many runs that were."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("run", type=Path, help="a run folder, or a folder of run folders")
    parser.add_argument("log", type=Path, help="where its log goes")
    arguments = parser.parse_args()
    runs = [path.parent for path in sorted(arguments.run.rglob("config.json"))]
    if not runs:
        parser.error(f"{arguments.run} has no run in it: expected a config.json there or in a folder below")
    for run in runs:
        log = arguments.log / run.relative_to(arguments.run)
        log.mkdir(parents=True, exist_ok=True)
        for file in (file for pattern in KEPT for file in run.glob(pattern)):
            shutil.copy(file, log / file.name)
    print(f"kept the logs of {len(runs)} run{'s' if len(runs) > 1 else ''} in {arguments.log}")


if __name__ == "__main__":
    main()

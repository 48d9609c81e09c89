"""Keep of run folders what a reader can check: configurations, metrics and results, without weights and checkpoints.

    python benchmarks/logs.py RUN docs/logs/NAME

RUN is a run folder, or a folder of run folders, whose places below it are kept. A log that is there already is replaced.
"""

import argparse
import shutil
from pathlib import Path

KEPT = ("*.json", "*.csv")


def kept(folder: Path) -> list[Path]:
    """Files of a folder that make a log."""
    return [file for pattern in KEPT for file in folder.glob(pattern)]


def main() -> None:
    """Copy, and tell how many runs that were."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("run", type=Path, help="a run folder, or a folder of run folders")
    parser.add_argument("log", type=Path, help="where its log goes")
    arguments = parser.parse_args()
    runs = [path.parent for path in sorted(arguments.run.rglob("config.json"))]
    if not runs:
        parser.error(f"{arguments.run} has no run in it: expected a config.json there or in a folder below")
    logs = [arguments.log / run.relative_to(arguments.run) for run in runs]
    inside = arguments.log.resolve().is_relative_to(arguments.run.resolve())
    if inside or any(path.suffix == ".safetensors" or path.name == "checkpoints" for log in logs for path in log.glob("*")):
        parser.error(f"{arguments.log} holds runs, or lies in one: expected the place of a log")
    for log in logs:
        if kept(log) and not (log / "config.json").exists():
            parser.error(f"{log} holds other files than a log's: expected the place of a log")
    for run, log in zip(runs, logs, strict=True):
        log.mkdir(parents=True, exist_ok=True)
        for file in kept(log):
            file.unlink()
        for file in kept(run):
            shutil.copy(file, log / file.name)
    print(f"kept the logs of {len(runs)} run{'s' if len(runs) > 1 else ''} in {arguments.log}")


if __name__ == "__main__":
    main()

"""Logs of runs in one small archive an experiment: configurations, metrics and results, without weights and checkpoints.

    python benchmarks/logs.py unpack                      # every docs/logs/NAME.tar.xz into docs/logs/NAME/
    python benchmarks/logs.py unpack memory --to FOLDER   # one of them, elsewhere
    python benchmarks/logs.py pack RUN docs/logs/NAME.tar.xz

RUN is a run folder, or a folder of run folders, whose places below it are kept. An archive that is there already is replaced.
Numbers in metrics.csv are stored with six significant digits.
"""

import argparse
import csv
import io
import tarfile
from pathlib import Path

LOGS = Path(__file__).resolve().parents[1] / "docs" / "logs"
SUFFIX = ".tar.xz"
KEPT = ("*.json", "*.csv")
LEFT_OUT = ("adaptation.csv",)
"""Files whose numbers are in another file, adaptation.json."""


def pack(run: Path, archive: Path) -> int:
    """Write the logs of all runs in a folder to an archive; return how many runs there are."""
    runs = [path.parent for path in sorted(run.rglob("config.json"))]
    if not runs:
        raise SystemExit(f"{run}: no run found, expected a config.json there or in a folder below")
    if not archive.name.endswith(SUFFIX):
        raise SystemExit(f"{archive}: expected a name that ends in {SUFFIX}")
    name = archive.name.removesuffix(SUFFIX)
    files = [file for each in runs for pattern in KEPT for file in each.glob(pattern) if file.name not in LEFT_OUT]
    with tarfile.open(archive, "w:xz", preset=9) as tar:
        for file in sorted(files, key=lambda file: (file.name, file)):  # files that are alike lie side by side
            data = _shortened(file.read_text()).encode() if file.name == "metrics.csv" else file.read_bytes()
            entry = tarfile.TarInfo(str(Path(name) / file.relative_to(run)))
            entry.size = len(data)
            tar.addfile(entry, io.BytesIO(data))
    return len(runs)


def unpack(names: list[str], folder: Path) -> list[Path]:
    """Unpack archives by name, or all of them, into folders of these names; return the folders."""
    archives = [LOGS / f"{name}{SUFFIX}" for name in names] or sorted(LOGS.glob(f"*{SUFFIX}"))
    for archive in archives:
        if not archive.is_file():
            raise SystemExit(f"{archive}: no such archive")
        with tarfile.open(archive) as tar:
            tar.extractall(folder, filter="data")
    return [folder / archive.name.removesuffix(SUFFIX) for archive in archives]


def _shortened(table: str) -> str:
    return "".join(",".join(map(_short, row)) + "\n" for row in csv.reader(io.StringIO(table)))


def _short(cell: str) -> str:
    try:
        value = float(cell)
    except ValueError:
        return cell
    return cell if value.is_integer() else f"{value:.6g}"


def main() -> None:
    """Pack or unpack."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    commands = parser.add_subparsers(dest="command", required=True)
    packing = commands.add_parser("pack", help="write the logs of runs to an archive")
    packing.add_argument("run", type=Path, help="a run folder, or a folder of run folders")
    packing.add_argument("archive", type=Path, help=f"the archive, NAME{SUFFIX}")
    unpacking = commands.add_parser("unpack", help="unpack archives of docs/logs")
    unpacking.add_argument("names", nargs="*", metavar="NAME", help="experiments; none: all")
    unpacking.add_argument("--to", type=Path, default=LOGS, metavar="FOLDER", help="where their folders go")
    arguments = parser.parse_args()
    if arguments.command == "pack":
        count = pack(arguments.run, arguments.archive)
        print(f"packed the logs of {count} run{'s' if count > 1 else ''} into {arguments.archive}")
    else:
        print(*unpack(arguments.names, arguments.to), sep="\n")


if __name__ == "__main__":
    main()

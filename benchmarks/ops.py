"""Speed and memory of the native kernels against PyTorch loops, torch.compile and JAX, in one run.

    python benchmarks/ops.py                                            everything but JAX
    python benchmarks/ops.py --jax-python .venv-jax/bin/python \\
        --json ops.json --markdown docs/benchmarks.md                   everything, written down
    python benchmarks/ops.py --quick                                    a smoke run: its figures mean nothing

JAX runs in an interpreter of its own, since it may need another numpy: `pip install jax` in a second environment. Threads wait
as OpenMP does by default, unless OMP_WAIT_POLICY says otherwise: passive waiting suits the native kernels, which start threads
once a call, but makes the loops, which start them at every product, several times slower.
"""

import argparse
import json
from pathlib import Path

import torch

import machine
import report
import suite


def main() -> None:
    arguments = _parser().parse_args()
    machine.check_outputs(arguments.json, arguments.markdown)
    if arguments.threads is not None:
        torch.set_num_threads(arguments.threads)
    settings = suite.Settings(
        threads=torch.get_num_threads(),
        seconds=0.02 if arguments.quick else 0.5,
        compile_limit=arguments.compile_limit,
        jax_python=arguments.jax_python,
        quick=arguments.quick,
    )
    results = suite.run(settings)
    print(report.text(results))
    if arguments.json is not None:
        arguments.json.write_text(json.dumps(results, indent=2) + "\n")
    if arguments.markdown is not None:
        arguments.markdown.write_text(report.markdown(results))


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument(
        "--threads", type=machine.thread_count, help="threads of every competitor (default: PyTorch's own choice)"
    )
    parser.add_argument("--jax-python", type=Path, help="an interpreter that has jax; without it the JAX column is empty")
    parser.add_argument("--compile-limit", type=float, default=40.0, help="seconds torch.compile may take for one loop")
    parser.add_argument("--quick", action="store_true", help="tiny sizes, few repetitions")
    parser.add_argument("--json", type=Path, help="where to write every figure")
    parser.add_argument("--markdown", type=Path, help="where to write the tables")
    return parser


if __name__ == "__main__":
    main()

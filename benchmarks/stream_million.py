"""A million samples of one stream whose rule changes every 1,000: accuracy, size of the memory and time stay as they are.

    python benchmarks/stream_million.py [CHECKPOINT]

Five normal features; the class is the side of a random plane, a new one every 1,000 samples. Prints a row for each tenth.
"""

import sys
import time

import numpy as np
import torch

from srwm.learner.pretrained import load_stream_model
from srwm.nn import leaves
from srwm.streams.native import NativeModel

SAMPLES, TENTHS, CHANGE = 1_000_000, 10, 1_000


def main(checkpoint: str) -> None:
    """Print the table."""
    model = load_stream_model(checkpoint)
    native = NativeModel(model)
    random = np.random.default_rng(0)
    slots = model.config.num_features
    x, present = np.zeros(slots), np.arange(slots) < 5
    state = native.packed(model.initial_state(1))
    print("| samples | accuracy, % | accuracy of the last 500 before a change, % | norm of the fast matrices | us a sample |")
    print("|---|---|---|---|---|")
    for tenth in range(1, TENTHS + 1):
        right = np.zeros(SAMPLES // TENTHS, dtype=bool)
        began = time.process_time()
        for i in range(len(right)):
            if i % CHANGE == 0:
                plane = random.normal(size=5)
            x[:5] = random.normal(size=5)
            label = int(x[:5] @ plane > 0)
            right[i] = native.question(x, present, state)[:2].argmax() == label
            state = native.example(x, present, label, state)
        micros = 1e6 * (time.process_time() - began) / len(right)
        norm = max(torch.linalg.vector_norm(part).item() for part in leaves(native.unpacked(state).memory))
        settled = right.reshape(-1, CHANGE)[:, CHANGE // 2 :]
        row = f"| {tenth * len(right):,} | {100 * right.mean():.2f} | {100 * settled.mean():.2f} | {norm:.2f} | {micros:.0f} |"
        print(row, flush=True)


if __name__ == "__main__":
    main(sys.argv[1] if len(sys.argv) > 1 else "streams")

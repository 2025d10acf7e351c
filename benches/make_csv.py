"""Writes a CSV file of numbers to measure reading with: ROWS x FEATURES and a target that depends on them.

    python3 benches/make_csv.py ROWS FEATURES FILE [SEED]

The same arguments give the same bytes. Features are uniform in -10 to 10 with six decimals; the target `y` is the sum of
j/FEATURES times feature j, with six decimals. Python's standard library is enough.
"""

import random
import sys


def main(rows, features, path, seed):
    numbers = random.Random(seed)
    with open(path, "w", encoding="ascii", newline="\n") as file:
        file.write(",".join(f"x{j}" for j in range(features)) + ",y\n")
        for _ in range(rows):
            row = [numbers.randrange(-10_000_000, 10_000_001) / 1e6 for _ in range(features)]
            row.append(sum((j + 1) * value for j, value in enumerate(row)) / features)
            file.write(",".join(f"{value:.6f}" for value in row) + "\n")


if __name__ == "__main__":
    if len(sys.argv) not in (4, 5):
        sys.exit(__doc__)
    main(int(sys.argv[1]), int(sys.argv[2]), sys.argv[3], int(sys.argv[4]) if len(sys.argv) == 5 else 0)

"""A training from a CSV file of 1 000 000 × 20, read and all, beside `pandas.read_csv` of the same file alone.

    python3 benches/csv_against_pandas.py COMMAND [ROUNDS [FILE]] > result.json

COMMAND is the `tilegrad` to be measured; FILE is made by make_csv.py if it is not there. Each round runs one after the
other, each in a process of its own, first one and then the other by turns, so that both see the same minute and a file that
is in memory. Of pandas the seconds of `read_csv` alone count, without the import; of the command the whole process. Both
have all cores. The command trains by 100 steps over all samples (`--method direct`), and by the method of its own choice.

The JSON has the medians, the least and the most of both and of the rounds' ratios (below 1, the command was faster), and
the command's peak of memory as a share of X as f32. A table goes to standard error. The machine should have nothing else to do.
"""

import json
import os
import pathlib
import platform
import statistics
import subprocess
import sys
import tempfile
import time

ROWS, FEATURES, ITERATIONS = 1_000_000, 20, 100
MAKE = pathlib.Path(__file__).with_name("make_csv.py")
PANDAS = """
import sys, time, pandas
start = time.perf_counter()
table = pandas.read_csv(sys.argv[1])
seconds = time.perf_counter() - start
assert table.shape == (int(sys.argv[2]), int(sys.argv[3]))
print(pandas.__version__, seconds)
"""


def trained(command, path, method):
    """The seconds of a training, the process's bytes at its peak, and what it printed."""
    arguments = ["train", "linear", "--data", path, "--target", "y", "--device", "cpu", "--method", method]
    arguments += ["--iterations", str(ITERATIONS), "--json", "--quiet"]
    with tempfile.TemporaryFile() as output:
        start = time.perf_counter()
        process = subprocess.Popen([command, *arguments], stdout=output)
        _, status, usage = os.wait4(process.pid, 0)
        seconds = time.perf_counter() - start
        if status != 0:
            sys.exit(f"{command} failed: see above")
        output.seek(0)
        return seconds, usage.ru_maxrss * (1 if sys.platform == "darwin" else 1024), json.load(output)


def read(path):
    """The version of pandas, and the seconds of its `read_csv`."""
    command = [sys.executable, "-c", PANDAS, path, str(ROWS), str(FEATURES + 1)]
    version, seconds = subprocess.run(command, check=True, capture_output=True, text=True).stdout.split()
    return version, float(seconds)


def spread(values):
    return {"median": statistics.median(values), "least": min(values), "most": max(values)}


def main(command, rounds, path):
    if not path.exists():
        subprocess.run([sys.executable, MAKE, str(ROWS), str(FEATURES), path], check=True)
    ours, chosen, theirs, peaks = [], [], [], []
    # The first of each is not counted: the file and the programs come into memory.
    for number in range(rounds + 1):
        for turn in [0, 1, 2] if number % 2 == 0 else [2, 1, 0]:
            if turn == 0:
                seconds, peak, model = trained(command, path, "direct")
                ours.append(seconds)
                peaks.append(peak)
            elif turn == 1:
                seconds, _, own_choice = trained(command, path, "auto")
                chosen.append(seconds)
            else:
                version, seconds = read(path)
                theirs.append(seconds)
    ours, chosen, theirs, peaks = ours[1:], chosen[1:], theirs[1:], peaks[1:]
    processor = next((l.split(":")[1].strip() for l in open("/proc/cpuinfo") if l.startswith("model name")), platform.machine())
    commit = subprocess.run(["git", "rev-parse", "--short", "HEAD"], capture_output=True, text=True).stdout.strip()
    result = {
        "shape": [ROWS, FEATURES],
        "iterations": ITERATIONS,
        "rounds": rounds,
        "machine": {"processor": processor, "cores": os.cpu_count(), "system": platform.platform()},
        "date": time.strftime("%Y-%m-%d"),
        "commit": commit,
        "pandas": version,
        "seconds": {"direct": spread(ours), own_choice["method"]: spread(chosen), "pandas_read_csv": spread(theirs)},
        "ratio": {
            "direct": spread([a / b for a, b in zip(ours, theirs)]),
            own_choice["method"]: spread([a / b for a, b in zip(chosen, theirs)]),
        },
        "peak_over_x": spread([peak / (4 * ROWS * FEATURES) for peak in peaks]),
        "trained": model.get("train"),
    }
    print(json.dumps(result, indent=2))
    method = own_choice["method"]
    lines = [(f"read and trained, {name}, s", result["seconds"][name]) for name in ("direct", method)]
    lines.append((f"pandas {version} read_csv, s", result["seconds"]["pandas_read_csv"]))
    lines += [(f"ratio, {name}", result["ratio"][name]) for name in ("direct", method)]
    lines.append(("peak of memory / X, direct", result["peak_over_x"]))
    for name, values in lines:
        text = f"{values['median']:.3f} ({values['least']:.3f}–{values['most']:.3f})"
        print(f"{name:32} {text}", file=sys.stderr)


if __name__ == "__main__":
    if len(sys.argv) not in (2, 3, 4):
        sys.exit(__doc__)
    default = pathlib.Path(tempfile.gettempdir()) / f"tilegrad-{ROWS}x{FEATURES}.csv"
    rounds = int(sys.argv[2]) if len(sys.argv) > 2 else 11
    main(sys.argv[1], rounds, pathlib.Path(sys.argv[3]) if len(sys.argv) > 3 else default)

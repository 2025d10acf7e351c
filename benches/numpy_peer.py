"""The cpu engine's descent step against NumPy's two products (X @ w, X.T @ e) and against one read of X, in turn on
the same machine.

    python3 benches/numpy_peer.py target/release/tilegrad [ROUNDS] > result.json

Needs NumPy. A round times NumPy, the read and the command, so that all see the same seconds; the figures are medians
over the rounds. NumPy's step is the two products alone, float32 and C order as the engines have it, without bias,
error or update. The read is NumPy's search for the largest value of X, a part on each core: no step that reads X from
memory can be much faster. A round's figures are medians of five, the read's of forty.
"""
import concurrent.futures, json, os, platform, statistics, subprocess, sys, time

import numpy as np

SAMPLES, FEATURES = 100_000, 1000


def numpy_step():
    """Milliseconds of X @ w and X.T @ e, and of one read of X."""
    random = np.random.default_rng(0)
    x = random.random((SAMPLES, FEATURES), dtype=np.float32) * 2 - 1
    y = random.random(SAMPLES, dtype=np.float32)
    w = random.random(FEATURES, dtype=np.float32)
    times = []
    for _ in range(6):
        start = time.perf_counter()
        e = x @ w - y
        gradient = x.T @ e
        times.append(1e3 * (time.perf_counter() - start))
    assert np.isfinite(gradient).all()
    return statistics.median(times[1:]), read(x)


def read(x):
    """Milliseconds of one read of x on all cores."""
    parts = np.array_split(x.ravel(), os.cpu_count())
    times = []
    with concurrent.futures.ThreadPoolExecutor(len(parts)) as pool:
        for _ in range(60):
            start = time.perf_counter()
            largest = max(pool.map(np.max, parts))
            times.append(1e3 * (time.perf_counter() - start))
    assert np.isfinite(largest)
    return statistics.median(times[20:])


def ours(command, *options):
    """Milliseconds of each engine's step, and its difference from the loop."""
    out = subprocess.run([command, "compare", *options, "--json"], check=True, capture_output=True)
    return {row["engine"]: row for row in json.loads(out.stdout)["engines"]}


def main():
    command = sys.argv[1]
    rounds = int(sys.argv[2]) if len(sys.argv) > 2 else 5
    peers, reads, steps, scaled, loops, differences, layers, loop_layers = [], [], [], [], [], [], [], []
    for _ in range(rounds):
        products, once = numpy_step()
        peers.append(products)
        reads.append(once)
        rows = ours(command, "--devices", "loop,cpu")
        scaled.append(ours(command, "--devices", "cpu", "--scale", "zscore")["cpu"]["descent"]["milliseconds"])
        steps.append(rows["cpu"]["descent"]["milliseconds"])
        loops.append(rows["loop"]["descent"]["milliseconds"])
        differences.append(rows["cpu"]["descent"]["difference"])
        layers.append(rows["cpu"]["dense"]["milliseconds"])
        loop_layers.append(rows["loop"]["dense"]["milliseconds"])
    model = next((l.split(":")[1].strip() for l in open("/proc/cpuinfo") if l.startswith("model name")), platform.machine())
    commit = subprocess.run(["git", "rev-parse", "--short", "HEAD"], capture_output=True, text=True).stdout.strip()

    def result(operation, shape, engine, ours, peer, theirs):
        return {"operation": operation, "shape": shape, "engine": engine, "median_ms": round(statistics.median(ours), 3),
                "runs": len(ours), "all_ms": [round(t, 3) for t in ours], "peer": peer,
                "peer_median_ms": round(statistics.median(theirs), 3), "peer_all_ms": [round(t, 3) for t in theirs]}

    shape = f"{SAMPLES} x {FEATURES}"
    print(json.dumps({
        "machine": {"processor": model, "cores": os.cpu_count(), "system": platform.platform()},
        "date": time.strftime("%Y-%m-%d"), "commit": commit, "numpy": np.__version__,
        "command": "python3 benches/numpy_peer.py target/release/tilegrad",
        "largest_difference_from_loop": max(differences),
        "results": [
            result("descent step", shape, "cpu", steps, "NumPy, X @ w and X.T @ e", peers),
            result("descent step", shape, "cpu", steps, "one read of X on all cores", reads),
            result("descent step, scaled by zscore", shape, "cpu", scaled, "NumPy, X @ w and X.T @ e, not scaled", peers),
            result("descent step, scaled by zscore", shape, "cpu", scaled, "one read of X on all cores", reads),
            result("descent step", shape, "cpu", steps, "loop (f64)", loops),
            result("dense layer, batch 64", "1000 x 1000", "cpu", layers, "loop (f64)", loop_layers),
        ],
    }, indent=1))


main()

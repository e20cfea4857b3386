"""How many workers one shared instance of a policy can serve: calculated, not measured.

    python3 tests/benches/one_instance/model.py

Each of N workers computes for r microseconds, then waits for its turn at the instance, in which it is
for t microseconds, and begins anew. Mean value analysis of that closed circle (Reiser and Lavenberg,
1980), which is exact for times that vary as exponential ones do: real calls vary less and wait less.
"""

OUTSIDE = 13.5  # microseconds of a small request without the call: docs/benchmarks.md
WORKERS = [4, 8, 16, 32, 64]
CALLS = [0.15, 0.5, 1.0, 2.0]


def circle(workers, call):
    """The mean wait of a request in microseconds, and how many workers compute at a time."""
    queue = 0.0
    for number in range(1, workers + 1):
        stay = call * (1 + queue)
        rate = number / (OUTSIDE + stay)
        queue = rate * stay
    return stay - call, rate * (OUTSIDE + call)


def main():
    print("| t: one call | " + " | ".join(f"{workers} workers" for workers in WORKERS) + " | at most |")
    print("| --- |" + " --- |" * (len(WORKERS) + 1))
    for call in CALLS:
        cells = []
        for workers in WORKERS:
            wait, busy = circle(workers, call)
            cells.append(f"{wait:.2f} µs, {busy:.1f} busy")
        most = (OUTSIDE + call) / call
        print(f"| {call} µs | " + " | ".join(cells) + f" | {most:.0f} busy |")


main()

"""The networks of the original study, timed: four architectures on five splits, all at once and one after the other.

    python benchmarks/mlp_study.py [FILE.xy] [--epochs E] [--trials T] [--device D] [--json OUT]

Without a file, `$GLASSML_STUDY_DATA/Cnf2.xy` or `../shared/data/Cnf2.xy`; without that, the first configuration of the shipped data. The plain loop is what anyone would
write: `torch.nn.Sequential`, `torch.optim.Adam`, one network after the other, the same protocol in the same precision on one thread. It takes some ten minutes;
with `--epochs` or `--trials` it is cut short and its time scaled up, epoch by epoch, to that of the whole protocol, for an epoch always costs the same.
With `--device cuda` the stack is trained once more, in float32 on that device, in a column of its own; its time is that of the clock, not of the CPU.
"""
import argparse
import json
import os
import time
from pathlib import Path

os.environ.setdefault("OMP_NUM_THREADS", "1")  # one core, and before numpy is imported

import numpy as np
import torch
from sklearn.model_selection import ShuffleSplit

from glassml.dataset import load_glass, make_dataset, read_configurations
from glassml.mlp_capacity import ARCHITECTURES, train_all

EPOCHS, PATIENCE, TRIALS = 10_000, 3_000, 5


def cpu_seconds(work, clock=time.process_time):
    "What `work()` returns, and the CPU time it took, or the time by another clock."
    start = clock()
    done = work()
    return done, clock() - start


def plain_network(X, p, training, validation, hidden, seed, epochs):
    "Train one network as anyone would; its lowest validation error, and how many epochs it took."
    torch.manual_seed(seed)
    sizes, layers = [X.shape[1], *hidden, 1], []
    for inputs, outputs in zip(sizes, sizes[1:]):
        layers += [torch.nn.Linear(inputs, outputs, dtype=torch.float64), torch.nn.LeakyReLU(0.1)]
    network = torch.nn.Sequential(*layers[:-1])
    for parameter in network.parameters():
        torch.nn.init.uniform_(parameter, -1, 1)
    optimiser = torch.optim.Adam(network.parameters(), lr=5e-3)
    loss_function = torch.nn.MSELoss()
    x, y, x_valid, y_valid = (torch.from_numpy(values[part]) for part in (training, validation) for values in (X, p[:, None]))
    lowest, best_epoch, best, history = np.inf, 0, None, []
    for epoch in range(epochs):
        training_error = 0
        for batch in torch.randperm(len(x)).tensor_split(10):
            optimiser.zero_grad()
            loss = loss_function(network(x[batch]), y[batch])
            loss.backward()
            optimiser.step()
            training_error += loss.item() * len(batch) / len(x)
        with torch.no_grad():
            error = loss_function(network(x_valid), y_valid).item()
        history.append((training_error, error))
        if error < lowest:
            lowest, best_epoch, best = error, epoch, {k: v.clone() for k, v in network.state_dict().items()}
        if epoch - best_epoch >= PATIENCE:
            break
    return lowest, epoch + 1


def main():
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    folder = os.environ.get("GLASSML_STUDY_DATA") or Path(__file__).resolve().parents[2] / "shared" / "data"
    parser.add_argument("file", nargs="?", default=Path(folder) / "Cnf2.xy", help="configuration with propensity, such as Cnf2.xy")
    parser.add_argument("--epochs", type=int, default=EPOCHS, help="longest run in the plain loop (default %(default)s, the protocol)")
    parser.add_argument("--trials", type=int, default=TRIALS, help="splits in the plain loop (default %(default)s, the protocol)")
    parser.add_argument("--device", help="train the stack there as well, such as cuda")
    parser.add_argument("--json", metavar="OUT", help="write the figures to a file as well")
    options = parser.parse_args()
    if not Path(options.file).exists():
        print(f"{options.file} is not there: the first configuration of the shipped data instead")
    data = make_dataset(read_configurations(options.file) if Path(options.file).exists() else load_glass()[:1])
    X, p, whole = data.X, data.p, options.epochs >= EPOCHS and options.trials >= TRIALS
    torch.set_num_threads(1)
    splits = list(ShuffleSplit(TRIALS, test_size=0.2, random_state=0).split(X))
    plain_network(X, p, *splits[0], (2,), 0, 3), train_all(X, p, splits, ARCHITECTURES, 3)  # both warmed up

    ours = {dtype: cpu_seconds(lambda: train_all(X, p, splits, ARCHITECTURES, EPOCHS, PATIENCE / EPOCHS, dtype=dtype))
            for dtype in ("float64", "float32")}
    if options.device:
        there = dict(device=options.device, dtype="float32")
        train_all(X, p, splits, ARCHITECTURES, 3, **there)  # warmed up
        ours[options.device] = cpu_seconds(lambda: train_all(X, p, splits, ARCHITECTURES, EPOCHS, PATIENCE / EPOCHS, **there), time.perf_counter)
    rows = {}
    for name, hidden in ARCHITECTURES.items():
        runs, spent = cpu_seconds(lambda: [plain_network(X, p, *split, hidden, s, options.epochs)
                                           for s, split in enumerate(splits[: options.trials])])
        errors, epochs = zip(*runs)
        full = int(np.isfinite(ours["float64"][0][name].validation_error).sum())
        rows[name] = dict({dtype: trained[name].best_error.mean() for dtype, (trained, _) in ours.items()}, plain=np.mean(errors),
                          epochs=full, plain_epochs=sum(epochs), plain_seconds=spent if whole else spent / sum(epochs) * full)
        print(f"{name} done: {spent:.0f} CPU-seconds for {sum(epochs)} epochs", flush=True)
    columns, widths = [*ours, "plain"], [9, *[12] * len(ours)]
    seconds = {dtype: spent for dtype, (_, spent) in ours.items()} | {"plain": sum(row["plain_seconds"] for row in rows.values())}
    means = {column: np.mean([row[column] for row in rows.values()]) for column in columns}

    print(f"\n{data.X.shape[0]} points, {data.X.shape[1]} descriptors; mean of the lowest validation errors (mean squared)")
    print(f"{'':24s}" + "".join(f"{label:>{width}s}" for label, width in zip(["glassml", *columns[1:-1], "plain loop"], widths))
          + f"{'epochs':>9s}{'plain':>8s}{'CPU-s plain':>13s}")
    for name, row in rows.items():
        print(f"{name:24s}" + "".join(f"{row[column]:{width}.4f}" for column, width in zip(columns, widths))
              + f"{row['epochs']:9d}{row['plain_epochs']:8d}{row['plain_seconds']:13.1f}")
    print(f"{'all':24s}" + "".join(f"{means[column]:{width}.4f}" for column, width in zip(columns, widths)))
    print(f"{'CPU-seconds':24s}" + "".join(f"{seconds[column]:{width}.1f}" for column, width in zip(columns, widths)))
    print(f"{'plain loop / glassml':24s}" + "".join(f"{seconds['plain'] / seconds[column]:{width}.1f}" for column, width in zip(ours, widths)))
    if options.device:
        print(f"(on {options.device}: seconds by the clock)")
    if not whole:
        print(f"the plain loop was cut short, to {options.trials} trials of at most {options.epochs} epochs: its CPU time is scaled up to the epochs "
              f"that the protocol takes, its errors are not those of the protocol")
    if options.json:
        with open(options.json, "w") as file:
            json.dump(dict(architectures=rows, seconds=seconds, errors=means, whole=whole), file, indent=2)


if __name__ == "__main__":
    main()

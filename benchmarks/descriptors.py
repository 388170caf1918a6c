"""Descriptors, timed: against dscribe and plain loops, against N, and against what this core can do at all.

    python benchmarks/descriptors.py [KA.npz] [--quick] [--largest N] [--json OUT]

KA.npz is a three-dimensional Kob-Andersen configuration (N = 4096, density 1.2); the default is the first one of `../shared/data/botan_ka_T0.44`, and without it a
jittered lattice of the same density. All times are CPU-seconds of one core, after compilation. A row that needs a library which is not installed says so.
To add rows, write a function that returns `Row`s and add it to `SECTIONS`.
"""
import argparse
import json
import os
import subprocess
import sys
import time
from importlib import import_module
from pathlib import Path
from typing import NamedTuple

for name in ("OMP_NUM_THREADS", "OPENBLAS_NUM_THREADS", "MKL_NUM_THREADS"):
    os.environ.setdefault(name, "1")  # one core, and before numpy is imported

import numpy as np
from numba import njit
from scipy.spatial import cKDTree

from glassml import descriptors
from glassml.dataset import load_glass, read_configurations
from glassml.descriptors import (ANGULAR_PARAMETERS, FAMILIES, SMALL, AngularFunctions, BondOrder, Configuration, PhysicalFields, PowerSpectrum,
                                 cutoff_function, minimum_image, neighbourhoods, symmetry_functions)

KA = Path(__file__).resolve().parents[2] / "shared" / "data" / "botan_ka_T0.44" / "isoconfig_N4096T0.44_1_tc07.npz"
CUTOFF = 3.0


class Row(NamedTuple):
    "One line of the table."

    what: str
    value: float | None  # none if it could not be measured; `note` says why
    unit: str
    note: str = ""


def cpu_seconds(work, repeat=1):
    "The least CPU time of some calls of `work()`."
    times = []
    for _ in range(repeat):
        start = time.process_time()
        work()
        times.append(time.process_time() - start)
    return min(times)


def jittered_lattice(n, dimension, density, fractions=(0.8, 0.2), seed=0):
    "About n particles on a square or cubic lattice, each displaced a little, in random order, with species drawn at random."
    rng = np.random.default_rng(seed)
    side = round(n ** (1 / dimension))
    spacing = density ** (-1 / dimension)
    sites = np.stack(np.meshgrid(*[np.arange(side)] * dimension), axis=-1).reshape(-1, dimension)
    positions = rng.permutation(sites + rng.uniform(-0.2, 0.2, sites.shape)) * spacing
    species = 1 + rng.choice(len(fractions), len(sites), p=fractions)
    return Configuration(positions, species, side * spacing, name=f"jittered lattice of {len(sites)} particles")


def kob_andersen(options):
    "The three-dimensional configuration, and where it comes from."
    path = Path(options.file) if options.file else KA
    if not path.exists():
        made = jittered_lattice(4096, 3, 1.2)
        return made, f"{made.name}, for lack of {path.name}"
    return read_configurations(path, density=1.2)[0], path.name


# Peers

def dscribe_columns(configuration):
    "The default AngularFunctions by dscribe."
    import ase
    from dscribe.descriptors import ACSF
    xi, lam, zeta = (ANGULAR_PARAMETERS * [SMALL, 1, 1]).T
    labels = np.unique(configuration.species).tolist()
    acsf = ACSF(r_cut=CUTOFF, g4_params=np.column_stack([1 / xi**2, zeta, lam]), species=labels, periodic=True)
    atoms = ase.Atoms(numbers=configuration.species, positions=configuration.positions, cell=configuration.box, pbc=True)
    columns = acsf.create(atoms)[:, len(labels):].reshape(len(configuration), -1, len(xi))
    # pairs of species come as 11, 12, 22, 13, …, ours as 11, 12, 13, 22, …
    theirs = [(a, b) for b in range(len(labels)) for a in range(b + 1)]
    ours = [(a, b) for a in range(len(labels)) for b in range(a, len(labels))]
    return columns[:, [theirs.index(pair) for pair in ours]].swapaxes(1, 2).reshape(len(configuration), -1)


def triple_loop(configuration, particles):
    "The default AngularFunctions of some particles: loops over the particle, a neighbour, and another; numpy over the 22 sets."
    labels, species = np.unique(configuration.species, return_inverse=True)
    xi, lam, zeta = (ANGULAR_PARAMETERS * [SMALL, 1, 1]).T
    first, second = np.triu_indices(len(labels))
    G = np.zeros((len(particles), len(xi), len(labels), len(labels)))
    for n, i in enumerate(particles):
        vectors = minimum_image(configuration.positions - configuration.positions[i], configuration.box)
        distance = np.linalg.norm(vectors, axis=1)
        near = np.flatnonzero((distance < CUTOFF) & (distance > 0))
        for j in near:
            for k in near[near < j]:
                far_side = np.linalg.norm(vectors[j] - vectors[k])
                if far_side < CUTOFF:
                    sides = np.array([distance[j], distance[k], far_side])
                    cosine = vectors[j] @ vectors[k] / (distance[j] * distance[k])
                    weight = np.exp(-(sides @ sides) / xi**2) * cutoff_function(sides, CUTOFF).prod()
                    a, b = sorted((species[j], species[k]))
                    G[n, :, a, b] += 2 ** (1 - zeta) * (1 + lam * cosine) ** zeta * weight
    return G[:, :, first, second].reshape(len(particles), -1)


def difference(ours, theirs):
    "The largest difference, relative to the largest value of the column."
    return np.max(np.abs(ours - theirs) / np.maximum(np.abs(theirs).max(axis=0), 1e-300))


def peer_rows(options):
    "Against dscribe and the triple loop, on the three-dimensional configuration."
    configuration, source = kob_andersen(options)
    family = AngularFunctions(cutoff=CUTOFF)
    ours = family.columns(configuration)
    seconds = cpu_seconds(lambda: family.columns(configuration), 3)
    rows = [Row("G4, 22 sets, 3D, glassml", seconds, "s", f"{source}, N = {len(configuration)}, cutoff {CUTOFF:g}")]
    neighbours = cpu_seconds(lambda: list(map(len, neighbourhoods(configuration, CUTOFF))), 3)
    rows.append(Row("  of it the neighbours", neighbours, "s"))
    try:
        theirs = dscribe_columns(configuration)
    except ImportError as error:
        rows.append(Row("  dscribe", None, "s", f"not installed ({error.name})"))
    else:
        other = cpu_seconds(lambda: dscribe_columns(configuration), 1 if options.quick else 3)
        rows += [Row("  dscribe, same columns", other, "s", f"largest relative difference {difference(ours, theirs):.0e}"),
                 Row("  dscribe / glassml", other / seconds, "x", "target: at least 10")]
    particles = np.linspace(0, len(configuration) - 1, 3 if options.quick else 10).astype(int)
    slow = cpu_seconds(lambda: triple_loop(configuration, particles)) * len(configuration) / len(particles)
    error = difference(ours[particles], triple_loop(configuration, particles))
    rows += [Row("  numpy triple loop, same columns", slow, "s", f"scaled from {len(particles)} particles; largest relative difference {error:.0e}"),
             Row("  triple loop / glassml", slow / seconds, "x", "target: at least 20")]
    return rows


def study_rows(options):
    "The study's 213 columns."
    glass = load_glass()[0]
    symmetry_functions(glass)
    return [Row("the study's 213 columns, no cutoff", cpu_seconds(lambda: symmetry_functions(glass), 1 if options.quick else 3),
                "s", f"N = {len(glass)}; target: at most 5")]


# Bond order and power spectra

def freud_order(configuration, orders, shell=None, width=None):
    "q_l and, for even l, w_l by freud, for all neighbours or weighed by one Gaussian shell."
    freud = import_module("freud")
    freud.parallel.set_num_threads(1)
    box, points = freud.box.Box(*configuration.box), (configuration.positions - configuration.box / 2).astype(np.float32)
    near = freud.locality.AABBQuery(box, points).query(points, dict(r_max=CUTOFF, exclude_ii=True)).toNeighborList()
    if shell is not None:
        weights = np.exp(-((near.distances - shell) ** 2) / (2 * width**2))
        near = freud.locality.NeighborList.from_arrays(len(points), len(points), near.query_point_indices, near.point_indices,
                                                       near.vectors, weights)
    for third, which in ((False, list(orders)), (True, [l for l in orders if l % 2 == 0])):
        freud.order.Steinhardt(l=which, wl=third, wl_normalize=third, weighted=shell is not None).compute((box, points), neighbors=near)


def dscribe_power(configuration, n_max, l_max):
    "SOAP by dscribe."
    import ase
    from dscribe.descriptors import SOAP
    atoms = ase.Atoms(numbers=configuration.species, positions=configuration.positions, cell=configuration.box, pbc=True)
    soap = SOAP(species=np.unique(configuration.species).tolist(), r_cut=CUTOFF, n_max=n_max, l_max=l_max, sigma=0.4, periodic=True)
    soap.create(atoms, n_jobs=1)


def order_rows(options):
    "Bond order and power spectra against libraries, on the three-dimensional configuration."
    configuration, source = kob_andersen(options)
    shells, power = BondOrder(), PowerSpectrum()
    n_max, l_max = len(power.shells), max(power.orders)
    cases = [("bond order, all neighbours", BondOrder(shells=None), "freud", 1, lambda: freud_order(configuration, shells.orders)),
             (f"bond order, {len(shells.shells)} shells", shells, f"freud, one shell, times {len(shells.shells)}", len(shells.shells),
              lambda: freud_order(configuration, shells.orders, shells.shells[2], shells.width)),
             (f"power spectrum, {n_max} shells, order {l_max}", power, "dscribe's SOAP of that size", 1,
              lambda: dscribe_power(configuration, n_max, l_max))]
    rows = []
    for what, family, name, times, peer in cases[::2] if options.quick else cases:
        columns = family.columns(configuration).shape[1]
        seconds = cpu_seconds(lambda: family.columns(configuration), 3)
        rows.append(Row(what, seconds, "s", f"{source}, {columns} columns"))
        try:
            rows.append(Row(f"  {name} / glassml", times * cpu_seconds(peer, 1 if options.quick else 3) / seconds, "x"))
        except ImportError as error:
            rows.append(Row(f"  {name}", None, "x", f"not installed ({error.name})"))
    return rows


# Growth with N, each in a process of its own so that its peak memory can be read

def growth_case(family, n):
    "CPU-seconds, peak memory beyond what was in use before, and sizes of output and neighbour list in bytes."
    family = PhysicalFields(None, cutoff=CUTOFF) if family == "field" else FAMILIES[family]  # these see as far as CUTOFF
    family.columns(jittered_lattice(1000, 2, 1.0, (1.0,)))
    configuration = jittered_lattice(n, 2, 1.0, (1.0,))
    Path("/proc/self/clear_refs").write_text("5")  # forget the peak of the compiler
    used = memory("VmRSS")
    output = []
    seconds = cpu_seconds(lambda: output.append(family.columns(configuration)))
    peak = memory("VmHWM") - used
    per_particle = np.mean([len(part.index) / len(part.rows) for part, _ in zip(neighbourhoods(configuration, CUTOFF), range(5))])
    pair = 8 + 8 + 8 * 2  # index, distance, vector
    return dict(n=len(configuration), seconds=seconds, peak=peak, output=output[0].nbytes, neighbours=per_particle * len(configuration) * pair)


def memory(what):
    "Bytes of memory in use (VmRSS), or the most so far (VmHWM), from Linux's account of this process."
    line = next(line for line in Path("/proc/self/status").read_text().splitlines() if line.startswith(what))
    return int(line.split()[1]) * 1024


def growth_rows(options):
    "Time and memory against N in two dimensions."
    if not Path("/proc/self/clear_refs").exists():
        return [Row("growth with N", None, "", "needs Linux, where a process can read its own peak memory")]
    largest = options.largest or (20_000 if options.quick else 1_000_000)
    sizes = np.unique(np.geomspace(min(10_000, largest / 4), largest, 2 if options.quick else 5).round().astype(int)).tolist()
    rows = []
    for family in ("radial", "angular", "bond", "power", "field"):
        cases = []
        for n in sizes:
            done = subprocess.run([sys.executable, __file__, "--growth", family, str(n)], check=True, capture_output=True, text=True)
            cases.append(json.loads(done.stdout.splitlines()[-1]))
        last = cases[-1]
        rows += [Row(f"{family}, 2D, cutoff {CUTOFF:g}, N = {case['n']}", case["seconds"], "s", f"{case['seconds'] / case['n'] * 1e6:.2f} us a particle")
                 for case in cases]
        slope = np.polyfit(np.log([case["n"] for case in cases]), np.log([case["seconds"] for case in cases]), 1)[0]
        rows += [Row(f"  exponent, {family}", slope, "", "target: at most 1.05"),
                 Row(f"  peak memory / output, {family}", last["peak"] / last["output"], "x",
                     f"{last['peak'] / 1e6:.0f} MB for {last['output'] / 1e6:.0f} MB of output; a full neighbour list would be {last['neighbours'] / 1e6:.0f} MB; "
                     "target: at most 3, plus the list")]
    return rows


# Neighbours

def by_scipy(configuration):
    tree = cKDTree(configuration.positions, boxsize=configuration.box)
    return len(tree.query_pairs(CUTOFF, output_type="ndarray")) * 2


def by_neighbourhoods(configuration):
    return sum(len(part.index) for part in neighbourhoods(configuration, CUTOFF))


def by_vesin(configuration):
    points, box = np.pad(configuration.positions, ((0, 0), (0, 1))), np.diag([*configuration.box, 4 * CUTOFF])
    found = import_module("vesin").NeighborList(cutoff=CUTOFF, full_list=True).compute(points=points, box=box, periodic=True, quantities="ijdD")
    return len(found[0])


def by_freud(configuration):
    freud = import_module("freud")
    points = np.pad(configuration.positions - configuration.box / 2, ((0, 0), (0, 1))).astype(np.float32)
    freud.parallel.set_num_threads(1)
    query = freud.locality.AABBQuery(freud.box.Box.square(configuration.box[0]), points)
    return len(query.query(points, dict(r_max=CUTOFF, exclude_ii=True)).toNeighborList())


def neighbour_rows(options):
    "Neighbour lists by library, in two dimensions."
    configuration = jittered_lattice(2_500 if options.quick else 10_000, 2, 1.0, (1.0,))
    rows = []
    for what, search in [("scipy, periodic tree, pairs only", by_scipy), ("neighbourhoods (scipy; vectors, sorted, in blocks)", by_neighbourhoods),
                         ("vesin", by_vesin), ("freud", by_freud)]:
        try:
            pairs = search(configuration)
        except ImportError as error:
            rows.append(Row(f"neighbours, {what}", None, "ns a pair", f"not installed ({error.name})"))
        else:
            rows.append(Row(f"neighbours, {what}", cpu_seconds(lambda: search(configuration), 3) / pairs * 1e9, "ns a pair",
                            f"N = {len(configuration)}, {pairs} ordered pairs"))
    return rows


# The limit

@njit(fastmath=True)
def bare_loop(x, out, repeats):
    "Nothing but exponentials, of numbers in the innermost cache."
    for _ in range(repeats):
        for n in range(len(x)):
            out[n] = descriptors_exp(x[n])


@njit
def library_loop(x, out, repeats):
    for _ in range(repeats):
        for n in range(len(x)):
            out[n] = np.exp(x[n])


descriptors_exp = descriptors._exp


def triples_within(configuration):
    "How many triples (particle, two neighbours) have all three sides within the cutoff: from G4 with nothing but a count."
    total = 0
    for part in neighbourhoods(configuration, CUTOFF):
        first = part.first[::len(np.unique(configuration.species))]
        for begin, end in zip(first[:-1], first[1:]):
            v = part.vectors[begin:end]
            square = (v**2).sum(axis=1)
            total += ((square[:, None] + square - 2 * v @ v.T < CUTOFF**2).sum() - len(v)) // 2
    return int(total)


def limit_rows(options):
    "How far the kernel is from the exponentials that this core can do."
    x, out, repeats = np.linspace(-40, 0, 1000), np.empty(1000), 2_000 if options.quick else 20_000
    rates = {}
    for name, loop in [("own", bare_loop), ("numba", library_loop)]:
        loop(x, out, 1)
        rates[name] = len(x) * repeats / cpu_seconds(lambda: loop(x, out, repeats), 3)
    configuration, _ = kob_andersen(options)
    family = AngularFunctions(cutoff=CUTOFF)
    family.columns(configuration)
    whole, neighbours = cpu_seconds(lambda: family.columns(configuration), 3), cpu_seconds(lambda: by_neighbourhoods(configuration), 3)
    triples = triples_within(configuration)
    ranges = len(np.unique(ANGULAR_PARAMETERS[:, 0]))
    exponentials = triples * ranges
    pairs = sum(len(part.index) for part in neighbourhoods(configuration, CUTOFF))
    others = []
    for name, shells in (("radial", len(FAMILIES["radial"].centres)), ("bond", len(BondOrder().shells)), ("power", len(PowerSpectrum().shells))):
        FAMILIES[name].columns(configuration)
        seconds = cpu_seconds(lambda: FAMILIES[name].columns(configuration), 3) - neighbours
        others.append(Row(f"exponentials in {name}, likewise", pairs * shells / seconds / 1e6, "million/s",
                          f"{pairs * shells / seconds / rates['own'] * 100:.0f} % of the limit; {pairs} pairs, {shells} shells"))
    return [Row("bare loop of our exponential", rates["own"] / 1e6, "million/s"),
            Row("bare loop of the library's exponential", rates["numba"] / 1e6, "million/s"),
            Row("exponentials in G4, without the neighbour list", exponentials / (whole - neighbours) / 1e6, "million/s",
                f"{triples} triples, {ranges} exponentials each for {len(ANGULAR_PARAMETERS)} sets"),
            Row("  triples x sets in G4", triples * len(ANGULAR_PARAMETERS) / (whole - neighbours) / 1e6, "million/s"),
            Row("  share of the limit", exponentials / (whole - neighbours) / rates["own"] * 100, "%",
                "of the time the exponentials alone would take; the rest finds triples, powers and sums"), *others]


SECTIONS = {"peers": peer_rows, "order": order_rows, "study": study_rows, "growth": growth_rows, "neighbours": neighbour_rows, "limit": limit_rows}


def main():
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("file", nargs="?", help="three-dimensional Kob-Andersen configuration")
    parser.add_argument("--quick", action="store_true", help="small sizes, some seconds")
    parser.add_argument("--largest", type=int, help="largest N of the growth rows; a million by default")
    parser.add_argument("--only", choices=SECTIONS, nargs="+", help="some of the sections")
    parser.add_argument("--json", metavar="OUT", help="write the figures to a file as well")
    parser.add_argument("--growth", nargs=2, metavar=("FAMILY", "N"), help=argparse.SUPPRESS)
    options = parser.parse_args()
    if options.growth:
        return print(json.dumps(growth_case(options.growth[0], int(options.growth[1]))))
    results = {}
    for name in options.only or SECTIONS:
        print(f"\n{SECTIONS[name].__doc__}")
        rows = SECTIONS[name](options)
        results[name] = [row._asdict() for row in rows]
        for row in rows:
            value = "-" if row.value is None else f"{row.value:.4g}"
            print(f"  {row.what:52s} {value:>9s} {row.unit:10s} {row.note}", flush=True)
    if options.json:
        Path(options.json).write_text(json.dumps(results, indent=2))


if __name__ == "__main__":
    main()

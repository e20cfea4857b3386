#!/usr/bin/env python3
"""Builds the binary that is handed out: the release build, ordered by a profile of itself at work.

    python3 host/packaging/dist/build.py

leaves it at `target/dist-profiled/waypost`. Four steps: a build that counts how often each branch is taken,
the load that it counts under (`train.py` beside this file), the build that is told, and, where
llvm-bolt is there, the same once more for the finished binary. The counts put the code that each
request takes close together and out of the way what few take, and say what is worth inlining
(profile-guided optimisation, rustc's `-C profile-generate` and `-C profile-use`). llvm-bolt sees what
a compiler of one crate does not: it orders the functions of all crates, and moves out of each what
the load did not reach (Panchenko et al., "BOLT", CGO 2019).

Only crates on the way of a request count, by a wrapper around rustc: cargo then does not see that
the builds differ, and names all functions alike, which counts are found by.

Needs the component `llvm-tools` of the toolchain (`rustup component add llvm-tools`), openssl for the
load's certificate, and some twenty minutes; llvm-bolt is in Debian's `bolt-22`, of LLVM's own
packages the one of the compiler's LLVM (`rustc -vV`) or newer. `--steps` takes a part, to repeat one
of them: counts fit the sources that they were made of, and the more of these has changed, the less
is told.
"""

import argparse
import os
import pathlib
import shutil
import subprocess
import sys

HERE = pathlib.Path(__file__).resolve().parent
WORKSPACE = HERE.parents[2]
# What a request runs through. All else is as it is without counts.
COUNTED = (
    "waypost tokio tokio-util tokio-rustls mio h2 http bytes rustls httparse wasmtime"
    " wasmtime-environ"
).split()
WRAPPER = """#!/bin/sh
# Written by build.py: rustc, with what the crates on the way of a request get besides.
name=
previous=
for argument; do
  [ "$previous" = --crate-name ] && name=$argument && break
  previous=$argument
done
case " {counted} " in
  *" $name "*) exec "$@" {flags} ;;
esac
exec "$@"
"""
# How llvm-bolt orders code: blocks so that the next one most often follows, functions by who calls
# whom, and what was not reached in a place of its own, the landing pads of panics too.
LAYOUT = (
    "-reorder-blocks=ext-tsp -reorder-functions=cdsort -split-functions -split-all-cold -split-eh"
    " -icf=1 -use-gnu-stack"
).split()


def sysroot_tool(name):
    """A tool of LLVM that comes with the compiler, whose format of counts it knows."""
    asked = ["rustc", "--print", "target-libdir"]
    told = subprocess.run(asked, cwd=WORKSPACE, capture_output=True, text=True, check=True).stdout
    tool = pathlib.Path(told.strip()).parent / "bin" / name
    if not tool.exists():
        sys.exit(f"{tool} is not there: rustup component add llvm-tools")
    return tool


def bolt_tool(name):
    """A tool of llvm-bolt's, by its own name or Debian's; none where it is not there."""
    versions = [name] + [f"{name}-{version}" for version in range(40, 21, -1)]
    return next((found for version in versions if (found := shutil.which(version))), None)


def build(target, flags):
    """Builds the binary, with `flags` for the crates that count; returns where it is."""
    target.mkdir(parents=True, exist_ok=True)
    wrapper = target / "rustc"
    counted = " ".join(name.replace("-", "_") for name in COUNTED)
    text = WRAPPER.format(counted=counted, flags=flags)
    if not wrapper.exists() or wrapper.read_text() != text:
        wrapper.write_text(text)
        wrapper.chmod(0o755)
    environment = {
        **os.environ,
        "RUSTC_WRAPPER": str(wrapper),
        # What the build itself runs is not the load.
        "LLVM_PROFILE_FILE": str(target / "not-the-load-%m.profraw"),
    }
    command = ["cargo", "build", "--locked", "--release", "--bin", "waypost"]
    command += ["--target-dir", str(target)]
    subprocess.run(command, cwd=WORKSPACE, env=environment, check=True)
    return target / "release" / "waypost"


def load(binary, counts, pattern, environment):
    """Puts a binary that counts under the load; returns the files of its counts."""
    counts.mkdir(parents=True, exist_ok=True)
    for old in counts.glob(pattern):
        old.unlink()
    train = [sys.executable, str(HERE / "train.py"), str(binary)]
    subprocess.run(train, env={**os.environ, **environment}, check=True)
    files = sorted(str(file) for file in counts.glob(pattern))
    if not files:
        sys.exit(f"{binary} has left no counts in {counts}: build it anew with --steps count")
    return files


def quietly(command):
    """Runs a command that has much to say, which is shown if it fails; returns what it prints."""
    done = subprocess.run(command, capture_output=True, text=True, errors="replace")
    if done.returncode != 0:
        sys.exit(f"{command[0]}: {done.returncode}\n{done.stderr[-4000:]}")
    return done.stdout


def lay_out(built, counts, binary):
    """Orders the code of a finished binary by the counts of a copy of it that counts."""
    bolt, merge = bolt_tool("llvm-bolt"), bolt_tool("merge-fdata")
    counting, merged = counts / "waypost-counting", counts / "waypost.fdata"
    options = [f"-instrumentation-file={counts}/layout", "-instrumentation-file-append-pid"]
    quietly([bolt, built, "-instrument", "-o", counting, *options])
    files = load(counting, counts, "layout.*.fdata", {})
    merged.write_text(quietly([merge, *files]))
    quietly([bolt, built, "-o", binary, f"-data={merged}", *LAYOUT])
    counting.unlink()


def main():
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    steps = ["count", "train", "build", "layout"]
    parser.add_argument("--steps", nargs="+", choices=steps, default=steps)
    parser.add_argument("--target-dir", type=pathlib.Path, default=WORKSPACE / "target")
    asked = parser.parse_args()
    target = asked.target_dir.resolve()
    counting, counts = target / "dist-counting", target / "dist-counts"
    guided, binary = target / "dist-guided", target / "dist-profiled" / "waypost"
    profile = counts / "waypost.profdata"
    binary.parent.mkdir(parents=True, exist_ok=True)
    profdata = sysroot_tool("llvm-profdata")
    has_bolt = bolt_tool("llvm-bolt") is not None
    if "count" in asked.steps:
        build(counting, f"-Cprofile-generate={counts}")
    if "train" in asked.steps:
        environment = {"LLVM_PROFILE_FILE": str(counts / "%p-%m.profraw")}
        raw = load(counting / "release" / "waypost", counts, "*.profraw", environment)
        subprocess.run([profdata, "merge", "-o", profile, *raw], check=True)
    if "build" in asked.steps:
        if not guided.exists():
            # What does not count is there already.
            shutil.copytree(counting, guided, symlinks=True)
        # cargo does not see that these are to be compiled in another way, or the counts are others.
        of = [part for name in COUNTED for part in ("-p", name)]
        clean = ["cargo", "clean", "--release", "--target-dir", str(guided), *of]
        subprocess.run(clean, cwd=WORKSPACE, check=True)
        # What the load did not reach has no counts, which is no fault.
        flags = f"-Cprofile-use={profile} -Cllvm-args=-pgo-warn-missing-function=false"
        if has_bolt:
            # It moves code, and has to know what points to it.
            flags += " -Clink-args=-Wl,--emit-relocs"
        shutil.copy2(build(guided, flags), binary)
    if "layout" in asked.steps:
        if has_bolt:
            lay_out(guided / "release" / "waypost", counts, binary)
        else:
            print("llvm-bolt is not there: the code stays in the compiler's order", file=sys.stderr)
    print(binary)


if __name__ == "__main__":
    main()

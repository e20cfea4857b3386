#!/usr/bin/env python3
"""Builds the binary that is handed out: the release build, ordered by a profile of itself at work.

    python3 host/packaging/dist/build.py

leaves it at `target/dist/waypost`. Three steps: a build that counts how often each branch is taken,
the load that it counts under (`train.py` beside this file), and the build that is told. The counts
put the code that each request takes close together and out of the way what few take, and say what is
worth inlining (profile-guided optimisation, rustc's `-C profile-generate` and `-C profile-use`).

Only crates on the way of a request count, by a wrapper around rustc: cargo then does not see that
the two builds differ, and names all functions alike, which counts are found by.

Needs the component `llvm-tools` of the toolchain (`rustup component add llvm-tools`), openssl for the
load's certificate, and some twenty minutes. `--steps` takes a part, to repeat one of them: counts
fit the sources that they were made of, and the more of these has changed, the less is told.
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
COUNTED = "waypost tokio tokio-util tokio-rustls mio h2 http bytes rustls".split()
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


def sysroot_tool(name):
    """A tool of LLVM that comes with the compiler, whose format of counts it knows."""
    asked = ["rustc", "--print", "target-libdir"]
    told = subprocess.run(asked, cwd=WORKSPACE, capture_output=True, text=True, check=True).stdout
    tool = pathlib.Path(told.strip()).parent / "bin" / name
    if not tool.exists():
        sys.exit(f"{tool} is not there: rustup component add llvm-tools")
    return tool


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


def main():
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    steps = ["count", "train", "build"]
    parser.add_argument("--steps", nargs="+", choices=steps, default=steps)
    parser.add_argument("--target-dir", type=pathlib.Path, default=WORKSPACE / "target")
    asked = parser.parse_args()
    target = asked.target_dir.resolve()
    counting, counts = target / "dist-counting", target / "dist-counts"
    profile = counts / "waypost.profdata"
    profdata = sysroot_tool("llvm-profdata")
    if "count" in asked.steps:
        build(counting, f"-Cprofile-generate={counts}")
    if "train" in asked.steps:
        counts.mkdir(parents=True, exist_ok=True)
        for old in counts.glob("*.profraw"):
            old.unlink()
        binary = counting / "release" / "waypost"
        environment = {**os.environ, "LLVM_PROFILE_FILE": str(counts / "%p-%m.profraw")}
        train = [sys.executable, str(HERE / "train.py"), str(binary)]
        subprocess.run(train, env=environment, check=True)
        raw = sorted(str(file) for file in counts.glob("*.profraw"))
        if not raw:
            sys.exit(f"{binary} has left no counts in {counts}: build it anew with --steps count")
        subprocess.run([profdata, "merge", "-o", profile, *raw], check=True)
    if "build" in asked.steps:
        guided = target / "dist-guided"
        if not guided.exists():
            # What does not count is there already.
            shutil.copytree(counting, guided, symlinks=True)
        # cargo does not see that these are to be compiled in another way, or the counts are others.
        of = [part for name in COUNTED for part in ("-p", name)]
        clean = ["cargo", "clean", "--release", "--target-dir", str(guided), *of]
        subprocess.run(clean, cwd=WORKSPACE, check=True)
        # What the load did not reach has no counts, which is no fault.
        flags = f"-Cprofile-use={profile} -Cllvm-args=-pgo-warn-missing-function=false"
        built = build(guided, flags)
        binary = target / "dist" / "waypost"
        binary.parent.mkdir(parents=True, exist_ok=True)
        shutil.copy2(built, binary)
        print(binary)


if __name__ == "__main__":
    main()

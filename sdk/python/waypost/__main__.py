"""`python -m waypost plugin.py [-o plugin.wasm]`: makes a component of a plugin.

Reads from the plugin what it exports (`policy`, `filter`, `scorer`, `hook`, and the methods of
these classes) and which `grants` it needs, writes the world of just that, and has componentize-py
put an interpreter around the code.
"""

import argparse
import importlib
import os
import shutil
import subprocess
import sys
import tempfile
from pathlib import Path

from . import GRANTS

VERSION = "0.2.0"
HERE = Path(__file__).resolve().parent

# What a class of a kind must have, and which exports stand for its further methods.
KINDS = {
    "policy": ("pick", ["members", "balancer"]),
    "filter": ("narrow", ["members", "filter"]),
    "scorer": ("score", ["members", "scorer"]),
    "hook": (None, ["hook"]),
}
METHODS = {
    "change": "member-changes",
    "failed": "failures",
    "done": "observer",
    "on_request": "on-request",
    "on_check": "on-check",
    "on_response": "on-response",
    "on_request_body": "on-request-body",
    "on_response_body": "on-response-body",
    "on_end": "on-end",
    "export_state": "keeper",
    "tick": "ticker",
    "changed": "file-changes",
}


def interfaces(plugin):
    """The interfaces that a plugin exports and imports."""
    exported = ["plugin", "description"]
    for kind, (needed, own) in KINDS.items():
        of = getattr(plugin, kind, None)
        if of is None:
            continue
        if needed and not hasattr(of, needed):
            sys.exit(f"waypost: the {kind} `{of.__name__}` has no method `{needed}`")
        exported += own + [name for method, name in METHODS.items() if hasattr(of, method)]
    if len(exported) == 2:
        sys.exit(f"waypost: the plugin has none of `{'`, `'.join(KINDS)}`")
    imported = list(GRANTS["free"])
    for grant in getattr(plugin, "grants", []):
        if grant not in GRANTS:
            sys.exit(
                f"waypost: `{grant}` is no grant: there are `{'`, `'.join(list(GRANTS)[1:])}`"
            )
        imported += GRANTS[grant]
    return list(dict.fromkeys(exported)), imported


APP = """\
import {plugin} as plugin
from componentize_py_types import Err
from waypost.guest import serve
from wit_world.exports import description
from wit_world.imports import types, {imported}

imported = dict({pairs})
globals().update(serve(plugin, imported, types, Err, description.About))
"""


def main():
    parser = argparse.ArgumentParser(
        prog="python -m waypost", description="Makes a component of a plugin."
    )
    parser.add_argument("plugin", nargs="?", default="plugin.py", type=Path)
    parser.add_argument("-o", "--output", default="plugin.wasm", type=Path)
    given = parser.parse_args()
    source, output = given.plugin.resolve(), given.output.resolve()
    sys.path.insert(0, str(source.parent))
    sys.dont_write_bytecode = True
    plugin = importlib.import_module(source.stem)
    exported, imported = interfaces(plugin)
    tool = shutil.which(
        "componentize-py", path=f"{Path(sys.executable).parent}{os.pathsep}{os.environ['PATH']}"
    )
    if tool is None:
        sys.exit(
            "waypost: componentize-py is not installed: `pip install componentize-py==0.25.1`"
        )
    with tempfile.TemporaryDirectory(prefix="waypost-") as folder:
        folder = Path(folder)
        shutil.copytree(HERE / "wit", folder / "wit" / "deps" / "plugin")
        items = [
            f"import waypost:plugin/{name.replace('_', '-')}@{VERSION};" for name in imported
        ]
        items += [f"export waypost:plugin/{name}@{VERSION};" for name in exported]
        world = "package my:plugin;\nworld this {\n" + "\n".join(items) + "\n}\n"
        (folder / "wit" / "world.wit").write_text(world)
        # The SDK without what runs on this side only.
        (folder / "app" / "waypost").mkdir(parents=True)
        for name in ("__init__", "guest", "http", "settings"):
            shutil.copy(HERE / f"{name}.py", folder / "app" / "waypost")
        (folder / "app" / "app.py").write_text(
            APP.format(
                plugin=source.stem,
                imported=", ".join(imported),
                pairs=", ".join(f"{name}={name}" for name in imported),
            )
        )
        command = [
            tool,
            "--quiet",
            "--wit-path",
            folder / "wit",
            "--world",
            "this",
            "componentize",
            "--python-path",
            folder / "app",
            "--python-path",
            source.parent,
            "--output",
            output,
            "app",
        ]
        # Without a virtual environment's packages: those of a plugin lie beside it.
        environment = {**os.environ, "PYTHONDONTWRITEBYTECODE": "1"}
        environment.pop("VIRTUAL_ENV", None)
        done = subprocess.run(command, env=environment, check=False)
        if done.returncode:
            sys.exit(done.returncode)
    grants = getattr(plugin, "grants", [])
    print(f"{output}: {output.stat().st_size} bytes, grants = {grants}".replace("'", '"'))


if __name__ == "__main__":
    main()

#!/usr/bin/env python3
"""Writes what tells the types of a plugin's imports and exports, for languages whose compilers make
core modules: `sdk/c/component_types.h` and `sdk/go/component_types/`.

Takes it from core modules that were built with the Rust SDK, whose macros leave a custom section
for each export: `sdk/component_types.py target/wasm32-unknown-unknown/plugin/*.wasm`, once for a
version of the contract, which does not change afterwards. Of several modules the newest counts; what
none of them exports stays as it is. A host makes a component of a module by these sections; names of
interfaces that a module does not use are no harm in `imports`.
"""

import sys
from pathlib import Path

HERE = Path(__file__).resolve().parent
EXPORTS = [
    "plugin",
    "description",
    "members",
    "balancer",
    "filter",
    "scorer",
    "hook",
    "on-request",
    "on-check",
    "on-response",
    "on-request-body",
    "on-response-body",
    "on-end",
    "member-changes",
    "failures",
    "observer",
    "keeper",
    "ticker",
    "file-changes",
]


def number(data, at):
    value = shift = 0
    while True:
        byte = data[at]
        value |= (byte & 127) << shift
        at, shift = at + 1, shift + 7
        if byte < 128:
            return value, at


def sections(module):
    """Names and contents of a module's custom sections."""
    at = 8
    while at < len(module):
        kind = module[at]
        length, at = number(module, at + 1)
        end = at + length
        if kind == 0:
            size, start = number(module, at)
            yield module[start : start + size].decode(), module[start + size : end]
        at = end


def main():
    found = {}
    folder = HERE / "go" / "component_types"
    folder.mkdir(parents=True, exist_ok=True)
    for world in EXPORTS:
        if (folder / f"{world}.bin").exists():
            found[world] = (folder / f"{world}.bin").read_bytes()
    for path in sorted(sys.argv[1:], key=lambda path: Path(path).stat().st_mtime):
        for name, content in sections(Path(path).read_bytes()):
            if not name.startswith("component-type:") or "removed" in name:
                continue
            world = name.split(":")[-2].replace("exports-", "").replace("with-", "")
            if world in [*EXPORTS, "imports"]:
                found[world] = content
    missing = set(EXPORTS) - set(found)
    assert not missing, f"no module exports {missing}"
    lines = [
        "// Types of imports and exports, for the host to make a component by.",
        "// Written by `sdk/component_types.py`.",
        "",
    ]
    for world in ["imports", *EXPORTS]:
        (folder / f"{world}.bin").write_bytes(found[world])
        text = "".join(f"\\\\{byte:03o}" for byte in found[world])
        lines.append(f"#define WAYPOST_TYPE_{world.replace('-', '_')} \\")
        for at in range(0, len(text), 90):
            lines.append(f'  ".ascii \\"{text[at:at + 90]}\\"\\n" \\')
        lines.append("")
    (HERE / "c").mkdir(exist_ok=True)
    (HERE / "c" / "component_types.h").write_text("\n".join(lines))


main()

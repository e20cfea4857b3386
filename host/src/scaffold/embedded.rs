//! The SDKs, the contract and the first lines of a plugin, as they are in this repository: a new
//! project needs none of it from elsewhere. A test holds the lists against the folders.

/// A path within a folder, and the content.
pub(super) type File = (&'static str, &'static [u8]);

macro_rules! embedded {
    ($folder:literal: $($path:literal),* $(,)?) => {
        &[$((
            $path,
            include_bytes!(concat!(env!("CARGO_MANIFEST_DIR"), "/../", $folder, "/", $path)),
        )),*]
    };
}

/// The contract.
pub(super) static WIT: &[File] = embedded!("wit/0.2.0":
    "endpoints.wit",
    "exchange.wit",
    "hooks.wit",
    "package.wit",
    "services.wit",
    "types.wit",
    "worlds.wit",
);

/// The SDKs, without their tests.
pub(super) static RUST: &[File] = embedded!("sdk/rust":
    "Cargo.toml",
    "src/bindings.rs",
    "src/call.rs",
    "src/clock.rs",
    "src/common.rs",
    "src/crc32.rs",
    "src/draws.rs",
    "src/endpoint.rs",
    "src/exchange.rs",
    "src/export.rs",
    "src/files.rs",
    "src/guest.rs",
    "src/hash64.rs",
    "src/headers.rs",
    "src/hook.rs",
    "src/http.rs",
    "src/http/imported.rs",
    "src/key_table.rs",
    "src/key_table/tests.rs",
    "src/lib.rs",
    "src/log.rs",
    "src/metrics.rs",
    "src/network.rs",
    "src/pick.rs",
    "src/policy.rs",
    "src/ring.rs",
    "src/schema.rs",
    "src/settings.rs",
    "src/settings/lists.rs",
    "src/settings/tests.rs",
    "src/settings/variables.rs",
    "src/shares.rs",
    "src/smooth.rs",
    "src/smooth/tests.rs",
    "src/state.rs",
    "src/store.rs",
    "src/template.rs",
    "src/testing.rs",
    "src/testing/changed.rs",
    "src/testing/damage.rs",
    "src/testing/description.rs",
    "src/testing/endpoint.rs",
    "src/testing/first.rs",
    "src/testing/hooked.rs",
    "src/testing/hooked/tests.rs",
    "src/testing/host.rs",
    "src/testing/outgoing.rs",
    "src/testing/preparation.rs",
    "src/testing/request.rs",
    "src/testing/services.rs",
    "src/testing/simulation.rs",
    "src/testing/store.rs",
    "src/testing/upstream.rs",
    "src/units.rs",
);

/// Of TypeScript as well.
pub(super) static JAVASCRIPT: &[File] = embedded!("sdk/javascript":
    "build.js",
    "double.js",
    "guest.js",
    "index.d.ts",
    "index.js",
    "package.json",
    "settings.js",
    "testing.d.ts",
    "testing.js",
);

/// A package of this name.
pub(super) static PYTHON: &[File] = embedded!("sdk/python/waypost":
    "__init__.py",
    "__init__.pyi",
    "__main__.py",
    "double.py",
    "guest.py",
    "http.py",
    "settings.py",
    "testing.py",
);

/// Headers alone.
pub(super) static C: &[File] = embedded!("sdk/c":
    "component_types.h",
    "waypost.h",
    "waypost_double.h",
    "waypost_exports.h",
    "waypost_host.h",
    "waypost_settings.h",
    "waypost_test.h",
);

/// A module of its own.
pub(super) static GO: &[File] = embedded!("sdk/go":
    "build.go",
    "component_types/balancer.bin",
    "component_types/description.bin",
    "component_types/failures.bin",
    "component_types/file-changes.bin",
    "component_types/filter.bin",
    "component_types/hook.bin",
    "component_types/imports.bin",
    "component_types/keeper.bin",
    "component_types/member-changes.bin",
    "component_types/members.bin",
    "component_types/observer.bin",
    "component_types/on-check.bin",
    "component_types/on-end.bin",
    "component_types/on-request-body.bin",
    "component_types/on-request.bin",
    "component_types/on-response-body.bin",
    "component_types/on-response.bin",
    "component_types/plugin.bin",
    "component_types/scorer.bin",
    "component_types/ticker.bin",
    "double.go",
    "double_host.go",
    "exports_wasm.go",
    "go.mod",
    "host.go",
    "host_wasm.go",
    "imports_wasm.go",
    "settings.go",
    "waypost.go",
);

/// What a plugin begins with, by language and kind.
pub(super) static NEW: &[File] = embedded!("sdk/new":
    "c/Makefile",
    "c/filter.c",
    "c/hook.c",
    "c/policy.c",
    "c/scorer.c",
    "c/test_filter.c",
    "c/test_hook.c",
    "c/test_policy.c",
    "c/test_scorer.c",
    "go/filter.go",
    "go/filter_test.go",
    "go/go.mod.in",
    "go/hook.go",
    "go/hook_test.go",
    "go/policy.go",
    "go/policy_test.go",
    "go/scorer.go",
    "go/scorer_test.go",
    "javascript/filter.js",
    "javascript/filter.test.js",
    "javascript/hook.js",
    "javascript/hook.test.js",
    "javascript/package.json.in",
    "javascript/policy.js",
    "javascript/policy.test.js",
    "javascript/scorer.js",
    "javascript/scorer.test.js",
    "python/filter.py",
    "python/hook.py",
    "python/policy.py",
    "python/scorer.py",
    "python/test_filter.py",
    "python/test_hook.py",
    "python/test_policy.py",
    "python/test_scorer.py",
    "rust/Cargo.toml.in",
    "rust/filter.rs",
    "rust/hook.rs",
    "rust/policy.rs",
    "rust/scorer.rs",
    "typescript/filter.test.ts",
    "typescript/filter.ts",
    "typescript/hook.test.ts",
    "typescript/hook.ts",
    "typescript/package.json.in",
    "typescript/policy.test.ts",
    "typescript/policy.ts",
    "typescript/scorer.test.ts",
    "typescript/scorer.ts",
    "typescript/tsconfig.json",
);

/// What pip installs for these languages.
pub(super) static PYTHON_PACKAGES: &str = include_str!("../../../sdk/python/requirements.txt");
pub(super) static C_PACKAGES: &str = include_str!("../../../sdk/c/requirements.txt");

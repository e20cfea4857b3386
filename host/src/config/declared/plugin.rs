//! `[plugin.NAME]` and the bounds on a plugin.

use super::{COUNT, SECOND, WAIT};
use crate::config::key::{Default, Key, Table, ValueKind};

/// `start`: the second one is where the fallback serves.
const STARTS: [&str; 2] = ["wait", "fallback"];

pub(in crate::config) const GRANTS: [&str; 9] = [
    "request", "response", "exchange", "changes", "bodies", "checks", "files", "http", "store",
];

/// One, or a list of them.
const TEXTS: ValueKind = ValueKind::Either(&[ValueKind::Text, ValueKind::List(&ValueKind::Text)]);

const KIB: u64 = 1 << 10;
const MIB: u64 = 1 << 20;
const GIB: u64 = 1 << 30;

pub(in crate::config) static PLUGIN: Table = Table {
    title: "[plugin.NAME]",
    doc: "A plugin of your own, whatever it is: a policy, a filter, a scorer, a hook, a `component` \
          that answers requests itself, or several of these. The stock ones need no entry.",
    groups: &[&[
        Key::new("file", ValueKind::Text, "The component, relative to this file.").required(),
        Key::new(
            "watch",
            ValueKind::Boolean,
            "Load the file again when it changes, while traffic flows.",
        )
        .or(Default::Boolean(false)),
        Key::new(
            "sha256",
            TEXTS,
            "The SHA-256 of what is loaded as this plugin, in hex as `sha256sum` prints it; or several. \
             Anything else is refused, whoever sends it. Without it, any content is loaded.",
        ),
        Key::new(
            "signed_by",
            TEXTS,
            "A public key of minisign, in base64 (`RW...`); or several, one of which has to have \
             signed what is loaded. Without it, nobody has to.",
        ),
        Key::new(
            "signature",
            ValueKind::Text,
            "The signature, relative to this file. Without it, the name of `file` and `.minisig`.",
        ),
        Key::new(
            "fallback",
            ValueKind::Text,
            "Of a policy: the policy that answers when this one fails, or `refuse`. Then requests \
             are answered as if no server were left.",
        )
        .or(Default::Text("round_robin")),
        Key::new(
            "start",
            ValueKind::Word(&STARTS),
            "What serves while it is compiled for the first time, at the start or when a reload brings \
             it: nothing (`wait`), or its `fallback`.",
        )
        .or(Default::Text("wait")),
        Key::new(
            "grants",
            ValueKind::List(&ValueKind::Word(&GRANTS)),
            "Interfaces that it may import besides those that need no grant (`fleet`, `upstream`, \
             `nginx`, `clock`, `metrics`, `log`): `request` to read the request, its variables and \
             the client's connection; `response` to read the response; `exchange` to read \
             attributes and a hook's key, and in policies to keep a value through retries and to \
             add headers to the response; `changes` to change requests and responses and to \
             answer; `bodies` to see and replace the bodies of requests and answers; `checks` to \
             have passwords verified; `files` to read the files that its settings name; `http` for a \
             hook that asks upstreams which its settings name, and waits for what they answer; `store` \
             to keep counters and values that all of its instances share.",
        )
        .or(Default::Words(&[])),
        Key::new(
            "canary",
            ValueKind::Table(&CANARY),
            "Another version that decides for a share of clients, and goes by itself where it does worse.",
        ),
        Key::new(
            "shadow",
            ValueKind::Table(&SHADOW),
            "Another version that is asked as well: what it would decide is compared, and dropped.",
        ),
        Key::new(
            "max_faults",
            COUNT,
            "Faults within `fault_window` that put this version into quarantine. Zero: none ever do. \
             Without it 10, and zero for one that is a route's `component`.",
        ),
        Key::new("fault_window", WAIT, "In which faults add up.").or(Default::Text("60s")),
        Key::new(
            "budget",
            ValueKind::Integer { min: 1, max: 100 },
            "Percent of each worker's time that its calls may take; beyond, a policy's fallback \
             answers, a hook fails as `on_error` says, and a component answers with 503. The log warns \
             from 10 percent on. 100 for no bound. Without it 50, and 100 for one that is a route's \
             `component`.",
        ),
        Key::new(
            "limits",
            ValueKind::Table(&LIMITS),
            "Bounds on each instance, and on compiling the file.",
        ),
    ]],
    open: false,
};

/// What a version that is tried is.
const CANDIDATE: [Key; 3] = [
    Key::new(
        "file",
        ValueKind::Text,
        "The component, relative to this file.",
    )
    .required(),
    Key::new(
        "sha256",
        TEXTS,
        "The SHA-256 of what may be tried, or several; needed where the plugin itself has a `sha256`.",
    ),
    Key::new(
        "signature",
        ValueKind::Text,
        "The signature, where the plugin has a `signed_by`. Without it, the name of `file` and `.minisig`.",
    ),
];

pub(in crate::config) static SHADOW: Table = Table {
    title: "shadow",
    doc: "A version of a plugin that is asked about everything that the one which serves is asked about, \
          and changes nothing.",
    groups: &[&CANDIDATE],
    open: false,
};

pub(in crate::config) static CANARY: Table = Table {
    title: "canary",
    doc: "A version of a plugin that decides for a share of clients. Once a second it is compared with \
          the version that serves, since it began: where it does worse than a rail allows, the trial \
          ends by itself. A rail can be `\"off\"`.",
    groups: &[
        &CANDIDATE,
        &[
            Key::new(
                "share",
                ValueKind::Text,
                "The share of clients, as `\"5%\"`; each stays with the version that it has got.",
            )
            .or(Default::Text("5%")),
            Key::new(
                "after",
                ValueKind::Integer {
                    min: 1,
                    max: 1_000_000_000,
                },
                "Exchanges of its own before a rail counts.",
            )
            .or(Default::Integer(100)),
            Key::new(
                "faults",
                ValueKind::Text,
                "Faults of the plugin that it may have, of its exchanges.",
            )
            .or(Default::Text("0.1%")),
            Key::new(
                "errors",
                ValueKind::Text,
                "Points by which its share of errors (failed attempts and statuses from 500 on) may \
                 exceed that of the version before, and twice that share in any case.",
            )
            .or(Default::Text("1%")),
            Key::new(
                "latency",
                ValueKind::Text,
                "Its mean latency, of that of the version before, and a millisecond more in any case.",
            )
            .or(Default::Text("150%")),
            Key::new(
                "imbalance",
                ValueKind::Text,
                "Of a policy: how far its busiest server is above its fair share, of the same figure of \
                 the version before.",
            )
            .or(Default::Text("150%")),
        ],
    ],
    open: false,
};

pub(in crate::config) static LIMITS: Table = Table {
    title: "limits",
    doc: "Bounds on a plugin: the first seven on each of its instances, the others on turning its file into machine code.",
    groups: &[&[
        Key::new(
            "memory",
            ValueKind::Size {
                min: 64 * KIB,
                max: 4 * GIB,
            },
            "Linear memory. Without it `\"16m\"`, and `\"128m\"` for a file of 1 MiB or more, which \
             brings an interpreter or a garbage collector.",
        ),
        Key::new(
            "deadline",
            ValueKind::Duration {
                min: 1,
                max: 60 * SECOND,
            },
            "For one call, in processor time, looked at every 4 milliseconds, or every 20 where it is \
             at least `\"50ms\"` and `budget` is 100. Without it `\"5ms\"`, and `\"50ms\"` for a \
             file of 1 MiB or more. Of a route's `component`: for each part of an answer, without it \
             `\"1s\"`.",
        ),
        Key::new(
            "table_elements",
            ValueKind::Integer {
                min: 1,
                max: 10_000_000,
            },
            "Elements of all tables together.",
        )
        .or(Default::Integer(10_000)),
        Key::new(
            "core_instances",
            ValueKind::Integer { min: 1, max: 1000 },
            "Instances of core modules within the component.",
        )
        .or(Default::Integer(32)),
        Key::new(
            "state",
            ValueKind::Size {
                min: 0,
                max: 64 * MIB,
            },
            "State carried from one instance to the next. Zero carries none.",
        )
        .or(Default::Text("1m")),
        Key::new(
            "instances",
            ValueKind::Integer {
                min: 1,
                max: 10_000,
            },
            "Instances that each worker may have of a hook that waits (`grants` has `http`), or of a \
             route's `component`: as many calls may wait at once, further ones wait for an instance. Without it 256, and 16 for a \
             file of 1 MiB or more.",
        ),
        Key::new(
            "wait",
            ValueKind::Duration {
                min: 1,
                max: 3600 * SECOND,
            },
            "For one call of a hook that waits, all in all. Of a route's `component`: until its answer \
             begins, and for each further part of it.",
        )
        .or(Default::Text("60s")),
        Key::new(
            "file_size",
            ValueKind::Size { min: KIB, max: GIB },
            "The file.",
        )
        .or(Default::Text("32m")),
        Key::new(
            "functions",
            ValueKind::Integer {
                min: 1,
                max: 1_000_000,
            },
            "Functions in all core modules together.",
        )
        .or(Default::Integer(50_000)),
        Key::new(
            "compile_time",
            ValueKind::Duration {
                min: SECOND,
                max: 3600 * SECOND,
            },
            "Time after which the compiler is stopped.",
        )
        .or(Default::Text("60s")),
        Key::new(
            "compile_memory",
            ValueKind::Size {
                // Less is too little for any plugin.
                min: 256 * MIB,
                max: 64 * GIB,
            },
            "Memory of the compiler.",
        )
        .or(Default::Text("2g")),
    ]],
    open: false,
};

#[cfg(test)]
#[allow(clippy::unwrap_used, reason = "a test's unwrap is its failure")]
mod tests {
    use super::*;
    use crate::config::model::{CompileLimits, PluginLimits};
    use crate::config::units;

    #[test]
    fn a_plugin_without_limits_has_those_of_the_model() {
        let text = |name| match LIMITS.key(name).unwrap().default {
            Default::Text(text) => text,
            _ => "",
        };
        let size = |name| units::size(text(name)).unwrap();
        let duration = |name| units::duration(text(name)).unwrap();
        let integer = |name| match LIMITS.key(name).unwrap().default {
            Default::Integer(integer) => u32::try_from(integer).unwrap(),
            _ => 0,
        };
        let instance = PluginLimits {
            memory: None,
            deadline: None,
            table_elements: integer("table_elements"),
            core_instances: integer("core_instances"),
            state: size("state"),
            instances: None,
            wait: duration("wait"),
        };
        assert_eq!(instance, PluginLimits::default());
        let compile = CompileLimits {
            file_size: size("file_size"),
            functions: integer("functions"),
            time: duration("compile_time"),
            memory: size("compile_memory"),
        };
        assert_eq!(compile, CompileLimits::default());
    }
}

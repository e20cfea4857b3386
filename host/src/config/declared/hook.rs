//! `[hook.NAME]`, and `hooks` where they are used.

use crate::config::key::{Default, Key, Table, ValueKind};

/// `on_error`: the first one is the default.
const ON_ERROR: [&str; 2] = ["fail", "skip"];

/// The value of `hooks`, wherever it stands.
pub(super) const HOOKS: ValueKind = ValueKind::List(&ValueKind::Either(&[
    ValueKind::Text,
    ValueKind::Table(&HOOK_USE),
]));

pub(in crate::config) static HOOK: Table = Table {
    title: "[hook.NAME]",
    doc: "A hook that several places use, with what they share. No plugin has its name. All \
          other keys are the hook's own settings, and it checks them.",
    groups: &[&[Key::new(
        "plugin",
        ValueKind::Text,
        concat!("What it is: ", env!("WAYPOST_STOCK_HOOKS"), ".",),
    )
    .required()]],
    open: true,
};

pub(in crate::config) static HOOK_USE: Table = Table {
    title: "hooks",
    doc: "An item of `hooks`: a hook at the place that uses it. A name alone is `use` where there \
          is a `[hook.NAME]` of that name. Else it is `plugin` without settings, and all places \
          that say the same share one hook. All other keys of the table are settings, and the \
          hook checks them: with `use` those of this place, with `plugin` the hook's own.",
    groups: &[&[
        Key::new("use", ValueKind::Text, "The name of a `[hook.NAME]`."),
        Key::new(
            "plugin",
            ValueKind::Text,
            "Declares a hook right here; its value is as in `[hook.NAME]`. One with settings is \
             for this place alone.",
        ),
        Key::new(
            "on_error",
            ValueKind::Word(&ON_ERROR),
            "What becomes of a request when the hook fails: it is answered with a 500 (`fail`), \
             or goes on as if the hook were not there (`skip`).",
        )
        .or(Default::Text("fail")),
    ]],
    open: true,
};

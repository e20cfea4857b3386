//! `[variable.NAME]`.

use super::super::key::{Key, Table, ValueKind};

const NAMED_TEXTS: ValueKind = ValueKind::Named(&ValueKind::Text);

pub(in crate::config) static VARIABLE: Table = Table {
    title: "[variable.NAME]",
    doc: "A variable of one's own, `$NAME`, for all places that have variables. Its name has letters, digits and `_`, in \
          any case, and is none of nginx's own. It has one of `value`, `map`, `networks` and `split`. A value is a text \
          that may have variables, and has 64 KiB at most: see [docs/variables.md](variables.md).",
    groups: &[&[
        Key::new(
            "value",
            ValueKind::Text,
            "What it is, in so many words (`set`).",
        ),
        Key::new(
            "from",
            ValueKind::Text,
            "The text that `map`, `networks` and `split` look at, such as `\"$http_x_tenant\"`. With `networks` it is an \
             address, and without it the client's.",
        ),
        Key::new(
            "map",
            NAMED_TEXTS,
            "Values by what `from` is (`map`): a text in any case, `\"*.example.com\"`, `\".example.com\"` (with the domain \
             itself), `\"www.example.*\"`, `\"~regex\"` or `\"~*regex\"` (any case), and with `=` before it a text whatever it \
             looks like. A text goes first, then the longest name, then the first regex, whose groups the value may \
             have as `$1` or `$name`.",
        ),
        Key::new(
            "networks",
            NAMED_TEXTS,
            "Values by the network that an address is in (`geo`): `\"10.0.0.0/8\"`, `\"2001:db8::/32\"` or an address. The \
             smallest one counts.",
        ),
        Key::new(
            "split",
            NAMED_TEXTS,
            "Values and the share of all texts that has each (`split_clients`): `{ new = \"5%\" }`, with two decimals at \
             most. The same text has the same value as in nginx.",
        ),
        Key::new(
            "default",
            ValueKind::Text,
            "The value where `map`, `networks` or `split` has none. Without it: empty.",
        ),
    ]],
    open: false,
};

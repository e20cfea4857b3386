//! What a key of the file is: its name, the kind of its value, its default and a line of
//! documentation.
//!
//! Every key is declared once, in [`declared`](super::declared). The reader takes from there what
//! is known and allowed, `waypost schema` and the reference in `docs/configuration.md` are made
//! from it.

/// A table of the file and its keys.
#[derive(Debug)]
pub(super) struct Table {
    /// As users write it: `[[listen]]`.
    pub(super) title: &'static str,
    pub(super) doc: &'static str,
    /// Keys in reading order. Several groups, because `[server]` and `[[listen]]` share one.
    pub(super) groups: &'static [&'static [Key]],
    /// Whether further keys are allowed and checked elsewhere, as a policy's settings are by the
    /// policy.
    pub(super) open: bool,
}

impl Table {
    pub(super) fn keys(&self) -> impl Iterator<Item = &'static Key> {
        self.groups.iter().copied().flatten()
    }

    pub(super) fn key(&self, name: &str) -> Option<&'static Key> {
        self.keys().find(|key| key.name == name)
    }
}

#[derive(Debug)]
pub(super) struct Key {
    pub(super) name: &'static str,
    pub(super) kind: ValueKind,
    pub(super) default: Default,
    pub(super) doc: &'static str,
}

/// What holds where a key is not given.
#[derive(Debug, Clone, Copy)]
pub(super) enum Default {
    /// It must be given.
    Required,
    /// Nothing, or what the documentation line says.
    Unset,
    Text(&'static str),
    Integer(i64),
    Boolean(bool),
    Words(&'static [&'static str]),
}

/// What a value may be.
#[derive(Debug)]
pub(super) enum ValueKind {
    Boolean,
    Integer {
        min: i64,
        max: i64,
    },
    /// Bounds in milliseconds.
    Duration {
        min: u64,
        max: u64,
    },
    /// Bounds in bytes.
    Size {
        min: u64,
        max: u64,
    },
    /// Any string; what it must look like is the reader's to say.
    Text,
    /// One of these strings.
    Word(&'static [&'static str]),
    /// The boolean `false` and nothing else.
    Off,
    List(&'static ValueKind),
    Table(&'static Table),
    /// A table whose keys the user chooses.
    Named(&'static ValueKind),
    Either(&'static [ValueKind]),
    /// A key of a later version, refused with these words rather than as unknown.
    NotAvailable,
}

impl Key {
    pub(super) const fn new(name: &'static str, kind: ValueKind, doc: &'static str) -> Key {
        Key {
            name,
            kind,
            default: Default::Unset,
            doc,
        }
    }

    /// A key of a later version, and what to do until then.
    pub(super) const fn later(name: &'static str, instead: &'static str) -> Key {
        Key::new(name, ValueKind::NotAvailable, instead)
    }

    pub(super) const fn required(mut self) -> Key {
        self.default = Default::Required;
        self
    }

    pub(super) const fn or(mut self, default: Default) -> Key {
        self.default = default;
        self
    }

    /// Whether this version knows what to do with it.
    pub(super) fn available(&self) -> bool {
        !matches!(self.kind, ValueKind::NotAvailable)
    }
}

impl ValueKind {
    /// What a value of this kind is, for `must be ...`.
    pub(super) fn expected(&self) -> String {
        match self {
            ValueKind::Boolean => "`true` or `false`".to_owned(),
            ValueKind::Integer { .. } => "an integer".to_owned(),
            ValueKind::Duration { .. } => "a duration".to_owned(),
            ValueKind::Size { .. } => "a size".to_owned(),
            ValueKind::Text => "a string".to_owned(),
            ValueKind::Word(words) => {
                let quoted: Vec<String> =
                    words.iter().map(|word| format!("`\"{word}\"`")).collect();
                quoted.join(" or ")
            }
            ValueKind::Off => "`false`".to_owned(),
            ValueKind::List(item) => match item {
                ValueKind::Text | ValueKind::Word(_) => "a list of strings".to_owned(),
                ValueKind::Table(table) => format!("tables, each begun by `{}`", table.title),
                _ => "a list".to_owned(),
            },
            ValueKind::Table(_) | ValueKind::Named(_) => "a table".to_owned(),
            ValueKind::Either(kinds) => {
                let each: Vec<String> = kinds.iter().map(ValueKind::expected).collect();
                each.join(" or ")
            }
            ValueKind::NotAvailable => "left out".to_owned(),
        }
    }

    /// Whether a string is one of this kind, or may be.
    pub(super) fn takes_text(&self) -> bool {
        match self {
            ValueKind::Text | ValueKind::Word(_) => true,
            ValueKind::Either(kinds) => kinds.iter().any(ValueKind::takes_text),
            _ => false,
        }
    }

    /// Whether an integer is one of this kind, or may be.
    pub(super) fn takes_integer(&self) -> bool {
        match self {
            ValueKind::Integer { .. } => true,
            ValueKind::Either(kinds) => kinds.iter().any(ValueKind::takes_integer),
            _ => false,
        }
    }

    /// How a value of this kind is written.
    pub(super) fn notation(&self) -> Option<&'static str> {
        match self {
            ValueKind::Duration { .. } => {
                Some(r#"durations are written as `"10s"`, `"500ms"`, `"1m"`"#)
            }
            ValueKind::Size { .. } => Some(r#"sizes are written as `512`, `"8k"`, `"1m"`"#),
            _ => None,
        }
    }
}

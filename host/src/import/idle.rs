//! What does nothing where it stands: settings of TLS where no listener speaks it, and all that is
//! said around servers where there is none.

use std::collections::HashSet;

use super::listen;
use super::report::is_table;
use super::tree::{Directive, Tree};

/// A directive, and why it would do nothing even if it were translated.
pub(super) struct Placed<'a> {
    pub(super) directive: &'a Directive,
    pub(super) idle: Option<&'static str>,
}

/// Every directive of a file, in order.
pub(super) fn placed(tree: &Tree) -> Vec<Placed<'_>> {
    let mut addresses = HashSet::new();
    speaking_tls(&tree.directives, &mut addresses);
    let mut walk = Walk {
        addresses,
        all: Vec::new(),
    };
    walk.go(&tree.directives, Around::default());
    walk.all
}

/// The addresses of which a `listen` says `ssl`: all servers of an address speak TLS with it.
fn speaking_tls(directives: &[Directive], addresses: &mut HashSet<String>) {
    for directive in directives {
        if directive.name == "server" {
            let children = directive.children();
            let all = children
                .iter()
                .any(|child| child.name == "ssl" && child.argument(0) == "on");
            let speaks = |listen: &&Directive| {
                all || listen
                    .arguments
                    .iter()
                    .any(|word| word == "ssl" || word == "quic")
            };
            let listens = children.iter().filter(|child| child.name == "listen");
            addresses.extend(listens.filter(speaks).map(address));
        } else {
            speaking_tls(directive.children(), addresses);
        }
    }
}

fn address(listen: &Directive) -> String {
    let written = listen.argument(0);
    listen::address(written).unwrap_or_else(|| written.to_owned())
}

/// What holds around directives.
#[derive(Clone, Copy, Default)]
struct Around {
    is_without_server: bool,
    is_without_tls: bool,
    is_mail: bool,
}

struct Walk<'a> {
    addresses: HashSet<String>,
    all: Vec<Placed<'a>>,
}

impl<'a> Walk<'a> {
    fn go(&mut self, directives: &'a [Directive], around: Around) {
        for directive in directives {
            self.all.push(Placed {
                directive,
                idle: idle(directive, around),
            });
            if is_table(&directive.name) {
                continue;
            }
            let children = directive.children();
            let inner = match &*directive.name {
                "http" | "stream" => Around {
                    is_without_server: !children.iter().any(|child| child.name == "server"),
                    is_without_tls: self.addresses.is_empty(),
                    ..around
                },
                "mail" => Around {
                    is_mail: true,
                    ..around
                },
                "server" => Around {
                    is_without_tls: !self.speaks_tls(children),
                    ..around
                },
                _ => around,
            };
            self.go(children, inner);
        }
    }

    fn speaks_tls(&self, server: &[Directive]) -> bool {
        let mut listens = server.iter().filter(|child| child.name == "listen");
        listens.any(|listen| self.addresses.contains(&address(listen)))
    }
}

fn idle(directive: &Directive, around: Around) -> Option<&'static str> {
    if around.is_mail {
        return Some("it is of `mail`, which is not there");
    }
    if around.is_without_server && directive.missing.is_none() {
        return Some("there is no `server` here that it could be of");
    }
    let is_of_tls = directive.name.starts_with("ssl_") && directive.name != "ssl_preread";
    (around.is_without_tls && is_of_tls).then_some("no listener here speaks TLS")
}

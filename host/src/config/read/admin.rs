//! `[admin]`: where the commands reach the process, and who may give them.

use super::plugin::is_sha256;
use super::server::TakenAddresses;
use super::{Complaint, address, noted, source, tls};
use crate::config::declared::{ADMIN, TOKEN};
use crate::config::model::{Address, AdminConfig, AdminToken, ClientCertificate, Role};
use crate::config::section::Section;
use crate::config::tree::{Node, Value};

/// `None` without `[admin]`, or where its address cannot be told; the problem is noted.
pub(super) fn admin(root: &Section<'_>, taken: &TakenAddresses) -> Option<AdminConfig> {
    let section = root.table("admin", &ADMIN)?;
    section.required("address");
    if let Some(node) = section.get("address")
        && let Value::Integer(port) = node.value
    {
        let complaint = Complaint::new("`address` must be a string, not an integer");
        let hint = format!("write `address = \"127.0.0.1:{port}\"`");
        root.problems.add(complaint.hint(hint).at(&node.place));
        return None;
    }
    let (text, node) = section.text_given("address")?;
    let address = noted(address::to_administer_at(text), node, root.problems)?;
    if let Some((known, _)) = taken.iter().find(|(known, _)| covers(known, &address)) {
        let at = match *known == address {
            true => String::new(),
            false => format!(", `{known}`"),
        };
        let complaint = Complaint::new(format!(
            "the admin address `{address}` is that of a listener{at}"
        ));
        let hint = "give it a port or a socket of its own: clients must not reach it";
        root.problems.add(complaint.hint(hint).at(&node.place));
    }
    let tokens = tokens(&section);
    let config = AdminConfig {
        tls: tls::listener(&section),
        asks_for_tokens: !tokens.is_empty(),
        tokens,
        audit: source::file(&section, "audit"),
        place: node.place.clone(),
        address,
    };
    if let Some(tls) = &config.tls
        && tls.client_certificate != ClientCertificate::Off
    {
        let complaint = Complaint::new("clients of `[admin]` are not asked for certificates");
        let hint = "leave out `client_certificate`: `tokens` say who may";
        root.problems.add(complaint.hint(hint).at(&node.place));
    }
    if config.tls.as_ref().is_some_and(|tls| tls.acme.is_some()) {
        let complaint = Complaint::new("certificates of `[admin]` are not ordered");
        let hint = "name a `certificate` and its `key`";
        root.problems.add(complaint.hint(hint).at(&node.place));
        return None;
    }
    if let Some(complaint) = refused(&config) {
        root.problems.add(complaint.at(&node.place));
        return None;
    }
    Some(config)
}

/// What keeps an address from being one that commands come to.
fn refused(config: &AdminConfig) -> Option<Complaint> {
    let AdminConfig {
        address,
        tls,
        tokens,
        ..
    } = config;
    let missing = match (tls, tokens.is_empty()) {
        _ if !address::is_elsewhere(address) => {
            let is_unix = matches!(address, Address::Unix(_));
            let message = "`tls` on a unix socket: nobody is between its two ends";
            let complaint = Complaint::new(message).hint("leave it out");
            return (is_unix && tls.is_some()).then_some(complaint);
        }
        (Some(_), false) => return None,
        (None, true) => "`tls` and `tokens`",
        (None, false) => "`tls`",
        (Some(_), true) => "`tokens`",
    };
    let message =
        format!("clients of other machines reach `{address}`, so `[admin]` needs {missing}");
    let hint = "`tls = { certificate = \"admin.pem\", key = \"admin.key\" }`, and a token as `waypost \
                token NAME` makes it; or `127.0.0.1:9180`, and from elsewhere an ssh tunnel to it";
    Some(Complaint::new(message).hint(hint))
}

fn tokens(section: &Section<'_>) -> Vec<AdminToken> {
    let mut tokens: Vec<AdminToken> = Vec::new();
    for node in section.list("tokens") {
        let Some(own) = Section::open(node, &TOKEN, section.problems) else {
            continue;
        };
        for key in ["name", "role", "sha256"] {
            own.required(key);
        }
        let complain =
            |complaint: Complaint, at: &Node| section.problems.add(complaint.at(&at.place));
        let Some((name, named)) = own.text_given("name") else {
            continue;
        };
        let is_name = |byte: u8| byte.is_ascii_alphanumeric() || b"._@-".contains(&byte);
        if name.is_empty() || name.len() > 64 || !name.bytes().all(is_name) {
            let message = format!("`{name}` is no name for a token");
            complain(
                Complaint::new(message).hint("use letters, digits and `._@-`, 64 at most"),
                named,
            );
            continue;
        }
        if tokens.iter().any(|token| token.name == name) {
            complain(Complaint::new(format!("a second token `{name}`")), named);
        }
        let role = match own.word("role") {
            "operate" => Role::Operate,
            _ => Role::Read,
        };
        let Some((text, hashed)) = own.text_given("sha256") else {
            continue;
        };
        if !is_sha256(text) {
            let hint =
                "it has 64 hexadecimal digits: `waypost token NAME` prints it beside the token";
            complain(Complaint::new("`sha256` is no SHA-256").hint(hint), hashed);
            continue;
        }
        tokens.push(AdminToken {
            name: name.to_owned(),
            role,
            sha256: text.to_ascii_lowercase(),
        });
    }
    tokens
}

/// Whether who listens at `known` has this address as well: one for all addresses of a kind has
/// each of them.
fn covers(known: &Address, address: &Address) -> bool {
    match (known, address) {
        (Address::Tcp(known), Address::Tcp(address)) => {
            let is_of_all = known.ip().is_unspecified() && known.is_ipv4() == address.is_ipv4();
            // Port 0 is chosen by the kernel.
            let is_same = known.port() == address.port() && address.port() != 0;
            is_same && (is_of_all || known.ip() == address.ip())
        }
        _ => known == address,
    }
}

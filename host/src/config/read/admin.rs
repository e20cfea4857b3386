//! `[admin]`: where the commands reach the process.

use super::server::TakenAddresses;
use super::{Complaint, address, noted};
use crate::config::declared::ADMIN;
use crate::config::model::{Address, AdminConfig};
use crate::config::section::Section;
use crate::config::tree::Value;

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
    let place = node.place.clone();
    Some(AdminConfig { address, place })
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

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
    let chosen_by_the_kernel = matches!(&address, Address::Tcp(socket) if socket.port() == 0);
    if !chosen_by_the_kernel && taken.iter().any(|(known, _)| *known == address) {
        let complaint = Complaint::new(format!(
            "the admin address `{address}` is that of a listener"
        ));
        let hint = "give it a port or a socket of its own: clients must not reach it";
        root.problems.add(complaint.hint(hint).at(&node.place));
    }
    let place = node.place.clone();
    Some(AdminConfig { address, place })
}

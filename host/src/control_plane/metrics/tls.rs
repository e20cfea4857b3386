//! TLS with clients: handshakes, and the ends of certificates.

use std::collections::BTreeMap;

use super::Told;
use crate::metrics::{MetricsText, WorkerSums, families};

pub(super) fn tell(told: &Told<'_>, sums: &WorkerSums, text: &mut MetricsText) {
    for (version, resumed, count) in sums.handshakes() {
        let resumed = if resumed { "true" } else { "false" };
        text.count(&families::HANDSHAKES, &[version, resumed], count);
    }
    text.count(&families::HANDSHAKES_FAILED, &[], sums.handshakes_failed);
    // A listener may have one file twice, for other names.
    let mut ends = BTreeMap::new();
    let snapshot = &told.published.snapshot;
    let binds = snapshot.config.binds();
    for (bind, tls) in binds.iter().zip(&snapshot.tls) {
        for (file, end) in tls.iter().flat_map(|tls| tls.certificate_ends()) {
            let listener = bind.address.to_string();
            ends.insert((listener, file.display().to_string()), end);
        }
    }
    for ((listener, file), end) in &ends {
        text.sample(&families::CERTIFICATE_END, &[listener, file], *end as f64);
    }
    let orders = told.admin.acme.counts();
    text.count(&families::CERTIFICATE_ORDERS, &["issued"], orders.issued);
    text.count(&families::CERTIFICATE_ORDERS, &["failed"], orders.failed);
    for (file, order) in told.admin.acme.statuses() {
        let file = file.display().to_string();
        text.sample(&families::CERTIFICATE_RENEWAL, &[&file], order.next as f64);
    }
}

//! A Consul agent, as far as `/v1/health/service/NAME` goes: blocking queries with an index, which
//! goes backwards where the servers' state is restored ("Blocking Queries").

use std::sync::Arc;
use std::time::Duration;

use serde_json::{Value, json};
use tokio::sync::watch;

use super::{Asked, answer};
use crate::wire::Wire;
use crate::{Origin, origin};

/// The agent.
pub struct Consul {
    origin: Origin,
    catalogue: Arc<watch::Sender<Catalogue>>,
    asked: Arc<watch::Sender<Vec<String>>>,
}

#[derive(Debug, Clone, Default)]
struct Catalogue {
    index: u64,
    /// Counts restores: all queries that wait are answered then.
    restored: u64,
    instances: Vec<Value>,
}

impl Consul {
    /// One that knows these instances.
    pub async fn start(instances: &[Value]) -> Consul {
        Consul::start_at(&origin::reserved(), instances).await
    }

    /// As [`Consul::start`], where another one was.
    pub async fn start_at(address: &str, instances: &[Value]) -> Consul {
        let catalogue = Catalogue {
            index: 10,
            instances: instances.to_vec(),
            ..Catalogue::default()
        };
        let catalogue = Arc::new(watch::Sender::new(catalogue));
        let asked = Arc::new(watch::Sender::new(Vec::new()));
        let (known, noted) = (catalogue.clone(), asked.clone());
        let origin = origin::speaks_at(address, move |wire, _| {
            serve(wire, known.clone(), noted.clone())
        })
        .await;
        Consul {
            origin,
            catalogue,
            asked,
        }
    }

    /// An instance of the service at an address, which passes its checks or does not.
    pub fn instance(address: &str, weight: u32, status: &str) -> Value {
        let (host, port) = address.rsplit_once(':').expect("an address");
        let port: u16 = port.parse().expect("a port");
        json!({
            "Node": { "ID": "", "Node": "node-1", "Address": host, "Datacenter": "dc1" },
            "Service": { "ID": format!("web-{port}"), "Service": "web", "Tags": ["v1"], "Address": "", "Port": port,
                         "Weights": { "Passing": weight, "Warning": 1 } },
            "Checks": [{ "Node": "node-1", "CheckID": "serfHealth", "Status": "passing" },
                       { "Node": "node-1", "CheckID": "http", "Status": status }],
        })
    }

    pub fn address(&self) -> &str {
        self.origin.address()
    }

    /// Knows these instances from now on.
    pub fn has(&self, instances: &[Value]) {
        self.catalogue.send_modify(|catalogue| {
            catalogue.index += 1;
            catalogue.instances = instances.to_vec();
        });
    }

    /// Something else has changed: the index is another one, and the instances are the same.
    pub fn moves_on(&self) {
        self.catalogue.send_modify(|catalogue| catalogue.index += 1);
    }

    /// The state of the servers is restored: with these instances, and an index that is lower.
    pub fn is_restored(&self, instances: &[Value], index: u64) {
        self.catalogue.send_modify(|catalogue| {
            catalogue.index = index;
            catalogue.restored += 1;
            catalogue.instances = instances.to_vec();
        });
    }

    /// The heads of all queries so far.
    pub fn queries(&self) -> Vec<String> {
        self.asked.borrow().clone()
    }

    /// Waits until there were so many queries.
    pub async fn was_asked(&self, times: usize) {
        let mut asked = self.asked.subscribe();
        let waiting = asked.wait_for(|asked| asked.len() >= times);
        let _ = crate::in_time("a query to Consul", waiting).await;
    }

    pub async fn dies(&mut self) {
        self.origin.dies().await;
    }
}

async fn serve(
    mut wire: Wire,
    catalogue: Arc<watch::Sender<Catalogue>>,
    asked: Arc<watch::Sender<Vec<String>>>,
) {
    while let Ok(query) = Asked::read(&mut wire).await {
        asked.send_modify(|asked| asked.push(query.head.clone()));
        let number = |name: &str| {
            let value = query.parameter(name)?.trim_end_matches('s');
            value.parse::<u64>().ok()
        };
        let index = number("index").unwrap_or(0);
        let wait = Duration::from_secs(number("wait").unwrap_or(300));
        let mut known = catalogue.subscribe();
        let restored = known.borrow().restored;
        if index > 0 {
            let is_news =
                |catalogue: &Catalogue| catalogue.index > index || catalogue.restored != restored;
            // Without news the answer is the same again.
            let _ = tokio::time::timeout(wait, known.wait_for(is_news)).await;
        }
        let Catalogue {
            index, instances, ..
        } = known.borrow().clone();
        let instances: Vec<Value> = match query.parameter("passing") {
            Some(_) => instances.into_iter().filter(is_passing).collect(),
            None => instances,
        };
        let lines = format!("X-Consul-Index: {index}\r\n");
        let answer = answer(200, &lines, &json!(instances));
        if wire.try_send(answer).await.is_err() {
            return;
        }
    }
}

fn is_passing(instance: &Value) -> bool {
    let checks = instance["Checks"].as_array().expect("a list");
    checks.iter().all(|check| check["Status"] == "passing")
}

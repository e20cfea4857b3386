//! An API server of Kubernetes, as far as EndpointSlices of one service go: lists, and watches from a
//! version on, with bookmarks, and with 410 for a version that is forgotten ("Kubernetes API
//! Concepts").

use std::collections::BTreeMap;
use std::sync::Arc;

use serde_json::{Value, json};
use tokio::sync::watch;
use tokio_rustls::rustls::ServerConfig;

use super::{Asked, answer};
use crate::wire::Wire;
use crate::{Origin, origin};

/// The API server.
pub struct Kubernetes {
    origin: Origin,
    cluster: Arc<watch::Sender<Cluster>>,
    asked: Arc<watch::Sender<Vec<String>>>,
}

#[derive(Default)]
struct Cluster {
    version: u64,
    slices: BTreeMap<String, Value>,
    events: Vec<(u64, Value)>,
    /// Events up to this one are forgotten.
    forgotten: u64,
    /// Counts how often all watches were ended.
    ended: u64,
    token: String,
}

impl Kubernetes {
    /// One that lets in who has this token.
    pub async fn start(tls: ServerConfig, token: &str) -> Kubernetes {
        let cluster = Cluster {
            version: 100,
            token: token.to_owned(),
            ..Cluster::default()
        };
        let cluster = Arc::new(watch::Sender::new(cluster));
        let asked = Arc::new(watch::Sender::new(Vec::new()));
        let (known, noted) = (cluster.clone(), asked.clone());
        let origin = origin::speaks_with(tls, move |wire, _| {
            serve(wire, known.clone(), noted.clone())
        })
        .await;
        Kubernetes {
            origin,
            cluster,
            asked,
        }
    }

    /// A slice with the port of these addresses, each of which is ready, or terminates.
    pub fn slice(name: &str, endpoints: &[(&str, &str)]) -> Value {
        let (mut port, mut list) = (0, Vec::new());
        for (address, state) in endpoints {
            let (host, own) = address.rsplit_once(':').expect("an address");
            port = own.parse::<u16>().expect("a port");
            let terminates = *state == "terminating";
            let conditions =
                json!({ "ready": !terminates, "serving": true, "terminating": terminates });
            list.push(
                json!({ "addresses": [host], "conditions": conditions, "zone": "zone-a", "nodeName": "node-1" }),
            );
        }
        json!({
            "apiVersion": "discovery.k8s.io/v1", "kind": "EndpointSlice", "addressType": "IPv4",
            "metadata": { "name": name, "labels": { "kubernetes.io/service-name": "web" } },
            "endpoints": list,
            "ports": [{ "name": "http", "port": port, "protocol": "TCP" }],
        })
    }

    pub fn port(&self) -> &str {
        self.origin.address().rsplit_once(':').expect("a port").1
    }

    /// Adds a slice, or changes it.
    pub fn applies(&self, slice: Value) {
        let name = slice["metadata"]["name"]
            .as_str()
            .expect("a name")
            .to_owned();
        self.cluster.send_modify(|cluster| {
            let kind = match cluster.slices.contains_key(&name) {
                true => "MODIFIED",
                false => "ADDED",
            };
            let slice = cluster.happened(kind, slice);
            cluster.slices.insert(name, slice);
        });
    }

    pub fn deletes(&self, name: &str) {
        self.cluster.send_modify(|cluster| {
            let slice = cluster.slices.remove(name).expect("it is there");
            cluster.happened("DELETED", slice);
        });
    }

    /// Much else has happened: watches are told of the version alone.
    pub fn sends_a_bookmark(&self) {
        self.cluster.send_modify(|cluster| {
            cluster.version += 1000;
            cluster.happened("BOOKMARK", json!({ "metadata": {} }));
        });
    }

    /// Ends all watches, as their time is over.
    pub fn ends_watches(&self) {
        self.cluster.send_modify(|cluster| cluster.ended += 1);
    }

    /// Remembers nothing of what has happened so far: a watch from an earlier version gets 410, and
    /// those that there are, end.
    pub fn forgets(&self) {
        self.cluster.send_modify(|cluster| {
            cluster.version += 1;
            cluster.forgotten = cluster.version;
            cluster.ended += 1;
        });
    }

    /// Lets in who has this token, and nobody else.
    pub fn wants(&self, token: &str) {
        self.cluster
            .send_modify(|cluster| cluster.token = token.to_owned());
    }

    /// The heads of all requests so far.
    pub fn requests(&self) -> Vec<String> {
        self.asked.borrow().clone()
    }

    /// Waits until so many of all requests were lists, or watches.
    pub async fn was_asked(&self, part: &str, times: usize) {
        let mut asked = self.asked.subscribe();
        let waiting = asked.wait_for(|asked| {
            let with_part = asked.iter().filter(|head| head.contains(part));
            with_part.count() >= times
        });
        let what = format!("request {times} with {part:?}");
        let _ = crate::in_time(&what, waiting).await;
    }
}

impl Cluster {
    fn happened(&mut self, kind: &str, mut object: Value) -> Value {
        self.version += 1;
        object["metadata"]["resourceVersion"] = json!(self.version.to_string());
        self.events
            .push((self.version, json!({ "type": kind, "object": object })));
        object
    }
}

async fn serve(
    mut wire: Wire,
    cluster: Arc<watch::Sender<Cluster>>,
    asked: Arc<watch::Sender<Vec<String>>>,
) {
    while let Ok(request) = Asked::read(&mut wire).await {
        asked.send_modify(|asked| asked.push(request.head.clone()));
        let mut known = cluster.subscribe();
        let token = format!("authorization: bearer {}\r\n", known.borrow().token);
        let is_let_in = request.head.to_ascii_lowercase().contains(&token);
        let path = "/apis/discovery.k8s.io/v1/namespaces/shop/endpointslices";
        let selector = request.parameter("labelSelector");
        let answer = if !is_let_in {
            answer(401, "", &json!({ "kind": "Status", "code": 401 }))
        } else if request.path != path || selector != Some("kubernetes.io%2Fservice-name%3Dweb") {
            answer(404, "", &json!({ "kind": "Status", "code": 404 }))
        } else if request.parameter("watch") == Some("true") {
            let version = request.parameter("resourceVersion");
            let version = version.and_then(|version| version.parse().ok());
            let version: u64 = version.expect("a watch has a version");
            if watched(&mut wire, &mut known, version).await.is_err() {
                return;
            }
            continue;
        } else {
            let cluster = known.borrow();
            let items: Vec<&Value> = cluster.slices.values().collect();
            let version = cluster.version.to_string();
            let list = json!({ "kind": "EndpointSliceList", "apiVersion": "discovery.k8s.io/v1",
                               "metadata": { "resourceVersion": version }, "items": items });
            answer(200, "", &list)
        };
        if wire.try_send(answer).await.is_err() {
            return;
        }
    }
}

/// Sends what happens behind a version until all watches are ended.
async fn watched(
    wire: &mut Wire,
    known: &mut watch::Receiver<Cluster>,
    mut version: u64,
) -> std::io::Result<()> {
    wire.try_send("HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n")
        .await?;
    let (ended, forgotten) = {
        let cluster = known.borrow();
        (cluster.ended, cluster.forgotten)
    };
    if version < forgotten {
        let status = json!({ "kind": "Status", "code": 410, "reason": "Expired",
                             "message": "too old resource version" });
        let event = json!({ "type": "ERROR", "object": status });
        return wire.try_send(chunk(&event) + "0\r\n\r\n").await;
    }
    loop {
        let (events, is_over) = {
            let cluster = known.borrow_and_update();
            let events = cluster.events.iter().filter(|(at, _)| *at > version);
            let events: Vec<(u64, Value)> = events.cloned().collect();
            (events, cluster.ended != ended)
        };
        if is_over {
            return wire.try_send("0\r\n\r\n").await;
        }
        for (at, event) in events {
            version = at;
            wire.try_send(chunk(&event)).await?;
        }
        if known.changed().await.is_err() {
            return Ok(());
        }
    }
}

fn chunk(event: &Value) -> String {
    let line = format!("{event}\n");
    format!("{:x}\r\n{line}\r\n", line.len())
}

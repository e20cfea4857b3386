//! `servers_from`.

use super::{duration_text, inline_table, text};
use crate::config::model::{NamedFile, ServerSource, SourceKind};

pub(super) fn source(source: &ServerSource) -> String {
    let pair = |key: &str, value: &str| format!("{key} = {}", text(value));
    let path = |key: &str, file: &NamedFile| pair(key, &file.path.display().to_string());
    let mut parts = Vec::new();
    match &source.kind {
        SourceKind::File(file) => parts.push(path("file", file)),
        SourceKind::Http { url, interval } => {
            parts.push(pair("http", &url.to_string()));
            parts.push(pair("interval", &duration_text(*interval)));
        }
        SourceKind::Etcd { url, prefix } => {
            parts.push(pair("etcd", &url.to_string()));
            parts.push(pair("prefix", prefix));
        }
        SourceKind::Consul {
            url,
            service,
            tag,
            passing,
            datacenter,
        } => {
            parts.push(pair("consul", &url.to_string()));
            parts.push(pair("service", service));
            parts.extend(tag.as_ref().map(|tag| pair("tag", tag)));
            parts.push(format!("passing = {passing}"));
            parts.extend(datacenter.as_ref().map(|name| pair("datacenter", name)));
        }
        SourceKind::Kubernetes {
            service,
            namespace,
            port,
            api,
        } => {
            parts.push(pair("kubernetes", service));
            parts.extend(namespace.as_ref().map(|name| pair("namespace", name)));
            parts.extend(port.as_ref().map(|port| pair("port", port)));
            parts.extend(api.as_ref().map(|url| pair("api", &url.to_string())));
        }
    }
    parts.extend(source.ca.as_ref().map(|ca| path("ca", ca)));
    let token = source.token_file.as_ref();
    parts.extend(token.map(|token| path("token_file", token)));
    if !matches!(source.kind, SourceKind::File(_)) {
        parts.push(pair("timeout", &duration_text(source.timeout)));
    }
    parts.push(format!("allow_empty = {}", source.allow_empty));
    parts.extend(source.keep.as_ref().map(|keep| path("keep", keep)));
    inline_table(parts)
}

//! `health_check` and `outliers` of an upstream.

use super::{inline_table, key_text, text, texts};
use crate::config::model::{CheckMethod, CheckQuestion, HealthCheck, HttpCheck, Outliers};
use crate::config::units::duration_text;

pub(super) fn health_check(check: &HealthCheck) -> String {
    let mut parts = match &check.question {
        CheckQuestion::Tcp => vec!["protocol = \"tcp\"".to_owned()],
        CheckQuestion::Grpc { service, host } => {
            let mut parts = vec![
                "protocol = \"grpc\"".to_owned(),
                format!("service = {}", text(service)),
            ];
            parts.extend(host.as_ref().map(|host| format!("host = {}", text(host))));
            parts
        }
        CheckQuestion::Http(question) => http(question),
    };
    let times = [
        ("interval", check.interval),
        ("jitter", check.jitter),
        ("timeout", check.timeout),
    ];
    parts.extend(times.map(|(key, time)| format!("{key} = {}", text(&duration_text(time)))));
    parts.push(format!("rise = {}", check.rise));
    parts.push(format!("fall = {}", check.fall));
    parts.extend(check.port.map(|port| format!("port = {port}")));
    let initial = match check.begins_up {
        true => "up",
        false => "down",
    };
    parts.push(format!("initial = {}", text(initial)));
    inline_table(parts)
}

fn http(check: &HttpCheck) -> Vec<String> {
    let method = match check.method {
        CheckMethod::Get => "GET",
        CheckMethod::Head => "HEAD",
    };
    let mut parts = vec![
        "protocol = \"http\"".to_owned(),
        format!("method = {}", text(method)),
        format!("path = {}", text(&check.path)),
    ];
    parts.extend(
        check
            .host
            .as_ref()
            .map(|host| format!("host = {}", text(host))),
    );
    if !check.headers.is_empty() {
        let fields = check.headers.iter();
        let fields = fields.map(|(name, value)| format!("{} = {}", key_text(name), text(value)));
        parts.push(format!("headers = {}", inline_table(fields)));
    }
    let codes = check
        .expect_status
        .iter()
        .map(|range| match (range.start(), range.end()) {
            (first, last) if first == last => first.to_string(),
            (first, last) => format!("{first}-{last}"),
        });
    parts.push(format!("expect_status = {}", texts(codes)));
    let pattern = check.expect_body.as_ref();
    parts.extend(pattern.map(|pattern| format!("expect_body = {}", text(pattern.0.as_str()))));
    parts
}

pub(super) fn outliers(outliers: &Outliers) -> String {
    inline_table([
        format!("interval = {}", text(&duration_text(outliers.interval))),
        format!("error_rate = {}", outliers.error_rate),
        format!("latency = {}", outliers.latency),
        format!("min_attempts = {}", outliers.min_attempts),
        format!(
            "ejection_time = {}",
            text(&duration_text(outliers.ejection_time))
        ),
        format!(
            "max_ejection_time = {}",
            text(&duration_text(outliers.max_ejection_time))
        ),
        format!("max_ejected = {}", outliers.max_ejected),
    ])
}

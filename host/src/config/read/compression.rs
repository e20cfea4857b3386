//! `compression` and `gunzip`.

use super::{Complaint, noted};
use crate::config::declared::{CODINGS, COMPRESSION_TABLE};
use crate::config::key::Default;
use crate::config::model::Compression;
use crate::config::section::Section;
use crate::config::tree::Value;
use crate::http::content_coding::ContentCoding;
use crate::http::headers::is_token;

/// `None` where the section does not say; `Some(None)` where it says `false`.
pub(super) fn compression(section: &Section<'_>) -> Option<Option<Compression>> {
    let node = section.get("compression")?;
    let table = match &node.value {
        Value::Array(_) => {
            section.wrong_type(node, "compression");
            None
        }
        _ => section.switch_or_table("compression", &COMPRESSION_TABLE),
    };
    Some(table.map(|table| of_table(&table)))
}

fn of_table(table: &Section<'_>) -> Compression {
    let codings = table.words("codings", CODINGS);
    if let Some(node) = table.get("codings")
        && matches!(&node.value, Value::Array(items) if items.is_empty())
    {
        let complaint = Complaint::new("`codings` is an empty list");
        let hint = "to compress nothing write `compression = false`";
        table.problems.add(complaint.hint(hint).at(&node.place));
    }
    Compression {
        codings: codings
            .into_iter()
            .map(|name| match name {
                "br" => ContentCoding::Brotli,
                "zstd" => ContentCoding::Zstd,
                _ => ContentCoding::Gzip,
            })
            .collect(),
        types: types(table),
        min_length: table.size("min_length"),
        gzip_level: table.integer("gzip_level"),
        brotli_level: table.integer("brotli_level"),
        zstd_level: table.integer("zstd_level"),
    }
}

fn types(table: &Section<'_>) -> Vec<String> {
    if table.get("types").is_none() {
        return match table.default("types") {
            Default::Words(words) => words.iter().map(|word| (*word).to_owned()).collect(),
            _ => Vec::new(),
        };
    }
    let given = table.texts("types").into_iter();
    given
        .filter_map(|(text, node)| noted(media_type(text), node, table.problems))
        .collect()
}

/// `text/html`, `text/*`, `application/*+json` or `*`.
fn media_type(text: &str) -> Result<String, Complaint> {
    let named = |part: &str| is_token(part.as_bytes());
    let is_type = match text.split_once('/') {
        Some((class, name)) => named(class) && named(name),
        None => text == "*",
    };
    match is_type && text.matches('*').count() < 2 {
        true => Ok(text.to_ascii_lowercase()),
        false => Err(Complaint::new(format!("`{text}` is not a media type"))
            .hint("write it as `text/html`, `text/*` or `application/*+json`")),
    }
}

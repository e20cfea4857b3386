//! `compression`, as the file writes it.

use super::{inline_table, text, texts};
use crate::config::model::Compression;
use crate::config::units::size_text;

pub(super) fn compression(compression: Option<&Compression>) -> String {
    let Some(compression) = compression else {
        return "false".to_owned();
    };
    let codings = compression.codings.iter().map(|coding| coding.name());
    inline_table([
        format!("codings = {}", texts(codings)),
        format!("types = {}", texts(&compression.types)),
        format!("min_length = {}", text(&size_text(compression.min_length))),
        format!("gzip_level = {}", compression.gzip_level),
        format!("brotli_level = {}", compression.brotli_level),
        format!("zstd_level = {}", compression.zstd_level),
    ])
}

//! `compression`: which answers are compressed, and how.

use crate::http::content_coding::ContentCoding;

/// What is compressed (nginx's `gzip` and its companions).
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Compression {
    /// Those that are offered. Of those that a client likes as much, the first is taken.
    pub codings: Vec<ContentCoding>,
    /// Media types, in lower case; each may have one `*`.
    pub types: Vec<String>,
    /// Shorter bodies are left as they are, default 1 KiB (`gzip_min_length`).
    pub min_length: u64,
    /// 1 to 9, default 5 (`gzip_comp_level`).
    pub gzip_level: u8,
    /// 1 to 9, default 4 (`brotli_comp_level`).
    pub brotli_level: u8,
    /// 1 to 9, default 3 (`zstd_comp_level`).
    pub zstd_level: u8,
}

impl Compression {
    /// Whether it is for bodies of such a `Content-Type`. Calls of gRPC compress for themselves,
    /// message by message.
    pub fn is_for(&self, content_type: &[u8]) -> bool {
        let end = content_type.iter().position(|byte| *byte == b';');
        let media_type = content_type[..end.unwrap_or(content_type.len())].trim_ascii();
        let is_grpc = starts_alike(media_type, b"application/grpc");
        !is_grpc && self.types.iter().any(|pattern| fits(media_type, pattern))
    }
}

fn fits(media_type: &[u8], pattern: &str) -> bool {
    match pattern.split_once('*') {
        None => media_type.eq_ignore_ascii_case(pattern.as_bytes()),
        Some((start, end)) => {
            let behind = media_type.get(start.len()..).unwrap_or_default();
            let tail = behind.len().checked_sub(end.len()).map(|at| &behind[at..]);
            starts_alike(media_type, start.as_bytes())
                && tail.is_some_and(|tail| tail.eq_ignore_ascii_case(end.as_bytes()))
        }
    }
}

fn starts_alike(text: &[u8], start: &[u8]) -> bool {
    text.get(..start.len())
        .is_some_and(|text| text.eq_ignore_ascii_case(start))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_type_fits_its_name_or_what_a_star_leaves_open() {
        let compression = Compression {
            codings: Vec::new(),
            types: ["text/*", "application/json", "application/*+xml"]
                .map(str::to_owned)
                .to_vec(),
            min_length: 0,
            gzip_level: 1,
            brotli_level: 1,
            zstd_level: 1,
        };
        for (content_type, expected) in [
            ("text/html", true),
            ("Text/HTML; charset=utf-8", true),
            ("application/json", true),
            ("application/json ;charset=utf-8", true),
            ("application/jsonp", false),
            ("application/rss+xml", true),
            ("application/+xml", true),
            ("application/xml", false),
            ("application+xml", false),
            ("text", false),
            ("image/png", false),
            ("", false),
        ] {
            let is_for = compression.is_for(content_type.as_bytes());
            assert_eq!(is_for, expected, "{content_type}");
        }
        let all = Compression {
            types: vec!["*".to_owned()],
            ..compression
        };
        assert!(all.is_for(b"image/png"));
        assert!(all.is_for(b""));
        assert!(!all.is_for(b"application/grpc+proto"));
    }
}

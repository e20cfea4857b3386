//! Classes of methods and of statuses: few, whatever clients and servers send.

pub(super) const METHODS: [&str; 8] = [
    "GET", "HEAD", "POST", "PUT", "DELETE", "OPTIONS", "PATCH", "other",
];
pub(super) const STATUSES: [&str; 5] = ["1xx", "2xx", "3xx", "4xx", "5xx"];

/// The place of a method in [`METHODS`].
#[inline]
pub(super) fn method_class(method: &[u8]) -> usize {
    match method {
        b"GET" => 0,
        b"HEAD" => 1,
        b"POST" => 2,
        b"PUT" => 3,
        b"DELETE" => 4,
        b"OPTIONS" => 5,
        b"PATCH" => 6,
        _ => 7,
    }
}

/// The place of a status in [`STATUSES`]. What is above them all is an error to clients (RFC 9110
/// section 15).
#[inline]
pub(super) fn status_class(status: u16) -> usize {
    usize::from(status / 100).clamp(1, STATUSES.len()) - 1
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn classes_are_named_as_what_falls_into_them() {
        for (at, method) in METHODS.iter().enumerate() {
            assert_eq!(method_class(method.as_bytes()), at, "{method}");
        }
        assert_eq!(METHODS[method_class(b"get")], "other");
        let of = |status| STATUSES[status_class(status)];
        assert_eq!([101, 204, 499].map(of), ["1xx", "2xx", "4xx"]);
        assert_eq!([599, 600, 999].map(of), ["5xx"; 3]);
    }
}

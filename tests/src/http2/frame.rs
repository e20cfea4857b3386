//! Frames (RFC 9113, section 4) and header blocks (RFC 7541) as bytes: what a well-behaved library
//! would never send.

use h2::Reason;

/// Frame types, RFC 9113, section 6.
pub mod kind {
    pub const DATA: u8 = 0;
    pub const HEADERS: u8 = 1;
    pub const PRIORITY: u8 = 2;
    pub const RST_STREAM: u8 = 3;
    pub const SETTINGS: u8 = 4;
    pub const PUSH_PROMISE: u8 = 5;
    pub const PING: u8 = 6;
    pub const GOAWAY: u8 = 7;
    pub const WINDOW_UPDATE: u8 = 8;
    pub const CONTINUATION: u8 = 9;
}

/// Flags; some mean something else for another type.
pub mod flag {
    pub const NONE: u8 = 0;
    pub const ACK: u8 = 1;
    pub const END_STREAM: u8 = 1;
    pub const END_HEADERS: u8 = 4;
    pub const PADDED: u8 = 8;
    /// The end of the header block and of the stream.
    pub const WHOLE: u8 = END_HEADERS | END_STREAM;
}

/// Settings, RFC 9113, section 6.5.2, and RFC 8441.
pub mod setting {
    pub const HEADER_TABLE_SIZE: u16 = 1;
    pub const ENABLE_PUSH: u16 = 2;
    pub const MAX_CONCURRENT_STREAMS: u16 = 3;
    pub const INITIAL_WINDOW_SIZE: u16 = 4;
    pub const MAX_FRAME_SIZE: u16 = 5;
    pub const MAX_HEADER_LIST_SIZE: u16 = 6;
    pub const ENABLE_CONNECT_PROTOCOL: u16 = 8;
}

/// A frame, whether it makes sense or not.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Frame {
    pub kind: u8,
    pub flags: u8,
    pub stream: u32,
    pub payload: Vec<u8>,
}

impl Frame {
    pub fn new(kind: u8, flags: u8, stream: u32, payload: impl AsRef<[u8]>) -> Frame {
        Frame {
            kind,
            flags,
            stream,
            payload: payload.as_ref().to_vec(),
        }
    }

    pub fn settings(values: &[(u16, u32)]) -> Frame {
        let payload: Vec<u8> = values
            .iter()
            .flat_map(|(id, value)| [&id.to_be_bytes()[..], &value.to_be_bytes()].concat())
            .collect();
        Frame::new(kind::SETTINGS, flag::NONE, 0, payload)
    }

    /// A whole header block; with `flag::WHOLE` the whole request.
    pub fn headers(stream: u32, flags: u8, fields: &[(&str, &str)]) -> Frame {
        Frame::new(kind::HEADERS, flags, stream, block(fields))
    }

    pub fn data(stream: u32, flags: u8, payload: impl AsRef<[u8]>) -> Frame {
        Frame::new(kind::DATA, flags, stream, payload)
    }

    pub fn reset(stream: u32, reason: Reason) -> Frame {
        let payload = u32::from(reason).to_be_bytes();
        Frame::new(kind::RST_STREAM, flag::NONE, stream, payload)
    }

    pub fn window_update(stream: u32, increment: u32) -> Frame {
        Frame::new(
            kind::WINDOW_UPDATE,
            flag::NONE,
            stream,
            increment.to_be_bytes(),
        )
    }

    pub fn ping() -> Frame {
        Frame::new(kind::PING, flag::NONE, 0, [7; 8])
    }

    pub fn goaway(last_stream: u32, reason: Reason) -> Frame {
        let payload = [last_stream.to_be_bytes(), u32::from(reason).to_be_bytes()].concat();
        Frame::new(kind::GOAWAY, flag::NONE, 0, payload)
    }

    pub fn has(&self, flag: u8) -> bool {
        self.flags & flag != 0
    }

    /// As it goes over the wire, with the length that the payload has.
    pub fn bytes(&self) -> Vec<u8> {
        let length = u32::try_from(self.payload.len()).expect("a frame that fits");
        let mut bytes = length.to_be_bytes()[1..].to_vec();
        bytes.extend([self.kind, self.flags]);
        bytes.extend(self.stream.to_be_bytes());
        bytes.extend(&self.payload);
        bytes
    }

    /// The reason in a RST_STREAM or GOAWAY.
    pub fn reason(&self) -> Reason {
        let at = match self.kind {
            kind::RST_STREAM => 0,
            kind::GOAWAY => 4,
            _ => panic!("no reason in {self:?}"),
        };
        Reason::from(self.number(at))
    }

    /// The last stream that the sender of a GOAWAY may have worked on.
    pub fn last_stream(&self) -> u32 {
        assert_eq!(self.kind, kind::GOAWAY);
        self.number(0)
    }

    fn number(&self, at: usize) -> u32 {
        let bytes = self.payload[at..at + 4].try_into();
        u32::from_be_bytes(bytes.expect("four bytes"))
    }

    /// The status of a response's header block. It comes first, as one of seven in the static table
    /// or as digits.
    pub fn status(&self) -> u16 {
        let mut block = &self.payload[..];
        // Changes of the table's size may precede it.
        while block[0] & 0xe0 == 0x20 {
            let long = block[0] & 0x1f == 0x1f;
            let more = block[1..].iter().take_while(|byte| **byte & 0x80 != 0);
            block = &block[if long { more.count() + 2 } else { 1 }..];
        }
        match block[0] {
            byte @ 0x88..=0x8e => [200, 204, 206, 304, 400, 404, 500][usize::from(byte - 0x88)],
            // A literal, in any of the three kinds, with the name `:status`.
            0x08..=0x0e | 0x18..=0x1e | 0x48..=0x4e => {
                let length = usize::from(block[1] & 0x7f);
                let value = &block[2..2 + length];
                let digits = match block[1] & 0x80 {
                    0 => String::from_utf8_lossy(value).into_owned(),
                    _ => huffman_digits(value),
                };
                digits
                    .parse()
                    .unwrap_or_else(|_| panic!("no status: {digits}"))
            }
            _ => panic!("no status at the start of {self:?}"),
        }
    }
}

/// Decodes three digits (RFC 7541, appendix B: 0 to 2 have five bits, the others six).
fn huffman_digits(bytes: &[u8]) -> String {
    let bits: Vec<u8> = bytes
        .iter()
        .flat_map(|byte| (0..8).rev().map(move |bit| byte >> bit & 1))
        .collect();
    let value = |bits: &[u8]| bits.iter().fold(0u8, |value, bit| value << 1 | bit);
    let mut at = 0;
    let digits = (0..3).map(|_| match value(&bits[at..at + 5]) {
        short @ 0..=2 => {
            at += 5;
            char::from(b'0' + short)
        }
        _ => {
            let long = value(&bits[at..at + 6]);
            at += 6;
            assert!((0x19..=0x1f).contains(&long), "no digit: {long:#x}");
            char::from(b'3' + long - 0x19)
        }
    });
    digits.collect()
}

/// A header block of literals that enter no table, neither shortened nor checked in any way.
pub fn block(fields: &[(&str, &str)]) -> Vec<u8> {
    let mut block = Vec::new();
    for (name, value) in fields {
        block.push(0);
        for text in [name, value] {
            length(&mut block, text.len());
            block.extend(text.as_bytes());
        }
    }
    block
}

/// A length in the seven bits after a zero (RFC 7541, section 5.1).
fn length(block: &mut Vec<u8>, mut length: usize) {
    if length < 127 {
        return block.push(length as u8);
    }
    block.push(127);
    length -= 127;
    while length >= 128 {
        block.push((length % 128) as u8 | 0x80);
        length /= 128;
    }
    block.push(length as u8);
}

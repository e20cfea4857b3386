//! What comes out stands for what went in, however it is cut.

use std::rc::Rc;

use proptest::prelude::*;

use super::compressor::Compressor;
use super::recoder::{Recoder, Recoding};
use super::spare::Spare;
use super::{BadContent, Operation};
use crate::http::content_coding::ContentCoding::{self, Brotli, Gzip, Zstd};

/// Recodes pieces, with a flush behind each where that is wanted.
fn recoded(
    spare: &Rc<Spare>,
    recoding: Recoding,
    pieces: &[&[u8]],
    flushes: bool,
) -> Result<Vec<u8>, BadContent> {
    let mut recoder = Recoder::new(&recoding, spare).ok_or(BadContent::Encoder)?;
    let mut out = Vec::new();
    let mut step = |input: &[u8], operation: Operation| {
        let mut left = input;
        // As much room as is left of an output of which a part is used.
        for filled in (0..).map(|round| round * 7919 % 32_000) {
            let step = recoder.code(left, operation, filled)?;
            left = &left[step.taken..];
            out.extend_from_slice(&recoder.output()[filled..filled + step.written]);
            if step.done && left.is_empty() {
                break;
            }
        }
        Ok::<_, BadContent>(())
    };
    for piece in pieces {
        step(piece, Operation::Take)?;
        if flushes {
            step(&[], Operation::Flush)?;
        }
    }
    step(&[], Operation::Finish)?;
    Ok(out)
}

fn compress(coding: ContentCoding, level: u8, length: Option<u64>) -> Recoding {
    Recoding {
        gunzip: false,
        compress: Some((coding, level)),
        length,
    }
}

const GUNZIP: Recoding = Recoding {
    gunzip: true,
    compress: None,
    length: None,
};

fn unbrotli(coded: &[u8]) -> Vec<u8> {
    let mut plain = Vec::new();
    let decoded = brotli::BrotliDecompress(&mut &coded[..], &mut plain);
    assert!(decoded.is_ok(), "{decoded:?}");
    plain
}

fn unzstd(coded: &[u8]) -> Vec<u8> {
    let mut plain = Vec::new();
    let mut decoder = zstd_safe::DCtx::create();
    let mut from = zstd_safe::InBuffer::around(coded);
    let mut part = vec![0; 64 << 10];
    loop {
        let mut into = zstd_safe::OutBuffer::around(&mut part[..]);
        let left = decoder.decompress_stream(&mut into, &mut from).unwrap();
        plain.extend_from_slice(into.as_slice());
        if left == 0 {
            assert_eq!(from.pos(), coded.len(), "something is behind the frame");
            return plain;
        }
        let is_over = from.pos() == coded.len() && into.pos() < part.len();
        assert!(!is_over, "the frame breaks off");
    }
}

/// Bytes that repeat themselves and bytes that do not.
fn body() -> impl Strategy<Value = Vec<u8>> {
    let part = (any::<u8>(), 1..3000_usize, any::<bool>()).prop_map(|(byte, length, random)| {
        let mut random_bytes = fastrand::Rng::with_seed(u64::from(byte));
        let next = |_| if random { random_bytes.u8(..) } else { byte };
        (0..length).map(next).collect::<Vec<u8>>()
    });
    proptest::collection::vec(part, 0..40).prop_map(|parts| parts.concat())
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(24))]
    #[test]
    fn what_is_compressed_in_any_pieces_is_the_body_again(
        body in body(),
        size in 1..9000_usize,
        level in 1..=9_u8,
        flushes in any::<bool>(),
        known in any::<bool>(),
    ) {
        let spare = Rc::<Spare>::default();
        let pieces: Vec<&[u8]> = body.chunks(size).collect();
        let length = known.then_some(body.len() as u64);
        // Twice: the second time with what the first has left.
        for _ in 0..2 {
            let coded = recoded(&spare, compress(Gzip, level, length), &pieces, flushes).unwrap();
            let coded_pieces: Vec<&[u8]> = coded.chunks(size).collect();
            let plain = recoded(&spare, GUNZIP, &coded_pieces, flushes).unwrap();
            prop_assert_eq!(&plain, &body);
            let both = Recoding { gunzip: true, ..compress(Brotli, level.min(5), None) };
            let anew = recoded(&spare, both, &coded_pieces, flushes).unwrap();
            prop_assert_eq!(&unbrotli(&anew), &body);
        }
        let coded = recoded(&spare, compress(Brotli, level, length), &pieces, flushes).unwrap();
        prop_assert_eq!(&unbrotli(&coded), &body);
        // Twice: the second time with what the first has left.
        for _ in 0..2 {
            let coded = recoded(&spare, compress(Zstd, level, length), &pieces, flushes).unwrap();
            prop_assert_eq!(&unzstd(&coded), &body);
        }
    }

    #[test]
    fn what_is_no_whole_gzip_is_an_error_and_never_more_than_that(
        body in body(),
        cut in any::<proptest::sample::Index>(),
        changed in any::<proptest::sample::Index>(),
        noise in proptest::collection::vec(any::<u8>(), 1..2000),
    ) {
        let spare = Rc::<Spare>::default();
        let coded = recoded(&spare, compress(Gzip, 5, None), &[&body], false).unwrap();
        let part = &coded[..1 + cut.index(coded.len() - 1)];
        prop_assume!(part.len() < coded.len());
        prop_assert_eq!(recoded(&spare, GUNZIP, &[part], false), Err(BadContent::Cut));
        let mut other = coded.clone();
        other[changed.index(coded.len())] ^= 1;
        let _ = recoded(&spare, GUNZIP, &[&other], true);
        let _ = recoded(&spare, GUNZIP, &[&noise], false);
    }
}

#[test]
fn bodies_at_once_take_no_more_memory_than_there_is_for_them() {
    let spare = Rc::<Spare>::default();
    let recoding = compress(Brotli, 4, None);
    let mut under_way = Vec::new();
    while let Some(recoder) = Recoder::new(&recoding, &spare) {
        under_way.push(recoder);
        assert!(under_way.len() < 1000, "without a bound");
    }
    assert!(under_way.len() > 20, "{}", under_way.len());
    assert!(Recoder::new(&recoding, &spare).is_none());
    under_way.pop();
    assert!(Recoder::new(&recoding, &spare).is_some());
}

/// A turn ends by what it was told of: with both steps, most of the work is between them.
#[test]
fn what_goes_from_gunzip_to_a_compressor_is_told_as_work() {
    let spare = Rc::new(Spare::default());
    let plain = vec![0; 8 << 20];
    let gzip = recoded(&spare, compress(Gzip, 9, None), &[&plain], false).unwrap();
    let recoding = Recoding {
        gunzip: true,
        compress: Some((Brotli, 1)),
        length: None,
    };
    let mut recoder = Recoder::new(&recoding, &spare).unwrap();
    let (mut left, mut told) = (&gzip[..], 0);
    while !left.is_empty() {
        let step = recoder.code(left, Operation::Take, 0).unwrap();
        assert!(step.between <= recoder.output().len());
        (left, told) = (&left[step.taken..], told + step.between);
    }
    let most_left = 2 * recoder.output().len();
    assert!(
        (plain.len() - most_left..=plain.len()).contains(&told),
        "{told}"
    );
}

#[test]
fn an_encoder_of_zstd_takes_what_it_is_counted_with_and_a_window_that_every_client_has() {
    let noise: Vec<u8> = (0..3 << 20).map(|_| fastrand::u8(..)).collect();
    for level in 1..=9 {
        let mut compressor = Compressor::zstd(level).unwrap();
        let mut out = vec![0; 64 << 10];
        let (mut left, mut coded) = (&noise[..], Vec::new());
        while !left.is_empty() {
            let step = compressor.code(left, Operation::Take, &mut out).unwrap();
            left = &left[step.taken..];
            coded.extend_from_slice(&out[..step.written]);
        }
        let Compressor::Zstd(state, _) = &compressor else {
            panic!("it is one of zstd")
        };
        assert!(
            state.sizeof() <= Compressor::memory(Zstd),
            "{level}: {}",
            state.sizeof()
        );
        // RFC 8878 section 3.1.1.1: behind the magic number, what the header has, then the window.
        assert_eq!(coded[4] & 0b0010_0000, 0, "a frame of one segment");
        let (exponent, mantissa) = (u64::from(coded[5] >> 3), u64::from(coded[5] & 7));
        let base = 1 << (10 + exponent);
        assert!(base + base / 8 * mantissa <= 8 << 20, "{level}");
    }
}

#[test]
fn after_a_body_that_was_given_up_an_encoder_begins_anew() {
    let spare = Rc::<Spare>::default();
    let recoding = compress(Zstd, 3, Some(1000));
    let mut recoder = Recoder::new(&recoding, &spare).unwrap();
    recoder.code(b"a part", Operation::Take, 0).unwrap();
    drop(recoder);
    let coded = recoded(&spare, compress(Zstd, 3, None), &[b"another"], false).unwrap();
    assert_eq!(unzstd(&coded), b"another");
}

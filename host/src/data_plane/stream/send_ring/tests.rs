#![allow(clippy::unwrap_used, reason = "a test's unwrap is its failure")]

use std::io::Read;
use std::os::fd::AsFd;
use std::os::unix::net::UnixStream;
use std::panic::{AssertUnwindSafe, catch_unwind};

use io_uring::squeue;
use rustix::net::sockopt::set_socket_send_buffer_size;

use super::*;

/// A socket, and its peer. The kernel takes some bytes of a large message only.
fn pair() -> (UnixStream, UnixStream) {
    let (ours, theirs) = UnixStream::pair().unwrap();
    set_socket_send_buffer_size(&ours, 1).unwrap();
    theirs.set_nonblocking(true).unwrap();
    (ours, theirs)
}

fn received(peer: &mut UnixStream) -> Vec<u8> {
    let mut bytes = vec![0; 64 << 10];
    let length = peer.read(&mut bytes).unwrap_or(0);
    bytes.truncate(length);
    bytes
}

fn ring(messages: usize) -> Option<SendRing> {
    io_uring_is_allowed().then(|| SendRing::open(messages).unwrap())
}

/// Whether the kernel allows it, asked without what is tested.
pub(in super::super) fn io_uring_is_allowed() -> bool {
    let mut builder = IoUring::<squeue::Entry>::builder();
    let asked = builder.setup_single_issuer().setup_defer_taskrun();
    let refused = asked.build(1).err();
    if let Some(error) = &refused {
        eprintln!(
            "SKIPPED: {error}: io_uring needs Linux 6.1, kernel.io_uring_disabled=0, and no seccomp \
             profile against it"
        );
        assert!(
            std::env::var_os("CI").is_none(),
            "CI runs where io_uring is allowed, and it is not"
        );
    }
    refused.is_none()
}

#[test]
fn what_has_become_of_each_message_is_told_at_its_place() {
    let Some(mut ring) = ring(8) else { return };
    let mut pairs: Vec<_> = (0..4).map(|_| pair()).collect();
    let (full, _full_peer) = pair();
    while rustix::net::send(&full, &[0; 16], SendFlags::DONTWAIT).is_ok() {}
    let (left, peer) = pair();
    drop(peer);
    let large = [b'l'; 16 << 10];
    for _ in 0..2 {
        let message = |at: usize, bytes| Some((pairs[at].0.as_fd(), bytes));
        let messages = [
            message(0, &b"first"[..]),
            None,
            Some((full.as_fd(), b"full")),
            message(1, b"second"),
            Some((left.as_fd(), b"left")),
            message(2, &large),
            None,
            message(3, b"last"),
        ];
        let results = ring.send(messages.into_iter());
        let Some(Ok(taken)) = results[5] else {
            panic!("{results:?}")
        };
        assert!((1..large.len()).contains(&taken));
        let expected = [
            Some(Ok(5)),
            None,
            Some(Err(Errno::AGAIN)),
            Some(Ok(6)),
            Some(Err(Errno::PIPE)),
            Some(Ok(taken)),
            None,
            Some(Ok(4)),
        ];
        assert_eq!(results, expected);
        for (at, bytes) in [(0, &b"first"[..]), (1, b"second"), (3, b"last")] {
            assert_eq!(received(&mut pairs[at].1), bytes);
        }
        assert_eq!(received(&mut pairs[2].1).len(), taken);
    }
    assert!(ring.is_open());
}

#[test]
fn messages_that_it_has_no_room_for_and_all_of_a_closed_one_are_left() {
    let mut pairs: Vec<_> = (0..3).map(|_| pair()).collect();
    let sent = |ring: &mut SendRing, pairs: &[(UnixStream, UnixStream)]| {
        let messages = pairs
            .iter()
            .map(|(ours, _)| Some((ours.as_fd(), &b"ab"[..])));
        ring.send(messages).to_vec()
    };
    assert_eq!(sent(&mut { SendRing::CLOSED }, &pairs), []);
    if let Some(mut ring) = ring(2) {
        assert_eq!(sent(&mut ring, &pairs), [Some(Ok(2)), Some(Ok(2))]);
        assert_eq!(received(&mut pairs[1].1), b"ab");
        assert_eq!(received(&mut pairs[2].1), b"");
    }
}

#[test]
fn send_has_the_last_word_where_an_error_may_be_the_rings_own() {
    // They cannot be had of the kernel at will.
    for errno in [
        Errno::ACCESS,
        Errno::CANCELED,
        Errno::INVAL,
        Errno::NOMEM,
        Errno::OPNOTSUPP,
    ] {
        assert_eq!(outcome(-errno.raw_os_error()), None);
    }
    for errno in [Errno::AGAIN, Errno::CONNRESET, Errno::PIPE, Errno::TIMEDOUT] {
        assert_eq!(outcome(-errno.raw_os_error()), Some(Err(errno)));
    }
}

#[test]
fn a_panic_on_the_way_closes_it_with_all_that_was_put_in() {
    let Some(mut ring) = ring(4) else { return };
    let (ours, mut theirs) = pair();
    let messages = std::iter::once(Some((ours.as_fd(), &b"message"[..])));
    let messages = messages.chain(std::iter::from_fn(|| panic!("as a test wants it")));
    let panicked = catch_unwind(AssertUnwindSafe(|| ring.send(messages).len()));
    assert!(panicked.is_err() && !ring.is_open());
    assert_eq!(received(&mut theirs), b"");
}

#![allow(clippy::unwrap_used, reason = "a test's unwrap is its failure")]
#![allow(
    clippy::disallowed_methods,
    reason = "a test that waits in vain is given up"
)]

use std::io::{Read, Write};
use std::os::unix::net::UnixStream as Peer;
use std::task::Context;

use rustix::net::SendFlags;
use rustix::net::sockopt::set_socket_send_buffer_size;
use tokio::net::UnixStream;

use super::super::send_ring::io_uring_is_allowed;
use super::super::{Reader, SplicePipe, Stream, Writer};
use super::*;

/// Longer than any test needs.
const PATIENCE: Duration = Duration::from_secs(60);

/// What is deferred on this thread from now on has waited for long when so much time has passed.
fn wait_for(longest: Duration) {
    DEFERRED.with_borrow_mut(|deferred| deferred.longest = longest);
}

/// Runs on a thread whose small messages are deferred, however slow it is: once where each leaves by
/// its own system call, once by that of io_uring.
fn on_worker(test: impl AsyncFn()) {
    for by_io_uring in [false, true] {
        let mut builder = tokio::runtime::Builder::new_current_thread();
        let runtime = builder.enable_all().build_local(Default::default());
        runtime.unwrap().block_on(async {
            wait_for(Duration::MAX);
            let mut tasks = JoinSet::new();
            let deferring = Deferring::begin(&mut tasks);
            deferring.use_io_uring(by_io_uring);
            if by_io_uring && !io_uring_is_allowed() {
                return;
            }
            others_have_their_turn().await;
            tokio::time::timeout(PATIENCE, test()).await.unwrap();
            assert_eq!(is_by_io_uring(), by_io_uring);
        });
    }
}

fn is_by_io_uring() -> bool {
    DEFERRED.with_borrow(|deferred| deferred.ring.is_open())
}

async fn others_have_their_turn() {
    tokio::task::spawn_local(async {}).await.unwrap();
}

/// A connection, and its peer, who does not wait for anything.
fn pair() -> ((Reader, Writer), Peer) {
    let (ours, theirs) = Peer::pair().unwrap();
    ours.set_nonblocking(true).unwrap();
    theirs.set_nonblocking(true).unwrap();
    let ours = Stream::unix(UnixStream::from_std(ours).unwrap());
    (ours.split(), theirs)
}

fn received(peer: &mut Peer) -> Vec<u8> {
    let mut bytes = Vec::new();
    match peer.read_to_end(&mut bytes) {
        Ok(_) => bytes.extend_from_slice(b"<end>"),
        Err(error) => assert_eq!(error.kind(), io::ErrorKind::WouldBlock),
    }
    bytes
}

/// Sends until the kernel takes no more; how many bytes that were.
async fn fill(writer: &Writer) -> usize {
    let fill = |socket: BorrowedFd<'_>| {
        let mut filled = 0;
        for size in [4096, 1] {
            let bytes = &[b'f'; 4096][..size];
            while let Ok(sent) = rustix::net::send(socket, bytes, SendFlags::DONTWAIT) {
                filled += sent;
            }
        }
        Ok(filled)
    };
    poll_fn(|cx| writer.poll_call(cx, fill)).await.unwrap()
}

/// Writes a whole message; whether it is deferred.
async fn defer(writer: &mut Writer, first: &[u8], second: &[u8]) -> bool {
    writer.defer_next();
    let written = poll_fn(|cx| writer.poll_write(cx, first, second)).await;
    assert_eq!(written.unwrap(), first.len() + second.len());
    let message = [first, second].concat();
    DEFERRED.with_borrow(|deferred| deferred.bytes.ends_with(&message))
}

async fn write(writer: &mut Writer, bytes: &[u8]) -> io::Result<usize> {
    poll_fn(|cx| writer.poll_write(cx, bytes, &[])).await
}

#[test]
fn a_message_leaves_behind_the_tasks_that_are_ready() {
    on_worker(async || {
        let ((_reader, mut writer), mut peer) = pair();
        let mut other = peer.try_clone().unwrap();
        let ready = tokio::task::spawn_local(async move { received(&mut other) });
        assert!(defer(&mut writer, b"he", b"ad").await);
        let late = tokio::task::spawn_local(async move { received(&mut peer) });
        assert_eq!(ready.await.unwrap(), b"");
        assert_eq!(late.await.unwrap(), b"head");
    });
}

#[test]
fn messages_leave_in_their_order_and_one_each() {
    on_worker(async || {
        let mut pairs: Vec<_> = (0..3).map(|_| pair()).collect();
        for (number, ((_, writer), _)) in pairs.iter_mut().enumerate() {
            assert!(defer(writer, &[b'0' + number as u8; 4000], b"").await);
        }
        others_have_their_turn().await;
        for (number, (_, peer)) in pairs.iter_mut().enumerate() {
            assert_eq!(received(peer), [b'0' + number as u8; 4000]);
        }
        let ((_, writer), peer) = &mut pairs[1];
        assert!(defer(writer, b"next", b"").await);
        others_have_their_turn().await;
        assert_eq!(received(peer), b"next");
    });
}

#[test]
fn where_nobody_sends_what_is_large_or_need_not_wait_leaves_at_once() {
    on_worker(async || {
        let ((_reader, mut writer), mut peer) = pair();
        assert!(!defer(&mut writer, &[0; SMALL / 2], &[0; SMALL / 2 + 1]).await);
        assert_eq!(received(&mut peer).len(), SMALL + 1);
        assert!(defer(&mut writer, &[0; SMALL / 2], &[0; SMALL / 2]).await);
        assert_eq!(received(&mut peer), b"");
        others_have_their_turn().await;
        assert_eq!(received(&mut peer).len(), SMALL);
        assert!(defer(&mut writer, b"more", b"").await);
        // Nobody has asked for it.
        assert_eq!(write(&mut writer, b"and more").await.unwrap(), 8);
        assert_eq!(received(&mut peer), b"moreand more");
    });
    let mut builder = tokio::runtime::Builder::new_current_thread();
    let runtime = builder.enable_all().build_local(Default::default());
    runtime.unwrap().block_on(async {
        let ((_reader, mut writer), mut peer) = pair();
        assert!(!defer(&mut writer, b"head", b"").await);
        assert_eq!(received(&mut peer), b"head");
    });
}

#[test]
fn as_many_as_may_wait_leave_before_one_more_does() {
    on_worker(async || {
        let mut pairs: Vec<_> = (0..=MESSAGES).map(|_| pair()).collect();
        let mut first = pairs[0].1.try_clone().unwrap();
        for ((_, writer), _) in &mut pairs {
            assert_eq!(received(&mut first), b"");
            assert!(defer(writer, b"head", b"").await);
        }
        let (last, others) = pairs.split_last_mut().unwrap();
        for (_, peer) in others {
            assert_eq!(received(peer), b"head");
        }
        assert_eq!(received(&mut last.1), b"");
        others_have_their_turn().await;
        assert_eq!(received(&mut last.1), b"head");
        // As many bytes as may wait.
        for (number, ((_, writer), _)) in pairs[..=BYTES / SMALL].iter_mut().enumerate() {
            assert!(defer(writer, &[number as u8; SMALL], b"").await);
        }
        assert_eq!(received(&mut pairs[0].1).len(), SMALL);
        assert_eq!(received(&mut pairs[BYTES / SMALL].1), b"");
    });
}

#[test]
fn one_that_has_waited_for_long_leaves_before_the_next_one_waits() {
    on_worker(async || {
        let ((_reader, mut writer), mut peer) = pair();
        let ((_other_reader, mut other), mut other_peer) = pair();
        wait_for(Duration::ZERO);
        assert!(defer(&mut writer, b"head", b"").await);
        assert_eq!(received(&mut peer), b"");
        assert!(defer(&mut other, b"other", b"").await);
        assert_eq!(received(&mut peer), b"head");
        assert_eq!(received(&mut other_peer), b"");
    });
}

#[test]
fn whatever_is_done_next_is_done_behind_a_deferred_message() {
    on_worker(async || {
        let ((_reader, mut writer), mut peer) = pair();
        assert!(defer(&mut writer, b"head ", b"").await);
        assert_eq!(write(&mut writer, b"body ").await.unwrap(), 5);
        assert_eq!(received(&mut peer), b"head body ");

        assert!(defer(&mut writer, b"head ", b"").await);
        let ahead = poll_fn(|cx| writer.poll_write_ahead(cx, b"ahead "));
        assert_eq!(ahead.await.unwrap(), 6);
        assert_eq!(received(&mut peer), b"head ahead ");

        let ((source, _source_writer), mut source_peer) = pair();
        source_peer.write_all(b"spliced").unwrap();
        let mut pipe = SplicePipe::new().unwrap();
        let moved = poll_fn(|cx| source.poll_splice(cx, &mut pipe, 64)).await;
        assert_eq!(moved.unwrap(), Some(7));
        assert!(defer(&mut writer, b"head ", b"").await);
        let moved = poll_fn(|cx| writer.poll_splice(cx, &mut pipe)).await;
        assert_eq!(moved.unwrap(), 7);
        assert_eq!(received(&mut peer), b"head spliced");

        assert!(defer(&mut writer, b"last", b"").await);
        poll_fn(|cx| writer.poll_shutdown(cx)).await.unwrap();
        assert_eq!(received(&mut peer), b"last<end>");
        others_have_their_turn().await;
    });
}

#[test]
fn a_connection_that_is_closed_sends_what_was_deferred_first() {
    on_worker(async || {
        let ((reader, mut writer), mut peer) = pair();
        assert!(defer(&mut writer, b"last", b"").await);
        drop((reader, writer));
        others_have_their_turn().await;
        assert_eq!(received(&mut peer), b"last<end>");
    });
}

#[test]
fn a_connection_is_whole_again_behind_a_deferred_message() {
    on_worker(async || {
        let ((reader, mut writer), mut peer) = pair();
        assert!(defer(&mut writer, b"head", b"").await);
        assert!(Stream::reunite(reader, writer).is_some());
        assert_eq!(received(&mut peer), b"head<end>");
    });
}

/// Waits until the task is woken because something is stuck.
async fn stuck(writer: &Writer) {
    let looks = |_: &mut Context<'_>| match writer.is_stuck() {
        true => Poll::Ready(()),
        false => Poll::Pending,
    };
    poll_fn(looks).await;
}

#[test]
fn what_the_kernel_does_not_take_wakes_its_task_and_leaves_before_what_comes_next() {
    on_worker(async || {
        let ((_reader, mut writer), mut peer) = pair();
        let filled = fill(&writer).await;
        assert!(defer(&mut writer, b"deferred", b"").await);
        assert!(writer.is_deferred() && !writer.is_stuck());
        stuck(&writer).await;
        assert!(writer.is_deferred());
        let nobody = &mut Context::from_waker(Waker::noop());
        assert!(writer.poll_settle(nobody).is_pending());
        assert!(writer.is_stuck());
        let next = tokio::task::spawn_local(async move {
            let written = write(&mut writer, b"next").await;
            assert!(!writer.is_deferred());
            (written, writer)
        });
        others_have_their_turn().await;
        assert!(!next.is_finished());
        let mut bytes = Vec::new();
        while !bytes.ends_with(b"next") {
            bytes.extend(received(&mut peer));
            others_have_their_turn().await;
        }
        assert_eq!(next.await.unwrap().0.unwrap(), 4);
        assert_eq!(&bytes[filled..], b"deferrednext");
    });
}

#[test]
fn a_message_that_the_kernel_takes_in_part_is_settled_by_and_by() {
    on_worker(async || {
        let ((_reader, mut writer), mut peer) = pair();
        let small = |socket: BorrowedFd<'_>| Ok(set_socket_send_buffer_size(socket, 1)?);
        poll_fn(|cx| writer.poll_call(cx, small)).await.unwrap();
        let message: Vec<_> = (0..SMALL).map(|at| (at % 251) as u8).collect();
        assert!(defer(&mut writer, &message, b"").await);
        stuck(&writer).await;
        let mut bytes = received(&mut peer);
        assert!(!bytes.is_empty() && bytes.len() < SMALL);
        let mut settles = 0;
        loop {
            let settled = poll_fn(|cx| Poll::Ready(writer.poll_settle(cx))).await;
            if settled.map(Result::unwrap) == Poll::Ready(true) {
                break;
            }
            settles += 1;
            bytes.extend(received(&mut peer));
            others_have_their_turn().await;
        }
        assert!(!writer.is_deferred() && settles > 1);
        assert_eq!(bytes, message);
        // What nobody has deferred is settled.
        let settled = poll_fn(|cx| writer.poll_settle(cx)).await;
        assert!(settled.unwrap());
    });
}

#[test]
fn each_learns_of_its_own_message_where_one_between_has_left_before() {
    on_worker(async || {
        let mut pairs: Vec<_> = (0..5).map(|_| pair()).collect();
        let filled = fill(&pairs[2].0.1).await;
        for ((_, writer), _) in &mut pairs {
            assert!(defer(writer, b"message", b"").await);
        }
        let (_, before) = &mut pairs[1].0;
        assert!(poll_fn(|cx| before.poll_settle(cx)).await.unwrap());
        stuck(&pairs[2].0.1).await;
        for (at, ((_, writer), peer)) in pairs.iter_mut().enumerate() {
            assert_eq!(writer.is_stuck(), at == 2);
            let bytes = received(peer);
            match at {
                2 => assert_eq!(bytes.len(), filled),
                _ => assert_eq!(bytes, b"message"),
            }
        }
    });
}

#[test]
fn what_is_stuck_is_forgotten_with_its_connection() {
    on_worker(async || {
        let ((reader, mut writer), _peer) = pair();
        fill(&writer).await;
        assert!(defer(&mut writer, b"deferred", b"").await);
        stuck(&writer).await;
        drop((reader, writer));
        DEFERRED.with_borrow(|deferred| {
            assert!(deferred.stuck.is_empty() && deferred.messages.is_empty());
        });
    });
}

#[test]
fn that_a_message_could_not_be_sent_shows_at_what_is_done_next() {
    on_worker(async || {
        let ((_reader, mut writer), peer) = pair();
        drop(peer);
        assert!(defer(&mut writer, b"deferred", b"").await);
        stuck(&writer).await;
        writer.defer_next();
        let error = write(&mut writer, b"next").await.unwrap_err();
        assert_eq!(error.kind(), io::ErrorKind::BrokenPipe);
        assert!(!writer.is_deferred(), "told once");
    });
}

#[test]
fn one_that_has_waited_for_long_leaves_at_the_end_of_a_turn() {
    on_worker(async || {
        let ((_reader, mut writer), mut peer) = pair();
        assert!(defer(&mut writer, b"head", b"").await);
        in_turn(|| ());
        assert_eq!(received(&mut peer), b"");
        send_deferred();
        assert_eq!(received(&mut peer), b"head");
        wait_for(Duration::ZERO);
        assert!(defer(&mut writer, b"next", b"").await);
        assert_eq!(received(&mut peer), b"");
        in_turn(|| ());
        assert_eq!(received(&mut peer), b"next");
    });
}

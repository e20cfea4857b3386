//! The event loop, as the DNS library wants to see it.
//!
//! The library's own adapter brings tokio's scheduler for several threads into the whole program:
//! every socket then is larger, and asks which scheduler it belongs to.

use std::future::Future;
use std::io;
use std::net::SocketAddr;
use std::pin::Pin;
use std::task::{Context, Poll};
use std::time::Duration;

use async_trait::async_trait;
use futures_io::{AsyncRead, AsyncWrite};
use hickory_resolver::net::runtime::{DnsTcpStream, DnsUdpSocket, RuntimeProvider, Spawn, Time};
use tokio::io::ReadBuf;
use tokio::net::{TcpSocket, TcpStream, UdpSocket};

/// The event loop of the thread that asks.
#[derive(Clone, Copy)]
pub(super) struct EventLoop;

type Opening<T> = Pin<Box<dyn Send + Future<Output = io::Result<T>>>>;

impl RuntimeProvider for EventLoop {
    type Handle = EventLoop;
    type Timer = EventLoop;
    type Udp = Datagrams;
    type Tcp = Connection;

    fn create_handle(&self) -> EventLoop {
        EventLoop
    }

    fn connect_tcp(
        &self,
        server: SocketAddr,
        from: Option<SocketAddr>,
        limit: Option<Duration>,
    ) -> Opening<Connection> {
        Box::pin(async move {
            let socket = match server {
                SocketAddr::V4(_) => TcpSocket::new_v4(),
                SocketAddr::V6(_) => TcpSocket::new_v6(),
            }?;
            if let Some(from) = from {
                socket.bind(from)?;
            }
            socket.set_nodelay(true)?;
            let connecting = socket.connect(server);
            let connected = match limit {
                Some(limit) => tokio::time::timeout(limit, connecting).await?,
                // The question has a limit of its own.
                None => connecting.await,
            };
            Ok(Connection(connected?))
        })
    }

    fn bind_udp(&self, local: SocketAddr, _server: SocketAddr) -> Opening<Datagrams> {
        Box::pin(async move { Ok(Datagrams(UdpSocket::bind(local).await?)) })
    }
}

impl Spawn for EventLoop {
    fn spawn_bg(&mut self, work: impl Future<Output = ()> + Send + 'static) {
        tokio::spawn(work);
    }
}

#[async_trait]
impl Time for EventLoop {
    async fn delay_for(duration: Duration) {
        tokio::time::sleep(duration).await;
    }

    async fn timeout<F: 'static + Future + Send>(
        duration: Duration,
        work: F,
    ) -> io::Result<F::Output> {
        Ok(tokio::time::timeout(duration, work).await?)
    }
}

/// A socket of UDP.
pub(super) struct Datagrams(UdpSocket);

impl DnsUdpSocket for Datagrams {
    type Time = EventLoop;

    fn poll_recv_from(
        &self,
        cx: &mut Context<'_>,
        bytes: &mut [u8],
    ) -> Poll<io::Result<(usize, SocketAddr)>> {
        let mut buffer = ReadBuf::new(bytes);
        let received = self.0.poll_recv_from(cx, &mut buffer);
        received.map_ok(|peer| (buffer.filled().len(), peer))
    }

    fn poll_send_to(
        &self,
        cx: &mut Context<'_>,
        bytes: &[u8],
        server: SocketAddr,
    ) -> Poll<io::Result<usize>> {
        self.0.poll_send_to(cx, bytes, server)
    }
}

/// A connection of TCP.
pub(super) struct Connection(TcpStream);

impl DnsTcpStream for Connection {
    type Time = EventLoop;
}

impl AsyncRead for Connection {
    fn poll_read(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        bytes: &mut [u8],
    ) -> Poll<io::Result<usize>> {
        let mut buffer = ReadBuf::new(bytes);
        let read = tokio::io::AsyncRead::poll_read(Pin::new(&mut self.0), cx, &mut buffer);
        read.map_ok(|()| buffer.filled().len())
    }
}

impl AsyncWrite for Connection {
    fn poll_write(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        bytes: &[u8],
    ) -> Poll<io::Result<usize>> {
        tokio::io::AsyncWrite::poll_write(Pin::new(&mut self.0), cx, bytes)
    }

    fn poll_flush(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        tokio::io::AsyncWrite::poll_flush(Pin::new(&mut self.0), cx)
    }

    fn poll_close(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        tokio::io::AsyncWrite::poll_shutdown(Pin::new(&mut self.0), cx)
    }
}

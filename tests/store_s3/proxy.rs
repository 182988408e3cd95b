//! A TCP proxy that can swallow a server's answer after the server has acted.

use std::io::{self, Read, Write};
use std::net::{Shutdown, SocketAddr, TcpListener, TcpStream};
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::thread;

#[derive(Debug, Default)]
struct Losses {
    planned: AtomicUsize,
    done: AtomicUsize,
}

/// Listens on a free port of 127.0.0.1 until the test process ends.
#[derive(Debug)]
pub(crate) struct Proxy {
    address: SocketAddr,
    losses: Arc<Losses>,
}

impl Proxy {
    /// A proxy that passes everything on to `server`.
    pub(crate) fn before(server: SocketAddr) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let address = listener.local_addr().unwrap();
        let losses = Arc::new(Losses::default());
        let shared = Arc::clone(&losses);
        thread::spawn(move || {
            for client in listener.incoming() {
                let losses = Arc::clone(&shared);
                thread::spawn(move || pass_on(client.unwrap(), server, &losses));
            }
        });
        Self { address, losses }
    }

    pub(crate) fn address(&self) -> SocketAddr {
        self.address
    }

    /// Swallows the next `count` answers, each with its connection.
    pub(crate) fn lose_answers(&self, count: usize) {
        self.losses.planned.store(count, Ordering::SeqCst);
    }

    /// Answers swallowed so far.
    pub(crate) fn lost(&self) -> usize {
        self.losses.done.load(Ordering::SeqCst)
    }
}

fn pass_on(mut client: TcpStream, server: SocketAddr, losses: &Losses) {
    let Ok(mut upstream) = TcpStream::connect(server) else { return };
    let (mut from_client, mut to_server) = (client.try_clone().unwrap(), upstream.try_clone().unwrap());
    thread::spawn(move || {
        io::copy(&mut from_client, &mut to_server).ok();
        to_server.shutdown(Shutdown::Write).ok();
    });
    let mut buffer = [0; 65_536];
    while let Ok(length @ 1..) = upstream.read(&mut buffer) {
        let take_one = |left: usize| left.checked_sub(1);
        if losses.planned.fetch_update(Ordering::SeqCst, Ordering::SeqCst, take_one).is_ok() {
            losses.done.fetch_add(1, Ordering::SeqCst);
            break;
        }
        if client.write_all(&buffer[..length]).is_err() {
            break;
        }
    }
    client.shutdown(Shutdown::Both).ok();
    upstream.shutdown(Shutdown::Both).ok();
}

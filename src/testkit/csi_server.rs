//! A snapshot metadata service for tests: honest by itself, and as crooked as a test wants it, over both wires.
#![allow(clippy::expect_used, reason = "a test helper fails by panicking")]

use std::io;
use std::net::SocketAddr;
use std::path::Path;
use std::pin::Pin;
use std::sync::{Arc, Mutex, PoisonError};
use std::thread::{self, JoinHandle};

use futures::future::select;
use futures::stream;
use tokio::net::{TcpListener, UnixListener};
use tokio::runtime::{Builder, Runtime};
use tokio::sync::oneshot;
use tonic::transport::server::Router;
use tonic::transport::{Identity, Server, ServerTlsConfig};

use crate::base::extent::Extent;
use crate::rpc::wire::csi::v1::snapshot_metadata_server::SnapshotMetadataServer as DriverServer;
use crate::rpc::wire::snapshotmetadata::snapshot_metadata_server::SnapshotMetadataServer as SidecarServer;

mod script;
mod services;

pub use script::{Call, Script, Step, cut, fail, honest, message, raw};
pub use tonic::Code;

use services::Service;

/// What the service knows: a volume, and the ranges that it tells of it, whichever snapshots are named.
#[derive(Debug, Clone)]
pub struct Volume {
    /// Size in bytes.
    pub capacity: u64,
    /// Ranges, ascending.
    pub extents: Vec<Extent>,
    /// Blocks of one length.
    pub is_fixed: bool,
    /// Ranges in a message.
    pub in_a_message: usize,
}

/// Calls so far, in order.
pub type Calls = Arc<Mutex<Vec<Call>>>;

/// A running service; it ends when dropped.
#[derive(Debug)]
pub struct CsiServer {
    address: String,
    calls: Calls,
    stop: Option<oneshot::Sender<()>>,
    thread: Option<JoinHandle<()>>,
}

impl CsiServer {
    /// On a socket at `path`.
    ///
    /// # Panics
    /// When it cannot be started, as all of these.
    #[must_use]
    pub fn on_socket(path: &Path, volume: Volume, script: Script) -> Self {
        let address = format!("unix://{}", path.display());
        let path = path.to_owned();
        Self::start(volume, script, Server::builder(), |runtime, router| {
            let _inside = runtime.enter();
            let listener = UnixListener::bind(path).expect("the socket can be bound");
            let accepted = stream::unfold(listener, |listener| async {
                let connection = listener.accept().await.map(|(connection, _)| connection);
                Some((connection, listener))
            });
            (address, Box::pin(async move { drop(router.serve_with_incoming(accepted).await) }))
        })
    }

    /// On a port of loopback, in the clear.
    #[must_use]
    pub fn on_port(volume: Volume, script: Script) -> Self {
        Self::on_loopback("http", volume, script, Server::builder())
    }

    /// On a port of loopback over TLS, with a certificate and its key as PEM.
    ///
    /// # Panics
    /// When they cannot be used.
    #[must_use]
    pub fn over_tls(certificate: &str, key: &str, volume: Volume, script: Script) -> Self {
        let tls = ServerTlsConfig::new().identity(Identity::from_pem(certificate, key));
        let server = Server::builder().tls_config(tls).expect("the certificate can be used");
        Self::on_loopback("https", volume, script, server)
    }

    fn on_loopback(scheme: &'static str, volume: Volume, script: Script, server: Server) -> Self {
        Self::start(volume, script, server, |runtime, router| {
            let listener = runtime.block_on(TcpListener::bind("127.0.0.1:0")).expect("loopback has a free port");
            let address: SocketAddr = listener.local_addr().expect("a bound socket has an address");
            let accepted = stream::unfold(listener, |listener| async {
                let connection: io::Result<_> = listener.accept().await.map(|(connection, _)| connection);
                Some((connection, listener))
            });
            let address = format!("{scheme}://localhost:{}", address.port());
            (address, Box::pin(async move { drop(router.serve_with_incoming(accepted).await) }))
        })
    }

    fn start(
        volume: Volume,
        script: Script,
        mut server: Server,
        serve: impl FnOnce(&Runtime, Router) -> (String, Serving),
    ) -> Self {
        let calls = Calls::default();
        let service = Service::new(volume, script, Arc::clone(&calls));
        let router = server.add_service(SidecarServer::new(service.clone())).add_service(DriverServer::new(service));
        let (stop, stopped) = oneshot::channel::<()>();
        let runtime = Builder::new_current_thread().enable_all().build().expect("a runtime can be had");
        let (address, serving) = serve(&runtime, router);
        // What still hangs by then is dropped with the runtime.
        let thread = thread::spawn(move || drop(runtime.block_on(select(stopped, serving))));
        Self { address, calls, stop: Some(stop), thread: Some(thread) }
    }

    /// Where it listens, as a client is told.
    #[must_use]
    pub fn address(&self) -> &str {
        &self.address
    }

    /// Every call so far.
    #[must_use]
    pub fn calls(&self) -> Vec<Call> {
        self.calls.lock().unwrap_or_else(PoisonError::into_inner).clone()
    }
}

/// Serves for ever.
type Serving = Pin<Box<dyn Future<Output = ()> + Send>>;

impl Drop for CsiServer {
    fn drop(&mut self) {
        drop(self.stop.take());
        if let Some(thread) = self.thread.take() {
            // A panic in it has been printed, and one in drop would hide the test's own.
            thread.join().ok();
        }
    }
}

//! A client and a server that is told how to behave, over either wire.

use std::collections::BTreeMap;
use std::io;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;

use icecore::base::cancel::Cancel;
use icecore::base::extent::{Extent, ExtentSet};
use icecore::rpc::snapshot_metadata::{
    Address, Credentials, Limits, Metadata, MetadataError, Question, SnapshotMetadata, TokenSource,
};
use icecore::testkit::csi_server::{Call, CsiServer, Script, Volume};
use icecore::testkit::manual_clock::ManualClock;
use secrecy::SecretString;
use tempfile::TempDir;

/// Which service is asked.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Wire {
    Kubernetes,
    Driver,
}

/// Runs one contract over both wires.
pub fn over_both(contract: impl Fn(Wire)) {
    contract(Wire::Kubernetes);
    contract(Wire::Driver);
}

/// `token-0`, `token-1` and so on.
#[derive(Debug, Default)]
pub struct Tokens(AtomicUsize);

impl TokenSource for Tokens {
    fn token(&self) -> io::Result<SecretString> {
        Ok(SecretString::from(format!("token-{}", self.0.fetch_add(1, Ordering::Relaxed))))
    }
}

/// A source that has run dry.
#[derive(Debug)]
pub struct NoTokens;

impl TokenSource for NoTokens {
    fn token(&self) -> io::Result<SecretString> {
        Err(io::Error::other("the file is gone"))
    }
}

/// One server and one client of it.
#[derive(Debug)]
pub struct Rig {
    pub server: CsiServer,
    pub clock: Arc<ManualClock>,
    pub cancel: Cancel,
    client: SnapshotMetadata,
    device_bytes: u64,
    _folder: TempDir,
}

/// Real waits are for messages only, and nothing that answers needs as long.
pub const PATIENT: Limits = Limits {
    message_wait: Duration::from_secs(60),
    whole_wait: Duration::from_secs(3600),
    tries: 5,
    streams: 1000,
    first_wait: Duration::from_secs(1),
    longest_wait: Duration::from_secs(5),
    tuples: 1 << 20,
    empty_messages: 1000,
    extents: 1 << 20,
};

impl Rig {
    pub fn new(wire: Wire, volume: Volume, script: Script) -> Self {
        Self::with(wire, volume, script, PATIENT)
    }

    pub fn with(wire: Wire, volume: Volume, script: Script, limits: Limits) -> Self {
        let folder = TempDir::new().unwrap();
        let device_bytes = volume.capacity;
        let (server, credentials) = match wire {
            Wire::Kubernetes => {
                let tokens = Arc::new(Tokens::default());
                (CsiServer::on_port(volume, script), Credentials::Sidecar { namespace: "shop".to_owned(), tokens })
            }
            Wire::Driver => {
                let secrets = BTreeMap::from([("user".to_owned(), SecretString::from("hunter2"))]);
                (CsiServer::on_socket(&folder.path().join("csi.sock"), volume, script), Credentials::Driver { secrets })
            }
        };
        let clock = Arc::new(ManualClock::default());
        let address = Address::parse(server.address()).unwrap();
        let client = SnapshotMetadata::new(&address, None, credentials, limits, clock.clone()).unwrap();
        Self { server, clock, cancel: Cancel::new(), client, device_bytes, _folder: folder }
    }

    /// Another client of the same server, without secrets.
    pub fn client_with(&self, clock: Arc<ManualClock>, limits: Limits) -> SnapshotMetadata {
        let address = Address::parse(self.server.address()).unwrap();
        SnapshotMetadata::new(&address, None, Credentials::Driver { secrets: BTreeMap::new() }, limits, clock).unwrap()
    }

    /// What changed between `base` and `target`.
    pub fn changed(&self) -> Result<Metadata, MetadataError> {
        let question = Question::Changed { base: "base".to_owned(), target: "target".to_owned() };
        self.client.ask(&question, self.device_bytes, &self.cancel)
    }

    /// What `target` holds.
    pub fn allocated(&self) -> Result<Metadata, MetadataError> {
        self.client.ask(&Question::Allocated { snapshot: "target".to_owned() }, self.device_bytes, &self.cancel)
    }

    /// Where each call began.
    pub fn starts(&self) -> Vec<i64> {
        self.server.calls().iter().map(|call: &Call| call.from).collect()
    }
}

pub const BLOCK: u64 = 4096;

/// A volume of 1 MiB with six blocks changed, two of which touch; one in a message.
pub fn six_blocks() -> Volume {
    let extents = [1, 3, 4, 10, 100, 200].map(|block| Extent::new(block * BLOCK, BLOCK)).into();
    Volume { capacity: 1 << 20, extents, is_fixed: true, in_a_message: 1 }
}

/// The set that a volume's honest answer amounts to.
pub fn told(volume: &Volume) -> ExtentSet {
    volume.extents.iter().copied().collect()
}

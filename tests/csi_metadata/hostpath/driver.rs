//! A csi-driver-host-path of the test's own, and the few calls of the interface that make volumes and snapshots.

use std::env;
use std::fs::OpenOptions;
use std::os::unix::fs::FileExt;
use std::path::PathBuf;
use std::process::{Child, Command, Stdio};
use std::sync::Mutex;
use std::time::Duration;

use prost::Message;
use tempfile::TempDir;
use tokio::runtime::{Builder, Runtime};
use tokio::time::{sleep, timeout};
use tonic::client::Grpc;
use tonic::codegen::http::uri::PathAndQuery;
use tonic::transport::{Channel, Endpoint};
use tonic::{Request, Status};
use tonic_prost::ProstCodec;

/// Names the binary, `hostpathplugin`.
const VARIABLE: &str = "ICECORE_CSI_HOSTPATH";
/// A cold start takes well under a second.
const START_LIMIT: Duration = Duration::from_secs(30);

#[derive(Clone, PartialEq, Message)]
struct CreateVolumeRequest {
    #[prost(string, tag = "1")]
    name: String,
    #[prost(message, optional, tag = "2")]
    capacity_range: Option<CapacityRange>,
    #[prost(message, repeated, tag = "3")]
    volume_capabilities: Vec<Capability>,
}

#[derive(Clone, PartialEq, Message)]
struct CapacityRange {
    #[prost(int64, tag = "1")]
    required_bytes: i64,
}

#[derive(Clone, PartialEq, Message)]
struct Nothing {}

#[derive(Clone, PartialEq, Message)]
struct Capability {
    #[prost(message, optional, tag = "1")]
    block: Option<Nothing>,
    #[prost(message, optional, tag = "2")]
    mount: Option<Nothing>,
    #[prost(message, optional, tag = "3")]
    access_mode: Option<AccessMode>,
}

#[derive(Clone, PartialEq, Message)]
struct AccessMode {
    #[prost(int32, tag = "1")]
    mode: i32,
}

#[derive(Clone, PartialEq, Message)]
struct CreateVolumeResponse {
    #[prost(message, optional, tag = "1")]
    volume: Option<Named>,
}

#[derive(Clone, PartialEq, Message)]
struct CreateSnapshotRequest {
    #[prost(string, tag = "1")]
    source_volume_id: String,
    #[prost(string, tag = "2")]
    name: String,
}

#[derive(Clone, PartialEq, Message)]
struct CreateSnapshotResponse {
    #[prost(message, optional, tag = "1")]
    snapshot: Option<Named>,
}

/// A volume or snapshot: size, then id.
#[derive(Clone, PartialEq, Message)]
struct Named {
    #[prost(string, tag = "2")]
    id: String,
}

#[derive(Clone, PartialEq, Message)]
struct DeleteVolumeRequest {
    #[prost(string, tag = "1")]
    volume_id: String,
}

/// A running driver with a state of its own; its volumes are removed when dropped, because each holds a loop device.
#[derive(Debug)]
pub struct Driver {
    folder: TempDir,
    child: Child,
    runtime: Runtime,
    channel: Channel,
    volumes: Mutex<Vec<String>>,
}

impl Driver {
    /// Starts one that tells blocks in this style; none when the variable names no binary.
    ///
    /// That is no failure on CI either: the driver is not packaged anywhere, it has to be built by hand.
    pub fn start(style: &str) -> Option<Self> {
        let Some(binary) = env::var_os(VARIABLE) else {
            eprintln!("skipped: {VARIABLE} names no hostpathplugin of kubernetes-csi/csi-driver-host-path");
            return None;
        };
        let folder = TempDir::new().unwrap();
        let socket = format!("unix://{}/csi.sock", folder.path().display());
        let child = Command::new(binary)
            .args(["--endpoint", &socket, "--nodeid", "node", "--enable-snapshot-metadata"])
            .arg(format!("--statedir={}", folder.path().join("state").display()))
            .arg(format!("--snapshot-metadata-block-type={style}"))
            .stdout(Stdio::null())
            .stderr(Stdio::null())
            .spawn()
            .unwrap();
        let runtime = Builder::new_current_thread().enable_all().build().unwrap();
        let channel = runtime.block_on(async { timeout(START_LIMIT, connect(&socket)).await }).expect("the driver answers");
        Some(Self { folder, child, runtime, channel, volumes: Mutex::default() })
    }

    /// Where it listens.
    pub fn address(&self) -> String {
        format!("unix://{}/csi.sock", self.folder.path().display())
    }

    /// A volume of blocks, or of files; gives its id.
    pub fn create_volume(&self, size: u64, is_block: bool) -> String {
        let mut volumes = self.volumes.lock().unwrap();
        let single_writer = AccessMode { mode: 1 };
        let capability = Capability {
            block: is_block.then_some(Nothing {}),
            mount: (!is_block).then_some(Nothing {}),
            access_mode: Some(single_writer),
        };
        let request = CreateVolumeRequest {
            name: format!("volume-{}", volumes.len()),
            capacity_range: Some(CapacityRange { required_bytes: size as i64 }),
            volume_capabilities: vec![capability],
        };
        let response: CreateVolumeResponse = self.call("CreateVolume", request).unwrap();
        let id = response.volume.unwrap().id;
        volumes.push(id.clone());
        id
    }

    /// A snapshot of a volume; gives its id.
    pub fn snapshot(&self, volume: &str, name: &str) -> String {
        let request = CreateSnapshotRequest { source_volume_id: volume.to_owned(), name: name.to_owned() };
        let response: CreateSnapshotResponse = self.call("CreateSnapshot", request).unwrap();
        response.snapshot.unwrap().id
    }

    /// The file that holds a volume of blocks; a snapshot is a copy of it.
    pub fn backing(&self, volume: &str) -> PathBuf {
        self.folder.path().join("state").join(volume)
    }

    /// Writes into a volume.
    pub fn write(&self, volume: &str, offset: u64, bytes: &[u8]) {
        OpenOptions::new().write(true).open(self.backing(volume)).unwrap().write_all_at(bytes, offset).unwrap();
    }

    fn call<Q, A>(&self, method: &'static str, request: Q) -> Result<A, Status>
    where
        Q: Message + 'static,
        A: Message + Default + 'static,
    {
        self.runtime.block_on(async {
            let mut client = Grpc::new(self.channel.clone());
            client.ready().await.expect("the driver is there");
            let path = PathAndQuery::try_from(format!("/csi.v1.Controller/{method}")).unwrap();
            client.unary(Request::new(request), path, ProstCodec::<Q, A>::default()).await.map(|response| response.into_inner())
        })
    }
}

async fn connect(socket: &str) -> Channel {
    loop {
        match Endpoint::from_shared(socket.to_owned()).unwrap().connect().await {
            Ok(channel) => return channel,
            Err(_) => sleep(Duration::from_millis(20)).await,
        }
    }
}

impl Drop for Driver {
    fn drop(&mut self) {
        let volumes = self.volumes.get_mut().map(|volumes| volumes.split_off(0)).unwrap_or_default();
        for volume_id in volumes {
            // A panic in drop would hide the test's own.
            drop(self.call::<_, Nothing>("DeleteVolume", DeleteVolumeRequest { volume_id }));
        }
        self.child.kill().ok();
        self.child.wait().ok();
    }
}

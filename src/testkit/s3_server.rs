//! Starts and stops a real S3 server (moto) for tests.
#![allow(
    clippy::expect_used,
    clippy::print_stderr,
    clippy::disallowed_methods,
    reason = "a test helper fails by panicking, says why it skips, and waits in real time"
)]

use std::env;
use std::io::{self, Read, Write};
use std::net::{SocketAddr, TcpListener, TcpStream};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::thread;
use std::time::{Duration, Instant};

use crate::store::Settings;

/// A cold Python start on a busy machine takes about four seconds; ten times that means it will not come.
const START_LIMIT: Duration = Duration::from_secs(40);
/// How long one answer of the server may take.
const ANSWER_LIMIT: Duration = Duration::from_secs(10);
/// Names the server binary, before any other place is tried.
const BINARY_VARIABLE: &str = "ICECORE_TEST_MOTO";

/// A running S3 server on 127.0.0.1. It keeps objects in memory and is killed on drop.
#[derive(Debug)]
pub struct S3Server {
    binary: PathBuf,
    address: SocketAddr,
    child: Option<Child>,
}

impl S3Server {
    /// Starts a server with one empty bucket of this name, or says why not and returns nothing.
    ///
    /// # Panics
    /// When the server does not start, or when `CI=true` and there is no server to start.
    #[must_use]
    pub fn start(bucket: &str) -> Option<Self> {
        let Some(binary) = find_binary() else {
            assert!(env::var("CI").as_deref() != Ok("true"), "no moto_server; run scripts/test-tools.sh");
            eprintln!("skipped: no moto_server; run scripts/test-tools.sh, or name one in {BINARY_VARIABLE}");
            return None;
        };
        let mut server = Self { binary, address: free_address(), child: None };
        server.restart();
        server.create_bucket(bucket);
        Some(server)
    }

    /// Where it listens.
    #[must_use]
    pub fn address(&self) -> SocketAddr {
        self.address
    }

    /// What a client must be told to reach it.
    #[must_use]
    pub fn settings(&self) -> Settings {
        settings_for(self.address)
    }

    /// Kills the server. Its objects are lost.
    ///
    /// # Panics
    /// When it cannot be killed.
    pub fn stop(&mut self) {
        if let Some(mut child) = self.child.take() {
            child.kill().expect("the server can be killed");
            child.wait().expect("the server can be waited for");
        }
    }

    /// Starts a stopped server again, empty, on the same port.
    ///
    /// # Panics
    /// When it does not come up in time.
    pub fn restart(&mut self) {
        self.stop();
        let child = Command::new(&self.binary)
            .args(["-H", "127.0.0.1", "-p", &self.address.port().to_string()])
            .stdin(Stdio::null())
            .stdout(Stdio::null())
            .stderr(Stdio::null())
            .spawn();
        self.child = Some(child.expect("moto_server can be started"));
        self.wait_until_up();
    }

    /// Makes an empty bucket.
    ///
    /// # Panics
    /// When the server refuses.
    pub fn create_bucket(&self, bucket: &str) {
        let status = self.ask(&format!("PUT /{bucket} HTTP/1.1")).expect("the server answers");
        assert!(status.contains(" 200 "), "creating bucket {bucket}: {status}");
    }

    fn wait_until_up(&mut self) {
        let begun = Instant::now();
        while self.ask("GET /moto-api/ HTTP/1.1").is_err() {
            let ended = self.child.as_mut().and_then(|child| child.try_wait().ok().flatten());
            assert!(ended.is_none(), "moto_server ended at once: {ended:?}");
            assert!(begun.elapsed() < START_LIMIT, "moto_server did not answer within {START_LIMIT:?}");
            thread::sleep(Duration::from_millis(50));
        }
    }

    /// Sends a request without a body; returns the start of the answer.
    fn ask(&self, request_line: &str) -> io::Result<String> {
        let mut stream = TcpStream::connect(self.address)?;
        stream.set_read_timeout(Some(ANSWER_LIMIT))?;
        write!(stream, "{request_line}\r\nHost: {}\r\nContent-Length: 0\r\nConnection: close\r\n\r\n", self.address)?;
        let mut start = [0; 64];
        let length = stream.read(&mut start)?;
        if length == 0 {
            return Err(io::ErrorKind::UnexpectedEof.into());
        }
        Ok(String::from_utf8_lossy(&start[..length]).into_owned())
    }
}

impl Drop for S3Server {
    fn drop(&mut self) {
        if let Some(mut child) = self.child.take() {
            // Neither can fail for a child of ours that nobody else waits for, and a panic in drop would hide the test's own.
            child.kill().ok();
            child.wait().ok();
        }
    }
}

/// What a client must be told to reach an S3 server at `address` (the server itself, or a proxy before it).
#[must_use]
pub fn settings_for(address: SocketAddr) -> Settings {
    Settings::none()
        .with("AWS_ACCESS_KEY_ID", "test-access-key")
        .with("AWS_SECRET_ACCESS_KEY", "test-secret-key")
        .with("AWS_REGION", "us-east-1")
        .with("AWS_ENDPOINT_URL", &format!("http://{address}"))
}

fn find_binary() -> Option<PathBuf> {
    if let Some(named) = env::var_os(BINARY_VARIABLE) {
        return Some(named.into());
    }
    let own = Path::new(env!("CARGO_MANIFEST_DIR")).join("target/test-tools/venv/bin/moto_server");
    let on_path = env::var_os("PATH").unwrap_or_default();
    let candidates = env::split_paths(&on_path).map(|folder| folder.join("moto_server"));
    Some(own).into_iter().chain(candidates).find(|path| path.is_file())
}

/// A port that nobody has right now. Another process may take it before the server does; then the server ends at once and says so.
fn free_address() -> SocketAddr {
    let listener = TcpListener::bind("127.0.0.1:0").expect("loopback has a free port");
    listener.local_addr().expect("a bound socket has an address")
}

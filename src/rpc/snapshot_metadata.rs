//! Which blocks of a snapshot are allocated, or differ from an earlier one, asked of a CSI driver: whole answers, or a reason.
//!
//! ```text
//!   ask ─► stream from 0 ─► checked and joined ─► broken off? again from the end of the last range, with a fresh token
//!                                              └► ended OK?   once more from there: only when nothing comes, it was all
//! ```
//! Drivers end a stream early with OK (the host path driver does when its caller's time runs out), so one OK proves nothing. An answer
//! that contradicts itself, or another size than the device's, is no answer.

mod address;
mod attempts;
mod channel;
mod error;
mod gathered;
mod limits;
mod status;
mod token;
mod wires;

use std::fmt;
use std::future::Future;
use std::pin::pin;
use std::sync::Arc;
use std::time::Duration;

use tokio::runtime::{Builder, Runtime};
use tokio::time::timeout;
use tonic::transport::Channel;

pub use address::{Address, AddressError};
pub use error::{Course, MetadataError};
pub use gathered::StreamFault;
pub use limits::Limits;
pub use token::TokenSource;
pub use wires::{Credentials, Question};

use crate::base::cancel::Cancel;
use crate::base::clock::Clock;
use crate::base::extent::ExtentSet;
use attempts::{Attempts, Broken};
use gathered::Gathered;

/// A request to stop is noticed within this.
const GLANCE: Duration = Duration::from_millis(200);

/// A whole answer.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Metadata {
    /// The ranges. Where a volume is cut to pieces, neighbours may be joined over what lies between them.
    pub extents: ExtentSet,
    /// Size of the volume in bytes.
    pub capacity: u64,
    /// How the driver tells its ranges; nobody knows when there are none.
    pub style: Option<BlockStyle>,
}

/// How a driver tells ranges.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum BlockStyle {
    /// Blocks of one length.
    Fixed,
    /// Ranges of any length.
    Variable,
}

/// A driver, or the service that Kubernetes offers beside it. Calls block: they must not come from inside an async runtime.
pub struct SnapshotMetadata {
    channel: Channel,
    credentials: Credentials,
    limits: Limits,
    clock: Arc<dyn Clock>,
    runtime: Runtime,
}

impl SnapshotMetadata {
    /// Sets up the client; nothing is asked yet. `authority` holds the certificates, as PEM, that may vouch for a service over TLS.
    pub fn new(
        address: &Address,
        authority: Option<&[u8]>,
        credentials: Credentials,
        limits: Limits,
        clock: Arc<dyn Clock>,
    ) -> Result<Self, MetadataError> {
        if credentials.are_secret() && !address.is_private() {
            return Err(MetadataError::misconfigured(format!(
                "{address} is not encrypted, and tokens and secrets are not sent in the clear"
            )));
        }
        let runtime = Builder::new_current_thread()
            .enable_all()
            .build()
            .map_err(|error| MetadataError::misconfigured(format!("no runtime for its connection: {error}")))?;
        let channel = {
            let _inside = runtime.enter();
            channel::lazy(address, authority)?
        };
        Ok(Self { channel, credentials, limits, clock, runtime })
    }

    /// All ranges that answer `question`, for a device of `device_bytes`.
    ///
    /// Nothing short is ever returned: where the answer breaks off, is doubtful or takes too long, the error says so.
    pub fn ask(&self, question: &Question, device_bytes: u64, cancel: &Cancel) -> Result<Metadata, MetadataError> {
        let mut answer = Gathered::new(device_bytes, self.limits);
        let mut attempts = Attempts::begin(self.clock.as_ref(), self.limits, cancel);
        let mut ended_at = None;
        loop {
            attempts.next_stream()?;
            let from = answer.position();
            match self.stream(question, from, &mut answer, &attempts) {
                Ok(()) if is_whole(&answer, from, ended_at) => return Ok(answer.finish()),
                Ok(()) => ended_at = Some(answer.position()),
                Err(broken) => attempts.bear(broken, answer.position() > from, answer.position())?,
            }
        }
    }

    /// One stream, to its end.
    fn stream(&self, question: &Question, from: u64, answer: &mut Gathered, attempts: &Attempts<'_>) -> Result<(), Broken> {
        let token = self.credentials.token()?;
        let mut messages = self.wait(attempts, wires::open(self.channel.clone(), &self.credentials, question, from, token))??;
        answer.begin_stream();
        while let Some(message) = self.wait(attempts, messages.next())? {
            answer.take(&message?)?;
        }
        Ok(())
    }

    /// Waits for an answer, with an eye on the clock and on the request to stop.
    ///
    /// The service is not told how long that is: some end a stream with OK when its time runs out.
    fn wait<T>(&self, attempts: &Attempts<'_>, coming: impl Future<Output = T>) -> Result<T, Broken> {
        let mut coming = pin!(coming);
        let mut left = self.limits.message_wait;
        loop {
            attempts.check()?;
            let glance = left.min(GLANCE);
            if let Ok(answer) = self.runtime.block_on(async { timeout(glance, coming.as_mut()).await }) {
                return Ok(answer);
            }
            left = left.saturating_sub(glance);
            if left.is_zero() {
                return Err(Broken::Silent { waited: self.limits.message_wait });
            }
        }
    }
}

/// A stream that ended at `from` with OK was all there is if it reached the end of the volume, or if the one before ended there, too.
fn is_whole(answer: &Gathered, from: u64, ended_at: Option<u64>) -> bool {
    answer.is_at_end() || (answer.position() == from && ended_at == Some(from))
}

impl fmt::Debug for SnapshotMetadata {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("SnapshotMetadata").field("credentials", &self.credentials).finish_non_exhaustive()
    }
}

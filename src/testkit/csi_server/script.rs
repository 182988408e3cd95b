//! What the service of a test does in each call: honest steps, and the ways to bend them.

use std::fmt;
use std::sync::{Arc, Mutex, PoisonError};

use tonic::Code;

use super::Volume;
use crate::base::extent::Extent;
use crate::rpc::wire::icecore::blocks::{BlockMetadata, BlockMetadataMessage, BlockMetadataType};

/// A call as it came.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Call {
    /// Counted from zero.
    pub number: usize,
    /// The earlier snapshot, if changes were asked for.
    pub base: Option<String>,
    /// The snapshot.
    pub target: String,
    /// Its namespace; only over the wire of Kubernetes.
    pub namespace: Option<String>,
    /// The token; only over the wire of Kubernetes.
    pub token: Option<String>,
    /// Names and values of secrets; only over the driver's own wire.
    pub secrets: Vec<(String, String)>,
    /// Where it begins.
    pub from: i64,
    /// How many ranges a message may have.
    pub max_results: i32,
    /// The client set the service a time limit.
    pub has_deadline: bool,
}

/// What the service does next in a stream; after the last step the stream ends with OK.
#[derive(Debug, Clone, PartialEq)]
pub enum Step {
    /// Sends a message.
    Send(BlockMetadataMessage),
    /// Ends the stream with this code.
    Fail(Code),
    /// Says nothing more, and does not end.
    Hang,
    /// Sends this message for ever.
    Endless(BlockMetadataMessage),
}

type Bend = dyn FnMut(&Call, Vec<Step>) -> Vec<Step> + Send;

/// Turns the honest steps of a call into those that are taken.
#[derive(Clone)]
pub struct Script(Arc<Mutex<Bend>>);

impl Script {
    /// No change.
    #[must_use]
    pub fn honest() -> Self {
        Self::new(|_, steps| steps)
    }

    /// Whatever the function makes of them.
    pub fn new(bend: impl FnMut(&Call, Vec<Step>) -> Vec<Step> + Send + 'static) -> Self {
        Self(Arc::new(Mutex::new(bend)))
    }

    /// Bends the first call only.
    pub fn at_first(mut bend: impl FnMut(Vec<Step>) -> Vec<Step> + Send + 'static) -> Self {
        Self::new(move |call, steps| if call.number == 0 { bend(steps) } else { steps })
    }

    /// The same steps in every call.
    #[must_use]
    pub fn always(steps: Vec<Step>) -> Self {
        Self::new(move |_, _| steps.clone())
    }

    pub(super) fn steps(&self, call: &Call, volume: &Volume) -> Vec<Step> {
        let honest = honest(volume, u64::try_from(call.from).unwrap_or_default());
        let mut bend = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        (*bend)(call, honest)
    }
}

impl fmt::Debug for Script {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Script")
    }
}

/// What the interface asks for: every range that ends behind `from`, whole.
#[must_use]
pub fn honest(volume: &Volume, from: u64) -> Vec<Step> {
    let due: Vec<Extent> = volume.extents.iter().copied().filter(|extent| extent.end() > from).collect();
    due.chunks(volume.in_a_message.max(1)).map(|some| Step::Send(message(volume, some))).collect()
}

/// A message about `volume`.
#[must_use]
pub fn message(volume: &Volume, extents: &[Extent]) -> BlockMetadataMessage {
    let signed = |number: u64| i64::try_from(number).unwrap_or(i64::MAX);
    let tuples: Vec<_> = extents.iter().map(|extent| (signed(extent.offset), signed(extent.length))).collect();
    let style = if volume.is_fixed { BlockMetadataType::FixedLength } else { BlockMetadataType::VariableLength };
    raw(style.into(), signed(volume.capacity), &tuples)
}

/// A message of any numbers.
#[must_use]
pub fn raw(style: i32, capacity: i64, tuples: &[(i64, i64)]) -> BlockMetadataMessage {
    let blocks =
        tuples.iter().map(|(byte_offset, size_bytes)| BlockMetadata { byte_offset: *byte_offset, size_bytes: *size_bytes });
    BlockMetadataMessage { block_metadata_type: style, volume_capacity_bytes: capacity, block_metadata: blocks.collect() }
}

/// The first steps, and then the stream ends with OK although it is not all.
#[must_use]
pub fn cut(mut steps: Vec<Step>, after: usize) -> Vec<Step> {
    steps.truncate(after);
    steps
}

/// The first steps, and then the stream fails.
#[must_use]
pub fn fail(steps: Vec<Step>, after: usize, code: Code) -> Vec<Step> {
    let mut steps = cut(steps, after);
    steps.push(Step::Fail(code));
    steps
}

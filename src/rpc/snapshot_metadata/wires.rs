//! The two services that answer: the driver's own, and the one of Kubernetes beside it. Their messages end here.

use std::collections::BTreeMap;
use std::sync::Arc;

use secrecy::{ExposeSecret, SecretString};
use tonic::transport::Channel;
use tonic::{Status, Streaming};

use super::BlockStyle;
use super::error::MetadataError;
use super::gathered::{Message, Tuple};
use super::token::TokenSource;
use crate::rpc::wire::csi::v1 as driver;
use crate::rpc::wire::icecore::blocks::{BlockMetadataMessage, BlockMetadataType};
use crate::rpc::wire::snapshotmetadata as sidecar;
use driver::snapshot_metadata_client::SnapshotMetadataClient as DriverClient;
use sidecar::snapshot_metadata_client::SnapshotMetadataClient as SidecarClient;

/// Ranges asked for in a message: few messages, and each far below what is taken.
const RESULTS_A_MESSAGE: i32 = 16_384;
/// A longer message is refused unread. Whoever ignores the number above still has room for ten times as many.
const MAX_MESSAGE_BYTES: usize = 4 << 20;

/// Which service is asked, and what it wants to see.
#[derive(Debug, Clone)]
pub enum Credentials {
    /// The service of Kubernetes: snapshots are named as objects of a namespace, the base by its CSI handle.
    Sidecar {
        /// The namespace of the snapshots.
        namespace: String,
        /// Tokens for the audience of the driver's SnapshotMetadataService object.
        tokens: Arc<dyn TokenSource>,
    },
    /// The driver itself: snapshots are named by their ids.
    Driver {
        /// What the storage class of the snapshots holds for it, if anything.
        secrets: BTreeMap<String, SecretString>,
    },
}

/// What is asked.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Question {
    /// Where a snapshot holds data.
    Allocated {
        /// Name or id of the snapshot.
        snapshot: String,
    },
    /// Where a snapshot differs from an earlier one of its volume.
    Changed {
        /// Handle of the earlier snapshot.
        base: String,
        /// Name or id of the snapshot.
        target: String,
    },
}

impl Credentials {
    /// Something would be sent that nobody else may see.
    pub(super) fn are_secret(&self) -> bool {
        match self {
            Self::Sidecar { .. } => true,
            Self::Driver { secrets } => !secrets.is_empty(),
        }
    }

    /// A fresh token, where one is shown.
    pub(super) fn token(&self) -> Result<Option<SecretString>, MetadataError> {
        match self {
            Self::Sidecar { tokens, .. } => {
                tokens.token().map(Some).map_err(|error| MetadataError::NoToken { reason: error.to_string() })
            }
            Self::Driver { .. } => Ok(None),
        }
    }
}

/// A stream of checked wrapping, but unchecked content.
#[derive(Debug)]
pub(super) struct Messages(Streaming<BlockMetadataMessage>);

impl Messages {
    /// The next message; none when the service has ended the stream with OK.
    pub(super) async fn next(&mut self) -> Option<Result<Message, Status>> {
        self.0.message().await.map(|message| message.map(Message::from)).transpose()
    }
}

/// Opens a stream that begins with what ends behind `from`.
pub(super) async fn open(
    channel: Channel,
    credentials: &Credentials,
    question: &Question,
    from: u64,
    token: Option<SecretString>,
) -> Result<Messages, Status> {
    // An offset comes from a capacity that was an i64.
    let from = i64::try_from(from).unwrap_or(i64::MAX);
    let response = match credentials {
        Credentials::Sidecar { namespace, .. } => ask_sidecar(channel, namespace, token, question, from).await?,
        Credentials::Driver { secrets } => ask_driver(channel, secrets, question, from).await?,
    };
    Ok(Messages(response))
}

async fn ask_sidecar(
    channel: Channel,
    namespace: &str,
    token: Option<SecretString>,
    question: &Question,
    starting_offset: i64,
) -> Result<Streaming<BlockMetadataMessage>, Status> {
    let mut client = SidecarClient::new(channel).max_decoding_message_size(MAX_MESSAGE_BYTES);
    let security_token = token.map(|token| token.expose_secret().to_owned()).unwrap_or_default();
    let (namespace, max_results) = (namespace.to_owned(), RESULTS_A_MESSAGE);
    let response = match question.clone() {
        Question::Allocated { snapshot: snapshot_name } => {
            let request =
                sidecar::GetMetadataAllocatedRequest { security_token, namespace, snapshot_name, starting_offset, max_results };
            client.get_metadata_allocated(request).await?
        }
        Question::Changed { base: base_snapshot_id, target: target_snapshot_name } => {
            let request = sidecar::GetMetadataDeltaRequest {
                security_token,
                namespace,
                base_snapshot_id,
                target_snapshot_name,
                starting_offset,
                max_results,
            };
            client.get_metadata_delta(request).await?
        }
    };
    Ok(response.into_inner())
}

async fn ask_driver(
    channel: Channel,
    secrets: &BTreeMap<String, SecretString>,
    question: &Question,
    starting_offset: i64,
) -> Result<Streaming<BlockMetadataMessage>, Status> {
    let mut client = DriverClient::new(channel).max_decoding_message_size(MAX_MESSAGE_BYTES);
    let secrets = secrets.iter().map(|(name, secret)| (name.clone(), secret.expose_secret().to_owned())).collect();
    let max_results = RESULTS_A_MESSAGE;
    let response = match question.clone() {
        Question::Allocated { snapshot: snapshot_id } => {
            let request = driver::GetMetadataAllocatedRequest { snapshot_id, starting_offset, max_results, secrets };
            client.get_metadata_allocated(request).await?
        }
        Question::Changed { base: base_snapshot_id, target: target_snapshot_id } => {
            let request =
                driver::GetMetadataDeltaRequest { base_snapshot_id, target_snapshot_id, starting_offset, max_results, secrets };
            client.get_metadata_delta(request).await?
        }
    };
    Ok(response.into_inner())
}

impl From<BlockMetadataMessage> for Message {
    fn from(message: BlockMetadataMessage) -> Self {
        let style = match message.block_metadata_type() {
            // A number that the schema does not know counts as unknown, too.
            BlockMetadataType::Unknown => None,
            BlockMetadataType::FixedLength => Some(BlockStyle::Fixed),
            BlockMetadataType::VariableLength => Some(BlockStyle::Variable),
        };
        let tuples = message.block_metadata.into_iter().map(|block| Tuple { offset: block.byte_offset, size: block.size_bytes });
        Self { style, capacity: message.volume_capacity_bytes, tuples: tuples.collect() }
    }
}

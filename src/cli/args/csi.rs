//! The arguments that name a CSI driver which knows what changed on SOURCE.

use std::path::PathBuf;

use clap::Args;

use super::values;
use crate::cli::commands::backup::csi::{Caller, Settings};
use crate::cli::failure::Failure;
use crate::rpc::snapshot_metadata::Address;

/// Which driver is asked, and for which snapshots.
#[derive(Debug, Args)]
#[command(next_help_heading = "Changes known to a CSI driver")]
pub(super) struct CsiArgs {
    /// Ask the CSI driver of the snapshot that SOURCE is made of: HOST:PORT over TLS, unix:///PATH, or http://HOST:PORT
    ///
    /// What it says has changed is read, and audited like --changed. When that is not known, everything is read, and the reason is said.
    #[arg(long, value_name = "ADDRESS", value_parser = values::csi_address, requires = "csi_snapshot")]
    csi_endpoint: Option<Address>,
    /// The snapshot that SOURCE is made of: its name in the namespace, or its id when the driver itself is asked
    #[arg(long, value_name = "NAME", requires = "csi_endpoint")]
    csi_snapshot: Option<String>,
    /// What the driver calls that snapshot, for the next backup to count from [default: --csi-snapshot, when the driver itself is asked]
    #[arg(long, value_name = "HANDLE", requires = "csi_endpoint")]
    csi_snapshot_handle: Option<String>,
    /// Handle of the snapshot that the volume's newest point was made of [default: what that point says]
    ///
    /// Where that point does not say it, nothing checks this, save for the audit.
    #[arg(long, value_name = "HANDLE", requires = "csi_endpoint", conflicts_with_all = ["changed", "full"])]
    csi_base_snapshot: Option<String>,
    /// Ask the service that Kubernetes offers beside the driver, for a snapshot of this namespace; without it, the driver itself
    #[arg(long, value_name = "NAMESPACE", requires_all = ["csi_endpoint", "csi_token_file"], conflicts_with = "csi_secrets")]
    csi_namespace: Option<String>,
    /// A token for the audience of the SnapshotMetadataService object; the file is read again whenever one is needed
    #[arg(long, value_name = "FILE", requires = "csi_namespace")]
    csi_token_file: Option<PathBuf>,
    /// The certificates, as PEM, that vouch for the service; no others do
    #[arg(long, value_name = "FILE", requires = "csi_endpoint")]
    csi_ca: Option<PathBuf>,
    /// A directory with one file for each secret that the driver wants, as Kubernetes mounts them
    #[arg(long, value_name = "DIRECTORY", requires = "csi_endpoint")]
    csi_secrets: Option<PathBuf>,
}

impl CsiArgs {
    pub(super) fn settle(self) -> Result<Option<Settings>, Failure> {
        let (Some(address), Some(snapshot)) = (self.csi_endpoint, self.csi_snapshot) else { return Ok(None) };
        let caller = match (self.csi_namespace, self.csi_token_file) {
            (Some(namespace), Some(token_file)) => Caller::Kubernetes { namespace, token_file },
            (Some(_), None) => {
                return Err(Failure::refused("the service of Kubernetes wants a token; name its file with --csi-token-file"));
            }
            (None, _) => Caller::Driver { secrets: self.csi_secrets },
        };
        let own = matches!(caller, Caller::Driver { .. }).then(|| snapshot.clone());
        let handle = self.csi_snapshot_handle.or(own);
        Ok(Some(Settings { address, authority: self.csi_ca, caller, snapshot, handle, base: self.csi_base_snapshot }))
    }
}

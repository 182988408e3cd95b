//! The messages and clients that the build makes of `proto/`; never seen outside this room, except by the server of the tests.
#![allow(
    missing_docs,
    missing_debug_implementations,
    unreachable_pub,
    clippy::all,
    clippy::absolute_paths,
    clippy::allow_attributes_without_reason,
    reason = "the generated code is not ours to word"
)]

/// What both services answer with.
pub mod icecore {
    pub mod blocks {
        tonic::include_proto!("icecore.blocks");
    }
}

/// The service that Kubernetes offers beside a driver.
pub mod snapshotmetadata {
    tonic::include_proto!("snapshotmetadata");
}

/// The driver's own service.
pub mod csi {
    pub mod v1 {
        tonic::include_proto!("csi.v1");
    }
}

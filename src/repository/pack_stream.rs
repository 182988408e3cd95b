//! Packs of one kind filled one after the other, each sent on its way once it is long enough.

use super::Repository;
use super::error::RepositoryError;
use super::format::node::FrameRef;
use super::frame::{PackBuilder, Payload};
use super::ids::LeaseId;
use super::names;
use super::spare::SpareBuffers;
use super::upload::Uploader;

/// Packs of one kind, one of them being filled.
#[derive(Debug)]
pub(super) struct PackStream {
    open: Option<PackBuilder>,
    spare: SpareBuffers,
    stored_bytes: u64,
}

/// Room for the slot table behind a full pack.
const PACK_SLACK_BYTES: usize = 256 << 10;

impl PackStream {
    /// Nothing in it yet.
    pub(super) fn new(spare: SpareBuffers) -> Self {
        Self { open: None, spare, stored_bytes: 0 }
    }

    /// Bytes of frames so far, sealed.
    pub(super) fn stored_bytes(&self) -> u64 {
        self.stored_bytes
    }

    /// Seals a payload into the open pack, and sends the pack on its way once it is long enough.
    pub(super) fn add(
        &mut self,
        payload: &Payload<'_>,
        repository: &Repository,
        lease: LeaseId,
        uploader: &Uploader,
    ) -> Result<FrameRef, RepositoryError> {
        let target = repository.config.pack_bytes as usize;
        if self.open.as_ref().is_some_and(|pack| pack.length() + payload.bytes.len() > target) {
            self.close(uploader)?;
        }
        let pack = match &mut self.open {
            Some(pack) => pack,
            None => self.open.insert(PackBuilder::new(
                &repository.ring,
                repository.environment.entropy.as_ref(),
                lease,
                self.spare.take(target + PACK_SLACK_BYTES),
            )?),
        };
        let before = pack.length();
        let frame = pack.add(payload)?;
        self.stored_bytes += (pack.length() - before) as u64;
        Ok(frame)
    }

    /// Sends the open pack on its way, however long it is.
    pub(super) fn close(&mut self, uploader: &Uploader) -> Result<(), RepositoryError> {
        match self.open.take().filter(|pack| !pack.is_empty()) {
            Some(pack) => {
                let (id, bytes) = pack.finish();
                uploader.submit(names::pack(id), self.spare.lend(bytes))
            }
            None => Ok(()),
        }
    }
}

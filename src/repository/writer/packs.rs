//! Packs of one kind on their way to the store.

use crate::repository::error::RepositoryError;
use crate::repository::format::node::FrameRef;
use crate::repository::frame::{PackBuilder, Payload};
use crate::repository::ids::LeaseId;
use crate::repository::spare::SpareBuffers;
use crate::repository::upload::Uploader;
use crate::repository::{Repository, names};

/// Packs of one kind, one of them being filled.
#[derive(Debug)]
pub(super) struct PackStream {
    pub(super) open: Option<PackBuilder>,
    pub(super) spare: SpareBuffers,
    pub(super) stored_bytes: u64,
}

/// Room for the slot table behind a full pack.
const PACK_SLACK_BYTES: usize = 256 << 10;

impl PackStream {
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

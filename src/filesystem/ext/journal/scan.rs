//! The first pass: how far the log is whole, and whether it ends there or is damaged there.
//!
//! A log has no end mark. It goes on over what an earlier time round has left, so a block that does not fit is mostly the end. Only
//! where a transaction was committed after all, and something in it is wrong, has the disk lost what it had promised to keep.

use std::ops::ControlFlow;

use super::checksum::{CRC32_BE_START, crc32_be};
use super::descriptor::{Tags, revoked};
use super::doubts::Doubts;
use super::superblock::Checksums;
use super::walk::{Log, Step, Walk};
use crate::filesystem::error::FilesystemError;
use crate::filesystem::fields::sums_agree;

/// Where a commit block keeps its checksum, in either form.
const COMMIT_CHECKSUM_AT: usize = 0x10;

/// What the first pass has found.
#[derive(Debug)]
pub(super) struct Extent {
    /// The first transaction that is not whole.
    pub(super) end: u32,
    /// How many before it are.
    pub(super) transactions: u32,
}

/// Finds the end of the log. Damage is noted in `doubts`; what lies before it is still good.
pub(super) fn scan(log: &Log<'_>, doubts: &mut Doubts) -> Result<Extent, FilesystemError> {
    let mut scanner =
        Scanner { log, walk: Walk::new(log), last_commit: 0, flaw: None, failed: None, running: CRC32_BE_START, whole: 0 };
    loop {
        match scanner.step() {
            Ok(ControlFlow::Continue(())) => {}
            Ok(ControlFlow::Break(None)) => break,
            Ok(ControlFlow::Break(Some(damage))) => {
                doubts.note(damage);
                break;
            }
            Err(error) => {
                doubts.forgive(error)?;
                break;
            }
        }
    }
    Ok(Extent { end: log.superblock.sequence.wrapping_add(scanner.whole), transactions: scanner.whole })
}

/// Ends the scan: with nothing, where the log ends; with words, where it is damaged.
type Verdict = ControlFlow<Option<String>>;

#[derive(Debug)]
struct Scanner<'a> {
    log: &'a Log<'a>,
    walk: Walk<'a>,
    /// When the last good transaction was committed, in seconds.
    last_commit: u64,
    /// What is wrong with the transaction now walked through.
    flaw: Option<Flaw>,
    /// Why an earlier commit does not count. With asynchronous commits that is how an interrupted one looks.
    failed: Option<String>,
    /// The checksum over the transaction now walked through, where the commit has one.
    running: u32,
    whole: u32,
}

#[derive(Debug)]
struct Flaw {
    what: String,
    /// Blocks of an earlier time round fail their checksums too; those of the structure they do not.
    may_be_stale: bool,
}

impl Scanner<'_> {
    fn step(&mut self) -> Result<Verdict, FilesystemError> {
        match self.walk.step()? {
            Step::End => Ok(ControlFlow::Break(None)),
            Step::Descriptor => self.descriptor(),
            Step::Revoke => self.revoke(),
            Step::Commit => self.commit(),
        }
    }

    fn descriptor(&mut self) -> Result<Verdict, FilesystemError> {
        self.check_list("descriptor")?;
        let blocks = Tags::new(self.walk.fields(), &self.log.superblock).count();
        let summed = self.log.superblock.checksums == Checksums::Transaction && self.failed.is_none();
        if summed {
            self.running = crc32_be(self.running, self.walk.fields().bytes());
        }
        let mut data = Vec::new();
        for _ in 0..blocks {
            let Some(position) = self.walk.take() else { return Ok(ControlFlow::Break(None)) };
            if summed {
                self.log.area.read(position, &mut data)?;
                self.running = crc32_be(self.running, &data);
            }
        }
        Ok(ControlFlow::Continue(()))
    }

    fn revoke(&mut self) -> Result<Verdict, FilesystemError> {
        self.check_list("revoke record")?;
        if let Err(error) = revoked(self.walk.fields(), &self.log.superblock).map(drop) {
            self.flaw.get_or_insert(Flaw { what: error.to_string(), may_be_stale: false });
        }
        Ok(ControlFlow::Continue(()))
    }

    fn check_list(&mut self, name: &str) -> Result<(), FilesystemError> {
        if !self.walk.matches_checksum(self.walk.tail())? {
            let what = self.says(&format!("a {name} of the committed transaction {} fails its checksum", self.walk.sequence));
            self.flaw.get_or_insert(Flaw { what, may_be_stale: true });
        }
        Ok(())
    }

    fn commit(&mut self) -> Result<Verdict, FilesystemError> {
        let time = self.walk.fields().be64(0x30)?;
        let is_older = time < self.last_commit;
        if let Some(flaw) = self.flaw.take() {
            return Ok(ControlFlow::Break((!(flaw.may_be_stale && is_older)).then_some(flaw.what)));
        }
        if let Some(failed) = self.failed.take() {
            return Ok(ControlFlow::Break(Some(format!("{failed}, and transaction {} follows it", self.walk.sequence))));
        }
        if self.is_sound()? {
            self.whole = self.whole.wrapping_add(1);
        } else if is_older {
            return Ok(ControlFlow::Break(None));
        } else {
            let failed = self.says(&format!("the commit of transaction {} fails its checksum", self.walk.sequence));
            if !self.log.superblock.async_commit {
                return Ok(ControlFlow::Break(Some(failed)));
            }
            self.failed = Some(failed);
        }
        self.last_commit = time;
        self.running = CRC32_BE_START;
        self.walk.sequence = self.walk.sequence.wrapping_add(1);
        Ok(ControlFlow::Continue(()))
    }

    fn is_sound(&self) -> Result<bool, FilesystemError> {
        if self.log.superblock.checksums != Checksums::Transaction {
            return self.walk.matches_checksum(COMMIT_CHECKSUM_AT);
        }
        const CRC32: (u8, u8) = (1, 4);
        let fields = self.walk.fields();
        let stored = fields.be32(COMMIT_CHECKSUM_AT)?;
        let kind = (fields.u8(0x0c)?, fields.u8(0x0d)?);
        // A kernel that was mounted without checksums leaves all three zero.
        Ok((kind == CRC32 && sums_agree(stored, self.running)) || (kind == (0, 0) && stored == 0))
    }

    fn says(&self, what: &str) -> String {
        self.walk.fields().corrupt(what).to_string()
    }
}

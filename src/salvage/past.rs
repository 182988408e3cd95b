//! Earlier recovery points: what is lost now, as it was then.
//!
//! A file is taken from an earlier point when its own inode is lost and a name that still holds, or that only a lost directory could
//! have held, leads to it; or when its inode is the very same and only its bytes are lost. A file that was deleted since is not.

use std::ops::ControlFlow;

use rusqlite::params;

use super::error::SalvageError;
use super::evidence::NameProof;
use super::finds::{Finds, Found, NewInode};
use super::homes::is_open;
use super::inodes::stop_on;
use crate::filesystem::{Filesystem, Inode, Loss, Proof, Spot, TreeVisitor, Wreck, walk};

/// Earlier points that are asked.
pub const MAX_PASTS: usize = 8;

/// An earlier state of the same filesystem.
#[derive(Debug)]
pub struct Past {
    /// Its files.
    pub filesystem: Box<dyn Filesystem>,
    /// What it is called: the id of its point.
    pub label: String,
}

/// Fills gaps from earlier states, newest first.
pub(super) fn fill(wreck: &dyn Wreck, finds: &Finds, pasts: &[Past]) -> Result<(), SalvageError> {
    for (index, past) in pasts.iter().take(MAX_PASTS).enumerate() {
        let Ok(root) = past.filesystem.inode(past.filesystem.root()) else { continue };
        let mut filler = Filler { wreck, finds, index, way: Vec::new(), failed: None };
        let _ended = walk(past.filesystem.as_ref(), &root, b"", &mut filler);
        filler.failed.map_or(Ok(()), Err)?;
    }
    Ok(())
}

struct Filler<'a> {
    wreck: &'a dyn Wreck,
    finds: &'a Finds,
    index: usize,
    /// Numbers of the directories that are open.
    way: Vec<u64>,
    failed: Option<SalvageError>,
}

impl Filler<'_> {
    /// Considers an inode of the past under the name that it had.
    fn consider(&self, spot: &Spot<'_>, then: &Inode) -> Result<(), SalvageError> {
        let number = then.number.0;
        let home = self.way.last().copied();
        match self.finds.inode(number)? {
            Some(now) if now.past.is_none() && !now.made_up => self.complete(&now, home, spot, then),
            Some(now) => self.enrich(&now, home, spot, then),
            None if self.wreck.was_freed(then.number) => Ok(()),
            None => self.bring_back(home, spot, then),
        }
    }

    /// An inode that is still there may lack its name or some of its bytes.
    fn complete(&self, now: &Found, home: Option<u64>, spot: &Spot<'_>, then: &Inode) -> Result<(), SalvageError> {
        let number = then.number.0;
        let current =
            if now.proof == Proof::OlderCopy { self.wreck.older(then.number) } else { self.wreck.inode(then.number).ok() };
        let Some(current) = current.filter(|current| current.generation == then.generation && current.kind == then.kind) else {
            return Ok(());
        };
        if is_open(self.finds, number)? && self.may_have_held(home)? {
            self.name(home, spot, number)?;
        }
        // An older copy that is what the point holds is as old as the point, and that one is whole.
        let lacks = now.missing_bytes > 0 || now.proof == Proof::OlderCopy;
        if lacks && is_unchanged(&current, then) {
            self.take(number)?;
        }
        Ok(())
    }

    /// A directory that was made up may have been a real one then.
    fn enrich(&self, now: &Found, home: Option<u64>, spot: &Spot<'_>, then: &Inode) -> Result<(), SalvageError> {
        let number = then.number.0;
        if now.directory != then.is_directory() {
            return Ok(());
        }
        if now.past.is_none() {
            self.take(number)?;
        }
        if is_open(self.finds, number)? && self.may_have_held(home)? {
            self.name(home, spot, number)?;
        }
        Ok(())
    }

    /// An inode that is lost comes back if the name that it had still leads to it, or could have.
    fn bring_back(&self, home: Option<u64>, spot: &Spot<'_>, then: &Inode) -> Result<(), SalvageError> {
        let number = then.number.0;
        let is_root = home.is_none();
        let named = "SELECT inode FROM name WHERE directory = ? AND name = ?";
        let values = params![home.unwrap_or(0).cast_signed(), spot.name];
        let leads_to = self.finds.one(named, values, |row| row.get::<_, i64>(0))?.map(i64::cast_unsigned);
        let returns = match leads_to {
            Some(inode) => inode == number,
            None => is_root || self.may_have_held(home)?,
        };
        if !returns {
            return Ok(());
        }
        let (directory, links) = (then.is_directory(), then.links);
        self.finds.add_inode(NewInode { number, directory, links, proof: Proof::Checksum, in_use: None, made_up: directory })?;
        self.take(number)?;
        if leads_to.is_none() { self.name(home, spot, number) } else { Ok(()) }
    }

    /// True when names of this directory are lost, so that one which is not found may still have been there.
    fn may_have_held(&self, home: Option<u64>) -> Result<bool, SalvageError> {
        let Some(home) = home else { return Ok(false) };
        Ok(self.finds.inode(home)?.is_some_and(|found| found.directory && (found.made_up || !found.whole)))
    }

    fn name(&self, home: Option<u64>, spot: &Spot<'_>, number: u64) -> Result<(), SalvageError> {
        if let Some(home) = home {
            self.finds.add_name(home, spot.name, number, NameProof::Past)?;
        }
        Ok(())
    }

    fn take(&self, number: u64) -> Result<(), SalvageError> {
        take(self.finds, self.index, number)
    }

    fn note(&mut self, spot: &Spot<'_>, inode: &Inode) -> ControlFlow<()> {
        let considered = self.consider(spot, inode);
        stop_on(considered, &mut self.failed)
    }
}

/// Notes that an inode is taken from earlier point `index`.
pub(super) fn take(finds: &Finds, index: usize, number: u64) -> Result<(), SalvageError> {
    let statement = "UPDATE inode SET past = ?, missing = 0, doubt = NULL, proof = 0 WHERE number = ?";
    finds.run(statement, params![u32::try_from(index).unwrap_or(0), number.cast_signed()])?;
    Ok(())
}

/// The same content under the same map: whatever changes either changes these.
pub(super) fn is_unchanged(now: &Inode, then: &Inode) -> bool {
    let facts = |inode: &Inode| (inode.generation, inode.kind, inode.size, inode.modified, inode.changed);
    facts(now) == facts(then)
}

impl TreeVisitor for Filler<'_> {
    fn enter(&mut self, spot: &Spot<'_>, directory: &Inode) -> ControlFlow<(), bool> {
        match self.note(spot, directory) {
            ControlFlow::Break(()) => return ControlFlow::Break(()),
            ControlFlow::Continue(()) => self.way.push(directory.number.0),
        }
        ControlFlow::Continue(true)
    }

    fn leave(&mut self, _directory: &Inode) -> ControlFlow<()> {
        self.way.pop();
        ControlFlow::Continue(())
    }

    fn entry(&mut self, spot: &Spot<'_>, inode: &Inode) -> ControlFlow<()> {
        self.note(spot, inode)
    }

    fn lost(&mut self, _spot: &Spot<'_>, _loss: Loss) -> ControlFlow<()> {
        ControlFlow::Continue(())
    }
}

//! The tree that was pieced together: a filesystem whose answers come from what is left, and from earlier points where that is lost.

use std::ops::ControlFlow;
use std::sync::{Mutex, MutexGuard, PoisonError};

use rusqlite::params;

use super::error::SalvageError;
use super::evidence::{Evidence, NameProof};
use super::finds::{Finds, Found, NewInode};
use super::numbers::{self, PARTIAL, PARTIAL_LOST_AND_FOUND, PARTIAL_ROOT};
use super::past::{self, Past};
use super::summary::{self, Summary};
use super::{adrift, claims, homes, inodes, select};
use crate::base::cancel::Cancel;
use crate::base::extent::Extent;
use crate::base::io::ReadAt;
use crate::base::progress::Progress;
use crate::filesystem::{
    Allocation, Entry, FileKind, Filesystem, FilesystemError, Identity, Inode, InodeNumber, Object, Proof, Segment, Source, View,
    Wreck, Xattr,
};

/// Names that are asked for at once.
const PAGE: i64 = 1024;
/// Permissions of a directory whose own are lost.
const MADE_UP_MODE: u16 = 0o755;
/// Damaged directories that are listed.
const MAX_BROKEN: i64 = 10_000;

/// A damaged volume as a tree of files.
#[derive(Debug)]
pub struct PiecedTree {
    wreck: Box<dyn Wreck>,
    pasts: Vec<Past>,
    finds: Mutex<Finds>,
    summary: Summary,
    accounts: Vec<String>,
    mended: Vec<String>,
}

impl PiecedTree {
    /// Looks for everything that is left, and fills gaps from `pasts`, newest first.
    pub fn piece_together(
        wreck: Box<dyn Wreck>,
        pasts: Vec<Past>,
        progress: &dyn Progress,
        cancel: &Cancel,
    ) -> Result<Self, SalvageError> {
        let finds = Finds::new()?;
        progress.begin("finding inodes", 0);
        inodes::scan(wreck.as_ref(), &finds, cancel)?;
        inodes::add_older(wreck.as_ref(), &finds, cancel)?;
        claims::index(&finds)?;
        let mut accounts = Vec::new();
        if homes::are_wanted(&finds, wreck.root().0)? {
            progress.begin("finding directories", wreck.volume().size());
            homes::collect(wreck.as_ref(), &finds, progress, cancel)?;
            homes::settle(wreck.as_ref(), &finds)?;
            accounts.extend(homes::beyond_limit(&finds)?);
            // Names that were found there may lead to more lost inodes.
            inodes::add_older(wreck.as_ref(), &finds, cancel)?;
        }
        progress.begin("comparing claims", 0);
        claims::find_double(&finds)?;
        claims::find_misled(wreck.as_ref(), &finds)?;
        accounts.extend(claims::find_free(wreck.as_ref(), &finds)?);
        if !pasts.is_empty() {
            progress.begin("asking earlier points", 0);
            past::fill(wreck.as_ref(), &finds, &pasts)?;
        }
        progress.begin("piecing names together", 0);
        adrift::settle(wreck.as_ref(), &finds)?;
        let mended = inodes::note_mended(wreck.as_ref(), &finds)?;
        let summary = summary::of(&finds)?;
        progress.finish();
        Ok(Self { wreck, pasts, finds: Mutex::new(finds), summary, accounts, mended })
    }

    /// What was found, in numbers.
    #[must_use]
    pub fn summary(&self) -> &Summary {
        &self.summary
    }

    /// The number that an inode has in the volume, or had in an earlier state of it.
    #[must_use]
    pub fn plain_number(&self, number: InodeNumber) -> InodeNumber {
        numbers::past_of(number).map_or(number, |(_, plain)| plain)
    }

    /// What is wrong with the geometry, the journal, and the accounts of free space.
    #[must_use]
    pub fn damage(&self) -> Vec<String> {
        let accounts = self.accounts.iter().cloned();
        let mended = self.mended.iter().map(|what| format!("a flipped bit was put right: {what}"));
        self.wreck.damage().iter().map(ToString::to_string).chain(accounts).chain(mended).collect()
    }

    /// Directories of which names are lost, and why: the first ten thousand.
    pub fn broken_directories(&self) -> Result<Vec<(InodeNumber, String)>, SalvageError> {
        let question = "SELECT directory, what FROM broken ORDER BY directory LIMIT ?";
        let read = |row: &rusqlite::Row<'_>| Ok((InodeNumber(row.get::<_, i64>(0)?.cast_unsigned()), row.get(1)?));
        Ok(self.finds().all(question, params![MAX_BROKEN], read)?)
    }

    /// What is known of an inode of this tree.
    pub fn evidence(&self, number: InodeNumber) -> Result<Evidence, SalvageError> {
        let plain = self.plain_number(number);
        let finds = self.finds();
        let found = finds.inode(plain.0)?.unwrap_or_else(Found::unknown);
        Ok(Evidence {
            inode: found.proof,
            name: if plain == self.root() { NameProof::Checksum } else { finds.best_name(plain.0)? },
            missing_bytes: found.missing_bytes,
            doubt: found.doubt,
            past: found.past.and_then(|index| self.pasts.get(index)).map(|past| past.label.clone()),
            stale: Evidence::is_stale(self.view()),
        })
    }

    /// Shows only what `wants` its path of what is shown now, and the directories on the way to it, until [`Self::unselect`].
    pub fn select(&self, wants: &dyn Fn(&[u8]) -> bool) -> Result<u64, SalvageError> {
        select::select(self, wants)
    }

    /// Shows again what the last selection hid.
    pub fn unselect(&self) -> Result<(), SalvageError> {
        Ok(self.finds().end_selection()?)
    }

    /// Takes a file of which bytes cannot be read from an earlier point, if one has the very same. True if it does from now on.
    pub fn take_from_past(&self, file: &Inode) -> Result<bool, SalvageError> {
        if numbers::past_of(file.number).is_some() {
            // Under another name it was taken before.
            return Ok(true);
        }
        let same = |past: &Past| past.filesystem.inode(file.number).is_ok_and(|then| past::is_unchanged(file, &then));
        match self.pasts.iter().position(same) {
            Some(index) => past::take(&self.finds(), index, file.number.0).map(|()| true),
            None => Ok(false),
        }
    }

    /// Puts a file into the tree of files that lack bytes, under a name of its own, which it returns.
    pub fn set_aside(&self, file: &Inode, name: &[u8]) -> Result<Vec<u8>, SalvageError> {
        let finds = self.finds();
        for (number, holder, called) in
            [(PARTIAL_LOST_AND_FOUND, PARTIAL_ROOT, adrift::NAME), (PARTIAL, PARTIAL_LOST_AND_FOUND, b"partial")]
        {
            finds.add_inode(NewInode {
                number,
                directory: true,
                links: 2,
                proof: Proof::Plausible,
                in_use: None,
                made_up: true,
            })?;
            finds.add_name(holder, called, number, NameProof::None)?;
        }
        let plain = self.plain_number(file.number);
        let mut called = format!("#{}-", plain.0).into_bytes();
        // A name has 255 bytes at most, and the list of holes beside it adds an ending.
        called.extend(name.iter().take(200));
        finds.add_name(PARTIAL, &called, plain.0, NameProof::None)?;
        Ok(called)
    }

    /// The root of the tree of files that lack bytes.
    #[must_use]
    pub fn partial_root(&self) -> Inode {
        Inode::made_up(InodeNumber(PARTIAL_ROOT), FileKind::Directory, MADE_UP_MODE)
    }

    pub(super) fn finds(&self) -> MutexGuard<'_, Finds> {
        self.finds.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// The earlier state that an inode belongs to, and the inode as that state knows it.
    fn past<'a>(&'a self, inode: &Inode) -> Option<(&'a Past, Inode)> {
        let (index, number) = numbers::past_of(inode.number)?;
        let mut plain = inode.clone();
        plain.number = number;
        Some((self.pasts.get(index)?, plain))
    }

    /// The same for a directory, whose names are this tree's own and only its attributes the past's.
    fn past_directory(&self, directory: &Inode) -> Result<Option<(&Past, Inode)>, FilesystemError> {
        let Some(found) = self.found(directory.number)? else { return Ok(None) };
        let Some(past) = found.past.and_then(|index| self.pasts.get(index)) else { return Ok(None) };
        past.filesystem.inode(directory.number).map(|inode| Some((past, inode)))
    }

    fn found(&self, number: InodeNumber) -> Result<Option<Found>, FilesystemError> {
        self.finds().inode(number.0).map_err(|error| lost(number, &error.to_string()))
    }

    fn of_past(&self, number: InodeNumber, index: usize, found: &Found) -> Result<Inode, FilesystemError> {
        let past = self.pasts.get(index).ok_or_else(|| lost(number, "the earlier point is gone"))?;
        let mut inode = past.filesystem.inode(number)?;
        if !found.directory {
            inode.number = InodeNumber(numbers::of_past(index, number.0));
        }
        Ok(inode)
    }

    fn page(&self, directory: InodeNumber, after: &[u8]) -> Result<Vec<Entry>, FilesystemError> {
        let page = self.finds().names(directory.0, after, PAGE).map_err(|error| lost(directory, &error.to_string()))?;
        Ok(page.into_iter().map(|(name, inode)| Entry { name, inode: InodeNumber(inode) }).collect())
    }
}

fn lost(number: InodeNumber, reason: &str) -> FilesystemError {
    FilesystemError::Lost { object: Object::Inode(number.0), reason: reason.to_owned() }
}

impl Filesystem for PiecedTree {
    fn identity(&self) -> &Identity {
        self.wreck.identity()
    }

    fn view(&self) -> &View {
        self.wreck.view()
    }

    fn volume(&self) -> &dyn ReadAt {
        self.wreck.volume()
    }

    fn root(&self) -> InodeNumber {
        self.wreck.root()
    }

    fn inode(&self, number: InodeNumber) -> Result<Inode, FilesystemError> {
        let (index, plain) = numbers::past_of(number).map_or((None, number), |(index, plain)| (Some(index), plain));
        let Some(found) = self.found(plain)? else {
            let reason = self.finds().loss(plain.0).ok().flatten();
            return Err(lost(plain, reason.as_deref().unwrap_or("a directory names it, but nothing lies in its place")));
        };
        match index.or(found.past) {
            Some(index) => self.of_past(plain, index, &found),
            None if found.made_up => Ok(Inode::made_up(plain, FileKind::Directory, MADE_UP_MODE)),
            None if found.proof == Proof::OlderCopy => self.wreck.older(plain).ok_or_else(|| lost(plain, "its older copy is gone")),
            None => self.wreck.inode(plain),
        }
    }

    fn list(&self, directory: &Inode, visit: &mut dyn FnMut(Entry) -> ControlFlow<()>) -> Result<(), FilesystemError> {
        let mut after = Vec::new();
        loop {
            let page = self.page(directory.number, &after)?;
            let Some(last) = page.last() else { return Ok(()) };
            after.clone_from(&last.name);
            for entry in page {
                if visit(entry).is_break() {
                    return Ok(());
                }
            }
        }
    }

    fn lookup(&self, directory: &Inode, name: &[u8]) -> Result<Option<Entry>, FilesystemError> {
        let question = "SELECT inode FROM name WHERE directory = ? AND name = ?";
        let found = self.finds().one(question, params![directory.number.0.cast_signed(), name], |row| row.get::<_, i64>(0));
        let found = found.map_err(|error| lost(directory.number, &error.to_string()))?;
        Ok(found.map(|number| Entry { name: name.to_vec(), inode: InodeNumber(number.cast_unsigned()) }))
    }

    fn map(&self, file: &Inode, range: Extent) -> Result<Vec<Segment>, FilesystemError> {
        match self.past(file) {
            Some((past, file)) => past.filesystem.map(&file, range),
            None => self.wreck.map(file, range),
        }
    }

    fn link_target(&self, link: &Inode) -> Result<Vec<u8>, FilesystemError> {
        match self.past(link) {
            Some((past, link)) => past.filesystem.link_target(&link),
            None => self.wreck.link_target(link),
        }
    }

    fn xattrs(&self, inode: &Inode) -> Result<Vec<Xattr>, FilesystemError> {
        if let Some((past, inode)) = self.past(inode) {
            return past.filesystem.xattrs(&inode);
        }
        if inode.is_directory() {
            if let Some((past, inode)) = self.past_directory(inode)? {
                return past.filesystem.xattrs(&inode);
            }
            if self.found(inode.number)?.is_none_or(|found| found.made_up) {
                return Ok(Vec::new());
            }
        }
        self.wreck.xattrs(inode)
    }

    fn allocation(&self) -> Allocation {
        Allocation::doubtful(self.identity().size, "the volume is damaged")
    }

    fn fill(&self, file: &Inode, source: &Source, out: &mut [u8]) -> Result<(), FilesystemError> {
        match self.past(file) {
            Some((past, file)) => past.filesystem.fill(&file, source, out),
            None => self.wreck.fill(file, source, out),
        }
    }
}

//! The walk: every name is looked at once, and what is new or changed is noted as work.

use std::ffi::{CStr, CString};
use std::io;
use std::mem;
use std::path::PathBuf;
use std::sync::Arc;

use super::appendices::{Appendix, without};
use super::error::FileTreeError;
use super::identity::{Identity, Numbers};
use super::keep::{is_unchanged, kind_of, nameless_directory, record_of, xattrs};
use super::ledger::{Ledger, Work};
use super::names::Names;
use super::opener::Opener;
use super::trouble::{Trouble, TroubleKind};
use super::vanished::Vanished;
use crate::base::cancel::Cancel;
use crate::base::clock::Timestamp;
use crate::base::progress::Progress;
use crate::files::{Crossing, Directory, Facts};
use crate::filesystem::file_tree::{FileTree, ROOT, TreeRecord};
use crate::filesystem::{FileKind, is_plain_name};

/// Names looked at together, in order of their bytes: what has neighbouring names mostly lies together.
const BATCH: usize = 4096;
/// More trouble than this is only counted.
const MAX_TROUBLES: usize = 100_000;

/// What to walk over, and what to hold it against.
#[derive(Debug)]
pub struct SurveyRequest<'a> {
    /// The root of the tree.
    pub root: PathBuf,
    /// Whether other filesystems below are entered.
    pub crossing: Crossing,
    /// Read what looks unchanged, too.
    pub rehash: bool,
    /// Bytes of a chunk.
    pub chunk_bytes: u32,
    /// The tree of the earlier point.
    pub earlier: Option<&'a FileTree>,
    /// When this run began.
    pub started: Timestamp,
}

/// What the walk found.
#[derive(Debug)]
pub struct Survey<'a> {
    pub(super) request: SurveyRequest<'a>,
    pub(super) ledger: Ledger,
    pub(super) numbers: Numbers,
    pub(super) opener: Opener,
    pub(super) troubles: Troubles,
    pub(super) vanished: Vanished,
    /// Bytes of content that everything has together.
    pub(super) content_bytes: u64,
    /// Bytes of content that will be read, as far as the walk could tell.
    pub work_bytes: u64,
}

/// What is wrong with single files.
#[derive(Debug, Default)]
pub(super) struct Troubles {
    pub(super) list: Vec<Trouble>,
    pub(super) left_out: u64,
}

impl Troubles {
    pub(super) fn add(&mut self, path: Vec<u8>, kind: TroubleKind, reason: String) {
        if self.list.len() < MAX_TROUBLES { self.list.push(Trouble { path, kind, reason }) } else { self.left_out += 1 }
    }
}

/// Walks over the tree.
pub fn survey<'a>(request: SurveyRequest<'a>, progress: &dyn Progress, cancel: &Cancel) -> Result<Survey<'a>, FileTreeError> {
    let failed = |act: &'static str, path: &PathBuf| {
        let path = path.display().to_string();
        move |source| FileTreeError::Os { act, path, source }
    };
    let root = Directory::open(&request.root).map_err(failed("open", &request.root))?;
    let facts = root.own_facts().map_err(failed("look at", &request.root))?;
    let ledger = Ledger::new()?;
    let mut numbers = Numbers::new(&ledger, request.earlier)?;
    numbers.root(&ledger, &facts)?;
    let old = request.earlier.map(|earlier| earlier.record(ROOT)).transpose()?.flatten();
    ledger.add_directory(ROOT, ROOT, b"")?;
    ledger.push_waiting(ROOT, old.is_some())?;
    progress.begin("looking at files", 0);
    let opener = Opener::new(root, request.crossing);
    let (troubles, vanished) = (Troubles::default(), Vanished::default());
    let survey = Survey { request, ledger, numbers, opener, troubles, vanished, content_bytes: 0, work_bytes: 0 };
    let mut walk = Walk { survey, cancel, mount: facts.mount, device: facts.device };
    while let Some((number, known)) = walk.survey.ledger.pop_waiting()? {
        walk.directory(number, known)?;
    }
    let mut survey = walk.survey;
    survey.work_bytes = survey.ledger.work_bytes()?;
    Ok(survey)
}

struct Walk<'a, 'c> {
    survey: Survey<'a>,
    cancel: &'c Cancel,
    mount: Option<u64>,
    device: u64,
}

/// The directory that is being listed.
struct Listing {
    number: u64,
    directory: Arc<Directory>,
    names: Names,
    /// Directories found in it, to be walked next.
    inner: Vec<(u64, bool)>,
}

impl Walk<'_, '_> {
    fn directory(&mut self, number: u64, known: bool) -> Result<(), FileTreeError> {
        let old = match self.survey.request.earlier.filter(|_| known) {
            Some(earlier) => earlier.record(number)?,
            None => None,
        };
        match self.survey.opener.open(&self.survey.ledger, number)? {
            Ok(directory) => self.list(number, directory, old.as_ref()),
            Err(error) => self.lose_directory(number, None, old.as_ref(), &error),
        }
    }

    fn list(&mut self, number: u64, directory: Arc<Directory>, old: Option<&TreeRecord>) -> Result<(), FileTreeError> {
        let looked = directory.own_facts().and_then(|facts| Ok((facts, directory.own_attributes()?)));
        let (facts, attributes) = match looked {
            Ok(looked) => looked,
            Err(error) => return self.lose_directory(number, None, old, &error),
        };
        let mut listing = Listing { number, directory: Arc::clone(&directory), names: Names::default(), inner: Vec::new() };
        if let Err(error) = self.names(&directory, &mut listing)? {
            return self.lose_directory(number, Some(&facts), old, &error);
        }
        let mut appendix = Appendix::new(number, &xattrs(attributes), &[]);
        let Listing { names, inner, .. } = listing;
        let size = names.put(&self.survey.ledger, &mut appendix)?;
        let mut record = TreeRecord { size, ..record_of(&facts, FileKind::Directory) };
        appendix.finish(&self.survey.ledger, old, &mut record)?;
        if !old.is_some_and(|old| is_same(old, &record)) {
            self.survey.ledger.put_node(number, &record)?;
        }
        // The first in order is taken first.
        inner.iter().rev().try_for_each(|(number, known)| Ok(self.survey.ledger.push_waiting(*number, *known)?))
    }

    /// Lists a directory in batches. The inner error is the system's.
    fn names(&mut self, directory: &Directory, listing: &mut Listing) -> Result<io::Result<()>, FileTreeError> {
        let (mut batch, mut failed) = (Vec::new(), None);
        let listed = directory.list(&mut |name| {
            batch.push(name.to_owned());
            if batch.len() < BATCH {
                return Ok(());
            }
            self.batch(listing, mem::take(&mut batch)).map_err(|error| {
                failed = Some(error);
                io::ErrorKind::Other.into()
            })
        });
        if let Some(error) = failed {
            return Err(error);
        }
        if listed.is_ok() {
            self.batch(listing, batch)?;
        }
        Ok(listed)
    }

    fn batch(&mut self, listing: &mut Listing, mut names: Vec<CString>) -> Result<(), FileTreeError> {
        if self.cancel.is_cancelled() {
            return Err(FileTreeError::Cancelled);
        }
        names.sort_unstable();
        names.iter().try_for_each(|name| self.entry(listing, name))
    }

    fn entry(&mut self, listing: &mut Listing, name: &CStr) -> Result<(), FileTreeError> {
        let facts = match listing.directory.facts(name) {
            Ok(facts) => facts,
            // It is gone since it was listed.
            Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(()),
            Err(error) => return self.trouble(listing.number, name.to_bytes(), &format!("cannot look at it: {error}")),
        };
        let Some(kind) = kind_of(&facts) else {
            return self.trouble(listing.number, name.to_bytes(), "it is of no known kind");
        };
        if !is_plain_name(name.to_bytes()) {
            return self.trouble(listing.number, name.to_bytes(), "its name is not one that a directory may hold");
        }
        let (number, first) = match self.survey.numbers.identify(&self.survey.ledger, &facts)? {
            Identity::Again(_) if kind == FileKind::Directory => {
                return self.trouble(listing.number, name.to_bytes(), "this directory was reached before by another way");
            }
            Identity::Again(number) => (number, None),
            Identity::First { number, old } => (number, Some(old)),
        };
        listing.names.add(&self.survey.ledger, name.to_bytes().to_vec(), number)?;
        match first {
            Some(old) => self.first_met(listing, name, number, &facts, kind, old),
            None => Ok(()),
        }
    }

    fn first_met(
        &mut self,
        listing: &mut Listing,
        name: &CStr,
        number: u64,
        facts: &Facts,
        kind: FileKind,
        old: Option<TreeRecord>,
    ) -> Result<(), FileTreeError> {
        let started = self.survey.request.earlier.map_or(Timestamp(0), |earlier| earlier.state().started);
        let is_same = old.is_some_and(|old| is_unchanged(&old, facts, started));
        match kind {
            // What is mounted there is kept as an empty directory.
            FileKind::Directory if !self.may_enter(facts) => self.special(listing, name, number, facts, kind, old.as_ref()),
            FileKind::Directory => {
                self.survey.ledger.add_directory(number, listing.number, name.to_bytes())?;
                listing.inner.push((number, old.is_some()));
                Ok(())
            }
            FileKind::Regular => {
                self.survey.content_bytes = self.survey.content_bytes.saturating_add(facts.size);
                if is_same && !self.survey.request.rehash { Ok(()) } else { self.note(listing, name, number, facts, old) }
            }
            _ if is_same => Ok(()),
            _ => self.special(listing, name, number, facts, kind, old.as_ref()),
        }
    }

    fn may_enter(&self, facts: &Facts) -> bool {
        let is_here = match (self.mount, facts.mount) {
            (Some(root), Some(found)) => root == found,
            _ => self.device == facts.device,
        };
        is_here || self.survey.request.crossing == Crossing::Allowed
    }

    /// A file to be read. A long one that still fits is written over its own place.
    fn note(
        &mut self,
        listing: &Listing,
        name: &CStr,
        number: u64,
        facts: &Facts,
        old: Option<TreeRecord>,
    ) -> Result<(), FileTreeError> {
        let chunk = u64::from(self.survey.request.chunk_bytes);
        let has_room = |old: &TreeRecord| !old.is_packed() && facts.size > chunk && facts.size <= old.content.length;
        let rewrite = old.as_ref().filter(|old| has_room(old)).map(|old| old.content.offset);
        let (name, directory) = (name.to_bytes().to_vec(), listing.number);
        let work = Work { id: 0, directory, number, name, size: facts.size, links: facts.links, old };
        Ok(self.survey.ledger.add_work(&work, rewrite)?)
    }

    /// Links, pipes, sockets, devices and what is mounted elsewhere are complete at once.
    fn special(
        &mut self,
        listing: &Listing,
        name: &CStr,
        number: u64,
        facts: &Facts,
        kind: FileKind,
        old: Option<&TreeRecord>,
    ) -> Result<(), FileTreeError> {
        let directory = &listing.directory;
        let target = || if kind == FileKind::Symlink { directory.link_target(name) } else { Ok(Vec::new()) };
        let mut record = record_of(facts, kind);
        if kind == FileKind::Directory {
            record.size = 0;
        }
        match target().and_then(|target| Ok((target, directory.attributes(name)?))) {
            Ok((target, attributes)) if target.is_empty() && attributes.is_empty() => without(&mut record),
            Ok((target, attributes)) => {
                let mut appendix = Appendix::new(number, &xattrs(attributes), &[]);
                appendix.push(&self.survey.ledger, &target)?;
                appendix.finish(&self.survey.ledger, old, &mut record)?;
            }
            Err(error) => {
                record.lost = true;
                self.trouble(listing.number, name.to_bytes(), &format!("cannot read it: {error}"))?;
            }
        }
        Ok(self.survey.ledger.put_node(number, &record)?)
    }

    /// A directory that cannot be listed is kept as lost, so that nobody takes it for an empty one.
    fn lose_directory(
        &mut self,
        number: u64,
        facts: Option<&Facts>,
        old: Option<&TreeRecord>,
        error: &io::Error,
    ) -> Result<(), FileTreeError> {
        if number == ROOT {
            let path = self.survey.request.root.display().to_string();
            return Err(FileTreeError::Os { act: "list", path, source: io::Error::new(error.kind(), error.to_string()) });
        }
        let (parent, name) = self.survey.ledger.directory(number)?.unwrap_or_default();
        let found = match facts {
            Some(facts) => Some(*facts),
            None => self.look_again(parent, &name)?,
        };
        if error.kind() == io::ErrorKind::NotFound && found.is_none() {
            self.survey.vanished.add(parent, number);
            return Ok(());
        }
        let record = found.map(|facts| record_of(&facts, FileKind::Directory)).or(old.copied());
        let mut record = record.unwrap_or_else(nameless_directory);
        record.lost = true;
        record.size = 0;
        without(&mut record);
        self.survey.ledger.put_node(number, &record)?;
        self.trouble(parent, &name, &format!("cannot read this directory: {error}"))
    }

    fn look_again(&mut self, parent: u64, name: &[u8]) -> Result<Option<Facts>, FileTreeError> {
        let Ok(name) = CString::new(name) else { return Ok(None) };
        Ok(self.survey.opener.open(&self.survey.ledger, parent)?.and_then(|directory| directory.facts(&name)).ok())
    }

    fn trouble(&mut self, directory: u64, name: &[u8], reason: &str) -> Result<(), FileTreeError> {
        let path = Opener::path(&self.survey.ledger, directory, name)?;
        self.survey.troubles.add(path, TroubleKind::Unreadable, reason.to_owned());
        Ok(())
    }
}

/// True if the earlier record says the same. When it was read last is not worth a new one.
pub(super) fn is_same(old: &TreeRecord, new: &TreeRecord) -> bool {
    TreeRecord { accessed: old.accessed, device: old.device, ..*new } == *old
}

impl Survey<'_> {
    /// True if an inode of the earlier tree is still there.
    pub(super) fn is_present(&self, number: u64) -> bool {
        self.numbers.is_seen(number) && !self.vanished.holds(number)
    }
}

//! Which superblock speaks for a volume: the first one if it can be believed, otherwise what most of its copies agree on.
//!
//! ```text
//!   group   0           1           2           3
//!           superblock  copy        copy        copy
//!           believed?   no: search for the first of these, then ask at every place where it says that a group begins
//! ```
//! Where there is none left, the log may have one; and where that has none, what other structures say of their places must do.

use std::collections::BTreeMap;
use std::ops::ControlFlow;
use std::sync::Arc;

use super::conclusion::conclude;
use super::drawn::draw;
use super::root::usual_root;
use super::testimony::Testimony;
use crate::base::extent::Extent;
use crate::base::io::ReadAt;
use crate::filesystem::error::{FilesystemError, Object};
use crate::filesystem::fields::Fields;
use crate::filesystem::sweep::overlapping;
use crate::filesystem::xfs::log::{LogFacts, Older, put, seal};
use crate::filesystem::xfs::superblock::{
    CHECKSUM_AT, Duplicate, MAGIC, ROOT_AT, SMALLEST_SECTOR_BYTES, UNFINISHED_AT, concluded, duplicate,
};

/// Copies that are asked. A volume with more groups has more of them than anything can destroy by chance.
const MOST_COPIES: u32 = 128;
/// Different superblocks that a search remembers: what was here before, and what lies in files.
const MOST_CANDIDATES: usize = 16;
/// No structure is longer.
const LONGEST_STRUCTURE_BYTES: u64 = 64 << 10;

/// The superblock that won.
#[derive(Debug)]
pub(super) struct Elected {
    /// The sector, as the first one of the volume should have it.
    pub(super) bytes: Vec<u8>,
    /// How many copies agree, itself included.
    pub(super) agreeing: u32,
    /// What had to be replaced. When there is anything, `bytes` are not those of the first sector.
    pub(super) damage: Vec<FilesystemError>,
}

/// Chooses. An error when there is none to choose from.
pub(super) fn elect(source: &Arc<dyn ReadAt>) -> Result<Elected, FilesystemError> {
    let why = match duplicate(&**source, 0) {
        Ok(first) if first.is_sealed => {
            let candidate = Candidate::new(&**source, first);
            // Without checksums, a superblock that stands alone may be wrong about where its copies are.
            if candidate.duplicate.superblock.geometry.crc || candidate.has_majority() {
                return candidate.elected(None);
            }
            FilesystemError::corrupt(Object::Superblock, 0, "its copies do not agree with it")
        }
        Ok(_) => FilesystemError::corrupt(Object::Superblock, 0, "its checksum is not that of its bytes"),
        Err(error) => error,
    };
    let better = |best: Candidate, next: Candidate| if next.weight() > best.weight() { next } else { best };
    let (candidates, testimony) = search(&**source)?;
    match candidates.into_iter().reduce(better) {
        Some(best) if best.is_first() && best.duplicate.is_sealed => best.elected(None),
        Some(best) => best.elected(Some(why)),
        None => match without_copies(source, &testimony) {
            Some((duplicate, said)) => {
                let mut elected = Candidate::alone(duplicate).elected(Some(why))?;
                elected.damage.push(FilesystemError::Lost { object: Object::Superblock, reason: said });
                Ok(elected)
            }
            None => Err(why),
        },
    }
}

/// The superblock of an earlier state of the same volume.
pub(super) fn of_earlier(earlier: &dyn ReadAt) -> Result<Elected, FilesystemError> {
    let reason = "no copy is left, and not enough to conclude it; that of an earlier state stands in for it".to_owned();
    let why = FilesystemError::Lost { object: Object::Superblock, reason };
    Candidate::alone(duplicate(earlier, 0)?).elected(Some(why))
}

/// What stands in for a superblock of which no copy is left, and what is said of it.
fn without_copies(source: &Arc<dyn ReadAt>, testimony: &Testimony) -> Option<(Duplicate, String)> {
    if let Some(logged) = in_log(source, testimony) {
        return Some((logged, "all copies are lost: it is taken from the log, which has the first one".to_owned()));
    }
    let conclusion = conclude(testimony, &**source)?;
    let duplicate = concluded(draw(&conclusion)?).ok()?;
    Some((duplicate, conclusion.in_words()))
}

/// The superblock as the log has it, if it says that the log is where it was found.
fn in_log(source: &Arc<dyn ReadAt>, testimony: &Testimony) -> Option<Duplicate> {
    let (place, uuid) = testimony.logs.best(&**source)?;
    let found = concluded(Older::of(source, &place, &LogFacts::unknown(uuid))?.superblock()?).ok()?;
    let says_so = found.superblock.log.as_ref().is_some_and(|log| log.offset == place.offset);
    says_so.then_some(found)
}

/// Looks for superblocks in all of the source, until one has the agreement of most of its copies; and hears what else lies before that.
fn search(source: &dyn ReadAt) -> Result<(Vec<Candidate>, Testimony), FilesystemError> {
    let (mut candidates, mut testimony): (Vec<Candidate>, _) = (Vec::new(), Testimony::default());
    let swept = overlapping(source, Extent::new(0, source.size()), LONGEST_STRUCTURE_BYTES, &mut |piece, bytes, _| {
        for offset in (0..piece.length).step_by(SMALLEST_SECTOR_BYTES as usize) {
            let Some(sector) = usize::try_from(offset).ok().and_then(|offset| bytes.get(offset..)) else { break };
            testimony.hear(piece.offset + offset, sector);
            if !sector.starts_with(MAGIC) || candidates.len() >= MOST_CANDIDATES {
                continue;
            }
            let Some(found) = begins_group(source, piece.offset + offset) else { continue };
            if candidates.iter().any(|candidate| candidate.duplicate.agrees(&found)) {
                continue;
            }
            let candidate = Candidate::new(source, found);
            let is_enough = candidate.has_majority();
            candidates.push(candidate);
            if is_enough {
                return ControlFlow::Break(());
            }
        }
        ControlFlow::Continue(())
    });
    let _found_early = swept.map_err(|source| FilesystemError::Io { object: Object::Superblock, source })?;
    Ok((candidates, testimony))
}

/// The superblock at byte `at`, if it stands where it says that a group begins.
fn begins_group(source: &dyn ReadAt, at: u64) -> Option<Duplicate> {
    duplicate(source, at).ok().filter(|found| found.superblock.geometry.group_at(at).is_some())
}

/// One superblock, and who agrees with it.
#[derive(Debug)]
struct Candidate {
    duplicate: Duplicate,
    agreeing: u32,
    asked: u32,
    /// Who may be the root directory, and how many copies name it.
    roots: BTreeMap<u64, u32>,
}

impl Candidate {
    /// Asks the copies of a superblock.
    fn new(source: &dyn ReadAt, duplicate: Duplicate) -> Self {
        let geometry = &duplicate.superblock.geometry;
        let places = (0..geometry.groups.min(MOST_COPIES)).map(|group| geometry.group_byte(group));
        let places: Vec<u64> = places.take_while(|at| *at < source.size()).collect();
        let asked = u32::try_from(places.len()).unwrap_or(u32::MAX);
        let mut candidate = Self { duplicate, agreeing: 0, asked, roots: BTreeMap::new() };
        places.into_iter().filter_map(|at| super::election::duplicate(source, at).ok()).for_each(|copy| candidate.hear(&copy));
        candidate
    }

    /// One that stands for copies that are lost.
    fn alone(duplicate: Duplicate) -> Self {
        let mut candidate = Self { duplicate, agreeing: 1, asked: 1, roots: BTreeMap::new() };
        let root = candidate.duplicate.superblock.root;
        candidate.roots.extend(candidate.duplicate.superblock.geometry.inode(root).map(|_place| (root, 1)));
        candidate
    }

    fn hear(&mut self, copy: &Duplicate) {
        let is_itself = copy.at == self.duplicate.at;
        if !copy.agrees(&self.duplicate) || !(copy.is_sealed || is_itself) {
            return;
        }
        self.agreeing += 1;
        let root = copy.superblock.root;
        if copy.superblock.geometry.inode(root).is_some() {
            *self.roots.entry(root).or_default() += 1;
        }
    }

    fn is_first(&self) -> bool {
        self.duplicate.at == 0
    }

    fn has_majority(&self) -> bool {
        self.duplicate.is_sealed && self.agreeing * 2 > self.asked
    }

    /// One with the right checksum counts for more than any number without.
    fn weight(&self) -> (bool, u32) {
        (self.duplicate.is_sealed, self.agreeing)
    }

    /// The root directory that most copies name. All of them can be silent: mkfs tells only three.
    fn root(&self) -> Option<u64> {
        let own = self.duplicate.superblock.root;
        if self.is_first() && self.duplicate.superblock.geometry.crc && self.roots.contains_key(&own) {
            return Some(own);
        }
        self.roots.iter().max_by_key(|(root, votes)| (**votes, **root == own)).map(|(root, _)| *root)
    }

    /// Makes it the first superblock of the volume; `why` says what is wrong with the one that is there.
    fn elected(self, why: Option<FilesystemError>) -> Result<Elected, FilesystemError> {
        let mut damage: Vec<_> = why.into_iter().collect();
        let geometry = &self.duplicate.superblock.geometry;
        let mut bytes = self.duplicate.bytes.clone();
        let root = match self.root() {
            Some(root) => root,
            None => {
                let root = usual_root(&Fields::new(&bytes, Object::Superblock, self.duplicate.at), geometry)?;
                let reason = format!("no copy names the root directory: it is taken for inode {root}, where mkfs puts it");
                damage.push(FilesystemError::Lost { object: Object::Superblock, reason });
                root
            }
        };
        put(&mut bytes, ROOT_AT, &root.to_be_bytes())?;
        put(&mut bytes, UNFINISHED_AT, &[0])?;
        if geometry.crc {
            seal(&mut bytes, CHECKSUM_AT)?;
        }
        if damage.is_empty() && bytes != self.duplicate.bytes {
            let reason = format!("it calls itself unfinished, or names another root directory than inode {root}, as its copies do");
            damage.push(FilesystemError::Lost { object: Object::Superblock, reason });
        }
        Ok(Elected { bytes, agreeing: self.agreeing.max(1), damage })
    }
}

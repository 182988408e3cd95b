//! A wreck of which a test says what is lost.

use std::collections::BTreeSet;
use std::ops::ControlFlow;

use crate::base::extent::Extent;
use crate::base::io::ReadAt;
use crate::filesystem::{
    Allocation, Entry, Filesystem, FilesystemError, FoundEntry, FoundInode, FoundName, Identity, Inode, InodeNumber, Object, Proof,
    Scanned, Segment, StrayBlock, View, Wreck, Xattr,
};
use crate::testkit::model_filesystem::ModelFilesystem;

/// A model, and what is lost of it.
#[derive(Debug)]
pub(super) struct ModelWreck {
    pub(super) model: ModelFilesystem,
    pub(super) root: InodeNumber,
    /// Inodes that their accounts call free.
    pub(super) unused: BTreeSet<InodeNumber>,
    /// Inodes that say themselves that they were freed.
    pub(super) freed: BTreeSet<InodeNumber>,
    /// Inodes of which the journal has a copy.
    pub(super) logged: BTreeSet<InodeNumber>,
    lost: BTreeSet<InodeNumber>,
    broken: BTreeSet<InodeNumber>,
    strays: Vec<StrayBlock>,
    copies: Vec<StrayBlock>,
}

/// A name for a stray block: whom it leads to, and whether it says that this is a directory.
pub(super) type StrayName<'a> = (&'a [u8], InodeNumber, bool);

impl ModelWreck {
    pub(super) fn new() -> Self {
        let model = ModelFilesystem::new();
        let root = model.root_number();
        let (unused, freed, logged, lost, broken) = Default::default();
        Self { model, root, unused, freed, logged, lost, broken, strays: Vec::new(), copies: Vec::new() }
    }

    /// Wipes an inode.
    pub(super) fn lose(&mut self, number: InodeNumber) {
        self.lost.insert(number);
    }

    /// Wipes the blocks of a directory.
    pub(super) fn break_directory(&mut self, number: InodeNumber) {
        self.broken.insert(number);
    }

    /// Adds a directory block that belongs to no readable directory.
    pub(super) fn stray(
        &mut self,
        directory: Option<InodeNumber>,
        key: Option<u64>,
        parent: Option<InodeNumber>,
        names: &[StrayName<'_>],
    ) {
        let at = (1 << 20) + 4096 * self.strays.len() as u64;
        let names = found(names);
        self.strays.push(StrayBlock { at, directory, key, parent, names, proof: Proof::Plausible });
    }

    /// Adds a copy of the broken block of a directory, which says nothing of itself, or what its index confirms.
    pub(super) fn copy(&mut self, of: InodeNumber, names: &[StrayName<'_>], proof: Proof) {
        let names = found(names);
        self.copies.push(StrayBlock { at: place_of(of), directory: None, key: None, parent: None, names, proof });
    }

    fn parent_of(&self, number: InodeNumber) -> Option<InodeNumber> {
        let holds = |parent: &InodeNumber| {
            let parent = self.model.inode(*parent).unwrap();
            parent.is_directory() && self.entries(&parent).iter().any(|entry| entry.inode == number)
        };
        (1..=self.model.count()).map(InodeNumber).find(holds)
    }

    fn entries(&self, directory: &Inode) -> Vec<Entry> {
        let mut entries = Vec::new();
        let listed = self.model.list(directory, &mut |entry| {
            entries.push(entry);
            ControlFlow::Continue(())
        });
        listed.unwrap();
        entries
    }
}

fn found(names: &[StrayName<'_>]) -> Vec<FoundName> {
    let found = |(name, inode, is_directory): &StrayName<'_>| FoundName {
        name: name.to_vec(),
        inode: *inode,
        is_directory: Some(*is_directory),
    };
    names.iter().map(found).collect()
}

/// Where the block of a directory lies.
fn place_of(directory: InodeNumber) -> u64 {
    (1 << 30) + 4096 * directory.0
}

impl Filesystem for ModelWreck {
    fn identity(&self) -> &Identity {
        self.model.identity()
    }
    fn view(&self) -> &View {
        self.model.view()
    }
    fn volume(&self) -> &dyn ReadAt {
        self.model.volume()
    }
    fn root(&self) -> InodeNumber {
        self.root
    }
    fn inode(&self, number: InodeNumber) -> Result<Inode, FilesystemError> {
        match self.lost.contains(&number) {
            true => Err(FilesystemError::corrupt(Object::Inode(number.0), 0, "a test wiped it")),
            false => self.model.inode(number),
        }
    }
    fn list(&self, directory: &Inode, visit: &mut dyn FnMut(Entry) -> ControlFlow<()>) -> Result<(), FilesystemError> {
        self.model.list(directory, visit)
    }
    fn map(&self, file: &Inode, range: Extent) -> Result<Vec<Segment>, FilesystemError> {
        self.model.map(file, range)
    }
    fn link_target(&self, link: &Inode) -> Result<Vec<u8>, FilesystemError> {
        self.model.link_target(link)
    }
    fn xattrs(&self, inode: &Inode) -> Result<Vec<Xattr>, FilesystemError> {
        self.model.xattrs(inode)
    }
    fn allocation(&self) -> Allocation {
        Allocation::default()
    }
}

impl Wreck for ModelWreck {
    fn damage(&self) -> &[FilesystemError] {
        &[]
    }

    fn agreeing_superblocks(&self) -> u32 {
        1
    }

    fn scan(&self, from: u64, visit: &mut dyn FnMut(Scanned) -> ControlFlow<()>) -> Result<(), FilesystemError> {
        for number in (from.max(1)..=self.model.count()).map(InodeNumber) {
            let scanned = match self.inode(number) {
                Ok(inode) => {
                    Scanned::Inode(FoundInode { inode, proof: Proof::Checksum, in_use: Some(!self.unused.contains(&number)) })
                }
                Err(_) if self.freed.contains(&number) => continue,
                Err(error) => Scanned::Lost { inodes: number.0..number.0 + 1, error },
            };
            if visit(scanned).is_break() {
                break;
            }
        }
        Ok(())
    }

    fn older(&self, number: InodeNumber) -> Option<Inode> {
        self.logged.contains(&number).then(|| self.model.inode(number).ok()).flatten()
    }

    fn was_freed(&self, number: InodeNumber) -> bool {
        self.freed.contains(&number)
    }

    fn names(&self, directory: &Inode, visit: &mut dyn FnMut(FoundEntry) -> ControlFlow<()>) {
        if let Some(parent) = self.parent_of(directory.number) {
            let _goes_on = visit(FoundEntry::Parent(parent));
        }
        if self.broken.contains(&directory.number) {
            let error =
                FilesystemError::corrupt(Object::Directory(directory.number.0), place_of(directory.number), "a test broke it");
            let _goes_on = visit(FoundEntry::Lost(error));
            return;
        }
        for Entry { name, inode } in self.entries(directory) {
            if visit(FoundEntry::Name(FoundName { name, inode, is_directory: None })).is_break() {
                return;
            }
        }
    }

    fn directory_key(&self, _directory: &Inode) -> Option<u64> {
        None
    }

    fn strays(&self, within: Extent, visit: &mut dyn FnMut(StrayBlock) -> ControlFlow<()>) -> Result<(), FilesystemError> {
        // The model's volume is as long as its content, and blocks of a test lie behind it: the last gap has them all.
        if within.end() == self.volume().size() {
            let _ended = self.strays.iter().cloned().try_for_each(visit);
        }
        Ok(())
    }

    fn older_strays(&self, visit: &mut dyn FnMut(StrayBlock) -> ControlFlow<()>) {
        let _ended = self.copies.iter().cloned().try_for_each(visit);
    }
}

//! A filesystem in memory whose directories hold whatever a test puts there, lies included.

use std::collections::BTreeMap;
use std::mem;
use std::ops::ControlFlow;
use std::sync::{Mutex, PoisonError};

use crate::base::extent::{Extent, ExtentSet};
use crate::base::io::{IoError, ReadAt};
use crate::filesystem::{
    Allocation, Entry, FileKind, Filesystem, FilesystemError, Identity, Inode, InodeNumber, Kind, Object, Segment, Source, View,
    Xattr,
};

/// Content is kept in blocks of this length.
pub const MODEL_BLOCK_BYTES: u64 = 4096;

/// Inodes by number; the volume holds their content one after the other.
#[derive(Debug)]
pub struct ModelFilesystem {
    identity: Identity,
    view: View,
    inodes: BTreeMap<InodeNumber, Held>,
    volume: BrokenMemory,
    /// Errors that listing a directory ends with.
    list_failures: Mutex<BTreeMap<InodeNumber, FilesystemError>>,
}

#[derive(Debug)]
struct Held {
    inode: Inode,
    entries: Vec<Entry>,
    segments: Vec<Segment>,
    target: Vec<u8>,
    xattrs: Vec<Xattr>,
}

/// Bytes of which some cannot be read.
#[derive(Debug, Default)]
struct BrokenMemory {
    bytes: Vec<u8>,
    missing: ExtentSet,
}

impl ReadAt for BrokenMemory {
    fn size(&self) -> u64 {
        self.bytes.len() as u64
    }

    fn read_at(&self, offset: u64, out: &mut [u8]) -> Result<(), IoError> {
        let extent = Extent::new(offset, out.len() as u64);
        if let Some(missing) = self.missing.intersection(&extent.into()).as_slice().first() {
            return Err(IoError::Missing { extent: *missing, reason: "a test took it".to_owned() });
        }
        let range = extent.offset as usize..extent.end() as usize;
        let bytes = self.bytes.get(range).ok_or(IoError::OutOfRange { extent, size: self.size() })?;
        out.copy_from_slice(bytes);
        Ok(())
    }
}

impl Default for ModelFilesystem {
    fn default() -> Self {
        Self::new()
    }
}

impl ModelFilesystem {
    /// A root directory, and nothing in it.
    #[must_use]
    pub fn new() -> Self {
        let identity = Identity { kind: Kind::Ext4, uuid: [7; 16], label: b"model".to_vec(), block_bytes: 4096, size: 0 };
        let (inodes, volume) = (BTreeMap::new(), BrokenMemory::default());
        let mut model = Self { identity, view: View::Clean, inodes, volume, list_failures: Mutex::default() };
        model.add(FileKind::Directory, 0o755);
        model
    }

    /// The number of the root.
    #[must_use]
    pub fn root_number(&self) -> InodeNumber {
        InodeNumber(1)
    }

    /// How many inodes there are; they are numbered from 1.
    #[must_use]
    pub fn count(&self) -> u64 {
        self.inodes.len() as u64
    }

    /// Takes everything from `size` on out of a file's map and length.
    pub fn truncate(&mut self, file: InodeNumber, size: u64) {
        let held = self.held(file);
        held.segments.retain(|segment| segment.extent.end() <= size);
        held.inode.size = size;
    }

    /// Makes answers doubtful.
    pub fn make_stale(&mut self, reason: &str) {
        self.view = View::Stale { reason: reason.to_owned() };
    }

    /// Adds an inode that no name leads to.
    pub fn add(&mut self, kind: FileKind, mode: u16) -> InodeNumber {
        let number = InodeNumber(self.inodes.len() as u64 + 1);
        let inode = Inode::made_up(number, kind, mode);
        let (entries, segments, target, xattrs) = Default::default();
        self.inodes.insert(number, Held { inode, entries, segments, target, xattrs });
        number
    }

    /// Gives an inode a name, whatever the name.
    pub fn entry(&mut self, directory: InodeNumber, name: &[u8], inode: InodeNumber) {
        self.held(directory).entries.push(Entry { name: name.to_vec(), inode });
    }

    /// Takes a name away.
    pub fn remove_entry(&mut self, directory: InodeNumber, name: &[u8]) {
        self.held(directory).entries.retain(|entry| entry.name != name);
    }

    /// Makes it another volume.
    pub fn identify(&mut self, uuid: [u8; 16]) {
        self.identity.uuid = uuid;
    }

    /// Makes a directory.
    pub fn directory(&mut self, parent: InodeNumber, name: &[u8]) -> InodeNumber {
        let number = self.add(FileKind::Directory, 0o755);
        self.entry(parent, name, number);
        number
    }

    /// Makes a file that holds `content`.
    pub fn file(&mut self, parent: InodeNumber, name: &[u8], content: &[u8]) -> InodeNumber {
        let number = self.add(FileKind::Regular, 0o644);
        self.entry(parent, name, number);
        self.append(number, content);
        number
    }

    /// Makes a symbolic link.
    pub fn symlink(&mut self, parent: InodeNumber, name: &[u8], target: &[u8]) -> InodeNumber {
        let number = self.add(FileKind::Symlink, 0o777);
        self.entry(parent, name, number);
        self.held(number).target = target.to_vec();
        self.held(number).inode.size = target.len() as u64;
        number
    }

    /// Makes anything else.
    pub fn special(&mut self, parent: InodeNumber, name: &[u8], kind: FileKind) -> InodeNumber {
        let number = self.add(kind, 0o600);
        self.entry(parent, name, number);
        number
    }

    /// Adds `content` to a file, on disk from a block boundary on.
    pub fn append(&mut self, file: InodeNumber, content: &[u8]) {
        let at = self.volume.bytes.len() as u64;
        self.volume.bytes.extend_from_slice(content);
        let padded = self.volume.bytes.len().next_multiple_of(MODEL_BLOCK_BYTES as usize);
        self.volume.bytes.resize(padded, 0xee);
        self.push_segment(file, content.len() as u64, Source::Disk(at));
    }

    /// Adds a hole, a reservation or inline bytes to a file.
    pub fn push_segment(&mut self, file: InodeNumber, length: u64, source: Source) {
        let held = self.held(file);
        if length > 0 {
            held.segments.push(Segment { extent: Extent::new(held.inode.size, length), source });
        }
        held.inode.size += length;
    }

    /// Makes bytes of a file, from `offset` on, unreadable. They must lie in one piece on disk.
    pub fn lose(&mut self, file: InodeNumber, lost: Extent) {
        let piece = self.held(file).segments.iter().find(|segment| segment.extent.intersect(&lost) == lost).cloned();
        if let Some(Segment { extent, source: Source::Disk(at) }) = piece {
            self.volume.missing.insert(Extent::new(at + lost.offset - extent.offset, lost.length));
        }
    }

    /// Changes the facts of an inode.
    pub fn change(&mut self, number: InodeNumber, change: impl FnOnce(&mut Inode)) {
        change(&mut self.held(number).inode);
    }

    /// Adds an extended attribute.
    pub fn xattr(&mut self, number: InodeNumber, name: &[u8], value: &[u8]) {
        self.held(number).xattrs.push(Xattr { name: name.to_vec(), value: value.to_vec() });
    }

    /// Makes the next listing of a directory end with `error` after all of its names.
    pub fn fail_list(&mut self, directory: InodeNumber, error: FilesystemError) {
        self.list_failures.get_mut().unwrap_or_else(PoisonError::into_inner).insert(directory, error);
    }

    /// The inode that a name leads to.
    ///
    /// # Panics
    /// When there is no such name.
    #[must_use]
    pub fn find(&self, directory: InodeNumber, name: &[u8]) -> InodeNumber {
        let entries = &self.inodes[&directory].entries;
        let at = entries.iter().position(|entry| entry.name == name);
        entries[at.unwrap_or(usize::MAX)].inode
    }

    #[expect(clippy::expect_used, reason = "a test that names an inode it never made is wrong itself")]
    fn held(&mut self, number: InodeNumber) -> &mut Held {
        self.inodes.get_mut(&number).expect("the inode exists")
    }

    fn known(&self, number: InodeNumber) -> Result<&Held, FilesystemError> {
        let missing = || FilesystemError::corrupt(Object::Inode(number.0), 0, "it is not in use");
        self.inodes.get(&number).ok_or_else(missing)
    }
}

impl Filesystem for ModelFilesystem {
    fn identity(&self) -> &Identity {
        &self.identity
    }

    fn view(&self) -> &View {
        &self.view
    }

    fn volume(&self) -> &dyn ReadAt {
        &self.volume
    }

    fn root(&self) -> InodeNumber {
        self.root_number()
    }

    fn inode(&self, number: InodeNumber) -> Result<Inode, FilesystemError> {
        self.known(number).map(|held| held.inode.clone())
    }

    fn list(&self, directory: &Inode, visit: &mut dyn FnMut(Entry) -> ControlFlow<()>) -> Result<(), FilesystemError> {
        for entry in &self.known(directory.number)?.entries {
            if visit(entry.clone()).is_break() {
                return Ok(());
            }
        }
        let failure = self.list_failures.lock().unwrap_or_else(PoisonError::into_inner).remove(&directory.number);
        failure.map_or(Ok(()), Err)
    }

    fn map(&self, file: &Inode, range: Extent) -> Result<Vec<Segment>, FilesystemError> {
        let cut = |segment: &Segment| {
            let extent = segment.extent.intersect(&range);
            let skip = extent.offset - segment.extent.offset.min(extent.offset);
            let source = match &segment.source {
                Source::Disk(at) => Source::Disk(at + skip),
                Source::Unwritten(at) => Source::Unwritten(at + skip),
                Source::Inline(bytes) => Source::Inline(bytes[skip as usize..].to_vec()),
                Source::Hole | Source::Lost(_) => segment.source.clone(),
            };
            Segment { extent, source }
        };
        let touched = self.known(file.number)?.segments.iter().filter(|segment| !segment.extent.intersect(&range).is_empty());
        Ok(touched.map(cut).collect())
    }

    fn link_target(&self, link: &Inode) -> Result<Vec<u8>, FilesystemError> {
        self.known(link.number).map(|held| held.target.clone())
    }

    fn xattrs(&self, inode: &Inode) -> Result<Vec<Xattr>, FilesystemError> {
        self.known(inode.number).map(|held| held.xattrs.clone())
    }

    fn allocation(&self) -> Allocation {
        Allocation::default()
    }
}

/// A file of many pieces, and what reading it must give.
#[must_use]
pub fn patchwork(model: &mut ModelFilesystem, name: &[u8], pieces: usize) -> (InodeNumber, Vec<u8>) {
    let number = model.file(model.root_number(), name, b"");
    let mut wanted = Vec::new();
    for piece in 0..pieces {
        let length = (piece as u64 % 7 + 1) * MODEL_BLOCK_BYTES * (1 + (piece as u64 % 3) * 100);
        let bytes: Vec<u8> = (0..length).map(|at| (at % 251) as u8 ^ piece as u8).collect();
        match piece % 3 {
            0 => model.append(number, &bytes),
            1 => model.push_segment(number, length, Source::Hole),
            _ => model.push_segment(number, length, Source::Unwritten(0)),
        }
        wanted.extend(if piece % 3 == 0 { bytes } else { vec![0; length as usize] });
    }
    (number, mem::take(&mut wanted))
}

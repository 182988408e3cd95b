//! The names of one directory in their order, however many there are: the smallest ones first, a batch at a time.

use std::collections::{BTreeMap, VecDeque, btree_map};
use std::ops::ControlFlow;

use crate::filesystem::{Entry, Filesystem, FilesystemError, Inode, InodeNumber, is_plain_name};

/// What a held name takes beside its bytes.
const NAME_BYTES: usize = 64;

/// Names of a directory, ascending. A directory that is larger than the bound is listed again for each batch, which costs less than
/// its names in memory would.
#[derive(Debug)]
pub(super) struct SortedNames {
    max_bytes: usize,
    /// The greatest name of all batches until now.
    last: Option<Vec<u8>>,
    waiting: VecDeque<Entry>,
    ended: bool,
    /// Something is wrong with the names themselves.
    pub(super) complaint: Option<&'static str>,
}

impl SortedNames {
    pub(super) fn new(max_bytes: usize) -> Self {
        Self { max_bytes, last: None, waiting: VecDeque::new(), ended: false, complaint: None }
    }

    /// The next name, which stays the next until it is taken.
    pub(super) fn peek(&mut self, filesystem: &dyn Filesystem, directory: &Inode) -> Result<Option<&[u8]>, FilesystemError> {
        if self.waiting.is_empty() && !self.ended {
            self.refill(filesystem, directory)?;
        }
        Ok(self.waiting.front().map(|entry| entry.name.as_slice()))
    }

    pub(super) fn take(&mut self) -> Option<Entry> {
        self.waiting.pop_front()
    }

    /// A listing that fails gives nothing: names that it hid would look as if they were gone.
    fn refill(&mut self, filesystem: &dyn Filesystem, directory: &Inode) -> Result<(), FilesystemError> {
        let mut batch = Batch::new(self.max_bytes, self.last.take());
        filesystem.list(directory, &mut |entry| {
            batch.add(entry);
            ControlFlow::Continue(())
        })?;
        self.ended = !batch.is_cut;
        self.complaint = batch.complaint;
        self.last = batch.names.last_key_value().map(|(name, _)| name.clone());
        self.waiting = batch.names.into_iter().map(|(name, inode)| Entry { name, inode }).collect();
        Ok(())
    }
}

/// The smallest names after `after`.
struct Batch {
    max_bytes: usize,
    after: Option<Vec<u8>>,
    names: BTreeMap<Vec<u8>, InodeNumber>,
    bytes: usize,
    /// Greater names were let go.
    is_cut: bool,
    complaint: Option<&'static str>,
}

impl Batch {
    fn new(max_bytes: usize, after: Option<Vec<u8>>) -> Self {
        Self { max_bytes, after, names: BTreeMap::new(), bytes: 0, is_cut: false, complaint: None }
    }

    fn add(&mut self, entry: Entry) {
        if !is_plain_name(&entry.name) {
            if self.after.is_none() {
                self.complaint = Some("it holds a name that no directory may hold");
            }
            return;
        }
        let is_past = self.after.as_ref().is_some_and(|after| entry.name <= *after);
        let is_beyond = self.is_cut && self.names.last_key_value().is_some_and(|(last, _)| entry.name > *last);
        if !is_past && !is_beyond {
            self.keep(entry);
        }
    }

    fn keep(&mut self, entry: Entry) {
        let bytes = entry.name.len() + NAME_BYTES;
        match self.names.entry(entry.name) {
            btree_map::Entry::Occupied(_) => self.complaint = Some("it holds a name twice"),
            btree_map::Entry::Vacant(place) => {
                place.insert(entry.inode);
                self.bytes += bytes;
            }
        }
        while self.bytes > self.max_bytes && self.names.len() > 1 {
            let let_go = self.names.pop_last().map_or(0, |(name, _)| name.len() + NAME_BYTES);
            self.bytes = self.bytes.saturating_sub(let_go);
            self.is_cut = true;
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::testkit::model_filesystem::ModelFilesystem;

    fn check(max_bytes: usize, names: &[&str], expected: &[&str]) {
        let mut model = ModelFilesystem::new();
        let root = model.root_number();
        for name in names {
            model.file(root, name.as_bytes(), b"");
        }
        let directory = model.inode(root).unwrap();
        let mut sorted = SortedNames::new(max_bytes);
        let mut found = Vec::new();
        while sorted.peek(&model, &directory).unwrap().is_some() {
            assert!(sorted.waiting.len() <= (max_bytes / (NAME_BYTES + 1)).max(1));
            found.push(String::from_utf8(sorted.take().unwrap().name).unwrap());
        }
        assert_eq!(found, expected, "{max_bytes} bytes");
    }

    #[test]
    fn names_come_in_their_order_whatever_the_bound() {
        for max_bytes in [1, 65, 130, 195, 200, 1000] {
            check(max_bytes, &["d", "a", "c", "b", "e"], &["a", "b", "c", "d", "e"]);
            check(max_bytes, &["a", "aa", "b"], &["a", "aa", "b"]);
            check(max_bytes, &[], &[]);
        }
    }

    #[test]
    fn a_listing_that_fails_gives_no_names() {
        let mut model = ModelFilesystem::new();
        let root = model.root_number();
        model.file(root, b"seen", b"");
        model.fail_list(root, FilesystemError::NotFound { path: "the rest".to_owned() });
        let directory = model.inode(root).unwrap();
        let mut sorted = SortedNames::new(1000);
        assert!(sorted.peek(&model, &directory).is_err());
        assert!(sorted.take().is_none());
    }

    #[test]
    fn names_that_contradict_each_other_are_complained_of() {
        let mut model = ModelFilesystem::new();
        let root = model.root_number();
        let file = model.file(root, b"twice", b"");
        model.entry(root, b"twice", file);
        let directory = model.inode(root).unwrap();
        let mut sorted = SortedNames::new(1000);
        assert_eq!(sorted.peek(&model, &directory).unwrap(), Some(&b"twice"[..]));
        assert_eq!(sorted.complaint, Some("it holds a name twice"));
        assert_eq!(sorted.take().map(|entry| entry.inode), Some(file));
        assert_eq!(sorted.peek(&model, &directory).unwrap(), None);
    }
}

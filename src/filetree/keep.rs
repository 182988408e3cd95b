//! What the system says of a file, as a record keeps it; and what tells that nothing changed.

use std::time::Duration;

use blake3::Hasher;

use crate::base::clock::Timestamp;
use crate::base::extent::Extent;
use crate::files::{Attribute, Facts, FileType, Moment};
use crate::filesystem::file_tree::{DIGEST_BYTES, TreeRecord};
use crate::filesystem::{FileKind, FileTime, Xattr};

/// A file that changed this shortly before the earlier run began, or later, may have changed again within the same tick of its file
/// system's clock. The coarsest clocks of file systems tick every two seconds.
const MARGIN: Duration = Duration::from_secs(2);

/// What a file is; `None` for what Linux does not know.
pub(super) fn kind_of(facts: &Facts) -> Option<FileKind> {
    Some(match facts.kind? {
        FileType::Regular => FileKind::Regular,
        FileType::Directory => FileKind::Directory,
        FileType::Symlink => FileKind::Symlink,
        FileType::CharacterDevice(major, minor) => FileKind::CharacterDevice { major, minor },
        FileType::BlockDevice(major, minor) => FileKind::BlockDevice { major, minor },
        FileType::Fifo => FileKind::Fifo,
        FileType::Socket => FileKind::Socket,
    })
}

/// The record of a file that has no content and no appendix yet.
pub(super) fn record_of(facts: &Facts, kind: FileKind) -> TreeRecord {
    let nowhere = Extent::new(0, 0);
    TreeRecord {
        kind,
        lost: false,
        sparse: false,
        restless: false,
        mode: facts.mode,
        uid: facts.uid,
        gid: facts.gid,
        links: facts.links,
        size: facts.size,
        sectors: facts.sectors,
        modified: time(facts.modified),
        changed: time(facts.changed),
        accessed: time(facts.accessed),
        created: facts.created.map(time),
        content: nowhere,
        content_digest: [0; DIGEST_BYTES],
        appendix: nowhere,
        appendix_digest: [0; DIGEST_BYTES],
        device: facts.device,
        inode: facts.inode,
    }
}

/// What stands for a directory of which nothing is known.
pub(super) fn nameless_directory() -> TreeRecord {
    let never = Moment::default();
    let facts = Facts {
        kind: Some(FileType::Directory),
        mode: 0o700,
        uid: 0,
        gid: 0,
        links: 1,
        size: 0,
        sectors: 0,
        accessed: never,
        modified: never,
        changed: never,
        created: None,
        device: 0,
        inode: 0,
        mount: None,
    };
    record_of(&facts, FileKind::Directory)
}

fn time(moment: Moment) -> FileTime {
    FileTime { seconds: moment.seconds, nanoseconds: moment.nanoseconds.min(999_999_999) }
}

/// True if size and times are those of the record.
pub(super) fn looks_the_same(record: &TreeRecord, facts: &Facts) -> bool {
    let size = record.kind == FileKind::Directory || record.size == facts.size;
    size && kind_of(facts) == Some(record.kind) && record.modified == time(facts.modified) && record.changed == time(facts.changed)
}

/// True if nothing of the file can have changed since the record was made by a run that began at `started`.
pub(super) fn is_unchanged(record: &TreeRecord, facts: &Facts, started: Timestamp) -> bool {
    let owners = |mode, uid, gid, links| (mode, uid, gid, links);
    let same_owners =
        owners(record.mode, record.uid, record.gid, record.links) == owners(facts.mode, facts.uid, facts.gid, facts.links);
    let is_settled = millis(record.changed).is_some_and(|changed| Timestamp(changed).plus(MARGIN) < started);
    !record.lost && !record.restless && same_owners && is_settled && looks_the_same(record, facts)
}

/// Milliseconds since 1970, rounded up; what lies before counts as then.
fn millis(time: FileTime) -> Option<u64> {
    let seconds = u64::try_from(time.seconds.max(0)).ok()?;
    seconds.checked_mul(1000)?.checked_add(u64::from(time.nanoseconds).div_ceil(1_000_000))
}

/// Attributes as a filesystem shows them.
pub(super) fn xattrs(attributes: Vec<Attribute>) -> Vec<Xattr> {
    attributes.into_iter().map(|Attribute { name, value }| Xattr { name, value }).collect()
}

/// The digest of what is packed. Zeros mean that there is none, and no content has them.
pub(super) fn digest(hasher: &Hasher) -> [u8; DIGEST_BYTES] {
    let mut out = [0; DIGEST_BYTES];
    hasher.finalize_xof().fill(&mut out);
    if out == [0; DIGEST_BYTES] {
        out = [1; DIGEST_BYTES];
    }
    out
}

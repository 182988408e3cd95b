//! The shapes of `--json` for files. Names are bytes, and nothing of them is lost.

use serde::{Serialize, Serializer};

use super::place::{OpenPlace, Origin};
use super::times;
use super::views::ExtentView;
use crate::catalog::Record;
use crate::filesystem::{FileKind, FileTime, Filesystem, Inode, Kind, View};
use crate::job::extract::{FileFinding, FileFindingKind};

/// A name or path: a string where it is UTF-8, and otherwise an object with its bytes.
#[derive(Debug)]
pub(super) struct NameView(pub(super) Vec<u8>);

impl Serialize for NameView {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        #[derive(Serialize)]
        struct Bytes {
            bytes_hex: String,
        }
        match str::from_utf8(&self.0) {
            Ok(text) => serializer.serialize_str(text),
            Err(_) => Bytes { bytes_hex: hex(&self.0) }.serialize(serializer),
        }
    }
}

/// Bytes as two digits each.
pub(super) fn hex(bytes: &[u8]) -> String {
    bytes.iter().map(|byte| format!("{byte:02x}")).collect()
}

/// Where files were read, and how sure the answers are.
#[derive(Debug, Serialize)]
pub(super) struct SourceView {
    point: Option<String>,
    volume: Option<String>,
    device: Option<NameView>,
    path: NameView,
    filesystem: &'static str,
    view: &'static str,
    view_reason: Option<String>,
    data_verified: bool,
    live: bool,
}

impl From<&OpenPlace> for SourceView {
    fn from(place: &OpenPlace) -> Self {
        Self::new(&place.origin, &place.path, place.filesystem.as_ref())
    }
}

impl SourceView {
    pub(super) fn new(origin: &Origin, path: &[u8], filesystem: &dyn Filesystem) -> Self {
        let (point, volume, device) = match origin {
            Origin::Point { id, volume, .. } => (Some(id.clone()), Some(volume.clone()), None),
            Origin::Device { path, .. } => (None, None, Some(NameView(path.as_os_str().as_encoded_bytes().to_vec()))),
        };
        let (view, view_reason) = match filesystem.view() {
            View::Clean => ("clean", None),
            View::Replayed { .. } => ("replayed", None),
            View::Stale { reason } => ("stale", Some(reason.clone())),
        };
        Self {
            data_verified: point.is_some(),
            live: matches!(origin, Origin::Device { live: true, .. }),
            point,
            volume,
            device,
            path: NameView(path.to_vec()),
            filesystem: filesystem_name(filesystem.identity().kind),
            view,
            view_reason,
        }
    }
}

/// A file under a name.
#[derive(Debug, Serialize)]
pub(super) struct FileView {
    pub(super) name: NameView,
    inode: u64,
    kind: &'static str,
    mode: String,
    uid: u32,
    gid: u32,
    links: u32,
    size_bytes: u64,
    modified: String,
    pub(super) changed: String,
    target: Option<NameView>,
}

impl FileView {
    pub(super) fn new(name: Vec<u8>, inode: &Inode, target: Option<Vec<u8>>) -> Self {
        Self {
            name: NameView(name),
            inode: inode.number.0,
            kind: kind(inode.kind),
            mode: format!("{:04o}", inode.mode),
            uid: inode.uid,
            gid: inode.gid,
            links: inode.links,
            size_bytes: inode.size,
            modified: moment(inode.modified),
            changed: moment(inode.changed),
            target: target.map(NameView),
        }
    }

    /// What a catalog knows of the file at `path`; where a link leads is not in it.
    pub(super) fn recorded(path: &[u8], record: &Record) -> Self {
        Self {
            name: NameView(last_name(path).unwrap_or(b"/").to_vec()),
            inode: record.inode,
            kind: kind(record.kind),
            mode: format!("{:04o}", record.mode),
            uid: record.uid,
            gid: record.gid,
            links: record.links,
            size_bytes: record.size,
            modified: moment(record.modified),
            changed: moment(record.changed),
            target: None,
        }
    }
}

/// The last name of a path; none for the root.
pub(super) fn last_name(path: &[u8]) -> Option<&[u8]> {
    let mut names = path.split(|byte| *byte == b'/').filter(|name| !matches!(*name, b"" | b"."));
    names.next_back().filter(|name| *name != b"..")
}

/// Something to know about one file.
#[derive(Debug, Serialize)]
pub(super) struct FileFindingView {
    path: NameView,
    kind: &'static str,
    reason: String,
    missing: Vec<ExtentView>,
}

impl FileFindingView {
    pub(super) fn lost(path: Vec<u8>, reason: String) -> Self {
        Self { path: NameView(path), kind: finding_kind(FileFindingKind::Lost), reason, missing: Vec::new() }
    }
}

impl From<&FileFinding> for FileFindingView {
    fn from(finding: &FileFinding) -> Self {
        Self {
            path: NameView(finding.path.clone()),
            kind: finding_kind(finding.kind),
            reason: finding.reason.clone(),
            missing: finding.missing.iter().map(ExtentView::from).collect(),
        }
    }
}

/// What happened to a file, in a word.
pub(super) fn finding_kind(kind: FileFindingKind) -> &'static str {
    match kind {
        FileFindingKind::Lost => "lost",
        FileFindingKind::Partial => "partial",
        FileFindingKind::Altered => "altered",
        FileFindingKind::Withheld => "withheld",
    }
}

/// The word for a filesystem.
pub(super) fn filesystem_name(kind: Kind) -> &'static str {
    match kind {
        Kind::Ext2 => "ext2",
        Kind::Ext3 => "ext3",
        Kind::Ext4 => "ext4",
        Kind::Xfs => "xfs",
        Kind::FileTree => "files",
    }
}

/// The word for what a file is.
pub(super) fn kind(kind: FileKind) -> &'static str {
    match kind {
        FileKind::Regular => "file",
        FileKind::Directory => "directory",
        FileKind::Symlink => "symlink",
        FileKind::CharacterDevice { .. } => "character_device",
        FileKind::BlockDevice { .. } => "block_device",
        FileKind::Fifo => "fifo",
        FileKind::Socket => "socket",
    }
}

/// The letter of a kind of file, as `ls -l` shows it.
pub(super) fn letter(kind: FileKind) -> char {
    match kind {
        FileKind::Regular => '-',
        FileKind::Directory => 'd',
        FileKind::Symlink => 'l',
        FileKind::CharacterDevice { .. } => 'c',
        FileKind::BlockDevice { .. } => 'b',
        FileKind::Fifo => 'p',
        FileKind::Socket => 's',
    }
}

/// Mode and kind as `ls -l` shows them.
pub(super) fn mode_text(inode: &Inode) -> String {
    let mut text = String::from(letter(inode.kind));
    for (shift, special, letter) in [(6, 0o4000, 's'), (3, 0o2000, 's'), (0, 0o1000, 't')] {
        let bits = inode.mode >> shift;
        text.push(if bits & 4 != 0 { 'r' } else { '-' });
        text.push(if bits & 2 != 0 { 'w' } else { '-' });
        text.push(match (bits & 1 != 0, inode.mode & special != 0) {
            (true, true) => letter,
            (false, true) => letter.to_ascii_uppercase(),
            (true, false) => 'x',
            (false, false) => '-',
        });
    }
    text
}

/// A time of a file: RFC 3339 in UTC with nanoseconds, and seconds since 1970 where the calendar ends.
pub(super) fn moment(time: FileTime) -> String {
    times::utc_nanoseconds(time.seconds, time.nanoseconds).unwrap_or_else(|| format!("@{}.{:09}", time.seconds, time.nanoseconds))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::filesystem::InodeNumber;

    #[test]
    fn no_name_loses_a_byte() {
        for (name, json) in
            [(&b"plain"[..], r#""plain""#), (b"a\n\x1b\"", r#""a\n\u001b\"""#), (b"\xff\x00/", r#"{"bytes_hex":"ff002f"}"#)]
        {
            assert_eq!(serde_json::to_string(&NameView(name.to_vec())).unwrap(), json);
        }
    }

    #[test]
    fn modes_look_as_ls_shows_them() {
        for (kind, mode, text) in [
            (FileKind::Regular, 0o644, "-rw-r--r--"),
            (FileKind::Directory, 0o1777, "drwxrwxrwt"),
            (FileKind::Regular, 0o6750, "-rwsr-s---"),
            (FileKind::Regular, 0o7000, "---S--S--T"),
            (FileKind::Symlink, 0o777, "lrwxrwxrwx"),
        ] {
            assert_eq!(mode_text(&Inode::made_up(InodeNumber(1), kind, mode)), text);
        }
    }

    #[test]
    fn times_keep_their_nanoseconds_and_have_no_end() {
        let at = |seconds, nanoseconds| moment(FileTime { seconds, nanoseconds });
        assert_eq!(at(1_780_236_000, 123_456_789), "2026-05-31T14:00:00.123456789Z");
        assert_eq!(at(-1, 500_000_000), "1969-12-31T23:59:59.500000000Z");
        assert_eq!(at(i64::MAX, 0), "@9223372036854775807.000000000");
    }
}

//! A place: a file in a recovery point, an image or a device, opened without mounting anything.

use std::cell::OnceCell;
use std::ffi::{OsStr, OsString};
use std::os::unix::ffi::OsStrExt;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use super::context::Context;
use super::failure::Failure;
use super::file_views::last_name;
use super::output;
use crate::base::io::ReadAt;
use crate::device::{self, DeviceError, Mounted, SourceOptions};
use crate::filesystem::{self, Filesystem, Inode, Links, printable, resolve};
use crate::job::JobError;
use crate::repository::{FoundElsewhere, PointListing, Repository, VolumeReader};

/// What the user named.
#[derive(Debug)]
pub(super) struct Place {
    pub(super) text: OsString,
    pub(super) location: Option<String>,
    pub(super) partition: Option<u32>,
    pub(super) follow: bool,
    pub(super) live: bool,
}

/// The one repository of a command, unlocked and listed once: a person is asked for a passphrase no more often.
#[derive(Debug, Default)]
pub(super) struct Unlocked(OnceCell<(Repository, PointListing)>);

/// Where bytes come from, and so how sure they are.
#[derive(Debug, Clone)]
pub(super) enum Origin {
    /// Every chunk was held against its id.
    Point {
        /// Its id.
        id: String,
        /// Its volume.
        volume: String,
        /// Counts what it fetches.
        reader: Arc<VolumeReader>,
    },
    /// A filesystem does not check its files' data.
    Device {
        /// What was opened.
        path: PathBuf,
        /// It was mounted read-write meanwhile.
        live: bool,
    },
}

/// The bytes of an opened place.
#[derive(Debug)]
pub(super) struct OpenSource {
    pub(super) bytes: Arc<dyn ReadAt>,
    pub(super) origin: Origin,
    /// As the user wrote it, from the root.
    pub(super) path: Vec<u8>,
    /// Bytes of the volume, image or device.
    pub(super) source_bytes: u64,
}

/// An opened place.
#[derive(Debug)]
pub(super) struct OpenPlace {
    pub(super) filesystem: Box<dyn Filesystem>,
    pub(super) origin: Origin,
    /// As the user wrote it, from the root.
    pub(super) path: Vec<u8>,
    pub(super) inode: Inode,
    /// Bytes of the volume, image or device.
    pub(super) source_bytes: u64,
}

/// The two halves of what the user wrote.
#[derive(Debug, PartialEq, Eq)]
enum Named {
    Point(String),
    Device(PathBuf),
}

impl Place {
    /// Opens what is named. Whatever makes the answers doubtful is said at once.
    pub(super) fn open(&self, context: &Context) -> anyhow::Result<OpenPlace> {
        self.open_in(context, &Unlocked::default())
    }

    /// The same, in a repository that may be unlocked already.
    pub(super) fn open_in(&self, context: &Context, unlocked: &Unlocked) -> anyhow::Result<OpenPlace> {
        let OpenSource { bytes, origin, path, source_bytes } = self.open_source(context, unlocked)?;
        let filesystem = filesystem::open(bytes).map_err(JobError::from)?;
        if let Some(reason) = filesystem.view().stale() {
            output::warn(&format!("the journal could not be applied, so all this may be older than what was there: {reason}"));
        }
        let links = if self.follow { Links::Follow } else { Links::Keep };
        let inode = resolve(filesystem.as_ref(), &path, links).map_err(JobError::from)?;
        Ok(OpenPlace { filesystem, origin, path, inode, source_bytes })
    }

    /// Opens the bytes of what is named, whatever they hold.
    pub(super) fn open_source(&self, context: &Context, unlocked: &Unlocked) -> anyhow::Result<OpenSource> {
        let (named, path) = split(&self.text, Path::exists)?;
        let (bytes, origin) = match named {
            Named::Point(selector) => self.open_point(context, unlocked, &selector)?,
            Named::Device(path) => self.open_device(path)?,
        };
        let source_bytes = bytes.size();
        Ok(OpenSource { bytes: self.partition_of(bytes)?, origin, path, source_bytes })
    }

    /// The partition that is meant, or all there is.
    pub(super) fn partition_of(&self, bytes: Arc<dyn ReadAt>) -> Result<Arc<dyn ReadAt>, JobError> {
        match self.partition {
            Some(number) => Ok(filesystem::partition(&bytes, number)?),
            None => Ok(bytes),
        }
    }

    /// The point that is meant, when it is one and no path in it.
    pub(super) fn whole_point(&self) -> Result<Option<String>, Failure> {
        let has_path = self.text.as_bytes().ends_with(b":") || self.text.as_bytes().windows(2).any(|pair| pair == b":/");
        Ok(match split(&self.text, Path::exists)?.0 {
            Named::Point(selector) if !has_path => Some(selector),
            Named::Point(_) | Named::Device(_) => None,
        })
    }

    pub(super) fn has_partition(&self) -> bool {
        self.partition.is_some()
    }

    /// The repository of a point.
    fn location(&self) -> Result<&str, Failure> {
        self.location.as_deref().ok_or_else(|| {
            Failure::refused(format!(
                "{} is no file here, so it means a recovery point: of which repository? name it with --repo, or in ICECORE_REPO",
                printable(self.text.as_bytes())
            ))
        })
    }

    fn open_point(&self, context: &Context, unlocked: &Unlocked, selector: &str) -> anyhow::Result<(Arc<dyn ReadAt>, Origin)> {
        let (repository, listing) = unlocked.get(context, self)?;
        let point = context.point(listing, selector)?;
        let reader = Arc::new(repository.read_point(point));
        let (id, volume) = (point.id.to_string(), point.point.volume.clone());
        Ok((Arc::clone(&reader) as Arc<dyn ReadAt>, Origin::Point { id, volume, reader }))
    }

    fn open_device(&self, path: PathBuf) -> anyhow::Result<(Arc<dyn ReadAt>, Origin)> {
        let device = device::open(&path, &SourceOptions { live: self.live }).map_err(|error| match error {
            DeviceError::MountedReadWrite { path, mount_point } => {
                let (path, mount_point) = (path.display(), mount_point.display());
                let advice = "read a snapshot of it, or add --live to see a state that may be mixed";
                anyhow::Error::from(Failure::Refused(format!("{path} is mounted read-write at {mount_point}; {advice}")))
            }
            other => other.into(),
        })?;
        let live = matches!(device.mounted(), Mounted::ReadWrite(_));
        if let Mounted::ReadWrite(mount_point) = device.mounted() {
            let (path, mount_point) = (path.display(), mount_point.display());
            output::warn(&format!("{path} is mounted read-write at {mount_point}; what is shown may be mixed"));
        }
        Ok((Arc::new(device), Origin::Device { path, live }))
    }
}

impl Unlocked {
    /// The repository of `place` and its points.
    pub(super) fn get(&self, context: &Context, place: &Place) -> anyhow::Result<&(Repository, PointListing)> {
        if let Some(known) = self.0.get() {
            return Ok(known);
        }
        let repository = context.repository(place.location()?)?;
        let listing = Context::points(&repository)?;
        Ok(self.0.get_or_init(|| (repository, listing)))
    }
}

impl OpenPlace {
    /// The place in words.
    pub(super) fn shown(&self) -> String {
        let whole = match &self.origin {
            Origin::Point { id, .. } => id.clone(),
            Origin::Device { path, .. } => printable(path.as_os_str().as_bytes()),
        };
        format!("{whole}:{}", printable(&self.path))
    }

    /// The last name of the path; none for the root.
    pub(super) fn name(&self) -> Option<&[u8]> {
        last_name(&self.path)
    }

    /// How sure the content is, in words.
    pub(super) fn evidence(&self) -> &'static str {
        match self.origin {
            Origin::Point { .. } => "every chunk verified",
            Origin::Device { live: false, .. } => "data unverified",
            Origin::Device { live: true, .. } => "data unverified, and read while it changed",
        }
    }

    /// What the point's own packs have lost and others gave; nothing of an image or device.
    pub(super) fn found_elsewhere(&self) -> FoundElsewhere {
        match &self.origin {
            Origin::Point { reader, .. } => reader.found_elsewhere(),
            Origin::Device { .. } => FoundElsewhere::default(),
        }
    }

    /// True when answers may be older than what was there.
    pub(super) fn is_stale(&self) -> bool {
        self.filesystem.view().stale().is_some()
    }
}

/// What exists as a file, or begins as a path does, is an image or device; anything else is a point. Times hold colons, so the path
/// begins where a slash follows one.
fn split(text: &OsStr, exists: impl Fn(&Path) -> bool) -> Result<(Named, Vec<u8>), Failure> {
    let bytes = text.as_bytes();
    let cut = bytes.windows(2).position(|pair| pair == b":/");
    let (whole, path) = match cut {
        Some(at) => (bytes.get(..at).unwrap_or_default(), bytes.get(at + 1..).unwrap_or_default()),
        None => (bytes.strip_suffix(b":").unwrap_or(bytes), &b"/"[..]),
    };
    if whole.is_empty() {
        return Err(Failure::refused("a place begins with a point, an image or a device, such as latest:/etc/hosts"));
    }
    let as_path = Path::new(OsStr::from_bytes(whole));
    let looks_like_path = [&b"/"[..], b"./", b"../"].iter().any(|start| whole.starts_with(start));
    if looks_like_path || exists(as_path) {
        return Ok((Named::Device(as_path.to_path_buf()), path.to_vec()));
    }
    match str::from_utf8(whole) {
        Ok(selector) => Ok((Named::Point(selector.to_owned()), path.to_vec())),
        Err(_) => Err(Failure::refused(format!("{} is neither a file nor the name of a point", printable(whole)))),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn check(text: &str, expected: Option<(Named, &str)>) {
        let exists = |path: &Path| path == Path::new("disk.img") || path == Path::new("latest.d");
        let found = split(OsStr::new(text), exists).ok();
        assert_eq!(found, expected.map(|(named, path)| (named, path.as_bytes().to_vec())), "{text}");
    }

    #[test]
    fn a_place_is_an_image_if_it_exists_or_looks_like_a_path_and_a_point_otherwise() {
        let point = |text: &str| Named::Point(text.to_owned());
        let device = |text: &str| Named::Device(text.into());
        check("latest", Some((point("latest"), "/")));
        check("latest:", Some((point("latest"), "/")));
        check("latest:/etc/hosts", Some((point("latest"), "/etc/hosts")));
        check("db@2026-05-31T14:00:/var/a:/b", Some((point("db@2026-05-31T14:00"), "/var/a:/b")));
        check("disk.img:/etc", Some((device("disk.img"), "/etc")));
        check("other.img:/etc", Some((point("other.img"), "/etc")));
        check("./other.img:/etc", Some((device("./other.img"), "/etc")));
        check("../x", Some((device("../x"), "/")));
        check("/dev/vg0/db:/", Some((device("/dev/vg0/db"), "/")));
        check(":/etc", None);
        check("", None);
    }
}

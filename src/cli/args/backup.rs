//! Arguments of `icecore backup`.

use std::path::{Path, PathBuf};
use std::time::Duration;

use clap::{ArgAction, Args};

use super::csi::CsiArgs;
use super::tracker::TrackerArgs;
use super::{JsonArgs, RepoArgs, values};
use crate::cli::commands::backup::sources::{ChangeSettings, TrackSettings};
use crate::cli::commands::backup::{Allocated, Settings, live};
use crate::cli::commands::backup_files;
use crate::cli::context::Voice;
use crate::cli::failure::Failure;
use crate::device::{EngineChoice, Pace};
use crate::job::backup::AuditPolicy;
use crate::repository::format::changes::Rung;
use crate::repository::format::frame::Codec;
use crate::tracking::PlanPolicy;

/// Back up a block device, an image file or a mounted tree of files into a new recovery point
///
/// The first backup of a volume stores all of it, every further one what has changed. A device that is mounted read-write is refused
/// unless --live is given: read a snapshot instead. A run that was stopped is taken up again by the next one.
#[derive(Debug, Args)]
pub(in crate::cli) struct BackupArgs {
    /// A block device or image file
    #[arg(required_unless_present = "files")]
    source: Option<PathBuf>,
    /// Back up the files below this directory instead: of a mount that has no device, such as NFS, CephFS, an overlay or a subvolume
    ///
    /// What looks as it did when it was read is not read again. 'ls', 'cp', 'find' and the others work on such points as on any;
    /// 'restore' writes one to a directory.
    #[arg(long, value_name = "DIR", conflicts_with_all = ["source", "changed", "thin", "allocated", "live", "limit"])]
    files: Option<PathBuf>,
    /// With --files: go into what is mounted below DIR, too
    #[arg(long, conflicts_with = "source")]
    cross_mounts: bool,
    /// With --files: read everything, and name files whose content changed although their times did not
    #[arg(long, conflicts_with = "source")]
    rehash: bool,
    #[command(flatten)]
    repo: RepoArgs,
    /// Name of the volume, under which its points form a history [default: the last part of SOURCE or DIR]
    #[arg(long, value_name = "NAME", value_parser = values::volume)]
    volume: Option<String>,
    /// Read only what this file lists as changed since the newest point: lines of 'offset length' in bytes, as 'diff' prints them
    ///
    /// A random sample of the rest is read as well. Should it show that the list is wrong, the whole volume is read, the point is
    /// marked, and the exit code is 3.
    #[arg(long, value_name = "FILE", conflicts_with = "full")]
    changed: Option<PathBuf>,
    /// auto leaves out what the file system on SOURCE proves to be free, and reads everything where there is any doubt
    ///
    /// A restore then gives back every file, but zeros where the source held left-overs of deleted ones. csi leaves out what the CSI
    /// driver says was never written, if a random sample of it holds nothing but zeros.
    #[arg(long, value_name = "auto|csi|off", default_value = "off", value_parser = values::allocated)]
    allocated: Allocated,
    /// Read only what the tracker says has been written to the disk since the newest point; SOURCE, if it is not a snapshot of DEVICE
    ///
    /// The disk is tracked from now on if it is not. What is said is audited like --changed; when it is not known, everything is read.
    #[arg(long, value_name = "DEVICE", num_args = 0..=1)]
    track: Option<Option<PathBuf>>,
    /// A shell command that makes SOURCE, a snapshot of the tracked disk. Without one, the disk must not be written meanwhile
    #[arg(long, value_name = "COMMAND", requires = "track")]
    cut: Option<String>,
    #[command(flatten)]
    tracker: TrackerArgs,
    /// Read only what the metadata of the thin pool say has changed since the newest point; SOURCE is a snapshot in that pool
    ///
    /// The snapshot that the newest point was made from must still be there, and neither may have been written to. What is said is
    /// audited like --changed; when it is not known, everything is read, and the reason is said.
    #[arg(long)]
    thin: bool,
    /// Read and compare everything at every so many points, whoever says what has changed; 0 means never
    #[arg(long, value_name = "N", default_value_t = PlanPolicy::default().compare_every)]
    compare_every: u32,
    /// Believe again who was caught to be wrong for this volume: list, csi, epoch or thin
    #[arg(long, value_name = "WHO", value_parser = values::rung)]
    trust: Vec<Rung>,
    /// How small a wrong share of a change list the sample must notice, 999 times in 1000
    #[arg(long, value_name = "SHARE", default_value = "0.01", value_parser = values::share)]
    audit_share: f64,
    /// Chunk size of a new volume: a power of two from 4KiB to 1MiB [default: the repository's]
    #[arg(long, value_name = "SIZE", value_parser = values::bytes_u32)]
    chunk: Option<u32>,
    /// How new chunks are compressed: lz4, zstd, zstd:LEVEL (1 to 19) or none [default: the repository's]
    #[arg(long, value_parser = values::codec)]
    codec: Option<Codec>,
    /// Read it even while it is mounted read-write; the point is marked, and crash-consistent at best
    #[arg(long)]
    live: bool,
    /// Freeze the file system that is mounted here, and on SOURCE, for the moment in which the last of what was written is read
    ///
    /// Until little is left, it goes on being written and what was written is read again; then its writers wait for some milliseconds,
    /// and the point holds it as it was then. Should they be quicker than reading, the point holds different moments, and the exit code
    /// is 3. What is frozen is thawed in time whatever is killed.
    #[arg(long, value_name = "MOUNT", requires = "live", conflicts_with_all = ["cut", "changed", "csi_endpoint"])]
    freeze: Option<PathBuf>,
    /// Thaw after this many milliseconds, whatever happens
    #[arg(long, value_name = "MS", default_value_t = 5000, value_parser = clap::value_parser!(u64).range(10..=600_000))]
    freeze_limit: u64,
    /// Where is remembered what is frozen, for the next start
    #[arg(long, value_name = "FOLDER", default_value = "/run/icecore/frozen")]
    freeze_journal: PathBuf,
    /// Store everything again and share nothing with earlier points
    #[arg(long)]
    full: bool,
    /// Read no faster than this, such as 250MiB/s
    #[arg(long, value_name = "RATE", value_parser = values::rate)]
    limit: Option<u64>,
    /// gentle steps back for everybody else who uses the disk; full does not
    #[arg(long, default_value = "gentle", value_parser = values::pace)]
    pace: Pace,
    /// How the source is read: auto, uring or pread
    #[arg(long, default_value = "auto", value_parser = values::engine)]
    engine: EngineChoice,
    /// auto makes a catalog of the files of an ext2, ext3, ext4 or XFS volume or of DIR, which 'find' searches; off makes none
    #[arg(long, value_name = "auto|off", default_value = "auto", action = ArgAction::Set, value_parser = values::auto)]
    catalog: bool,
    /// Write metrics of this backup to FILE, for the textfile collector of Prometheus's node_exporter: FILE ends with .prom there
    #[arg(long, value_name = "FILE")]
    metrics: Option<PathBuf>,
    /// Threads that compare and compress [default: one a core]
    #[arg(long, value_name = "N", value_parser = values::threads)]
    workers: Option<usize>,
    #[command(flatten)]
    csi: CsiArgs,
    #[command(flatten)]
    json: JsonArgs,
}

/// What is backed up.
#[derive(Debug)]
pub(in crate::cli) enum BackupTask {
    /// The blocks of a device or an image.
    Volume(Box<Settings>),
    /// The files of a mounted tree.
    Files(backup_files::Settings),
}

impl BackupArgs {
    pub(in crate::cli) fn settle(mut self) -> Result<(BackupTask, Voice), Failure> {
        match (self.files.take(), self.source.take()) {
            (Some(root), _) => self.settle_files(root),
            (None, Some(source)) => self.settle_volume(source),
            (None, None) => Err(Failure::refused("back up what? name a device, an image, or a directory with --files")),
        }
    }

    fn settle_files(self, root: PathBuf) -> Result<(BackupTask, Voice), Failure> {
        let settings = backup_files::Settings {
            volume: self.volume.map_or_else(|| base_name(&root), Ok)?,
            location: self.repo.settle()?,
            root,
            cross_mounts: self.cross_mounts,
            rehash: self.rehash,
            chunk_bytes: self.chunk,
            codec: self.codec,
            full: self.full,
            pace: self.pace,
            engine: self.engine,
            workers: self.workers,
            catalog: self.catalog,
            metrics: self.metrics,
        };
        Ok((BackupTask::Files(settings), self.json.settle()))
    }

    fn settle_volume(self, source: PathBuf) -> Result<(BackupTask, Voice), Failure> {
        let csi = self.csi.settle()?;
        if self.allocated == Allocated::Driver && csi.is_none() {
            return Err(Failure::refused("--allocated csi asks a CSI driver; name it with --csi-endpoint"));
        }
        let place = self.tracker.settle();
        let freeze = self.freeze.map(|mount| live::Settings {
            mount,
            journal: self.freeze_journal,
            limit: Duration::from_millis(self.freeze_limit),
        });
        // Who freezes must know what was written until then.
        let track = self.track.or(freeze.is_some().then_some(None));
        let track = track.map(|device| TrackSettings { place, device: device.unwrap_or_else(|| source.clone()), cut: self.cut });
        let settings = Settings {
            volume: self.volume.map_or_else(|| base_name(&source), Ok)?,
            location: self.repo.settle()?,
            source,
            changes: ChangeSettings {
                list: self.changed,
                csi,
                track,
                thin: self.thin,
                freeze,
                belief: PlanPolicy { compare_every: self.compare_every, trusted_again: self.trust },
                audit: AuditPolicy { wrong_share: self.audit_share, ..AuditPolicy::default() },
            },
            allocated: self.allocated,
            chunk_bytes: self.chunk,
            codec: self.codec,
            live: self.live,
            full: self.full,
            limit_bytes_per_second: self.limit,
            pace: self.pace,
            engine: self.engine,
            workers: self.workers,
            catalog: self.catalog,
            metrics: self.metrics,
        };
        Ok((BackupTask::Volume(Box::new(settings)), self.json.settle()))
    }
}

fn base_name(source: &Path) -> Result<String, Failure> {
    let name = source.file_name().and_then(|name| name.to_str()).unwrap_or_default();
    values::volume(name).map_err(|reason| {
        Failure::refused(format!("{} cannot name the volume ({reason}); name it with --volume", source.display()))
    })
}

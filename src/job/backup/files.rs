//! Backup of a mounted tree of files: what changed is read and laid out as a volume, and the point is written like any other.

use std::os::unix::ffi::OsStrExt;
use std::path::PathBuf;
use std::sync::Arc;

use super::catalog::{self, CatalogOutcome, CatalogRequest};
use super::pipeline::Pipeline;
use super::{WINDOW_BYTES, chunk_size, give_up, newest_point, refuse_other_kind};
use crate::base::cancel::Cancel;
use crate::base::clock::Timestamp;
use crate::base::extent::{Extent, ExtentSet};
use crate::base::progress::Progress;
use crate::files::{Crossing, FileReader};
use crate::filesystem::FilesystemError;
use crate::filesystem::file_tree::{FileTree, TreeHeader, VOLUME_BYTES};
use crate::filetree::{LaidTree, SurveyRequest, Trouble, lay, survey};
use crate::job::{JobError, JobErrorKind};
use crate::repository::format::changes::{ChangeRecord, ChangeSource};
use crate::repository::format::file_tree::FileTreeFacts;
use crate::repository::format::frame::Codec;
use crate::repository::format::point::Consistency;
use crate::repository::{Gaps, ListedPoint, PointFacts, PointWriter, Repository, RepositoryError, WriterOptions};

/// What to back up, and how.
#[derive(Debug, Clone)]
pub struct FilesRequest {
    /// The volume's name.
    pub volume: String,
    /// The root of the tree.
    pub root: PathBuf,
    /// Whether what is mounted below is entered.
    pub crossing: Crossing,
    /// Read what looks unchanged, too.
    pub rehash: bool,
    /// Chunk size in bytes; the volume's own, or the repository's default, if not given.
    pub chunk_bytes: Option<u32>,
    /// Codec; the repository's default if not given.
    pub codec: Option<Codec>,
    /// Store everything again, sharing nothing with earlier points.
    pub full: bool,
    /// Whether anybody could write to the tree meanwhile.
    pub consistency: Consistency,
    /// Now.
    pub cut: Timestamp,
    /// Who writes, in words.
    pub host: String,
    /// Threads that cut and compress.
    pub workers: usize,
    /// Threads that put packs.
    pub upload_threads: usize,
    /// Stored bytes between two checkpoints.
    pub checkpoint_bytes: u64,
    /// How the file catalog is made; none is made without.
    pub catalog: Option<CatalogRequest>,
}

/// What a backup of files did.
#[derive(Debug)]
pub struct FilesReport {
    /// The new point.
    pub point: ListedPoint,
    /// What is wrong with single files.
    pub troubles: Vec<Trouble>,
    /// How much more is wrong.
    pub troubles_left_out: u64,
    /// Files whose content was read.
    pub read_files: u64,
    /// A killed run's work was used.
    pub resumed: bool,
    /// What became of the file catalog.
    pub catalog: CatalogOutcome,
}

/// Backs up a tree of files. Nothing exists until the very end; a failed or cancelled run leaves a checkpoint that the next one uses.
pub fn backup_files(
    repository: &Repository,
    request: &FilesRequest,
    reader: &mut dyn FileReader,
    progress: &dyn Progress,
    cancel: &Cancel,
) -> Result<FilesReport, JobError> {
    let clock = repository.environment().clock.clone();
    let started = clock.monotonic();
    let previous = newest_point(repository, &request.volume, progress)?;
    refuse_other_kind(previous.as_ref(), true)?;
    let chunk_bytes = chunk_size(repository, request.chunk_bytes, previous.as_ref())?;
    let earlier = earlier_tree(repository, previous.as_ref().filter(|_| !request.full), progress)?;
    let header = header(repository, request, earlier.as_ref())?;
    let options = WriterOptions {
        volume: request.volume.clone(),
        size: VOLUME_BYTES,
        chunk_bytes,
        codec: request.codec.unwrap_or(repository.config().codec),
        previous: previous.clone(),
        // What is laid out anew takes nothing from the earlier point unseen.
        whole: earlier.is_none(),
        distrust: request.full,
        host: request.host.clone(),
        upload_threads: request.upload_threads,
        checkpoint_bytes: request.checkpoint_bytes,
    };
    let mut writer = repository.write_point(options)?;
    let resumed = writer.is_resumed();
    let task = Task { request, chunk_bytes, earlier: earlier.as_ref(), header: &header, progress, cancel };
    let mut laid = match task.run(reader, &mut writer) {
        Ok(laid) => laid,
        Err(error) => return Err(give_up(writer, error)),
    };
    let changed = writer.finish_volume()?.changed;
    let incident = laid.unmask(&changed);
    let trusted = previous.as_ref().filter(|_| earlier.is_some());
    let catalog = catalog::make(repository, request.catalog.as_ref(), trusted, Gaps::default(), &mut writer, progress)?;
    let elapsed = clock.monotonic().saturating_sub(started);
    let point = writer.commit(facts(
        request,
        previous.is_some(),
        &laid,
        incident,
        u64::try_from(elapsed.as_millis()).unwrap_or(u64::MAX),
    ))?;
    progress.finish();
    let LaidTree { troubles, troubles_left_out, read_files, .. } = laid;
    Ok(FilesReport { point, troubles, troubles_left_out, read_files, resumed, catalog })
}

/// The tree of the earlier point. One that is damaged is no basis: everything is laid out anew beside it.
fn earlier_tree(
    repository: &Repository,
    previous: Option<&ListedPoint>,
    progress: &dyn Progress,
) -> Result<Option<FileTree>, JobError> {
    let Some(point) = previous else { return Ok(None) };
    let opened = FileTree::open(Arc::new(repository.read_point(point)));
    let whole = opened.and_then(|tree| tree.each_record(&mut |_, _| Ok::<_, FilesystemError>(())).map(|()| tree));
    match whole.map_err(JobError::from) {
        Ok(tree) => Ok(Some(tree)),
        Err(error) if error.kind() == JobErrorKind::Damage => {
            progress.warn(&format!("the earlier point cannot be built upon, so everything is read: {error}"));
            Ok(None)
        }
        Err(error) => Err(error),
    }
}

fn header(repository: &Repository, request: &FilesRequest, earlier: Option<&FileTree>) -> Result<TreeHeader, JobError> {
    let uuid = match earlier {
        Some(earlier) => earlier.header().uuid,
        None => {
            let mut uuid = [0; 16];
            repository.environment().entropy.fill(&mut uuid).map_err(RepositoryError::from)?;
            uuid
        }
    };
    Ok(TreeHeader { uuid, label: request.root.as_os_str().as_bytes().to_vec() })
}

struct Task<'a> {
    request: &'a FilesRequest,
    chunk_bytes: u32,
    earlier: Option<&'a FileTree>,
    header: &'a TreeHeader,
    progress: &'a dyn Progress,
    cancel: &'a Cancel,
}

impl Task<'_> {
    fn run(&self, reader: &mut dyn FileReader, writer: &mut PointWriter) -> Result<LaidTree, JobError> {
        let request = SurveyRequest {
            root: self.request.root.clone(),
            crossing: self.request.crossing,
            rehash: self.request.rehash,
            chunk_bytes: self.chunk_bytes,
            earlier: self.earlier,
            started: self.request.cut,
        };
        let survey = survey(request, self.progress, self.cancel)?;
        self.progress.begin("backing up files", survey.work_bytes);
        let pipeline =
            Pipeline { workers: self.request.workers.max(1), examined: None, progress: self.progress, cancel: self.cancel };
        let window_bytes = WINDOW_BYTES.max(self.chunk_bytes.into());
        let laid = pipeline.feed(writer, |feed| Ok(lay(survey, self.header, reader, feed, window_bytes, self.cancel)?));
        laid.map(|(_, laid)| laid)
    }
}

fn facts(request: &FilesRequest, has_previous: bool, laid: &LaidTree, incident: Option<Extent>, duration_ms: u64) -> PointFacts {
    let troubled = (laid.troubles.len() as u64).saturating_add(laid.troubles_left_out);
    PointFacts {
        cut: request.cut,
        source: request.root.display().to_string(),
        changes: ChangeRecord::of(if has_previous && !request.full { ChangeSource::Compare } else { ChangeSource::Full }),
        consistency: request.consistency,
        unreadable: ExtentSet::new(),
        omitted: ExtentSet::new(),
        incident,
        read_bytes: laid.read_bytes,
        duration_ms,
        file_tree: Some(FileTreeFacts { inodes: laid.state.inodes, content_bytes: laid.state.content_bytes, troubled }),
    }
}

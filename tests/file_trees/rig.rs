//! A repository in memory, backups of a folder into it at any time, and points taken out again.

use std::cell::Cell;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;
use std::{env, fmt, fs};

use icecore::base::cancel::Cancel;
use icecore::base::clock::{Clock, Timestamp};
use icecore::base::progress::Silent;
use icecore::files::{Crossing, FileReader, ReaderChoice, ReaderReport, Reading, Request, reader};
use icecore::filesystem::{self, Filesystem};
use icecore::job::JobError;
use icecore::job::backup::{CatalogOutcome, CatalogRequest, FilesReport, FilesRequest, backup_files};
use icecore::job::extract::{DirectoryOptions, DirectoryTarget, ExtractOptions, ExtractReport, extract};
use icecore::repository::format::point::Consistency;
use icecore::repository::{CheckDepth, ListedPoint, Repository};
use icecore::store::Store;
use icecore::store::memory::Memory;
use icecore::testkit::manual_clock::ManualClock;
use icecore::testkit::trial;
use tempfile::TempDir;

/// Each backup begins this much later than the last one, and long after everything was written.
const STEP: Duration = Duration::from_secs(3600);
/// Later than any file of a test.
const FUTURE: Timestamp = Timestamp(4_000_000_000_000);

pub struct Rig {
    pub repository: Repository,
    pub folder: TempDir,
    clock: Arc<ManualClock>,
    turn: Cell<u32>,
}

impl Rig {
    pub fn new() -> Self {
        let clock = Arc::new(ManualClock::new(FUTURE));
        let store: Arc<dyn Store> = Arc::new(Memory::new(Arc::clone(&clock) as Arc<dyn Clock>));
        let repository = trial::init(&store, trial::environment(&clock, 1)).unwrap();
        Self { repository, folder: TempDir::new().unwrap(), clock, turn: Cell::new(0) }
    }

    /// A folder for files that belongs to the rig.
    pub fn tree(&self) -> PathBuf {
        let tree = self.folder.path().join("tree");
        fs::create_dir_all(&tree).unwrap();
        tree
    }

    pub fn request(&self, root: &Path) -> FilesRequest {
        self.clock.advance(STEP);
        FilesRequest {
            volume: "files".to_owned(),
            root: root.to_path_buf(),
            crossing: Crossing::Refused,
            rehash: false,
            chunk_bytes: None,
            codec: None,
            full: false,
            consistency: Consistency::Live,
            cut: self.repository.environment().clock.now(),
            host: "test".to_owned(),
            workers: 2,
            upload_threads: 0,
            checkpoint_bytes: 256 << 10,
            catalog: Some(CatalogRequest { open: filesystem::open, beside: None, scratch: env::temp_dir() }),
        }
    }

    /// Backs a folder up, with each engine in turn.
    #[track_caller]
    pub fn backup(&self, root: &Path) -> FilesReport {
        self.run(&self.request(root)).unwrap()
    }

    pub fn run(&self, request: &FilesRequest) -> Result<FilesReport, JobError> {
        self.turn.set(self.turn.get() + 1);
        let choice = if self.turn.get().is_multiple_of(2) { ReaderChoice::Threads } else { ReaderChoice::Auto };
        self.run_with(request, reader(choice).unwrap().as_mut())
    }

    pub fn run_with(&self, request: &FilesRequest, reader: &mut dyn FileReader) -> Result<FilesReport, JobError> {
        let report = backup_files(&self.repository, request, reader, &Silent, &Cancel::new())?;
        let is_whole = matches!(&report.catalog, CatalogOutcome::Made(made) if made.left_out == 0);
        assert!(is_whole || request.catalog.is_none(), "{:?}", report.catalog);
        Ok(report)
    }

    pub fn open(&self, point: &ListedPoint) -> Box<dyn Filesystem> {
        filesystem::open(Arc::new(self.repository.read_point(point))).unwrap()
    }

    /// Takes all of a point out into an empty folder.
    pub fn extract(&self, point: &ListedPoint, to: &Path) -> ExtractReport {
        let filesystem = self.open(point);
        let root = filesystem.inode(filesystem.root()).unwrap();
        let mut target = DirectoryTarget::open(to.parent().unwrap(), DirectoryOptions { force: false }).unwrap();
        let options = ExtractOptions { devices: true, setuid: true, partial: false, workers: 2 };
        let name = to.file_name().unwrap().as_encoded_bytes();
        extract(filesystem.as_ref(), &root, name, &mut target, options, &Silent, &Cancel::new()).unwrap()
    }

    /// Fails unless every chunk of every point is whole.
    #[track_caller]
    pub fn expect_whole(&self) -> u64 {
        let report = self.repository.check(CheckDepth::Deep, &Silent).unwrap();
        assert!(report.is_clean(), "{report:?}");
        report.verified_bytes
    }
}

/// A reader before which something happens to each file.
pub struct Hooked<F> {
    inner: Box<dyn FileReader>,
    hook: F,
}

impl<F> fmt::Debug for Hooked<F> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Hooked")
    }
}

impl<F: FnMut(&str) + Send> Hooked<F> {
    pub fn new(choice: ReaderChoice, hook: F) -> Self {
        Self { inner: reader(choice).unwrap(), hook }
    }
}

impl<F: FnMut(&str) + Send> FileReader for Hooked<F> {
    fn begin(&mut self, request: Request) -> Reading {
        (self.hook)(request.name.to_str().unwrap_or_default());
        self.inner.begin(request)
    }

    fn report(&self) -> &ReaderReport {
        self.inner.report()
    }
}

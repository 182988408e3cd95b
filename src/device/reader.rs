//! Chooses an engine, says which and why, and reads with it.

use std::fmt;
use std::fs;
use std::io;
use std::ops::ControlFlow;
use std::str::FromStr;
use std::sync::Arc;

use super::backend::Backend;
use super::driver::Driver;
use super::error::DeviceError;
#[cfg(any(test, feature = "testkit"))]
use super::fault::{FaultScript, Faulty};
use super::file::DeviceFile;
use super::memory::Pool;
use super::neighbours::NeighbourWatch;
use super::pacing::{Pace, Pacer, PacerOptions};
use super::request::Request;
use super::threads::{MOST_THREADS, Threads};
use super::uring::{Uring, UringOptions};
use crate::base::clock::Clock;
use crate::base::extent::Extent;
use crate::base::io::{BulkRead, IoError, ReadAt, Window};

/// Which engine the caller wants.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum EngineChoice {
    /// io_uring where the kernel allows it, plain reads elsewhere.
    #[default]
    Auto,
    /// io_uring, or an error.
    Uring,
    /// Plain positioned reads on a few threads.
    Pread,
}

/// The name of no engine.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("there is no such read engine; choose auto, uring or pread")]
pub struct UnknownEngine;

impl FromStr for EngineChoice {
    type Err = UnknownEngine;

    fn from_str(name: &str) -> Result<Self, UnknownEngine> {
        match name {
            "auto" => Ok(Self::Auto),
            "uring" => Ok(Self::Uring),
            "pread" => Ok(Self::Pread),
            _ => Err(UnknownEngine),
        }
    }
}

/// Which engine reads.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Engine {
    /// io_uring.
    Uring {
        /// The memory is registered with the kernel.
        registered_buffers: bool,
    },
    /// Plain positioned reads on a few threads.
    Pread,
}

/// Which engine reads, and why this one: for `doctor` and for reports.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct EngineReport {
    /// The engine.
    pub engine: Engine,
    /// Why, in a few words.
    pub why: String,
}

impl fmt::Display for EngineReport {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let name = match self.engine {
            Engine::Uring { registered_buffers: true } => "io_uring with registered buffers",
            Engine::Uring { registered_buffers: false } => "io_uring",
            Engine::Pread => "pread",
        };
        write!(f, "{name}: {}", self.why)
    }
}

/// How to read.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct ReaderOptions {
    /// Which engine.
    pub engine: EngineChoice,
    /// The longest window in bytes: a power of two from 64 KiB to 1 MiB.
    pub window_bytes: u64,
    /// All window memory together, in bytes. At least two windows are made.
    pub pool_bytes: u64,
    /// How hard to read.
    pub pace: Pace,
    /// The most bytes per second; `None` for no limit.
    pub limit_bytes_per_second: Option<u64>,
    /// Register the memory with the kernel where io_uring reads.
    pub register_buffers: bool,
    /// The most reads with the kernel at once; the pace may stay below. `None` for as many as the pace allows.
    pub most_in_flight: Option<u32>,
}

impl Default for ReaderOptions {
    fn default() -> Self {
        Self {
            engine: EngineChoice::Auto,
            window_bytes: 256 * 1024,
            pool_bytes: 16 * 1024 * 1024,
            pace: Pace::Full,
            limit_bytes_per_second: None,
            register_buffers: true,
            most_in_flight: None,
        }
    }
}

/// An opened device, read in bulk.
#[derive(Debug)]
pub struct Reader {
    source: Arc<DeviceFile>,
    options: ReaderOptions,
    clock: Arc<dyn Clock>,
    pool: Arc<Pool>,
    pacer: Pacer,
    /// Present where giving way depends on others being there.
    watch: Option<NeighbourWatch>,
    engine: Option<AnyEngine>,
    report: EngineReport,
    #[cfg(any(test, feature = "testkit"))]
    faults: Option<FaultScript>,
}

/// Readies a bulk reader over `source`, and finds out which engine runs here.
pub fn reader(source: Arc<DeviceFile>, options: ReaderOptions, clock: Arc<dyn Clock>) -> Result<Reader, DeviceError> {
    check_window(options.window_bytes)?;
    let pool = make_pool(&source, &options)?;
    let pacer = Pacer::new(&PacerOptions {
        pace: options.pace,
        limit_bytes_per_second: options.limit_bytes_per_second,
        window_bytes: options.window_bytes,
        most_in_flight: options.most_in_flight,
    });
    let (engine, why) = choose(&source, &pool, &pacer, &options)?;
    let report = EngineReport { engine: engine.kind(), why };
    let watch = NeighbourWatch::over(source.main()).filter(|_| options.pace == Pace::Gentle);
    Ok(Reader {
        source,
        watch,
        options,
        clock,
        pool,
        pacer,
        engine: Some(engine),
        report,
        #[cfg(any(test, feature = "testkit"))]
        faults: None,
    })
}

impl Reader {
    /// Which engine reads, and why.
    #[must_use]
    pub fn engine(&self) -> &EngineReport {
        &self.report
    }

    /// Lets completions go wrong as `faults` says.
    #[cfg(any(test, feature = "testkit"))]
    #[must_use]
    pub fn with_faults(mut self, faults: FaultScript) -> Self {
        self.faults = Some(faults);
        self
    }

    #[cfg(test)]
    pub(super) fn pool(&self) -> &Arc<Pool> {
        &self.pool
    }

    /// The engine, usable from this thread: one that another thread has used is replaced.
    fn take_engine(&mut self) -> Result<AnyEngine, IoError> {
        if let Some(mut engine) = self.engine.take()
            && engine.claim().unwrap_or(false)
        {
            return Ok(engine);
        }
        let failed = |source| IoError::Os { act: "start the read engine for", extent: Extent::new(0, self.source.size()), source };
        let started = choose(&self.source, &self.pool, &self.pacer, &self.options);
        let (mut engine, why) = started.map_err(|e| failed(io::Error::other(e)))?;
        if !engine.claim().map_err(failed)? {
            return Err(failed(io::ErrorKind::PermissionDenied.into()));
        }
        self.report = EngineReport { engine: engine.kind(), why };
        Ok(engine)
    }
}

impl BulkRead for Reader {
    fn size(&self) -> u64 {
        self.source.size()
    }

    fn window_bytes(&self) -> u64 {
        self.options.window_bytes
    }

    fn read(
        &mut self,
        plan: &mut dyn Iterator<Item = Extent>,
        deliver: &mut dyn FnMut(Window) -> ControlFlow<()>,
    ) -> Result<(), IoError> {
        // Taken out, so that a panic in `deliver` drops the engine on this thread, which waits for what is under way.
        let mut engine = self.take_engine()?;
        let mut driver = Driver {
            source: &self.source,
            pool: &self.pool,
            pacer: &mut self.pacer,
            watch: self.watch.as_mut(),
            clock: &*self.clock,
            window_bytes: self.options.window_bytes,
        };
        #[cfg(any(test, feature = "testkit"))]
        let outcome = match &mut self.faults {
            Some(script) => driver.run(&mut Faulty::new(engine.backend(), script), plan, deliver),
            None => driver.run(engine.backend(), plan, deliver),
        };
        #[cfg(not(any(test, feature = "testkit")))]
        let outcome = driver.run(engine.backend(), plan, deliver);
        // An engine that could not be drained is dropped here, which waits once more.
        self.engine = (engine.backend().in_flight() == 0).then_some(engine);
        outcome
    }
}

/// One of the engines.
#[derive(Debug)]
enum AnyEngine {
    Uring(Box<Uring>),
    Threads(Threads),
}

impl AnyEngine {
    fn kind(&self) -> Engine {
        match self {
            Self::Uring(uring) => Engine::Uring { registered_buffers: uring.has_registered_buffers() },
            Self::Threads(_) => Engine::Pread,
        }
    }

    fn backend(&mut self) -> &mut dyn Backend {
        match self {
            Self::Uring(uring) => uring.as_mut(),
            Self::Threads(threads) => threads,
        }
    }

    /// True when the calling thread may use it.
    fn claim(&mut self) -> io::Result<bool> {
        match self {
            Self::Uring(uring) => uring.claim(),
            Self::Threads(_) => Ok(true),
        }
    }
}

fn choose(
    source: &Arc<DeviceFile>,
    pool: &Arc<Pool>,
    pacer: &Pacer,
    options: &ReaderOptions,
) -> Result<(AnyEngine, String), DeviceError> {
    match options.engine {
        EngineChoice::Pread => Ok((start_threads(source, pacer, options)?, "asked for".to_owned())),
        EngineChoice::Uring => match start_uring(source, pool, pacer, options) {
            Ok(engine) => Ok((engine, "asked for".to_owned())),
            Err(source) => Err(DeviceError::EngineRefused { engine: "uring", source }),
        },
        EngineChoice::Auto => match start_uring(source, pool, pacer, options) {
            Ok(engine) => Ok((engine, "the kernel allows it".to_owned())),
            Err(error) => Ok((start_threads(source, pacer, options)?, explain_refusal(&error))),
        },
    }
}

fn start_uring(source: &Arc<DeviceFile>, pool: &Arc<Pool>, pacer: &Pacer, options: &ReaderOptions) -> io::Result<AnyEngine> {
    let options = UringOptions {
        entries: pacer.most_in_flight(),
        registered_buffers: options.register_buffers,
        idle_priority: options.pace == Pace::Gentle,
    };
    Ok(AnyEngine::Uring(Box::new(Uring::start(source, pool, options)?)))
}

fn start_threads(source: &Arc<DeviceFile>, pacer: &Pacer, options: &ReaderOptions) -> Result<AnyEngine, DeviceError> {
    let count = MOST_THREADS.min(pacer.most_in_flight() as usize);
    let started = Threads::start(source, count, options.pace == Pace::Gentle);
    started.map(AnyEngine::Threads).map_err(|source| DeviceError::EngineRefused { engine: "pread", source })
}

fn explain_refusal(error: &io::Error) -> String {
    let switch = fs::read_to_string("/proc/sys/kernel/io_uring_disabled").unwrap_or_default();
    match switch.trim() {
        "" | "0" => format!("io_uring was refused: {error}"),
        value => format!("io_uring was refused: {error} (kernel.io_uring_disabled is {value})"),
    }
}

fn check_window(bytes: u64) -> Result<(), DeviceError> {
    const SHORTEST: u64 = 64 * 1024;
    const LONGEST: u64 = 1024 * 1024;
    if bytes.is_power_of_two() && (SHORTEST..=LONGEST).contains(&bytes) { Ok(()) } else { Err(DeviceError::WindowLength { bytes }) }
}

fn make_pool(source: &DeviceFile, options: &ReaderOptions) -> Result<Arc<Pool>, DeviceError> {
    let count = (options.pool_bytes / options.window_bytes).max(2) as usize;
    Pool::new(count, Request::buffer_bytes(options.window_bytes, source.alignment()))
        .ok_or_else(|| DeviceError::os("get memory to read", source.path(), io::ErrorKind::OutOfMemory))
}

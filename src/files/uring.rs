//! The implementation over tokio-uring: one thread with its own ring and runtime, and a task for each file that is begun.
//!
//! Opening, looking, reading and closing go through the ring; attributes and holes are asked for by plain calls, for which it has none.

use std::ffi::{CString, OsStr};
use std::fs::File as PlainFile;
use std::io;
use std::os::fd::AsRawFd;
use std::os::unix::ffi::OsStrExt;
use std::os::unix::fs::OpenOptionsExt;
use std::path::Path;
use std::sync::mpsc::{SyncSender, sync_channel};
use std::thread::{self, JoinHandle};

use rustix::fs::OFlags;
use tokio::sync::mpsc::{UnboundedReceiver, UnboundedSender, unbounded_channel};
use tokio::task::JoinSet;
use tokio_uring::Runtime;
use tokio_uring::fs::{File, OpenOptions};

use super::attributes::attributes_behind;
use super::events::{Event, Opened, Reading, Teller, WholeFile, reading};
use super::facts::Facts;
use super::open::{FILE_FLAGS, PIECE_BYTES, ReadFailure, buffer, expect_regular, is_short, while_doing};
use super::reader::{FileReader, ReaderReport, Request};
use super::sparse::runs_of_data;
use crate::base::extent::Extent;

/// Places for submissions: more than files are ever under way.
const ENTRIES: u32 = 128;

type Order = (Request, Teller);

/// A ring and the thread that owns it.
#[derive(Debug)]
pub(super) struct Uring {
    /// Gone once the reader is being dropped; then the thread finishes what it has begun and ends.
    work: Option<UnboundedSender<Order>>,
    thread: Option<JoinHandle<()>>,
    report: ReaderReport,
}

impl Uring {
    /// Starts the thread, and fails if the kernel gives it no ring.
    pub(super) fn start() -> io::Result<Self> {
        let (work, orders) = unbounded_channel();
        let (started, answer) = sync_channel(1);
        let thread = thread::Builder::new().name("files-ring".to_owned()).spawn(move || run(orders, &started))?;
        answer.recv().map_err(|_| io::Error::other("its thread did not start"))??;
        Ok(Self { work: Some(work), thread: Some(thread), report: ReaderReport { engine: "io_uring", fallback: None } })
    }
}

impl FileReader for Uring {
    fn begin(&mut self, request: Request) -> Reading {
        let (teller, reading) = reading();
        if let Some(work) = &self.work {
            // If the thread is gone, the reading ends without an event, which is a failure.
            drop(work.send((request, teller)));
        }
        reading
    }

    fn report(&self) -> &ReaderReport {
        &self.report
    }
}

impl Drop for Uring {
    fn drop(&mut self) {
        self.work = None;
        if self.thread.take().is_some_and(|thread| thread.join().is_err()) {
            tracing::warn!("the thread that read files has panicked");
        }
    }
}

fn run(orders: UnboundedReceiver<Order>, started: &SyncSender<io::Result<()>>) {
    let runtime = Runtime::new(tokio_uring::builder().entries(ENTRIES));
    match runtime {
        Ok(runtime) => {
            if started.send(Ok(())).is_ok() {
                runtime.block_on(serve(orders));
            }
        }
        // Who started the thread waits for this; if it is gone, so is the need for a ring.
        Err(error) => drop(started.send(Err(error))),
    }
}

async fn serve(mut orders: UnboundedReceiver<Order>) {
    let mut tasks = JoinSet::new();
    while let Some((request, teller)) = orders.recv().await {
        tasks.spawn_local(tell_all(request, teller));
        while tasks.try_join_next().is_some() {}
    }
    while tasks.join_next().await.is_some() {}
}

async fn tell_all(request: Request, teller: Teller) {
    let file = match open(&request).await {
        Ok(file) => file,
        Err(failure) => {
            teller.tell_later(Event::Failed(failure)).await;
            return;
        }
    };
    let told = tell_file(&file, &teller).await;
    // Closing what was only read loses nothing.
    drop(file.close().await);
    if let Err(failure) = told {
        teller.tell_later(Event::Failed(failure)).await;
    }
}

/// The ring opens by path only. This one leads to the open directory and one step further, and that step is not followed.
async fn open(request: &Request) -> Result<File, ReadFailure> {
    let way = request.directory.way_to(&request.name);
    let path = Path::new(OsStr::from_bytes(way.as_bytes()));
    let try_with = async |more: OFlags| {
        let flags = (FILE_FLAGS | more).bits().cast_signed();
        OpenOptions::new().read(true).custom_flags(flags).open(path).await
    };
    match try_with(OFlags::NOATIME).await {
        Err(error) if error.kind() == io::ErrorKind::PermissionDenied => try_with(OFlags::empty()).await,
        opened => opened,
    }
    .map_err(while_doing("open"))
}

async fn look(file: &File) -> Result<Facts, ReadFailure> {
    file.statx().await.map(|raw| Facts::of_ring(&raw)).map_err(while_doing("look at"))
}

async fn tell_file(file: &File, teller: &Teller) -> Result<(), ReadFailure> {
    let facts = look(file).await?;
    expect_regular(&facts)?;
    let opened = ask_beside(file, facts)?;
    if is_short(&opened) {
        let (bytes, _) = piece(file, Extent::new(0, facts.size)).await?;
        let after = look(file).await?;
        teller.tell_later(Event::Whole(Box::new(WholeFile { opened, bytes, after }))).await;
        return Ok(());
    }
    let runs = opened.runs.clone().unwrap_or_else(|| vec![Extent::new(0, facts.size)]);
    if !teller.tell_later(Event::Begins(Box::new(opened))).await {
        return Ok(());
    }
    for wanted in runs.iter().flat_map(|run| run.cut(PIECE_BYTES)) {
        let (bytes, is_whole) = piece(file, wanted).await?;
        if !teller.tell_later(Event::Bytes { offset: wanted.offset, bytes }).await {
            return Ok(());
        }
        if !is_whole {
            break;
        }
    }
    teller.tell_later(Event::Ends(Box::new(look(file).await?))).await;
    Ok(())
}

/// What the ring has no operation for.
fn ask_beside(file: &File, facts: Facts) -> Result<Opened, ReadFailure> {
    let own = format!("/proc/self/fd/{}", file.as_raw_fd());
    let way = CString::new(own.as_str()).unwrap_or_default();
    let attributes = attributes_behind(&way).map_err(while_doing("read the attributes of"))?;
    let runs = if facts.may_be_sparse() {
        PlainFile::open(&own).and_then(|file| runs_of_data(&file, facts.size)).map_err(while_doing("find the holes of"))?
    } else {
        None
    };
    Ok(Opened { facts, attributes, runs })
}

/// Reads a piece; false if the file ends within it.
async fn piece(file: &File, wanted: Extent) -> Result<(Vec<u8>, bool), ReadFailure> {
    let length = usize::try_from(wanted.length).unwrap_or(0);
    let mut bytes = Vec::new();
    while bytes.len() < length {
        let rest = Extent::between(wanted.offset.saturating_add(bytes.len() as u64), wanted.end());
        match file.read_at(buffer(rest.length), rest.offset).await {
            (Ok(0), _) => return Ok((bytes, false)),
            // The usual case: everything at once, and nothing is copied.
            (Ok(_), read) if bytes.is_empty() => bytes = read,
            (Ok(_), read) => bytes.extend_from_slice(&read),
            (Err(error), _) if error.kind() == io::ErrorKind::Interrupted => {}
            (Err(error), _) => return Err(while_doing("read")(error)),
        }
        // A vector may be given more room than was asked for.
        bytes.truncate(length);
    }
    Ok((bytes, true))
}

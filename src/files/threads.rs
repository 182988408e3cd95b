//! The plain implementation: a few threads, each with one file and one blocking call at a time.

use std::fs::File;
use std::io;
use std::sync::mpsc::{Receiver, Sender, channel};
use std::sync::{Arc, Mutex, PoisonError};
use std::thread::{self, JoinHandle};

use rustix::fs::{AtFlags, Mode, ResolveFlags, openat2, statx};
use rustix::io::{Errno, pread};

use super::attributes::attributes_of_open;
use super::directory::{Directory, unseen};
use super::events::{Event, Opened, Reading, Teller, WholeFile, reading};
use super::facts::{Facts, WANTED};
use super::open::{FILE_FLAGS, PIECE_BYTES, ReadFailure, buffer, expect_regular, is_short, while_doing};
use super::reader::{FileReader, ReaderReport, Request};
use super::sparse::runs_of_data;
use crate::base::extent::Extent;

/// Enough to keep a local disk busy, and to hide some of a network's latency.
const THREADS: usize = 8;

/// Threads fed by one queue.
#[derive(Debug)]
pub(super) struct Threads {
    /// Gone once the reader is being dropped; then the threads run dry and end.
    work: Option<Sender<(Request, Teller)>>,
    threads: Vec<JoinHandle<()>>,
    report: ReaderReport,
}

impl Threads {
    pub(super) fn start(fallback: Option<String>) -> io::Result<Self> {
        let (work, queue) = channel();
        let queue = Arc::new(Mutex::new(queue));
        let start = |number: usize| {
            let queue = Arc::clone(&queue);
            thread::Builder::new().name(format!("files-{number}")).spawn(move || serve(&queue))
        };
        let threads = (0..THREADS).map(start).collect::<io::Result<_>>()?;
        Ok(Self { work: Some(work), threads, report: ReaderReport { engine: "pread", fallback } })
    }
}

impl FileReader for Threads {
    fn begin(&mut self, request: Request) -> Reading {
        let (teller, reading) = reading();
        if let Some(work) = &self.work {
            // Threads live as long as the sender; if one panicked, the reading ends without an event, which is a failure.
            drop(work.send((request, teller)));
        }
        reading
    }

    fn report(&self) -> &ReaderReport {
        &self.report
    }
}

impl Drop for Threads {
    fn drop(&mut self) {
        self.work = None;
        for thread in self.threads.drain(..) {
            if thread.join().is_err() {
                tracing::warn!("a thread that read files has panicked");
            }
        }
    }
}

fn serve(queue: &Mutex<Receiver<(Request, Teller)>>) {
    loop {
        let next = queue.lock().unwrap_or_else(PoisonError::into_inner).recv();
        let Ok((request, teller)) = next else { return };
        if let Err(failure) = read(&request, &teller) {
            teller.tell(Event::Failed(failure));
        }
    }
}

fn read(request: &Request, teller: &Teller) -> Result<(), ReadFailure> {
    let Request { directory, name } = request;
    let resolve = ResolveFlags::BENEATH | ResolveFlags::NO_SYMLINKS | ResolveFlags::NO_MAGICLINKS;
    let opened = unseen(|more| openat2::<&Directory, _>(directory, name.as_c_str(), FILE_FLAGS | more, Mode::empty(), resolve));
    let file = File::from(opened.map_err(io::Error::from).map_err(while_doing("open"))?);
    let look = || statx(&file, c"", AtFlags::EMPTY_PATH, WANTED).map(|raw| Facts::new(&raw)).map_err(io::Error::from);
    let facts = look().map_err(while_doing("look at"))?;
    expect_regular(&facts)?;
    let attributes = attributes_of_open(&file).map_err(while_doing("read the attributes of"))?;
    let runs =
        if facts.may_be_sparse() { runs_of_data(&file, facts.size).map_err(while_doing("find the holes of"))? } else { None };
    let opened = Opened { facts, attributes, runs };
    if is_short(&opened) {
        let mut bytes = buffer(facts.size);
        fill(&file, Extent::new(0, facts.size), &mut bytes)?;
        let after = look().map_err(while_doing("look at"))?;
        teller.tell(Event::Whole(Box::new(WholeFile { opened, bytes, after })));
        return Ok(());
    }
    let runs = opened.runs.clone().unwrap_or_else(|| vec![Extent::new(0, facts.size)]);
    if !teller.tell(Event::Begins(Box::new(opened))) {
        return Ok(());
    }
    for piece in runs.iter().flat_map(|run| run.cut(PIECE_BYTES)) {
        let mut bytes = buffer(piece.length);
        let is_whole = fill(&file, piece, &mut bytes)?;
        if !teller.tell(Event::Bytes { offset: piece.offset, bytes }) {
            return Ok(());
        }
        if !is_whole {
            break;
        }
    }
    teller.tell(Event::Ends(Box::new(look().map_err(while_doing("look at"))?)));
    Ok(())
}

/// Reads a piece; false if the file ends within it.
fn fill(file: &File, piece: Extent, out: &mut Vec<u8>) -> Result<bool, ReadFailure> {
    let wanted = usize::try_from(piece.length).unwrap_or(0);
    out.resize(wanted, 0);
    let mut have = 0;
    while have < wanted {
        let rest = out.get_mut(have..).unwrap_or_default();
        match pread(file, rest, piece.offset.saturating_add(have as u64)) {
            Ok(0) => break,
            Ok(read) => have += read,
            Err(Errno::INTR) => {}
            Err(errno) => return Err(while_doing("read")(errno.into())),
        }
    }
    out.truncate(have);
    Ok(have == wanted)
}

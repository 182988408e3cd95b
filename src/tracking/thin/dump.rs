//! What a pool's metadata say of one device: when it was made, what it maps, and whether it was written since.
//!
//! ```text
//!   pool's time    0 ─────── 1 ──────── 2 ───────►      it moves on with every snapshot that is made
//!   origin           a b c   │   d      │               a block keeps the time at which it was mapped
//!   snapshot 7               made: 1    │               all that it maps is older than itself: a, b, c
//! ```
//! A snapshot shares all that it maps at first, and what is shared is never overwritten in place: whoever writes gets a new block, with
//! the time of that moment. So a snapshot all of whose blocks are older than itself, and still as many, holds what it held when it was
//! made. That is what lets a backup count from it.

use blake3::Hasher;

use super::element::{Element, Form};
use super::error::ThinError;
use super::program::Program;

const SECTOR_BYTES: u64 = 512;

/// One device in the metadata of its pool.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct DumpedDevice {
    pub(super) id: u64,
    pub(super) block_bytes: u64,
    pub(super) mapped_blocks: u64,
    /// Of the pool, when it was made.
    pub(super) transaction: u64,
    /// The pool's time when it was made.
    pub(super) made: u64,
    /// True if everything it maps is older than itself.
    pub(super) is_unwritten: bool,
    /// Over all that it maps, and where to.
    pub(super) mapping: String,
}

/// Blocks in a row, of one time.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
struct Run {
    at: u64,
    data: u64,
    length: u64,
    time: u64,
}

impl Run {
    /// The run of both, if `next` goes on where this one ends. Where a tool ends a run says nothing.
    fn joined(self, next: Self) -> Option<Self> {
        let follows = Some(next.at) == self.at.checked_add(self.length) && Some(next.data) == self.data.checked_add(self.length);
        let length = self.length.checked_add(next.length).filter(|_| follows && next.time == self.time)?;
        Some(Self { length, ..self })
    }
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Place {
    Start,
    Pool,
    Device,
    Past,
    End,
}

/// Reads the output of `thin_dump --dev-id`, a line at a time.
#[derive(Debug)]
pub(super) struct Dump {
    wanted: u64,
    place: Place,
    device: Option<DumpedDevice>,
    block_bytes: u64,
    last: Option<Run>,
    blocks: u64,
    hasher: Hasher,
}

impl Dump {
    /// Of the device with this id.
    pub(super) fn of(wanted: u64) -> Self {
        Self { wanted, place: Place::Start, device: None, block_bytes: 0, last: None, blocks: 0, hasher: Hasher::new() }
    }

    pub(super) fn line(&mut self, line: &str) -> Result<(), ThinError> {
        let element = Element::parse(line);
        element.and_then(|element| self.element(&element)).ok_or_else(|| Program::ThinDump.strange(line))
    }

    fn element(&mut self, element: &Element<'_>) -> Option<()> {
        self.place = match (self.place, element.form, element.name) {
            (Place::Start, Form::Opens, "superblock") => {
                self.block_bytes = element.number("data_block_size")?.checked_mul(SECTOR_BYTES).filter(|bytes| *bytes > 0)?;
                Place::Pool
            }
            (Place::Pool, Form::Opens, "device") => {
                self.device = Some(self.device(element)?);
                Place::Device
            }
            (Place::Device, Form::Whole, "range_mapping" | "single_mapping") => {
                self.run(run(element)?)?;
                Place::Device
            }
            (Place::Device, Form::Closes, "device") => Place::Past,
            (Place::Pool | Place::Past, Form::Closes, "superblock") => Place::End,
            _ => return None,
        };
        Some(())
    }

    fn device(&self, element: &Element<'_>) -> Option<DumpedDevice> {
        let names = ["dev_id", "mapped_blocks", "transaction", "creation_time", "snap_time"];
        let [id, mapped_blocks, transaction, made, _snapshotted] = element.numbers(names)?;
        let block_bytes = self.block_bytes;
        let device = DumpedDevice { id, block_bytes, mapped_blocks, transaction, made, is_unwritten: true, mapping: String::new() };
        (id == self.wanted).then_some(device)
    }

    fn run(&mut self, run: Run) -> Option<()> {
        let device = self.device.as_mut()?;
        device.is_unwritten &= run.time < device.made;
        self.blocks = self.blocks.checked_add(run.length)?;
        // The runs ascend, which also ends them.
        let free_from = self.last.map_or(Some(0), |last| last.at.checked_add(last.length))?;
        (run.at >= free_from && run.length > 0 && run.at.checked_add(run.length).is_some()).then_some(())?;
        match self.last.and_then(|last| last.joined(run)) {
            Some(joined) => self.last = Some(joined),
            None => self.put_last(Some(run)),
        }
        Some(())
    }

    fn put_last(&mut self, next: Option<Run>) {
        if let Some(Run { at, data, length, time }) = self.last {
            for number in [at, data, length, time] {
                self.hasher.update(&number.to_le_bytes());
            }
        }
        self.last = next;
    }

    /// The device; `None` if there is no such device in the pool.
    pub(super) fn end(mut self) -> Result<Option<DumpedDevice>, ThinError> {
        if self.place != Place::End {
            return Err(Program::ThinDump.strange("it ended too early"));
        }
        self.put_last(None);
        let Some(device) = self.device else { return Ok(None) };
        if device.mapped_blocks != self.blocks {
            let (said, found) = (device.mapped_blocks, self.blocks);
            let what = format!("device {} has {said} blocks and {found} are listed; check the metadata with thin_check", device.id);
            return Err(Program::ThinDump.strange(what));
        }
        Ok(Some(DumpedDevice { mapping: self.hasher.finalize().to_hex().to_string(), ..device }))
    }
}

fn run(element: &Element<'_>) -> Option<Run> {
    if element.name == "single_mapping" {
        let [at, data, time] = element.numbers(["origin_block", "data_block", "time"])?;
        return Some(Run { at, data, length: 1, time });
    }
    let [at, data, length, time] = element.numbers(["origin_begin", "data_begin", "length", "time"])?;
    Some(Run { at, data, length, time })
}

#[cfg(test)]
mod tests {
    use super::*;

    const POOL: &str =
        r#"<superblock uuid="" time="3" transaction="1" flags="0" version="2" data_block_size="128" nr_data_blocks="99">"#;

    fn device(blocks: u64) -> String {
        format!(r#"  <device dev_id="7" mapped_blocks="{blocks}" transaction="1" creation_time="2" snap_time="3">"#)
    }

    fn dumped(lines: &[&str]) -> Result<Option<DumpedDevice>, ThinError> {
        let mut dump = Dump::of(7);
        lines.iter().try_for_each(|line| dump.line(line))?;
        dump.end()
    }

    fn mapped(blocks: u64, runs: &[&str]) -> Result<Option<DumpedDevice>, ThinError> {
        dumped(&[&[POOL, &device(blocks)], runs, &["</device>", "</superblock>"]].concat())
    }

    fn range(at: u64, data: u64, length: u64, time: u64) -> String {
        format!(r#"<range_mapping origin_begin="{at}" data_begin="{data}" length="{length}" time="{time}"/>"#)
    }

    fn single(at: u64, data: u64, time: u64) -> String {
        format!(r#"<single_mapping origin_block="{at}" data_block="{data}" time="{time}"/>"#)
    }

    #[test]
    fn a_device_is_known_by_when_it_was_made_and_all_that_it_maps() {
        let one = mapped(5, &[&range(0, 10, 4, 0), &single(6, 90, 1)]).unwrap().unwrap();
        assert_eq!((one.id, one.block_bytes, one.mapped_blocks, one.transaction, one.made), (7, 65536, 5, 1, 2));
        assert!(one.is_unwritten);
        // However its runs are cut, it is the same.
        let cut = [range(0, 10, 2, 0), single(2, 12, 0), single(3, 13, 0), single(6, 90, 1)];
        assert_eq!(mapped(5, &cut.each_ref().map(String::as_str)).unwrap().unwrap(), one);
        for other in [range(0, 11, 4, 0), range(1, 10, 4, 0), range(0, 10, 4, 1)] {
            assert_ne!(mapped(5, &[&other, &single(6, 90, 1)]).unwrap().unwrap().mapping, one.mapping, "{other}");
        }
        assert_eq!(dumped(&[POOL, "</superblock>"]).unwrap(), None);
    }

    #[test]
    fn a_block_as_young_as_the_device_was_written_to_it() {
        for (time, expected) in [(0, true), (1, true), (2, false), (3, false)] {
            assert_eq!(mapped(1, &[&single(0, 0, time)]).unwrap().unwrap().is_unwritten, expected, "{time}");
        }
    }

    #[test]
    fn whatever_is_not_understood_is_refused_with_the_line() {
        let strange = |lines: &[&str]| dumped(lines).unwrap_err().to_string();
        let open = device(1);
        for (line, lines) in [
            ("<def name=\"1\">", &[POOL, "<def name=\"1\">"][..]),
            (&open, &[&open]),
            ("<ref name=\"1\"/>", &[POOL, &open, "<ref name=\"1\"/>"]),
            ("</superblock>", &[POOL, &open, "</superblock>"]),
            ("it ended too early", &[POOL, &open, "</device>"]),
            ("it ended too early", &[]),
            ("<device dev_id=\"7\">", &[POOL, "<device dev_id=\"7\">"]),
            ("1 blocks and 0 are listed", &[POOL, &open, "</device>", "</superblock>"]),
        ] {
            assert!(strange(lines).contains(line), "{line}: {}", strange(lines));
        }
        let other = open.replace("dev_id=\"7\"", "dev_id=\"8\"");
        assert!(strange(&[POOL, &other]).contains("dev_id=\"8\""));
        let descending = mapped(3, &[&range(4, 0, 2, 0), &single(5, 9, 0)]);
        assert!(descending.unwrap_err().to_string().contains("origin_block=\"5\""));
        assert!(mapped(0, &[&range(4, 0, 0, 0)]).is_err() && mapped(2, &[&range(u64::MAX, 0, 2, 0)]).is_err());
    }
}

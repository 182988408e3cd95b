//! In what two devices of a pool differ, as `thin_delta` says, held against what each of them maps.

use super::element::{Element, Form};
use super::error::ThinError;
use super::program::Program;
use crate::base::extent::{Extent, ExtentSet};

/// Sixteen bytes each; a volume that changed in more places is read as quickly.
const MAX_RANGES: usize = 4 << 20;

/// Which two devices, and what they map.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Sides {
    pub(super) left: u64,
    pub(super) right: u64,
    pub(super) left_blocks: u64,
    pub(super) right_blocks: u64,
    pub(super) block_bytes: u64,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Place {
    Start,
    Pool,
    Ranges,
    Past,
    End,
}

/// Reads the output of `thin_delta`, a line at a time.
#[derive(Debug)]
pub(super) struct Delta {
    sides: Sides,
    place: Place,
    free_from: u64,
    left_blocks: u64,
    right_blocks: u64,
    ranges: ExtentSet,
}

impl Delta {
    pub(super) fn between(sides: Sides) -> Self {
        Self { sides, place: Place::Start, free_from: 0, left_blocks: 0, right_blocks: 0, ranges: ExtentSet::new() }
    }

    pub(super) fn line(&mut self, line: &str) -> Result<(), ThinError> {
        let element = Element::parse(line);
        element.and_then(|element| self.element(&element)).ok_or_else(|| Program::ThinDelta.strange(line))?;
        if self.ranges.count() > MAX_RANGES {
            return Err(Program::ThinDelta.strange(format!("the devices differ in more than {MAX_RANGES} places")));
        }
        Ok(())
    }

    fn element(&mut self, element: &Element<'_>) -> Option<()> {
        let Sides { left, right, block_bytes, .. } = self.sides;
        self.place = match (self.place, element.form, element.name) {
            (Place::Start, Form::Opens, "superblock") => {
                let bytes = element.number("data_block_size")?.checked_mul(512)?;
                (bytes == block_bytes).then_some(Place::Pool)?
            }
            (Place::Pool, Form::Opens, "diff") => {
                (element.numbers(["left", "right"]) == Some([left, right])).then_some(Place::Ranges)?
            }
            (Place::Ranges, Form::Whole, "same") => self.range(element, true, true)?,
            (Place::Ranges, Form::Whole, "different") => self.differs(element, true, true)?,
            (Place::Ranges, Form::Whole, "left_only") => self.differs(element, true, false)?,
            (Place::Ranges, Form::Whole, "right_only") => self.differs(element, false, true)?,
            (Place::Ranges, Form::Closes, "diff") => Place::Past,
            (Place::Past, Form::Closes, "superblock") => Place::End,
            _ => return None,
        };
        Some(())
    }

    fn differs(&mut self, element: &Element<'_>, in_left: bool, in_right: bool) -> Option<Place> {
        let bytes = self.sides.block_bytes;
        let [begin, length] = element.numbers(["begin", "length"])?;
        let place = self.range(element, in_left, in_right)?;
        self.ranges.insert(Extent::new(begin.checked_mul(bytes)?, length.checked_mul(bytes)?));
        Some(place)
    }

    /// Counts a range; they ascend, which also ends them.
    fn range(&mut self, element: &Element<'_>, in_left: bool, in_right: bool) -> Option<Place> {
        let [begin, length] = element.numbers(["begin", "length"])?;
        (begin >= self.free_from && length > 0).then_some(())?;
        self.free_from = begin.checked_add(length)?;
        self.left_blocks = self.left_blocks.checked_add(if in_left { length } else { 0 })?;
        self.right_blocks = self.right_blocks.checked_add(if in_right { length } else { 0 })?;
        Some(Place::Ranges)
    }

    /// The ranges, in bytes. Every block of either device must have been accounted for: versions of the program are known that leave
    /// the last blocks of the longer one out.
    pub(super) fn end(self) -> Result<ExtentSet, ThinError> {
        if self.place != Place::End {
            return Err(Program::ThinDelta.strange("it ended too early"));
        }
        let (counted, mapped) = ((self.left_blocks, self.right_blocks), (self.sides.left_blocks, self.sides.right_blocks));
        if counted != mapped {
            let what = format!("it accounts for {} and {} blocks of {} and {}", counted.0, counted.1, mapped.0, mapped.1);
            return Err(Program::ThinDelta.strange(what));
        }
        Ok(self.ranges)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const POOL: &str = r#"<superblock uuid="" time="3" transaction="1" data_block_size="128" nr_data_blocks="99">"#;
    const DIFF: &str = r#"  <diff left="1" right="2">"#;
    const END: [&str; 2] = ["  </diff>", "</superblock>"];
    const BLOCK: u64 = 65536;

    fn ended(left_blocks: u64, right_blocks: u64, lines: &[&str]) -> Result<ExtentSet, String> {
        let mut delta = Delta::between(Sides { left: 1, right: 2, left_blocks, right_blocks, block_bytes: BLOCK });
        let read = lines.iter().try_for_each(|line| delta.line(line));
        read.and_then(|()| delta.end()).map_err(|error| error.to_string())
    }

    fn ranges(left_blocks: u64, right_blocks: u64, lines: &[&str]) -> Result<ExtentSet, String> {
        ended(left_blocks, right_blocks, &[&[POOL, DIFF], lines, &END].concat())
    }

    const EVERYTHING: &[&str] = &[
        r#"<same begin="0" length="5"/>"#,
        r#"<left_only begin="5" length="2"/>"#,
        r#"<different begin="8" length="1"/>"#,
        r#"<right_only begin="12" length="3"/>"#,
    ];

    #[test]
    fn what_differs_or_is_mapped_on_one_side_only_has_changed() {
        let expected = [Extent::new(5 * BLOCK, 2 * BLOCK), Extent::new(8 * BLOCK, BLOCK), Extent::new(12 * BLOCK, 3 * BLOCK)];
        assert_eq!(ranges(8, 9, EVERYTHING).unwrap().as_slice(), expected);
        assert_eq!(ranges(0, 0, &[]).unwrap(), ExtentSet::new());
    }

    #[test]
    fn an_answer_that_leaves_a_block_out_is_none() {
        for missing in 0..EVERYTHING.len() {
            let rest: Vec<&str> =
                EVERYTHING.iter().enumerate().filter(|(index, _)| *index != missing).map(|(_, line)| *line).collect();
            assert!(ranges(8, 9, &rest).unwrap_err().contains("it accounts for"), "{missing}");
        }
    }

    #[test]
    fn whatever_is_not_understood_is_refused() {
        for lines in [
            &[r#"<unknown begin="0" length="1"/>"#][..],
            &[r#"<different begin="0" length="0"/>"#],
            &[r#"<different begin="0"/>"#],
            &[r#"<different begin="0" length="1">"#],
            &[r#"<different begin="0" length="1" data="1"/>"#],
            &[r#"<different begin="3" length="1"/>"#, r#"<same begin="3" length="1"/>"#],
            &[r#"<left_only begin="18446744073709551615" length="1"/>"#],
            &[r#"<right_only begin="281474976710656" length="1"/>"#],
            &["error: no such device"],
        ] {
            let error = ranges(1, 1, lines).unwrap_err();
            assert!(error.contains("not understood") && lines.iter().any(|line| error.contains(line)), "{error}");
        }
        for lines in [&[POOL][..], &[POOL, DIFF], &[POOL, DIFF, END[0]], &[DIFF], &[]] {
            assert!(ended(0, 0, lines).is_err(), "{lines:?}");
        }
        assert!(ended(0, 0, &[&POOL.replace("128", "256"), DIFF, END[0], END[1]]).is_err());
        assert!(ended(0, 0, &[POOL, &DIFF.replace('1', "3"), END[0], END[1]]).is_err());
    }
}

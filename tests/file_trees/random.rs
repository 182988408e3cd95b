//! A tree of everything, changed at random between points: each point gives back the tree that was there.

use icecore::testkit;
use icecore::testkit::dice::each_seed;
use icecore::testkit::image::Image;
use icecore::testkit::tree::populate;

use crate::rig::Rig;
use crate::tree_changes::{change, sync};
use crate::tree_facts::{Exactness, facts, same};

const MIB: u64 = 1 << 20;
const POINTS: u64 = 5;
const EXACT: Exactness = Exactness { holes: true, sockets: true };

fn ext4(size: u64) -> Option<Image> {
    let made = Image::make(size, "mkfs.ext4", &["-q", "-F", "-m", "0", "-b", "4096"]);
    made.inspect_err(|error| testkit::skip(&error.to_string())).ok()
}

#[test]
fn every_point_of_a_changing_tree_gives_back_what_was_there() {
    each_seed(0..2, |seed| {
        let (Some(source), Some(target)) = (ext4(96 * MIB), ext4(640 * MIB)) else { return };
        let (from, to) = (source.mount("").unwrap(), target.mount("").unwrap());
        populate(from.point(), seed).unwrap();
        let rig = Rig::new();
        let mut taken = Vec::new();
        for number in 0..POINTS {
            if number > 0 {
                change(from.point(), seed * 100 + number);
                sync(from.point());
            }
            let report = rig.backup(from.point());
            assert!(report.troubles.is_empty(), "{:?}", report.troubles);
            taken.push((report.point, facts(from.point(), EXACT)));
        }
        for (number, (point, theirs)) in taken.iter().enumerate() {
            let out = to.point().join(number.to_string());
            let report = rig.extract(point, &out);
            assert_eq!(report.findings.count(), 0, "{:?}", report.findings);
            same(theirs, &facts(&out, EXACT));
        }
        rig.expect_whole();
    });
}
